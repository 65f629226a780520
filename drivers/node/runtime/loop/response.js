'use strict';
// Responses that a handler makes in parts. Each part is passed on to the caller before the next one is taken from the handler. Where nobody takes parts,
// the whole response is the result, as in AWS Lambda's function URLs, payload format 2.0.

const { Writable } = require('stream');
const { offered, oversized, pass, whenLeft } = require('./instance');

const MAX_PART = 64 << 10, MAX_RESULT = 6 << 20;
const TEXT = /^(text\/|application\/(json|javascript|xml)|[^;]+\+(json|xml)\b)/;

// The head of a response: its headers are pairs of texts.
function headOf(statusCode, pairs) {
  const headers = {}, cookies = [];
  for (const [name, value] of pairs) {
    const key = name.toLowerCase();
    if (key === 'set-cookie') cookies.push(value);
    else headers[key] = key in headers ? `${headers[key]}, ${value}` : value;
  }
  return { statusCode, headers, cookies };
}

const broken = (message) => Object.assign(new main.Error(message), { code: 'EPIPE' });

class Response {
  head = {};
  begun = false; // parts of it have been passed on
  gone = null; // why nothing more is
  kept = [];
  size = 0; // bytes of kept
  undecided = true; // whether it comes in parts

  // While the handler runs, isEnded says whether it has written everything.
  constructor(context, isEnded) {
    this.context = context;
    this.isEnded = isEnded;
    this.offered = offered(context);
  }

  // Whether an error is nothing but that the caller has left: who has written learns of it, and the event needs no other end.
  isLeft(error) {
    return error === this.gone && error.code === 'EPIPE';
  }

  // Has the event told when its caller goes away and the handler has not ended the response: gone is why then.
  whenLeft(left) {
    setImmediate(() => { // until then most handlers have
      if (this.isEnded()) return;
      whenLeft(this.context, () => {
        this.gone ??= broken('the caller has gone');
        left(this.gone);
      });
    });
  }

  // Takes bytes, and calls back when the caller has taken them, or with an error. No other write may be under way.
  write(bytes, done) {
    if (this.gone) return done(this.gone);
    this.kept.push(bytes);
    this.size += bytes.length;
    if (!this.offered) {
      if (this.size <= MAX_RESULT) return done();
      this.gone = new main.Error(`the response has over ${MAX_RESULT} bytes, and who has asked for it takes it as a whole only: ask over HTTP/1.1 at /fn`);
      oversized.set(this.gone, this.gone.message);
      return done(this.gone);
    }
    if (!this.undecided) return this.flush(done);
    this.undecided = false;
    setImmediate(() => this.flush(done)); // until then most handlers have written everything
  }

  // Passes on what is kept, unless it is all that there will be, and goes into a result.
  flush(done) {
    if (!this.begun && this.size <= MAX_PART && this.isEnded()) return done();
    const bytes = this.kept.length === 1 ? this.kept[0] : Buffer.concat(this.kept);
    this.kept = [];
    this.size = 0;
    this.passFrom(bytes, 0, done);
  }

  passFrom(bytes, at, done) {
    if (this.begun && at >= bytes.length) return done();
    const head = this.begun ? undefined : this.head;
    this.begun = true;
    pass(this.context, head, bytes.subarray(at, at + MAX_PART), (failed) => {
      if (!failed) return this.passFrom(bytes, at + MAX_PART, done);
      this.gone = broken(failed.message);
      done(this.gone);
    });
  }

  // The result of the event, when everything is written.
  result() {
    if (this.begun) return null;
    const body = Buffer.concat(this.kept), { headers = {} } = this.head;
    const named = (name) => Object.entries(headers ?? {}).find(([key]) => key.toLowerCase() === name)?.[1];
    const isText = TEXT.test(named('content-type') ?? '') && named('content-encoding') === undefined;
    const text = isText ? body.toString('utf8') : '';
    const isBase64Encoded = !isText || !Buffer.from(text).equals(body);
    return { statusCode: 200, ...this.head, body: isBase64Encoded ? body.toString('base64') : text, isBase64Encoded };
  }
}

const heads = new WeakMap(); // of streams, as HttpResponseStream.from has set them

// Calls a handler of awslambda.streamifyResponse. Returns a promise of the result.
function streamed(handler, event, context) {
  let contentType = 'application/octet-stream';
  const response = new Response(context, () => stream.writableEnded);
  const headed = () => {
    const head = heads.get(stream) ?? {}, { headers } = head;
    const isTyped = Object.keys(headers ?? {}).some((name) => name.toLowerCase() === 'content-type');
    response.head = isTyped ? head : { ...head, headers: { ...headers, 'content-type': contentType } };
  };
  const stream = new Writable({
    write(chunk, encoding, done) {
      if (!response.begun) headed();
      response.write(chunk, done);
    },
  });
  stream.setContentType = (type) => { contentType = type; };
  const finished = new Promise((resolve, reject) => {
    stream.on('finish', resolve);
    stream.on('error', (error) => (response.isLeft(error) ? resolve() : reject(error)));
    stream.on('close', () => reject(new Error('the handler has destroyed its response before the end')));
  });
  finished.catch(() => {}); // the handler's own error counts, if it has one
  response.whenLeft((gone) => stream.destroy(gone));
  return (async () => {
    try {
      await handler(event, stream, context);
    } catch (error) {
      if (!response.isLeft(error)) throw error;
    }
    await finished;
    if (!response.begun) headed();
    return response.result();
  })();
}

module.exports = { Response, headOf, heads, streamed };
