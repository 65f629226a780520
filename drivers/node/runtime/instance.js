'use strict';
// An instance: one handler that answers events on its endpoint, one at a time (PROTOCOL.md, endpoint).

const addon = require('./addon');
const { describe } = require('./describe');
const { Failure, load, packed, stopped } = require('./load');

const [HANDLER, REPORT, FAILURE, EVENT, RESULT, EXCEPTION, LIMIT, INVOKE, ANSWER] = Array.from('HPFERXLIA', (c) => c.charCodeAt(0));
const MAX_RESULT = 6 << 20;
// Milliseconds after which an instance that has not been told anything was forked ahead, and has time to rehearse.
const PATIENCE = 2;

const frame = { meta: '', body: '' };

// The function, the event under way, and the calls that it awaits.
let fn, current = null;
let calls = 0;
const awaited = new Map();

// What another function, invoked by this one, has failed with.
class InvokeError extends Error {
  constructor(name, error) {
    super(error.message ?? `${name} failed`);
    this.name = 'InvokeError';
    this.function = name;
    this.kind = error.kind;
    this.fault = error.fault;
    this.retryable = error.retryable ?? false;
    if (error.exception) this.exception = error.exception;
  }
}

// Imports the handler that core names, and answers events, until core closes the endpoint. So many threads are V8's own.
async function beInstance(threads) {
  if (!addon.pending(PATIENCE)) await rehearse();
  if (addon.receive(frame) !== HANDLER) addon.exit(0);
  fn = JSON.parse(frame.body);
  setEnvironment(fn.env ?? {});
  const fail = (failure) => {
    addon.send(FAILURE, packed(failure.reply));
    addon.exit(1);
  };
  try {
    const { report, handler } = await load(fn, fail);
    report.threads -= threads;
    fn.handle = handler;
    setImmediate(() => {
      addon.send(REPORT, JSON.stringify(report));
      next();
    });
  } catch (thrown) {
    fail(thrown instanceof Failure ? thrown : new Failure('internal', 'driver', String(thrown?.stack)));
  }
}

function setEnvironment(env) {
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, env);
}

// Waits for the next event and gives it to the handler. Runs as an immediate, so that what is due in the event loop has its
// turn between two events.
function next() {
  let kind;
  do kind = addon.receive(frame); while (kind === ANSWER); // to a call of an earlier event
  if (kind !== EVENT) addon.exit(0);
  current = new Invocation(fn, JSON.parse(frame.meta), answer);
  current.run(JSON.parse(frame.body));
}

function answer(invocation) {
  if (invocation !== current) return;
  current = null;
  if (awaited.size > 0) {
    awaited.clear();
    addon.watch();
  }
  addon.send(invocation.kind, invocation.body);
  next();
}

// An event on its way through the handler. Answered is called once, as an immediate, when kind and body are the answer.
class Invocation {
  constructor(fn, meta, answered) {
    this.fn = fn;
    this.answered = answered;
    this.kind = 0;
    this.body = '';
    this.waiting = false;
    this.context = new Context(fn, meta, this);
  }

  run(event) {
    const { call, length } = this.fn.handle;
    const byCallback = length >= 3;
    try {
      const result = byCallback ? call(event, this.context, (error, result) => this.callBack(error, result)) : call(event, this.context);
      if (typeof result?.then === 'function') result.then((value) => this.settle(value), (error) => this.fail(error));
      else if (!byCallback) this.settle(result);
      else this.byCallback = true;
    } catch (error) {
      this.fail(error);
    }
  }

  // As AWS Lambda has it: the answer to a callback goes out when nothing is left to do, unless the handler says otherwise.
  callBack(error, result) {
    if (this.kind !== 0 || this.waiting) return;
    if (error !== undefined && error !== null) this.fail(error);
    else if (!this.context.callbackWaitsForEmptyEventLoop) this.settle(result);
    else {
      this.waiting = true;
      this.result = result;
    }
  }

  // Nothing is left in the event loop.
  idle() {
    if (this.kind !== 0) return;
    if (this.waiting || this.byCallback) this.settle(this.result);
    else this.fail(new Error('the promise of the handler was never settled, and nothing is left to do that could'));
  }

  settle(value) {
    if (this.kind !== 0) return;
    this.encode(value);
    setImmediate(this.answered, this);
  }

  fail(thrown) {
    // What goes wrong before the answer is out is the event's, also after its result is known.
    const late = this.kind !== 0;
    this.kind = EXCEPTION;
    this.body = packed(describe(thrown));
    if (!late) setImmediate(this.answered, this);
  }

  encode(value) {
    let problem;
    try {
      const body = value === undefined ? 'null' : JSON.stringify(value);
      if (body === undefined) throw new TypeError('JSON has no such thing');
      const size = body.length > MAX_RESULT / 3 ? Buffer.byteLength(body) : 0;
      if (size <= MAX_RESULT) {
        this.kind = RESULT;
        this.body = body;
        return;
      }
      problem = { kind: 'too_large', message: `the result of ${this.fn.handler} takes ${size} bytes as JSON; the limit is ${MAX_RESULT}` };
    } catch (error) {
      const what = value === null ? 'null' : typeof value === 'object' ? value.constructor?.name ?? 'object' : typeof value;
      problem = { kind: 'invalid', message: `the result of ${this.fn.handler} (a ${what}) cannot be written as JSON: ${describe(error).message}` };
    }
    this.kind = LIMIT;
    this.body = packed(problem);
  }
}

// What a handler is told besides the event, with the names that AWS Lambda uses.
class Context {
  #deadline;
  #invocation;

  constructor(fn, meta, invocation) {
    this.callbackWaitsForEmptyEventLoop = true;
    this.awsRequestId = meta.id;
    this.functionName = fn.function;
    this.functionVersion = String(fn.version);
    this.memoryLimitInMB = String(fn.memory >> 20);
    this.invokedFunctionArn = 'pipsqueak:function:' + fn.function;
    this.logGroupName = fn.function;
    this.logStreamName = meta.id;
    this.#deadline = meta.deadline_ms;
    this.#invocation = invocation;
  }

  getRemainingTimeInMillis() {
    return Math.max(0, Math.floor(this.#deadline - Date.now()));
  }

  // Invokes another function with an event, and returns a promise of its result. It rejects with an InvokeError.
  invoke(name, event) {
    return new Promise((resolve, reject) => {
      const refuse = (kind, message) => reject(new InvokeError(name, { kind, fault: 'handler', message }));
      if (this.#invocation !== current) return refuse('invalid', `${name} cannot be invoked any more: the event has been answered`);
      const body = event === undefined ? 'null' : JSON.stringify(event);
      if (body === undefined) return refuse('invalid', `a ${typeof event} cannot be written as JSON, as the event for ${name} has to be`);
      const call = ++calls;
      const size = addon.send(INVOKE, body, JSON.stringify({ call, function: String(name) }));
      if (size > 0) return refuse('too_large', `the event for ${name} takes ${size} bytes as JSON; the limit is ${MAX_RESULT}`);
      if (awaited.size === 0) addon.watch(onAnswer);
      awaited.set(call, { name, resolve, reject });
    });
  }
}

// Takes what is at the endpoint while a handler runs.
function onAnswer() {
  do {
    if (addon.receive(frame) !== ANSWER) addon.exit(0);
    const { call, error } = JSON.parse(frame.meta);
    const one = awaited.get(call);
    if (one === undefined) continue;
    awaited.delete(call);
    if (error) one.reject(new InvokeError(one.name, error));
    else one.resolve(JSON.parse(frame.body));
  } while (addon.pending(0));
  if (awaited.size === 0) addon.watch();
}

// An exception that nobody catches, and a rejection that nobody handles, ends an import, and is the answer to the event
// under way, unless the handler's code listens for it itself.
function onUncaught(error) {
  if (stopped(error) || process.listenerCount('uncaughtException') > 1) return;
  if (current !== null) return current.fail(error);
  process.stderr.write(`${error?.stack ?? error}\n`); // of the runtime itself, or of what a package left to do in a zygote
  addon.exit(1);
}

// Nothing is left in the event loop.
function onIdle() {
  if (stopped(new Error('a top-level await waits for what can never come'))) return;
  if (current !== null) current.idle();
}

// Has a root zygote, and so all processes, listen for what nobody else does.
function listen() {
  process.on('uncaughtException', onUncaught);
  process.on('beforeExit', onIdle);
}

// Imports a handler and has it answer an event, both of this runtime's own, that do nothing.
//
// In a root zygote it makes that every process forked from it has compiled what serves an event. In an instance that waits, it
// makes the copies of the memory pages that an import and an event write to, before they are needed.
async function rehearse() {
  const file = require.resolve('./rehearsal');
  const rehearsed = { function: '', version: 0, memory: 0, handler: 'rehearsal.handler', packages: [], modules: [] };
  setEnvironment({ ...process.env });
  rehearsed.handle = (await load(JSON.parse(JSON.stringify(rehearsed)), () => {}, __dirname)).handler;
  for (let i = 0; i < 3; i++) {
    await new Promise((done) => {
      new Invocation(rehearsed, JSON.parse('{"id":"","deadline_ms":0}'), done).run(JSON.parse('{"rehearsal":[1,2.5,"three",null,true]}'));
    });
  }
  delete require.cache[file];
}

module.exports = { beInstance, listen, rehearse };
