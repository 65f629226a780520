'use strict';
// Several events at once in one instance. Each runs in an asynchronous context of its own: so what it prints, and what nobody catches of it, is known
// to be its own.

const addon = require('./addon');

const [OUTPUT] = Array.from('O', (c) => c.charCodeAt(0));
const MAX_OUTPUT = 32 << 10;
const { nextTick } = process;

const running = new Set(); // the events under way
let context; // has the event of the code that runs
let bindTo; // AsyncLocalStorage.bind

const several = module.exports = { on: false, running, begin, run, current, bind };

// Prepares for several events.
function begin() {
  const { AsyncLocalStorage } = require('async_hooks');
  context = new AsyncLocalStorage();
  bindTo = AsyncLocalStorage.bind;
  several.on = true;
  assign(process.stdout, '1');
  assign(process.stderr, '2');
}

// Runs an event, whose text that is, beside the others.
function run(invocation, text) {
  running.add(invocation);
  context.run(invocation, () => invocation.run(text));
}

// The event under way that the code that runs belongs to, undefined if there is none.
function current() {
  const invocation = context.getStore();
  return running.has(invocation) ? invocation : undefined;
}

// A function that runs in the context that there is now.
function bind(called) {
  return bindTo(called);
}

// Has what is written to a stream in an event come to core with the event's token. The rest goes where it went before.
function assign(stream, number) {
  const { write } = stream;
  const assigned = function (chunk, encoding, done) {
    const invocation = current();
    const isText = typeof chunk === 'string';
    if (invocation === undefined || !isText && !(chunk instanceof Uint8Array) && !(chunk instanceof main.Uint8Array)) {
      return Reflect.apply(write, this, arguments);
    }
    const call = typeof encoding === 'function' ? encoding : done;
    const bytes = isText ? Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8') : Buffer.from(chunk);
    for (let at = 0; at < bytes.length; at += MAX_OUTPUT) {
      addon.send(OUTPUT, invocation.token, Buffer.concat([Buffer.from(number), bytes.subarray(at, at + MAX_OUTPUT)]));
    }
    if (typeof call === 'function') nextTick(call);
    return true;
  };
  Object.defineProperty(stream, 'write', { value: assigned, writable: true, configurable: true });
}
