'use strict';
// What code looks for, while it is watched, that is not the same in each process: packages that it does not
// find and does not require (what it requires lies beside it), what could be in the directory of a function's
// code, and what one process alone has.
//
// Not seen are `import { pid } from 'process'`, and files that addons or databases of node:sqlite open.

const fs = require('fs');
const Module = require('module');
const path = require('path');
const { fileURLToPath } = require('url');
const { property } = require('./describe');
const { CODE } = require('./handler');
const { isBeside, mainModule } = require('./main');
const { observe } = require('./observe');
const { byNode, stackHere } = require('./watch');

const { isBuiltin, registerHooks, syncBuiltinESMExports } = Module;
const BARE = /^(?:@[^/:]+\/)?[^./#:@][^/:]*(?=\/|$)/; // the name of a package in a specifier
const { cwd } = process;
const ALL = './'; // every entry of CODE
const MAX = 1000; // names, before it is all of them
const LOOKS = /\/node_modules\/signal-exit\//; // looks whether process is whole, and forgets what it has seen

// Functions of fs that have two paths, that list a directory, and that list what patterns say.
const PAIRS = /^(copyFile|cp|link|rename|symlink)(Sync)?$/,
  LISTS = /^(opendir|readdir)(Sync)?$/, GLOBS = /^glob(Sync)?$/;

// Takes each name, while code is watched. A package keeps the functions that it had at its import, and calls
// them when another one is imported.
let note = () => {};

// Notes the entry of CODE that a path is, or lies in; all of them when CODE itself is listed.
function notePath(file, listed = false) {
  const place = path.resolve(cwd(), textOf(file));
  if (place === CODE && listed) note(ALL);
  if (place.startsWith(`${CODE}/`)) note(`./${place.slice(CODE.length + 1).split('/', 1)[0]}`);
}

function textOf(file) {
  if (typeof file === 'string') return file;
  if (!ArrayBuffer.isView(file)) return fileURLToPath(file.href);
  return Buffer.from(file.buffer, file.byteOffset, file.byteLength).toString();
}

function notePatterns(patterns, options) {
  for (const pattern of [patterns].flat()) {
    const parts = String(pattern).split('/'), first = parts.findIndex((part) => /[*?[{!(]/.test(part));
    const fixed = parts.slice(0, first < 0 ? parts.length : first).join('/');
    notePath(path.resolve(cwd(), textOf(property(options, 'cwd') ?? '.'), fixed), true);
  }
}

// Notes what was not found: a package by its name, or else a file by its path from some directories, also
// with the extensions that require adds.
function noteMissed(specifier, directories) {
  if (typeof specifier !== 'string' || isBuiltin(specifier)) return;
  const name = BARE.exec(specifier)?.[0];
  if (name) return note(name);
  try {
    for (const directory of directories()) {
      const asked = specifier.startsWith('file:') ? fileURLToPath(specifier) : specifier;
      const file = path.resolve(cwd(), directory, asked);
      notePath(file, true);
      if (path.dirname(file) !== CODE) continue;
      for (const extension of Object.keys(Module._extensions)) notePath(file + extension);
    }
  } catch {
    // from no file
  }
}

// Has the functions that take paths report them. A descriptor is no path, and classes call these functions.
function observeFiles() {
  for (const object of [fs, fs.promises]) {
    for (const name of Object.keys(object)) {
      if (/^[A-Z_]/.test(name)) continue;
      if (GLOBS.test(name)) observe(object, name, notePatterns);
      else if (PAIRS.test(name)) observe(object, name, (from, to) => { notePath(from); notePath(to); });
      else observe(object, name, (file) => notePath(file, LISTS.test(name)));
    }
  }
  for (const one of [fs.realpath, fs.realpathSync]) observe(one, 'native', (file) => notePath(file));
  observe(process, 'cwd', () => noteOthers('.'));
  observe(process, 'uptime', () => noteOthers('@uptime'));
  observe(process, 'chdir', (file) => notePath(file));
  observe(process, 'loadEnvFile', (file = '.env') => notePath(file));
  syncBuiltinESMExports();
}

// Notes a name unless node itself asks.
function noteOthers(name) {
  const stack = stackHere();
  if (!byNode(stack) && !LOOKS.test(stack)) note(name);
}

// Has a property of an object report each read by others than node.
function observeProperty(object, name, told) {
  let { value } = Object.getOwnPropertyDescriptor(object, name);
  if (value === undefined) return;
  Object.defineProperty(object, name, { enumerable: true, configurable: true,
    get() {
      noteOthers(told);
      return value;
    },
    set(other) { value = other; } });
}

// Has the module that requires a package, which is no file of the function's here, tell what is read of it.
function observeParent(parent) {
  if (Object.hasOwn(parent ?? {}, 'require') || !isBeside(property(parent, 'filename'))) return;
  for (const name of ['id', 'filename', 'path', 'paths']) observeProperty(parent, name, '@caller');
  Object.defineProperty(parent, 'require', { configurable: true,
    get() {
      noteOthers('@caller');
      return Module.prototype.require;
    } });
}

// Begins to watch, in a process that never gets an event. Returns what ends it and returns the names, "*" and
// "./" instead when there are too many.
function watchAsked() {
  const names = new Set(), { _resolveFilename: resolve } = Module;
  const add = (name) => { names.add(name); };
  note = add;
  observeFiles();
  observeProperty(process, 'pid', '@pid');
  observeProperty(process, 'argv', '@argv');
  for (const name of ['filename', 'path', 'paths']) observeProperty(mainModule, name, '@require.main');
  const missed = (specifier, code, directories, run) => {
    try {
      return run();
    } catch (thrown) {
      if (note === add && property(thrown, 'code') === code) noteMissed(specifier, directories);
      throw thrown;
    }
  };
  function watched(specifier, parent, ...rest) {
    observeParent(parent);
    const own = () => property(parent, 'path') ?? path.dirname(property(parent, 'filename') ?? '');
    const directories = () => property(rest[1], 'paths') ?? [own()];
    const run = () => Reflect.apply(resolve, this, [specifier, parent, ...rest]);
    return missed(specifier, 'MODULE_NOT_FOUND', directories, run);
  }
  Module._resolveFilename = watched;
  // Node.js 20 has none: it asks require what to say of an import that fails.
  const hooks = registerHooks?.({ resolve: (specifier, context, next) =>
    missed(specifier, 'ERR_MODULE_NOT_FOUND', () => [path.dirname(fileURLToPath(context.parentURL))],
      () => next(specifier, context)) });
  return () => {
    note = () => {};
    hooks?.deregister();
    if (Module._resolveFilename === watched) Module._resolveFilename = resolve; // or somebody has put his before it
    return names.size > MAX ? ['*', ALL] : [...names].sort();
  };
}

module.exports = { watchAsked };
