'use strict';
// A Node.js process of Pipsqueak, from its start: a zygote, and what its forks become.
//
// Started as `node --single-threaded … zygote.js ADDON`, with a control socket (SOCK_SEQPACKET) as descriptor 3 and preload.so preloaded.
//
// The runtime's own files run in a realm of their own: whatever packages and handlers do to JSON, arrays, promises, timers or the
// functions of modules, it has those that were there first. What a handler is given is made with those of its own realm (main).

const fs = require('fs');
const path = require('path');
const vm = require('vm');

const { Buffer, URL, performance, process, setImmediate } = globalThis;
const realm = Object.assign(vm.createContext(vm.constants.DONT_CONTEXTIFY), { Buffer, URL, performance, process, setImmediate, main: globalThis });
const loaded = new Map();

function own(name) {
  if (!name.startsWith('./')) return require(name);
  if (!loaded.has(name)) {
    const module = { exports: {} };
    loaded.set(name, module);
    const file = path.join(__dirname, `${name}.js`);
    vm.compileFunction(fs.readFileSync(file, 'utf8'), ['require', 'module', '__dirname'], { filename: file, parsingContext: realm })(own, module, __dirname);
  }
  return loaded.get(name).exports;
}
own.cache = require.cache;

own('./loop');
