// Runs the function once: the event on stdin, the result on stdout.
'use strict';
const { handler } = require('./index.js');
handler(JSON.parse(require('fs').readFileSync(0, 'utf8'))).then((result) => console.log(JSON.stringify(result)));
