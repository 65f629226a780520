'use strict';
// Which packages code looks for and does not find, while it is watched: those that it does not require. What it requires lies beside it, in each process.
//
// Not seen are files that are looked for by their paths.

const Module = require('module');
const { property } = require('./describe');

const { isBuiltin, registerHooks } = Module;
const BARE = /^(?:@[^/:]+\/)?[^./#:@][^/:]*(?=\/|$)/; // the name of a package in a specifier
const MAX = 1000; // names, before it is all of them

// Begins to watch. Returns what ends it and returns the names, "*" instead when there are too many.
function watchAsked() {
  const names = new Set(), { _resolveFilename: resolve } = Module;
  const note = (specifier) => {
    const name = typeof specifier === 'string' && !isBuiltin(specifier) && BARE.exec(specifier)?.[0];
    if (name) names.add(name);
  };
  let watching = true;
  const missed = (specifier, code, run) => {
    try {
      return run();
    } catch (thrown) {
      if (watching && property(thrown, 'code') === code) note(specifier);
      throw thrown;
    }
  };
  function watched(specifier, ...rest) {
    return missed(specifier, 'MODULE_NOT_FOUND', () => Reflect.apply(resolve, this, [specifier, ...rest]));
  }
  Module._resolveFilename = watched;
  // Node.js 20 has none: it asks require what to say of an import that fails.
  const hooks = registerHooks?.({ resolve: (specifier, context, next) => missed(specifier, 'ERR_MODULE_NOT_FOUND', () => next(specifier, context)) });
  return () => {
    watching = false;
    hooks?.deregister();
    if (Module._resolveFilename === watched) Module._resolveFilename = resolve; // or somebody has put his before it
    return names.size > MAX ? ['*'] : [...names].sort();
  };
}

module.exports = { watchAsked };
