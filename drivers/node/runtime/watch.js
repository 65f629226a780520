'use strict';
// Which environment variables code reads, while it is watched: in a probe, by an object that stands in for process.env.

const { property } = require('./describe');

// Packages that look at the names of all variables for those that begin as theirs do, with the names that they know.
const LOOKS = [[/\/node_modules\/debug\//, ['DEBUG', 'DEBUG_COLORS', 'DEBUG_DEPTH', 'DEBUG_HIDE_DATE', 'DEBUG_SHOW_HIDDEN']]];

// Begins to watch. Returns what ends it and returns the names, "*" among them when somebody has looked at all.
function watch() {
  const variables = process.env, names = new Set();
  const read = (name) => { if (typeof name === 'string') names.add(name); };
  const readAll = () => {
    const stack = property(new Error(), 'stack');
    const [, known = ['*']] = LOOKS.find(([who]) => who.test(stack)) ?? [];
    known.forEach(read);
  };
  let watching = true, listed = false;
  process.env = new Proxy(variables, {
    get(target, name) { if (watching) read(name); return Reflect.get(target, name); },
    has(target, name) { if (watching) read(name); return Reflect.has(target, name); },
    set(target, name, value) { return Reflect.set(target, name, value); },
    // Of a list each is asked for as well.
    getOwnPropertyDescriptor(target, name) { if (watching && !listed) read(name); return Reflect.getOwnPropertyDescriptor(target, name); },
    ownKeys(target) {
      if (watching) readAll();
      listed = true;
      return Reflect.ownKeys(target);
    },
  });
  const watched = process.env;
  return () => {
    watching = false;
    if (process.env === watched) process.env = variables;
    return names.has('*') ? ['*'] : [...names].sort();
  };
}

module.exports = { watch };
