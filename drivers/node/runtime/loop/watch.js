'use strict';
// Which environment variables code reads, and what it sets, while it is watched: in processes that never get
// an event.

const { syncBuiltinESMExports } = require('module');
const addon = require('./addon');
const { noteZone } = require('./zone');

// Packages that look at the names of all variables for those that begin as theirs do, with the names that they know.
const LOOKS = [[/\/node_modules\/debug\//, ['DEBUG', 'DEBUG_COLORS', 'DEBUG_DEPTH', 'DEBUG_HIDE_DATE', 'DEBUG_SHOW_HIDDEN']]];

const BY_IMPORT = 'WATCH_REPORT_DEPENDENCIES'; // node asks for it at the import of each file

// Whether node itself asks, or the runtime: the first frame says so that has a file, which is not one of the
// runtime's, nor node:path.
function byNode(stack) {
  const asks = (line) => /^\s+at (?!.*(?:node:path:|<anonymous>\)$))/.test(line) && !line.includes(__dirname);
  const first = stack.split('\n').find(asks);
  return first === undefined ? stack !== '' : /[( ]node:internal\//.test(first);
}

// Begins to watch. Returns what ends it and returns the names, "*" among them when somebody has looked at all.
// The C library sees each question (preload.c), but no list; and what V8 has read before it does not ask for
// again.
function watch() {
  const variables = process.env, given = { ...variables }, names = new Set();
  let listed = []; // by who looks for some of them only: each is asked for once more
  const list = () => {
    const [, known = ['*']] = LOOKS.find(([who]) => who.test(stackHere())) ?? [];
    known.forEach((name) => names.add(name));
    listed = known.includes('*') ? [] : Object.keys(given);
    return Reflect.ownKeys(variables);
  };
  const describe = (target, name) => {
    if (listed[0] !== name) return Reflect.getOwnPropertyDescriptor(variables, name);
    listed.shift();
    return { value: given[name], writable: true, enumerable: true, configurable: true };
  };
  const watched = process.env = new Proxy({}, {
    getPrototypeOf: () => Reflect.getPrototypeOf(variables),
    get: (target, name) => Reflect.get(variables, name),
    has: (target, name) => Reflect.has(variables, name),
    set: (target, name, value) => Reflect.set(variables, name, value),
    deleteProperty: (target, name) => Reflect.deleteProperty(variables, name),
    defineProperty: (target, name, property) => Reflect.defineProperty(variables, name, property),
    getOwnPropertyDescriptor: describe,
    ownKeys: list,
  });
  syncBuiltinESMExports();
  noteZone((name) => names.add(name));
  addon.noteVariables();
  return () => {
    noteZone(() => {});
    addon.notedVariables().split('\n').forEach((name) => name && name !== BY_IMPORT && names.add(name));
    if (process.env === watched) process.env = variables;
    return names.has('*') ? ['*'] : [...names].sort();
  };
}

// Begins to note what is set, changed or removed by others than packages that are just being imported:
// variables by their names, "./" for the working directory, "@argv" for process.argv. Returns what ends it
// and returns the names, "*" when it is not known which variables.
function watchSets() {
  const variables = process.env, before = { ...variables }, own = new Set(), others = new Set();
  Error.stackTraceLimit = Infinity; // of this realm
  const note = (name) => { (isBeingImported(stackHere()) ? others : own).add(name); };
  const standIn = (given, told) => {
    const noting = (how) => (target, name, ...more) => {
      const was = target[name], done = how(target, name, ...more);
      if (typeof name === 'string' && target[name] !== was) note(told ?? name);
      return done;
    };
    return new Proxy(given, {
      set: noting((target, name, value) => Reflect.set(target, name, value)),
      deleteProperty: noting(Reflect.deleteProperty),
      defineProperty: noting(Reflect.defineProperty),
    });
  };
  const watched = process.env = standIn(variables);
  const argv = process.argv = standIn(process.argv, '@argv');
  noteMoves(() => note('./'));
  syncBuiltinESMExports();
  return () => {
    if (process.argv !== argv) own.add('@argv');
    try {
      const after = process.env === watched ? variables : { ...process.env };
      // What has gone another way, as process.loadEnvFile does.
      for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
        if (before[name] !== after[name] && !others.has(name)) own.add(name);
      }
      return [...own].sort();
    } catch {
      return ['*']; // of another object in the place of process.env
    }
  };
}

// Has process.chdir report that it has changed the working directory.
function noteMoves(moved) {
  const { chdir, cwd } = process;
  process.chdir = (directory) => {
    const before = cwd();
    chdir(directory);
    if (cwd() !== before) moved();
  };
}

// The stack, as node writes it, whatever packages have put in the place of that.
function stackHere() {
  const { Error: given } = main;
  const name = 'prepareStackTrace', prepare = Object.getOwnPropertyDescriptor(given, name);
  try {
    if (prepare !== undefined) Object.defineProperty(given, name, { value: undefined, configurable: true });
    return new Error().stack;
  } catch {
    return '';
  } finally {
    if (prepare !== undefined) Reflect.defineProperty(given, name, prepare);
  }
}

const FRAME = /^ +at (?:.*(\())?(?:async )?((?:file:\/\/|node:)?[^():]*):\d+:\d+\)?$/;

// Whether what a stack shows belongs to the import of a package: the file that node is just running is a
// package's.
function isBeingImported(stack) {
  let module = '', called = true;
  for (const line of stack.split('\n')) {
    const [, open, file] = FRAME.exec(line) ?? [];
    if (file === undefined || file.startsWith(__dirname)) continue;
    if (file.startsWith('node:internal/modules/')) {
      called = false;
      break;
    }
    if (!file.startsWith('node:')) [module, called] = [file, open !== undefined];
  }
  return !called && /^(file:\/\/)?\/packages\//.test(module); // an ES module that awaits is run by nobody
}

module.exports = { byNode, stackHere, watch, watchSets };
