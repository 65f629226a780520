// Turns Markdown into HTML.
'use strict';
const { marked } = require('marked');

exports.handler = async (event) => ({ html: marked.parse(event.text) });
