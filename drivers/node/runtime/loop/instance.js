'use strict';
// An instance: one handler that answers events on its endpoint, one at a time, or several at once if core says so (PROTOCOL.md, endpoint).

const addon = require('./addon');
const { writeSync } = require('fs');
const { describe, invoked, nameOf, property } = require('./describe');
const { CODE } = require('./handler');
const { beforeExit, failureOf, load, packed, stopped } = require('./load');
const { localeNamed, localeOf } = require('./zone');

const [HANDLER, REPORT, FAILURE, EVENT, RESULT, EXCEPTION, LIMIT, INVOKE, ANSWER, DEATH, PART, GONE] = Array.from('HPFERXLIADSG', (c) => c.charCodeAt(0));
const MAX_RESULT = 6 << 20;

const frame = { meta: '', body: '' };
// Of the realm of handlers, as they were before any.
const { JSON: { parse, stringify }, Promise: GivenPromise, Error: GivenError, Object: { prototype: GivenObject } } = main;
const { captureStackTrace } = GivenError;
const { byteLength } = Buffer, { nextTick } = process;
const { isNumberObject } = require('util').types;
const several = require('./several');
const environment = process.env, beginning = { ...environment }; // of a root zygote

// The function, the event under way, and the calls that it awaits.
let fn, current = null;
let calls = 0;
const awaited = new Map();

// The failure of another function that this one has invoked. It is made with the call, whose stack it has, and filled when the call fails.
class InvokeError extends GivenError {
  constructor(name, called) {
    super('');
    captureStackTrace(this, called);
    this.name = 'InvokeError';
    this.function = name;
  }
}

// Fills an InvokeError with what core has reported. V8 writes the stack, and the message in it, when somebody reads it.
function fill(failed, { message, kind, fault, retryable = false, exception }) {
  failed.message = message ?? `${failed.function} failed`;
  failed.kind = kind;
  failed.fault = fault;
  failed.retryable = retryable;
  if (exception) {
    failed.exception = exception;
    invoked.set(failed, JSON.parse(JSON.stringify(exception))); // that one is in the hands of the handler
  }
  return failed;
}

// Imports the handler that core names, and answers events, until core closes the endpoint. So many threads are V8's own.
async function beInstance(threads) {
  if (addon.mayRehearse()) await rehearse(PLAIN, addon.pending);
  if (addon.receive(frame) !== HANDLER) addon.exit(0);
  fn = JSON.parse(frame.body);
  // For what the handler starts, as from within /function the packages are found without it; and for the package
  // app-root-path, which takes the directory above node_modules for the program's: here that is the package's own.
  setEnvironment({ ...(fn.packages?.length > 0 && { NODE_PATH: `${CODE}/node_modules`, APP_ROOT_PATH: CODE }), ...fn.env });
  const env = fn.env ?? {}; // V8 compiles a regular expression again in each process, and localeOf has one
  if (localeNamed(env) !== localeNamed(beginning)) addon.setLocale(localeOf(env), parseInt(process.versions.icu));
  const fail = (failure) => {
    addon.send(FAILURE, '', packed(failure.reply));
    addon.exit(1);
  };
  try {
    const { report, handler } = await load(fn, fail);
    beforeExit((asked) => {
      const ended = underWay();
      if (ended) addon.send(DEATH, ended.token, packed(describe(asked)));
    });
    report.threads -= threads;
    fn.handle = handler;
    if (fn.concurrency > 1) several.begin();
    setImmediate(() => {
      addon.send(REPORT, '', JSON.stringify(report));
      next();
    });
  } catch (thrown) {
    fail(failureOf(thrown));
  }
}

// Makes env the whole environment, but for what imported code has changed meanwhile, as it would in any process.
// A package may have put another object in the place of process.env.
function setEnvironment(env) {
  for (const variables of new Set([environment, process.env])) {
    const changed = (name) => own(variables, name) !== own(beginning, name);
    for (const name of Object.keys(variables)) if (!Object.hasOwn(env, name) && !changed(name)) Reflect.deleteProperty(variables, name);
    for (const name of Object.keys(env)) if (property(variables, name) !== env[name] && !changed(name)) Reflect.set(variables, name, env[name]);
  }
}

function own(object, name) {
  return Object.hasOwn(object, name) ? property(object, name) : undefined;
}

// Waits for the next event and gives it to the handler. Runs as an immediate, so that what is due in the event loop has its
// turn between two events.
function next() {
  let kind;
  do kind = addon.receive(frame); while (kind === ANSWER || kind === GONE); // of an earlier event
  if (kind !== EVENT) addon.exit(0);
  const invocation = new Invocation(fn, JSON.parse(frame.meta), answered);
  if (several.on) {
    addon.watch(readable, true);
    several.run(invocation, frame.body);
    if (addon.pending()) onReadable(); // what was read with it, the event loop does not see
    return;
  }
  current = invocation;
  current.run(frame.body);
}

function answer(invocation) {
  if (several.on) return answerOne(invocation);
  if (invocation !== current) return;
  if (awaited.size > 0 || invocation.left) {
    awaited.clear();
    addon.watch();
  }
  addon.send(invocation.kind, invocation.token, invocation.body);
  current = null;
  next();
}

// Answers one of several events. When it is the last one the instance waits for the next, and nothing of the handler's runs.
function answerOne(invocation) {
  if (!several.running.delete(invocation)) return;
  for (const [call, one] of awaited) if (one.invocation === invocation) awaited.delete(call);
  addon.send(invocation.kind, invocation.token, invocation.body);
  if (several.running.size > 0) return;
  addon.watch();
  next();
}

// The event that the code that runs now belongs to, one of several if that is not known, nothing if there is none.
function underWay() {
  return several.on ? several.current() ?? several.running.values().next().value : current;
}

// The event of a context, unless it has been answered.
function eventOf(context) {
  if (current?.context === context) return current;
  for (const invocation of several.running) if (invocation.context === context) return invocation;
  return undefined;
}

const answered = ours(answer), readable = ours(onReadable);

// What of this runtime failed while an event was under way: no fault of the handler's. The instance cannot be relied on any more.
function failed(error) {
  const invocation = underWay();
  if (!invocation) return onUncaught(error);
  try {
    const message = `the runtime of Node.js failed while it ran an event: ${property(error, 'stack')}`;
    addon.send(LIMIT, invocation.token, packed({ kind: 'internal', message }));
  } finally {
    addon.exit(1);
  }
}

// A function of this runtime that code of others calls, or the event loop.
function ours(called) {
  return (...args) => {
    try {
      return called(...args);
    } catch (error) {
      failed(error);
    }
  };
}

// Errors that a response is too large to be taken as a whole, with their texts.
const oversized = new WeakMap();

// An event on its way through the handler. Answered is called once, as an immediate, when kind and body are the answer.
class Invocation {
  constructor(fn, meta, answered) {
    this.fn = fn;
    this.meta = meta;
    this.answered = answered;
    this.token = meta.token;
    this.kind = 0;
    this.body = '';
    this.waiting = false;
    this.gone = false; // the caller has gone
    this.left = null; // what is called then
    this.callBack = ours((...args) => this.take(...args));
    this.fail = ours((thrown) => this.refuse(thrown));
  }

  // Text is the event as JSON.
  run(text) {
    const { call, length } = this.fn.handle;
    this.context = new Context(this.fn, this.meta, this);
    let result;
    try {
      result = call(parse(text), this.context, (error, result) => this.callBack(error, result));
      if (typeof result?.then === 'function') {
        result.then((value) => this.callBack(null, value, true), this.fail);
        return;
      }
    } catch (error) {
      return this.fail(error);
    }
    if (length === 1 || length < 3 && (result !== undefined || several.on)) this.settle(result);
    else this.open = true; // it may call back, or use its context, as long as there is something to do
  }

  // As AWS Lambda has it: the answer to a callback goes out when nothing is left to do, unless the handler says otherwise; that of a promise, and of
  // context.done and its like, at once. With several events nobody can tell what is left to do of one.
  take(error, result, atOnce = several.on || !property(this.context, 'callbackWaitsForEmptyEventLoop')) {
    if (this.kind !== 0 || this.waiting) return;
    if (error !== undefined && error !== null) this.refuse(error);
    else if (atOnce) this.settle(result);
    else {
      this.waiting = true;
      this.result = result;
    }
  }

  // Nothing is left in the event loop.
  idle() {
    if (this.kind !== 0) return;
    if (this.waiting || this.open) this.settle(this.result);
    else this.refuse(new Error('the promise of the handler was never settled, and nothing is left to do that could'));
  }

  settle(value) {
    if (this.kind !== 0) return;
    [this.kind, this.body] = encoded(value, this.fn.handler);
    setImmediate(this.answered, this);
  }

  refuse(thrown) {
    // What goes wrong before the answer is out is the event's, also after its result is known.
    const late = this.kind !== 0;
    const message = oversized.get(thrown);
    [this.kind, this.body] = message === undefined ? [EXCEPTION, packed(describe(thrown))] : [LIMIT, packed({ kind: 'too_large', message })];
    if (!late) setImmediate(this.answered, this);
  }
}

// The kind and the body of the answer that a value is.
function encoded(value, handler) {
  const refused = (kind, why) => [LIMIT, packed({ kind, message: `the result of ${handler} ${why}` })];
  const { body, problem } = written(value);
  if (problem !== undefined) {
    const what = value === null ? 'null' : typeof value === 'object' ? nameOf(value, 'object') : typeof value;
    return refused('invalid', `(a ${what}) cannot be written as JSON: ${problem}`);
  }
  const size = body.length > MAX_RESULT / 3 ? byteLength(body) : 0;
  return size > MAX_RESULT ? refused('too_large', `takes ${size} bytes as JSON; the limit is ${MAX_RESULT}`) : [RESULT, body];
}

// A value as JSON, or the problem that there is none which says the same: a number that JSON does not have is written as null, and half a
// character as an escape that no other language can read. What may be one costs a second look. Code of others runs in stringify alone.
function written(value) {
  let body, lost;
  try {
    body = value === undefined ? 'null' : stringify(value);
  } catch (error) {
    return { problem: describe(error).message };
  }
  if (body === undefined) return { problem: 'JSON has no such thing' };
  if (body.includes('\\ud') && /(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(body)) return { problem: 'a string in it has half of a surrogate pair' };
  if (!body.includes('null')) return { body };
  try {
    stringify(value, (key, inner) => {
      if ((typeof inner === 'number' || isNumberObject(inner)) && !Number.isFinite(+inner)) lost ??= `${inner} is no number in JSON`;
      return inner;
    });
  } catch (error) {
    lost = describe(error).message;
  }
  return { body, problem: lost };
}

// The context of an event, with the names that AWS Lambda uses. Its functions may be taken from it, as in promise.then(context.succeed).
class Context {
  callbackWaitsForEmptyEventLoop = true;
  // Its own before they are set: what a handler may have put into the prototype of all objects has no part in that.
  awsRequestId; functionName; functionVersion; memoryLimitInMB; invokedFunctionArn; logGroupName; logStreamName; getRemainingTimeInMillis; done; succeed; fail; invoke;

  constructor(fn, meta, invocation) {
    this.awsRequestId = meta.id;
    this.functionName = fn.function;
    this.functionVersion = String(fn.version);
    this.memoryLimitInMB = String(fn.memory >> 20);
    this.invokedFunctionArn = 'pipsqueak:function:' + fn.function;
    this.logGroupName = fn.function;
    this.logStreamName = meta.id;
    this.getRemainingTimeInMillis = () => Math.max(0, Math.floor(meta.deadline_ms - Date.now()));
    this.done = (error, result) => invocation.callBack(error, result, true);
    this.succeed = (result) => invocation.callBack(null, result, true);
    this.fail = (error) => invocation.callBack(error ?? new GivenError('context.fail was called'));
    // Invokes another function with an event, and returns a promise of its result. It rejects with an InvokeError.
    const call = (name, event) => {
      const failed = new InvokeError(name, call);
      return new GivenPromise((resolve, reject) => invoke(invocation, name, event, resolve, (told) => reject(fill(failed, told))));
    };
    this.invoke = call;
  }
}

function invoke(invocation, name, event, resolve, reject) {
  const refuse = (kind, message) => reject({ kind, fault: 'handler', message });
  if (eventOf(invocation.context) !== invocation) return refuse('invalid', `${name} cannot be invoked any more: the event has been answered`);
  const { body, problem } = written(event);
  if (problem !== undefined) return refuse('invalid', `the event for ${name} cannot be written as JSON: ${problem}`);
  const call = ++calls;
  const size = addon.send(INVOKE, invocation.token, body, JSON.stringify({ call, function: String(name) }));
  if (size > 0) return refuse('too_large', `the event for ${name} takes ${size} bytes as JSON; the limit is ${MAX_RESULT}`);
  awaitAnswer(invocation, call, (error, result) => (error ? reject(error) : resolve(parse(result))));
}

function awaitAnswer(invocation, call, answered) {
  awaited.set(call, { invocation, answered: several.on ? several.bind(answered) : answered });
  if (awaited.size === 1) watch();
}

// Calls back when the caller of the event of a context goes away, as long as the event is under way.
function whenLeft(context, left) {
  const invocation = eventOf(context);
  if (!invocation) return;
  if (invocation.gone) return left();
  invocation.left = several.on ? several.bind(left) : left;
  watch();
  if (addon.pending()) readable(); // what was read with the event, the event loop does not see
}

// Has the event loop watch the endpoint as long as something may come that one event waits for. The end of its caller keeps no handler waiting that has
// nothing else to do.
function watch() {
  if (several.on) return;
  if (awaited.size > 0 || current?.left) addon.watch(readable, awaited.size > 0);
  else addon.watch();
}

// The caller of the event with that token has gone.
function leave(token) {
  const invocation = (several.on ? [...several.running] : [current]).find((one) => one?.token === token);
  if (!invocation) return;
  invocation.gone = true;
  invocation.left?.();
}

// Whether the response to the event of a context may be passed on in parts.
function offered(context) {
  return eventOf(context)?.meta.stream === true;
}

// Passes on a part of the response, the first one with its head. Calls back when the caller has taken it, or with the reason why it is not passed on.
function pass(context, head, bytes, done) {
  const invocation = eventOf(context);
  if (!invocation) return nextTick(done, { message: 'the event has been answered' });
  const call = ++calls;
  addon.send(PART, invocation.token, bytes, JSON.stringify({ call, head }));
  awaitAnswer(invocation, call, (error) => nextTick(done, error));
}

// Takes what is at the endpoint while a handler runs: answers to its calls, the end of its caller, and perhaps other events.
function onReadable() {
  do {
    const kind = addon.receive(frame), meta = frame.meta;
    if (kind === EVENT && several.on) {
      several.run(new Invocation(fn, JSON.parse(meta), answered), frame.body);
      continue;
    }
    if (kind === GONE) {
      leave(frame.body);
      continue;
    }
    if (kind !== ANSWER) addon.exit(0);
    const { call, error } = JSON.parse(meta);
    const one = awaited.get(call);
    if (one === undefined) continue;
    awaited.delete(call);
    one.answered(error, frame.body);
  } while (addon.pending());
  if (awaited.size === 0) watch();
}

// An exception that nobody catches, and a rejection that nobody handles, ends an import, and is the answer to the event
// under way.
function onUncaught(error) {
  if (stopped(error)) return;
  if (current !== null) return current.fail(error);
  if (several.running.size > 0) {
    const own = several.current(); // else it is anybody's, as it would end a process of several
    for (const invocation of own ? [own] : [...several.running]) invocation.fail(error);
    return;
  }
  const { type, message, stack } = describe(error); // of the runtime itself, or of what a package left to do in a zygote
  try {
    writeSync(2, `${type}: ${message}\n${stack.reverse().map((line) => `    at ${line}\n`).join('')}`);
  } catch {
    // nobody reads it
  }
  addon.exit(1);
}

// Nothing is left in the event loop.
function onIdle() {
  if (stopped(new Error('a top-level await waits for what can never come'))) return;
  if (current !== null) current.idle();
}

// Has a root zygote, and so all processes, learn what nobody else has listened for. A listener could be removed with all others, and be in the way of
// packages that count them.
function listen() {
  const { emit } = process;
  const told = function (name, ...args) {
    if (name !== 'uncaughtException') {
      const heard = Reflect.apply(emit, this, [name, ...args]);
      if (name === 'beforeExit') ours(onIdle)();
      return heard;
    }
    try {
      if (!Reflect.apply(emit, this, [name, ...args])) onUncaught(args[0]);
    } catch (thrown) {
      onUncaught(thrown); // by a listener
    }
    return true;
  };
  Object.defineProperty(process, 'emit', { value: told, writable: true, configurable: true, enumerable: false });
}

// What is rehearsed: a handler in rehearsal.js, and an event for it.
const PLAIN = ['handler', '{"rehearsal":[1,2.5,"three",null,true]}'];
const HTTP = ['application', '{"rawPath":"/","headers":{"host":"localhost"},"requestContext":{"http":{"method":"GET"}}}'];

// Imports a handler and has it answer an event, both of this runtime's own, that do nothing.
//
// In a root zygote it makes that every process forked from it has compiled what serves an event. In an instance that waits, it
// makes the copies of the memory pages that an import and an event write to, before they are needed, and stops when it is wanted.
async function rehearse([symbol, event], wanted = () => false) {
  const file = `${__dirname}/rehearsal.js`;
  const rehearsed = { function: '', version: 0, memory: 0, handler: `rehearsal.${symbol}`, packages: [], modules: [] };
  setEnvironment({ ...process.env });
  rehearsed.handle = (await load(JSON.parse(JSON.stringify(rehearsed)), () => {}, __dirname)).handler;
  for (let i = 0; i < 3 && !wanted(); i++) {
    await new Promise((done) => {
      new Invocation(rehearsed, JSON.parse('{"id":"","deadline_ms":0,"token":""}'), done).run(event);
    });
  }
  delete require.cache[file];
}

Object.setPrototypeOf(Context.prototype, GivenObject);

module.exports = { HTTP, PLAIN, beInstance, listen, offered, oversized, pass, rehearse, whenLeft };

// What AWS Lambda has for responses in parts.
Object.defineProperty(main, 'awslambda', { writable: true, configurable: true, value: {
  streamifyResponse: (handler) => (event, context) => require('./response').streamed(handler, event, context),
  HttpResponseStream: { from(stream, head) {
    require('./response').heads.set(stream, head);
    return stream;
  } },
} });
