'use strict';
// Which environment variables code reads, while it is watched: in a probe, by an object that stands in for process.env.

// Packages that look at the names of all variables for those that begin as theirs do, with the names that they know.
const LOOKS = [[/\/node_modules\/debug\//, ['DEBUG', 'DEBUG_COLORS', 'DEBUG_DEPTH', 'DEBUG_HIDE_DATE', 'DEBUG_SHOW_HIDDEN']]];

// Whether node itself asks: the first frame that is not of this file says so.
function byNode(stack) {
  const frame = stack.split('\n').find((line) => /^\s+at /.test(line) && !line.includes(__dirname)) ?? '';
  return /[( ]node:internal\//.test(frame);
}

// Begins to watch. Returns what ends it and returns the names, "*" among them when somebody has looked at all.
function watch() {
  const variables = process.env, names = new Set();
  const note = (name) => { if (typeof name === 'string' && !byNode(new Error().stack)) names.add(name); };
  const noteAll = () => {
    const { stack } = new Error();
    const [, known = ['*']] = LOOKS.find(([who]) => who.test(stack)) ?? [];
    if (!byNode(stack)) known.forEach((name) => names.add(name));
  };
  let watching = true, listed = false;
  process.env = new Proxy(variables, {
    get(target, name) { if (watching) note(name); return Reflect.get(target, name); },
    has(target, name) { if (watching) note(name); return Reflect.has(target, name); },
    set(target, name, value) { return Reflect.set(target, name, value); },
    // Of a list each is asked for as well.
    getOwnPropertyDescriptor(target, name) { if (watching && !listed) note(name); return Reflect.getOwnPropertyDescriptor(target, name); },
    ownKeys(target) {
      if (watching) noteAll();
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
