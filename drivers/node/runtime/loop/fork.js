'use strict';
// What a zygote does before a fork, and an instance after one, so that siblings share memory and nothing else.

const { syncBuiltinESMExports } = require('module');
const v8 = require('v8');
const vm = require('vm');
const addon = require('./addon');
const { CODE } = require('./handler');
const { modules } = require('./load');
const fresh = require('./fresh');

// Loaded in the root zygote, for every function may use them and most do: in an instance each would cost some milliseconds.
const COMMON = ['assert', 'async_hooks', 'buffer', 'child_process', 'dns', 'events', 'fs/promises', 'http', 'https', 'module', 'net', 'os', 'path',
  'perf_hooks', 'querystring', 'stream', 'stream/promises', 'string_decoder', 'timers/promises', 'tls', 'url', 'util', 'worker_threads', 'zlib'];

const { includes } = Array.prototype; // of this realm
const { chdir, cwd, moduleLoadList: loaded } = process;

const { uptime } = process;

let collect;
let born = 0; // seconds after the start of the first process
let seeded = []; // what is seeded after a fork

// Makes a root zygote of a process that has just started.
function open() {
  v8.setFlagsFromString('--expose-gc');
  collect = vm.runInNewContext('gc');
  v8.setFlagsFromString('--no-expose-gc');
  for (const name of COMMON) require(name);
  void main.Response; // loads fetch
  void main.crypto;
  Reflect.set(process, 'execArgv', new main.Array()); // for what is started
  process.uptime = () => uptime() - born;
  syncBuiltinESMExports();
  void process.stdout, process.stderr; // the objects are the zygote's, the descriptors under them the instance's own
  fresh.open();
}

// Before a fork: what lives now moves to where a collection in a child has the least to do, and to copy.
function prepare() {
  seeded = fresh.seedable(modules());
  collect();
  collect();
}

// In an instance: forgets what it must not share with its siblings. Returns how many threads of V8's it has from now on.
function forget() {
  born = uptime();
  fresh.renew(seeded);
  renumber();
  if (cwd() !== CODE) chdir('.'); // a package has left the directory, and Node remembers where it went
  return addon.wakeWorker();
}

// In a zygote that was forked from another.
function settle() {
  fresh.renewZygote(seeded);
  renumber();
}

// Node asks for its pid once, and for what ES modules import from node:process once more.
function renumber() {
  Reflect.defineProperty(process, 'pid', { value: addon.pid(), enumerable: true, configurable: true, writable: false });
  if (includes.call(loaded, 'NativeModule process')) syncBuiltinESMExports();
}

module.exports = { open, prepare, forget, settle };
