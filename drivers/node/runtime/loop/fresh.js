'use strict';
// Random numbers: what a zygote has drawn, or prepared to draw, is not drawn in what is forked from it.

const crypto = require('crypto');
const v8 = require('v8');
const vm = require('vm');
const addon = require('./addon');
const { property } = require('./describe');

const { randomFillSync } = crypto, { setFlagsFromString } = v8;

// Functions of crypto that hand out, from a store, what was drawn before: [function, what empties the store].
const STORES = [['randomUUID', (draw) => { for (let i = 0; i < 128; i++) draw(); }],
  ['randomInt', (draw) => { for (let i = 0; i < 1024; i++) draw(2); }]];
const stores = []; // each empties one, when it was used
const replaced = []; // each puts back a function that was replaced to take notes

// What packages of a zygote have had filled with random bytes: pools, of which they hand out parts, and keys. They are filled again after a fork.
const MAX_FILLED = 10000;
let filled = [];

// Libraries with generators that are seeded when they are imported, and a function to seed them with a number.
const SEEDED = /\/node_modules\/(@faker-js\/faker|faker|casual)\//;

// Of Math.random: the function to call, and what is added to what it returns, modulo 1.
let draw = main.Math.random, offset = 0;
let unseeded;

// Has a root zygote, and what is forked from it, note what is drawn.
//
// The state of Math.random is V8's and cannot be set, so siblings would draw the same numbers. But a context draws its first
// state when it is first asked, from --random-seed when that is set: one is made here that nobody asks before the fork. Packages keep
// Math.random when they are imported; hence a function that looks for the current one.
function open() {
  unseeded = newContext();
  const random = { random() { const x = draw() + offset; return x < 1 ? x : x - 1; } }.random;
  Object.defineProperty(main.Math, 'random', { value: random, writable: true, configurable: true, enumerable: false });
  for (const [name, empty] of STORES) {
    let used = false;
    const original = replace(crypto, name, () => { used = true; });
    stores.push(() => { if (used) empty(original); used = false; });
  }
  replace(crypto, 'randomFillSync', note);
  replace(crypto, 'randomBytes', (bytes) => ArrayBuffer.isView(bytes) && note(bytes)); // with a callback it returns nothing
  const { prototype } = main.Crypto, { randomUUID } = prototype, ours = main.crypto;
  replace(prototype, 'getRandomValues', note);
  prototype.randomUUID = function () { return this === ours ? crypto.randomUUID() : Reflect.apply(randomUUID, this, []); };
  require('module').syncBuiltinESMExports();
}

const newContext = () => vm.runInContext('Math.random', vm.createContext());

// Puts a function before one of an object, which hears of each call until renew. Returns the original.
function replace(object, name, called) {
  const original = object[name];
  const replacement = { [name](...args) {
    const result = Reflect.apply(original, this, args);
    called(result, ...args.slice(1));
    return result;
  } }[name];
  object[name] = replacement;
  replaced.push(() => object[name] === replacement && Reflect.set(object, name, original));
  return original;
}

function note(view, start = 0, size = view.length - start) {
  if (!ArrayBuffer.isView(view) || filled === undefined || filled.length === MAX_FILLED) return;
  filled.push([new WeakRef(view), start, size]);
}

// In a zygote that was forked: what it imports may draw. Notes are taken on.
function renewZygote(seeded) {
  forgetDrawn(seeded);
  randomFillSync(new Uint8Array(1)); // where pids cannot be chosen, one two below could have this one's
  unseeded = newContext();
}

// What libraries with generators export, of modules, [file, exports].
function seedable(modules) {
  return Array.from(modules).filter(([file]) => SEEDED.test(file)).map(([, exports]) => exports);
}

// In an instance. Seeded is what is seedable in it.
function renew(seeded) {
  forgetDrawn(seeded);
  for (const end of replaced) end();
  filled = undefined;
}

// Forgets what was drawn before the fork. OpenSSL notices by the pid, which no zygote below another one has again.
function forgetDrawn(seeded) {
  const bits = new Uint32Array(3);
  addon.random(bits);
  setFlagsFromString(`--random-seed=${(bits[0] >>> 1) || 1}`); // 31 bits are few: the offset makes up for it
  offset = (bits[1] * 2 ** 21 + (bits[2] >>> 11)) * 2 ** -53;
  draw = unseeded;
  for (const empty of stores) empty();
  for (const [reference, start, size] of filled ?? []) {
    const view = reference.deref();
    if (view !== undefined) randomFillSync(view, start, size);
  }
  for (const exports of seeded) seed(exports, bits[2]);
}

// Seeds the generators of a library, which are what it exports, or of that what has a function for it.
function seed(exports, number) {
  for (const one of [exports, ...Object.keys(exports ?? {}).map((name) => property(exports, name))]) {
    try {
      if (typeof property(one, 'seed') === 'function') one.seed(number++);
    } catch {
      // a probe finds out that it repeats
    }
  }
}

module.exports = { open, renew, renewZygote, seedable };
