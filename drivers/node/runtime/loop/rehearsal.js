'use strict';
// The handlers of rehearsals (instance.js): one of events, and a web application, which does what most do with a request and a response.

const { createHash } = require('crypto');

exports.handler = async (event) => event;

exports.application = Object.assign((request, response) => {
  const { pathname, searchParams } = new URL(request.url, `http://${request.headers.host}`);
  request.on('data', () => {}).on('end', () => {});
  const body = JSON.stringify({ pathname, given: [...searchParams] });
  response.statusCode = 200;
  response.setHeader('X-Powered-By', 'nobody');
  response.removeHeader('X-Powered-By');
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.setHeader('Content-Length', Buffer.byteLength(body));
  if (!response.getHeader('ETag')) response.setHeader('ETag', createHash('sha1').update(body, 'utf8').digest('base64'));
  response.end(body, 'utf8');
}, { use() {}, handle() {} });
