// Adds up the rows of a CSV by a column.
'use strict';
const { parse } = require('papaparse');

exports.handler = async (event) => {
  const sums = {};
  for (const row of parse(event.csv, { header: true, skipEmptyLines: true }).data) sums[row.city] = (sums[row.city] || 0) + Number(row.amount);
  return sums;
};
