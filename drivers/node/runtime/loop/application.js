'use strict';
// Web applications as handlers: Express and Connect, Koa, Fastify, node's own http.Server, and whatever has the fetch of web workers, such as Hono. The
// events are HTTP requests as in AWS Lambda's function URLs, payload format 2.0, and so are the results.

const { Duplex } = require('stream');
const { clearTimeout, setTimeout } = require('timers');
const vm = require('vm');
const { Response, headOf } = require('./response');

const PATIENCE = 5; // milliseconds that the body of a fetch handler's response may wait before the head is passed on alone

const has = (value, ...names) => names.every((name) => typeof value?.[name] === 'function');

// Returns what answers a request by the application, undefined if the value is none.
function answererOf(value) {
  if (has(value, 'fetch')) return (request, context) => fetched(value, request, context);
  if (has(value, 'callback', 'use') && Array.isArray(value.middleware)) return listening(value.callback());
  if (has(value, 'inject', 'ready')) return async (request, context) => {
    await value.ready();
    return listening((req, res) => value.server.emit('request', req, res))(request, context);
  };
  if (typeof value === 'function' && has(value, 'use', 'handle')) return listening(value);
  if (value instanceof require('http').Server) return listening((req, res) => value.emit('request', req, res));
  return undefined;
}

// Returns a handler that answers requests by the application, undefined if the value is none.
function application(value, name) {
  const answer = answererOf(value);
  return answer && ((event, context) => answer(requestOf(event, name), context));
}

// What both interfaces take from an event.
function requestOf(event, name) {
  const http = event?.requestContext?.http;
  if (typeof http?.method !== 'string' || typeof event.rawPath !== 'string') {
    throw new TypeError(`the handler ${name} is a web application, and the event is no HTTP request: send requests to /fn/NAME`);
  }
  const headers = { ...event.headers };
  if (event.cookies?.length > 0) headers.cookie = event.cookies.join('; ');
  const url = event.rawPath + (event.rawQueryString ? `?${event.rawQueryString}` : '');
  return { method: http.method, url, headers, body: Buffer.from(event.body ?? '', event.isBase64Encoded ? 'base64' : 'utf8'), client: http.sourceIp };
}

// A listener of http.Server gets a request and a response whose connection is in memory. What it writes there is HTTP, and is read again: only so nothing
// is lost of what the many ways to write headers do.
function listening(listener) {
  return (request, context) => new Promise((resolve, reject) => {
    const { IncomingMessage, ServerResponse } = require('http');
    const response = new Response(context, () => res.writableEnded);
    let head = Buffer.alloc(0);
    const write = (chunk, encoding, done) => {
      if (head === null) return response.write(chunk, done);
      head = Buffer.concat([head, chunk]);
      const bytes = takeHead(response, head);
      if (bytes === undefined) return done();
      head = null;
      response.write(bytes, done);
    };
    const socket = new Duplex({ read() {}, write });
    Object.assign(socket, { remoteAddress: request.client, remotePort: 0, encrypted: request.headers['x-forwarded-proto'] === 'https', setTimeout() { return this; }, setKeepAlive() {}, setNoDelay() {} });
    const req = new IncomingMessage(socket);
    Object.assign(req, { method: request.method, url: request.url, headers: request.headers, httpVersion: '1.1', httpVersionMajor: 1, httpVersionMinor: 1, complete: true });
    req.rawHeaders = Object.entries(request.headers).flat();
    if (request.body.length > 0) req.push(request.body);
    req.push(null);
    const res = new ServerResponse(req);
    res.useChunkedEncodingByDefault = res.shouldKeepAlive = res.sendDate = false;
    Object.defineProperty(res, 'chunkedEncoding', { get: () => false, set() {} }); // the server's to choose
    res.assignSocket(socket);
    res.on('finish', () => resolve(response.result()));
    socket.on('drain', () => { if (res.writableNeedDrain) res.emit('drain'); });
    socket.on('error', (error) => response.isLeft(error) || reject(error));
    socket.on('close', () => {
      req.destroy(); // as a server does it: who waits for the end of the request learns of it
      if (response.gone) setImmediate(resolve, null); // unless there was an error
      else reject(new Error(`the application has closed the connection ${response.begun ? 'before the end of its' : 'without a'} response`));
    });
    // Who listens for the end of the connection learns of it; who does not is left to finish its work.
    response.whenLeft(() => { if (response.begun || listens(req, 'close', 'aborted') || listens(res, 'close')) socket.destroy(); });
    listener(req, res);
  });
}

const listens = (emitter, ...events) => events.some((event) => emitter.listenerCount(event) > 0);

// Reads the head of a response as it is on a connection, and returns what follows, undefined if there is more to come. Heads before the last one are
// left out.
function takeHead(response, bytes) {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [first, ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const pairs = lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]);
  const status = Number(first.split(' ')[1]), rest = bytes.subarray(end + 4);
  if (status < 200) return takeHead(response, rest);
  response.head = headOf(status, pairs);
  return rest;
}

// Passes on the head alone if the application lets the first part of the body wait.
async function headAlone(response, first) {
  let timer;
  const late = new Promise((done) => { timer = setTimeout(done, PATIENCE, true); });
  const waits = await Promise.race([late, first.then(() => false, () => false)]);
  clearTimeout(timer);
  if (waits && response.offered) await new Promise((done) => { response.write(Buffer.alloc(0), done); }); // a failure comes again with the next part
}

async function fetched(value, { method, url, headers, body }, context) {
  const [Request, Headers, AbortController] = vm.runInThisContext('[Request, Headers, AbortController]'); // of the application's realm
  const address = `${headers['x-forwarded-proto'] ?? 'http'}://${headers.host ?? 'localhost'}${url}`;
  const bodiless = method === 'GET' || method === 'HEAD';
  const controller = new AbortController();
  let ended = false, reader;
  const response = new Response(context, () => ended);
  response.whenLeft((gone) => {
    controller.abort();
    reader?.cancel(gone).catch(() => {});
  });
  const request = new Request(address, { method, headers: new Headers(headers), body: bodiless ? undefined : body, signal: controller.signal });
  let answer;
  try {
    answer = await value.fetch(request, {}, { waitUntil() {}, passThroughOnException() {} });
  } catch (error) {
    if (response.gone && error === request.signal.reason) return null;
    throw error;
  }
  const pairs = [...answer.headers].filter(([name]) => name !== 'set-cookie');
  for (const cookie of answer.headers.getSetCookie()) pairs.push(['set-cookie', cookie]);
  response.head = headOf(answer.status, pairs);
  reader = answer.body?.getReader();
  const read = async () => {
    const part = await reader.read();
    ended = part.done;
    return part;
  };
  const first = reader ? read() : Promise.resolve({ done: true });
  await headAlone(response, first);
  for (let part = await first; !part.done;) {
    const next = read(); // which shows in most cases that this part is the last one
    next.catch(() => {}); // it is looked at below
    const failed = await new Promise((done) => { response.write(Buffer.from(part.value), done); });
    if (failed) {
      await reader.cancel(failed).catch(() => {});
      if (response.isLeft(failed)) return null;
      throw failed;
    }
    part = await next;
  }
  return response.result();
}

module.exports = { application };
