'use strict';
// What a zygote does before a fork, and an instance after one, so that siblings share memory and nothing else.

const crypto = require('crypto');
const { readlinkSync } = require('fs');
const v8 = require('v8');
const vm = require('vm');
const addon = require('./addon');

const { randomFillSync } = crypto, { setFlagsFromString } = v8;

// Loaded in the root zygote, for every function may use them and most do: in an instance each would cost some milliseconds.
const COMMON = ['assert', 'async_hooks', 'buffer', 'child_process', 'dns', 'events', 'fs/promises', 'http', 'https', 'module', 'net', 'os', 'path',
  'perf_hooks', 'querystring', 'stream', 'stream/promises', 'string_decoder', 'timers/promises', 'tls', 'url', 'util', 'worker_threads', 'zlib'];

let collect;

// Functions of crypto that hand out, from a store, what was drawn before: [function, what empties the store].
const STORES = [['randomUUID', (draw) => { for (let i = 0; i < 128; i++) draw(); }],
  ['randomInt', (draw) => { for (let i = 0; i < 1024; i++) draw(2); }]];
const emptied = [];

// Of Math.random: the function to call, and what is added to what it returns, modulo 1.
let draw = main.Math.random, offset = 0;
let unseeded;

// Makes a root zygote of a process that has just started.
function open() {
  v8.setFlagsFromString('--expose-gc');
  collect = vm.runInNewContext('gc');
  v8.setFlagsFromString('--no-expose-gc');
  for (const name of COMMON) require(name);
  void main.Response; // loads fetch
  void main.crypto;
  void process.stdout, process.stderr; // the objects are the zygote's, the descriptors under them the instance's own
  replaceRandom();
}

// The state of Math.random is V8's and cannot be set, so siblings would draw the same numbers. But a context draws its first
// state when it is first asked, from --random-seed when that is set: one is made here that nobody asks before the fork. Packages keep
// Math.random when they are imported; hence a function that looks for the current one.
function replaceRandom() {
  unseeded = vm.runInContext('Math.random', vm.createContext());
  const random = { random() { const x = draw() + offset; return x < 1 ? x : x - 1; } }.random;
  Object.defineProperty(main.Math, 'random', { value: random, writable: true, configurable: true, enumerable: false });
  for (const [name, empty] of STORES) {
    const original = crypto[name];
    let used = false;
    const replaced = crypto[name] = { [name](...args) { used = true; return Reflect.apply(original, this, args); } }[name];
    emptied.push(() => {
      if (crypto[name] === replaced) Reflect.set(crypto, name, original);
      if (used) empty(original);
    });
  }
  const { prototype } = main.Crypto, { randomUUID } = prototype, ours = main.crypto;
  prototype.randomUUID = function () { return this === ours ? crypto.randomUUID() : Reflect.apply(randomUUID, this, []); };
  require('module').syncBuiltinESMExports();
}

// Before a fork: what lives now moves to where a collection in a child has the least to do, and to copy.
function prepare() {
  collect();
  collect();
}

// In an instance: forgets what it must not share with its siblings. Returns how many threads of V8's it has from now on.
function forget() {
  const bits = new Uint32Array(3);
  randomFillSync(bits);
  setFlagsFromString(`--random-seed=${(bits[0] >>> 1) || 1}`); // 31 bits are few: the offset makes up for it
  offset = (bits[1] * 2 ** 21 + (bits[2] >>> 11)) * 2 ** -53;
  draw = unseeded;
  for (const empty of emptied) empty();
  renumber();
  Reflect.set(process, 'execArgv', new main.Array()); // for what the handler starts
  return addon.wakeWorker();
}

// Node asks for its pid once.
function renumber() {
  Reflect.defineProperty(process, 'pid', { value: Number(readlinkSync('/proc/self')), enumerable: true, configurable: true, writable: false });
}

module.exports = { open, prepare, forget, renumber };
