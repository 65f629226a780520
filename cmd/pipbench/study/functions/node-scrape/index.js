// Reads headings and links from a page.
'use strict';
const cheerio = require('cheerio');

exports.handler = async (event) => {
  const $ = cheerio.load(event.page);
  const links = new Set($('a[href]').map((_, a) => $(a).attr('href')).get());
  return { title: $('title').text(), headings: $('h1, h2').map((_, h) => $(h).text().trim()).get(), links: [...links].sort() };
};
