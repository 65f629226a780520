'use strict';
// What modules give for random numbers and identities. A probe compares it between two forks and a process for
// itself (core/probe). The process that draws is of no other use.

const vm = require('vm');
const { property } = require('./describe');

const { isView } = ArrayBuffer, clock = performance.now.bind(performance);

// What functions and classes are called that give random numbers, and, in small letters with a "_" between the
// words, those that make identities.
const RANDOM = /^(next|random|rand|v[1467]|generate|id|bool|boolean|int|int32|integer|float|double|quick|number|bytes|hex)$|^random[A-Z]/i;
const MAKES = '(?:generate|gen|create|new|make|random|rand|unique|next|mint)';
const IDENTITY = '(?:(?:object|short|nano|flake|snowflake|type|push)_?id|uuid|guid|ulid|cuid|ksuid|tsid|xid|uid|suid|oid|snowflake|token|nonce)';
const FORM = '(?:_?(?:v?\\d+|hex|str|string|bytes|text))*';
const GIVES = new RegExp(`^(?:(?:${MAKES}_?)?${IDENTITY}${FORM}|${MAKES}_?(?:[a-z\\d]+_)*(?:id|key|secret|salt)${FORM})$`);
const MAKER = new RegExp(`^(?:${MAKES}|default)$`); // where the name of the package says of what

const MAX_DRAWS = 200, MAX_DEPTH = 3, MAX_NAMES = 1000;
// Values of fewer characters than these say too little: two forks have the same one by chance. So many of them are a line.
const TELLING = 8, TOGETHER = 64;
const PATIENCE = 200, PATIENCE_FOR_ALL = 2000; // milliseconds for a function, and for all of them
const NOW = 3e12; // the time in each process that draws: ids have the time in them
let tick = 0;

// Has packages find the same time in each process, and the id that every instance has; and no way out.
function still() {
  const { Date: given } = main;
  const now = () => NOW + Math.floor((tick += 1) / 1000); // who waits for the next time gets it
  given.now = now;
  main.Date = new Proxy(given, { construct: (target, args, heir) => Reflect.construct(target, args.length > 0 ? args : [now()], heir) });
  Object.defineProperty(process, 'pid', { value: 2 });
  process.reallyExit = () => { throw new Error('a process that draws does not exit'); };
}

// Whether the name of a function or class of a package says that it gives random numbers, or makes identities.
function gives(name, pack = '') {
  const words = inWords(name), parts = inWords(pack.slice(pack.indexOf('/') + 1).replaceAll(/\W/g, '_'));
  if (RANDOM.test(name) || GIVES.test(words)) return true;
  return MAKER.test(words) && [parts, ...parts.split('_')].some((part) => GIVES.test(part));
}

const inWords = (name) => name.replaceAll(/(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, '_').toLowerCase();

// A value as text, undefined when there is nothing to compare in it.
function textOf(value) {
  if (['string', 'number', 'bigint', 'boolean'].includes(typeof value) || isView(value)) return `${value}`;
  if (value instanceof main.Promise) value.catch(() => {});
  for (const name of ['toHexString', 'toString']) {
    const write = typeof value === 'object' && value !== null && !main.Array.isArray(value) && value[name];
    if (typeof write === 'function' && write !== main.Object.prototype.toString) return `${Reflect.apply(write, value, [])}`;
  }
}

// The line for what a function gives next, if it is something to compare.
function line(path, give) {
  let text = '', got = textOf(give());
  for (let i = 1; i < TOGETHER && got !== undefined && got.length < TELLING; i++) {
    text += `${got} `;
    got = textOf(give());
  }
  return got === undefined ? [] : [`${path} ${text}${got}`.replaceAll('\n', ' ')];
}

const bounds = vm.createContext({}); // a script there ends when it takes too long, whatever it calls

// The lines for what a function of an owner gives three times, or a class.
function linesOf(path, value, owner) {
  tick = 0;
  const call = () => Reflect.apply(value, owner, []), make = () => Reflect.construct(value, []);
  const lines = [];
  bounds.run = (give) => { for (let i = 0; i < 3; i++) lines.push(...line(path, give)); };
  const run = (give) => {
    bounds.give = give;
    vm.runInContext('run(give)', bounds, { timeout: PATIENCE });
  };
  try {
    run(call);
  } catch (thrown) {
    if (!/^class\b/.test(Function.prototype.toString.call(value))) throw thrown;
    run(make);
  }
  return lines;
}

// What the functions of a module give that look as if they gave random numbers, as text; empty when there are none.
function drawFrom(exports, name) {
  const lines = [], seen = new Set(), end = clock() + PATIENCE_FOR_ALL;
  const visit = (value, owner, path, depth) => {
    if (lines.length >= MAX_DRAWS || value === null || !['object', 'function'].includes(typeof value) || seen.has(value) || isView(value) || Array.isArray(value)) return;
    seen.add(value);
    const last = path === name ? name.slice(name.indexOf('/') + 1) : path.slice(path.lastIndexOf('.') + 1);
    if (typeof value === 'function' && clock() < end && gives(last, name)) {
      try {
        lines.push(...linesOf(path, value, owner));
      } catch {
        return; // it wants arguments
      }
    }
    for (let holder = value; depth > 0 && holder; holder = Object.getPrototypeOf(holder)) {
      if (holder === main.Object.prototype || holder === main.Function.prototype) break;
      for (const key of Object.getOwnPropertyNames(holder).slice(0, MAX_NAMES)) {
        if (key !== 'constructor' && key !== 'prototype') visit(property(value, key), value, `${path}.${key}`, depth - 1);
      }
    }
  };
  try {
    visit(exports, undefined, name, MAX_DEPTH);
  } catch {
    // a proxy that cannot be looked at
  }
  return lines.join('\n');
}

module.exports = { drawFrom, gives, still };
