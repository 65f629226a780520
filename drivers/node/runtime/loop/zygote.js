'use strict';
// A Node.js process of Pipsqueak, from its start: a zygote, and what its forks become.
//
// Started as `node --single-threaded … zygote.js ADDON`, with a control socket (SOCK_SEQPACKET) as descriptor 3 and preload.so preloaded.
//
// The runtime's own files run in a realm of their own: whatever packages and handlers do to JSON, arrays, promises, timers or the
// functions of modules, it has those that were there first. What a handler is given is made with those of its own realm (main).

const { readFileSync } = require('fs');
const { join } = require('path');
const vm = require('vm');

const { compileFunction } = vm;

const { Buffer, URL, performance, process, setImmediate } = globalThis;
const realm = Object.assign(vm.createContext(vm.constants.DONT_CONTEXTIFY), { Buffer, URL, performance, process, setImmediate, main: globalThis });
const loaded = Object.create(null);

function own(name) {
  if (name[0] !== '.') return require(name); // no method: this file is in the realm of packages, and some of it runs in an event
  if (!(name in loaded)) {
    const module = { exports: {} };
    loaded[name] = module;
    const file = join(__dirname, `${name}.js`);
    compileFunction(readFileSync(file, 'utf8'), ['require', 'module', '__dirname'], { filename: file, parsingContext: realm })(own, module, __dirname);
  }
  return loaded[name].exports;
}
own.cache = require.cache;
delete require.cache[__filename]; // the function's own are in there, as in a plain node

own('./loop');
