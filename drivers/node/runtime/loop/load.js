'use strict';
// Imports: of packages, by a zygote or an instance, and of a handler.

const { existsSync, promises, readFileSync, readdirSync, statSync } = require('fs');
const { Server } = require('net');
const Module = require('module');
const path = require('path');
const { fileURLToPath, pathToFileURL } = require('url');
const { setFlagsFromString } = require('v8');
const vm = require('vm');
const addon = require('./addon');
const { describe, property, syntaxPlace } = require('./describe');
const { watchAsked } = require('./asked');
const { CODE, findHandler, isModule } = require('./handler');
const { besidePackage, findParent, standAt } = require('./main');
const { drawFrom, still } = require('./drawn');
const { renew, seedable } = require('./fresh');
const { watch, watchSets } = require('./watch');

const MAX_PACKET = 128 << 10, MAX_DRAWN = 2000;
const { createRequire, isBuiltin, registerHooks } = Module; // hooks are there from Node.js 22.15 on
const now = performance.now.bind(performance), { byteLength } = Buffer;
const includes = Function.prototype.call.bind(Array.prototype.includes); // of this realm: the lists are of the other one
const MAX_WHOLE = 256 << 10; // bytes of a file that is compiled whole
const MAX_LOADED = 64; // modules that are reported to core, of those that it did not know a handler imports

// An error to report: kind and fault as core has them, and the exception behind it.
class Failure extends Error {
  constructor(kind, fault, message, cause) {
    super(message);
    this.reply = { kind, fault, message };
    if (cause !== undefined) this.reply.exception = cause;
  }
}

// Has an instance look for what a package requires and does not declare among what the function has, where npm would have put it: packages lie in
// directories of their own, and find only what they declare. A zygote does not, which may serve other functions as well; nor does an instance, as long as
// it imports what another time a zygote has imported. Notes which modules the function's own files import.
function findUndeclared(packages) {
  Module._initPaths(); // reads NODE_PATH, for require
  if (packages.length > 0) registerHooks?.({ resolve });
}

const BARE = /^[^./#][^:]*$/;
let brought = null; // by import, while a handler is imported

function resolve(specifier, context, next) {
  let found;
  try {
    found = next(specifier, context);
  } catch (thrown) {
    if (property(thrown, 'code') !== 'ERR_MODULE_NOT_FOUND' || !BARE.test(specifier)) throw thrown; // require has another code
    try {
      found = next(specifier, { ...context, parentURL: `file://${CODE}/` });
    } catch {
      throw thrown;
    }
  }
  if (brought !== null && includes(context.conditions ?? [], 'import') && context.parentURL?.startsWith(`file://${CODE}/`) && BARE.test(specifier)) {
    const { base, pack } = located(found.url) ?? {};
    const name = base && `import:${named(base, pack)}${parsed(specifier).file}`;
    if (name !== undefined && !imported.has(name)) brought.add(name);
  }
  return found;
}

// What was thrown, as a Failure: anything else of this realm is a fault of the runtime.
function failureOf(thrown) {
  return thrown instanceof Failure ? thrown : new Failure('internal', 'driver', `the runtime of Node.js failed: ${property(thrown, "stack")}`, describe(thrown));
}

// What to do with what is thrown outside of the imports themselves: an import under way sets it.
let stop = null;

// What to do with a request to exit besides: an instance sets it.
let ending = () => {};

function beforeExit(tell) {
  ending = tell;
}

// Whether an import was under way, and so has been ended.
function stopped(thrown) {
  if (stop === null) return false;
  stop(thrown);
  return true;
}

// Makes a root zygote ready to import.
async function open() {
  // node warns once in a process that this may change.
  const { emitWarning } = process;
  process.emitWarning = () => {};
  await importer(`${__dirname}/load.js`)('node:fs');
  process.emitWarning = emitWarning;
  standAt(`${CODE}/index.js`); // where most handlers are
  // Packages keep this one, and put theirs before it.
  process.reallyExit = (code) => {
    const asked = new Exit(`process.exit(${code ?? ''}) was called`);
    if (stopped(asked)) return;
    ending(asked);
    addon.exit(code);
  };
}

// Imports the modules of a request, and the handler that an instance's has, from the directory. Returns the report and the handler.
// What is thrown outside of the imports themselves, and a request to exit, end the process through fail.
async function load(request, fail, directory = CODE) {
  const start = now();
  const took = {};
  const watching = request.watch && !request.handler;
  const [file, symbol] = request.handler ? findHandler(request.handler, directory) : [];
  if (file !== undefined && directory === CODE) standAt(file);
  promises.readFile = readAtOnce;
  const reads = watching && watch(), asked = watching && watchAsked();
  let importing = '';
  stop = (thrown) => fail(raised(importing, describe(thrown)));
  try {
    for (importing of request.modules ?? []) {
      const begin = now();
      imported.set(importing, await attempt(importing, () => importModule(importing, request.packages ?? [], !request.handler)));
      took[importing] = (now() - begin) / 1000;
    }
    const report = { took: 0, modules: took, threads: 1 };
    if (watching) {
      await new Promise((resolve) => { setImmediate(resolve); }); // for imports that nobody waits for
      report.asks = asked();
      report.reads = reads();
    }
    if (request.draw) report.drawn = draw(request.draw);
    let handler;
    if (request.handler) {
      importing = request.handler;
      const known = Object.keys(require.cache).length;
      brought = new Set();
      findUndeclared(request.packages ?? []);
      const sets = request.watch && watchSets();
      handler = await importHandler(request.handler, file, symbol, directory);
      if (sets) report.sets = sets();
      const loaded = [...requiredSince(known), ...brought].slice(0, MAX_LOADED);
      if (loaded.length > 0) report.loaded = loaded;
    }
    report.took = (now() - start) / 1000;
    report.threads = readdirSync('/proc/self/task').length;
    return { report, handler };
  } finally {
    stop = null;
    brought = null;
    if (watching) {
      asked();
      reads();
    }
    promises.readFile = readFile;
  }
}

// What was imported as requests named it.
const imported = new Map();

// What this process has imported, with the file or directory that it comes from, as far as it is known.
function* modules() {
  for (const file of Object.keys(require.cache)) yield [file, property(require.cache[file], 'exports')];
  for (const [name, exports] of imported) yield [`/node_modules/${parsed(name).pack}/`, exports];
}

// What modules give for random numbers, in a process that has none in common with others as far as can be.
function draw(names) {
  renew(seedable(modules()));
  still();
  const drawn = {};
  for (const name of names) {
    const text = drawFrom(imported.get(name), parsed(name).pack);
    if (text !== '') drawn[name] = text.slice(0, MAX_DRAWN);
  }
  return drawn;
}

// What the function's own files have required of packages after the first so many files.
function requiredSince(known) {
  const found = new Set();
  for (const file of Object.keys(require.cache).slice(known)) {
    const { base, pack, rest } = located(file) ?? {};
    if (pack === undefined) continue;
    const parent = property(property(require.cache[file], 'parent'), 'filename');
    if (typeof parent !== 'string' || !parent.startsWith(CODE + '/')) continue;
    let main;
    try {
      main = createRequire(file).resolve(file.slice(0, -rest.length));
    } catch {
      // it has none
    }
    const name = named(base, pack);
    found.add(main === file ? name : name + rest);
  }
  return found;
}

// Where a file, or its address, is in the directory of a package, if it is in one.
function located(file) {
  const path = file.startsWith('file:') ? fileURLToPath(file) : file;
  return /^\/packages\/(?<base>[^/]+)\/node_modules\/(?<pack>(?:@[^/]+\/)?[^/]+)(?<rest>.*)$/.exec(path)?.groups;
}

// A package as requests name it, of the name of its directory.
function named(base, pack) {
  return `${pack}@${base.slice(pack.length + 1)}`;
}

class Exit extends Error {
  name = 'process.exit';
}

// Node 20 reads ES modules with fs.promises, for which libuv starts threads, and a process with threads cannot fork.
const { readFile } = promises;
const { readFile: readAtOnce } = { async readFile(file, options) {
  return file instanceof URL && options === undefined ? readFileSync(file) : readFile(file, options);
} };

async function attempt(name, run, file) {
  try {
    return await run();
  } catch (thrown) {
    const exception = describe(thrown);
    if (exception.type === 'SyntaxError' && exception.stack.length === 0 && file) exception.stack = syntaxPlace(file);
    throw raised(name, exception);
  }
}

function raised(name, exception) {
  return new Failure('exception', 'handler', `importing ${name} failed: ${exception.type}: ${exception.message}`, exception);
}

// Imports what the installer has called "name@version", with "/file" where it is not the whole package; with "import:" before it as an ES module. In a
// zygote V8 compiles it whole.
async function importModule(name, packages, whole) {
  const { esm, pack, version, file } = parsed(name);
  const base = `${pack.replace('/', '+')}-${version}`;
  const home = packages.find((dir) => (version === undefined ? existsSync(`${dir}/node_modules/${pack}`) : path.basename(dir) === base));
  if (home === undefined) throw new Error(`no package of the function has the module ${name}`);
  const from = besidePackage(home);
  const beside = createRequire(from), builtin = isBuiltin(pack + file);
  const wanted = builtin ? `${pack}/` : pack + file; // one of node's own has the name as well, and comes first
  if (whole && !isLarge(beside, wanted)) setFlagsFromString('--no-lazy');
  try {
    if (esm) return await importer(from)(builtin ? pathToFileURL(beside.resolve(wanted)) : wanted);
    const exports = beside(wanted);
    findParent(require.cache[beside.resolve(wanted)]);
    return exports;
  } finally {
    setFlagsFromString('--lazy');
  }
}

// Whether a module is one large file, such as a compiler, of which an instance calls little: what is compiled takes memory. V8 compiles a function when it
// is first called, and what a zygote does not call, each instance would compile again.
function isLarge(beside, name) {
  try {
    return statSync(beside.resolve(name)).size > MAX_WHOLE;
  } catch {
    return false; // only ES modules find it
  }
}

function parsed(name) {
  const [, esm, pack, version, file] = /^(import:)?((?:@[^/]+\/)?[^/@]+)(?:@([^/]+))?(.*)$/.exec(name);
  return { esm, pack, version, file };
}

// import() as a file has it.
function importer(filename) {
  return vm.runInThisContext('(name) => import(name)', { filename, importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER });
}

// Returns the function that a handler's name names: that of the symbol in the file, if there is one.
async function importHandler(name, file, symbol, directory) {
  if (file === undefined) throw new Failure('invalid', 'handler', `there is no file for the handler ${JSON.stringify(name)} in the function`);
  const relative = file.slice(directory.length + 1);
  const listening = noteListening();
  const module = await attempt(relative, () => importFile(file), file).finally(listening.end);
  const found = await attempt(relative, () => find(module, symbol)); // getters are the function's code
  const { owner, length } = found, value = found.value ?? listening.server;
  if (value === undefined || value === null) {
    throw new Failure('invalid', 'handler', `${relative} exports no ${JSON.stringify(symbol)}, which the handler ${JSON.stringify(name)} names`);
  }
  const answer = await attempt(relative, () => applicationOf(value, name));
  if (answer !== undefined) return { call: answer, length: 1 };
  if (typeof value !== 'function') {
    throw new Failure('invalid', 'handler', `${JSON.stringify(symbol)} in ${relative} is a ${typeof value}, not a function`);
  }
  const self = owner === module ? undefined : owner;
  return { call: (...args) => Reflect.apply(value, self, args), length };
}

// Notes the first http.Server that is made to listen, until its end: an application may export nothing else.
function noteListening() {
  const { prototype } = Server, { listen } = prototype;
  const noted = { server: undefined, end() { if (prototype.listen === listens) prototype.listen = listen; } };
  const listens = function (...args) {
    if (noted.server === undefined && typeof this.keepAliveTimeout === 'number') noted.server = this; // as those of HTTP have it
    return Reflect.apply(listen, this, args);
  };
  prototype.listen = listens;
  return noted;
}

// Returns a handler that answers HTTP requests, if the value is a web application. A function without properties is none, as nearly every handler is.
function applicationOf(value, name) {
  if (typeof value === 'function' && !('use' in value) && !('fetch' in value)) return undefined;
  return require('./application').application(value, name);
}

// What a module exports by a name with dots, and whose it is. An ES module that was made of a CommonJS one may have its exports below default;
// and what a module exports alone, as default or instead of an object, may be the handler.
function find(module, symbol) {
  let value = module, owner;
  for (const part of symbol.split('.')) {
    const holder = value?.[part] === undefined && value === module ? module?.default : value;
    owner = holder;
    value = holder?.[part];
  }
  if (value === undefined && !symbol.includes('.')) {
    [value, owner] = [typeof module === 'function' ? module : module?.default];
    if (value === undefined && applicationOf(module, symbol) !== undefined) value = module;
  }
  return { value, owner, length: typeof value === 'function' ? value.length : 0 };
}

function importFile(file) {
  return isModule(file) ? importer(file)(pathToFileURL(file)) : createRequire(file)(file);
}

// A message as JSON, of at most MAX_PACKET bytes: a longer one is an error, and cut.
function packed(message) {
  let packet = JSON.stringify(message);
  if (byteLength(packet) > MAX_PACKET) {
    const error = message.error ?? message;
    shorten(error);
    shorten(error.exception ?? {});
    packet = JSON.stringify(message);
  }
  return packet;
}

// Cuts an error that is too long for a packet to its beginning, and its stack to its end.
function shorten(error) {
  for (const [key, value] of Object.entries(error)) {
    if (typeof value === 'string') error[key] = value.slice(0, 10000);
    else if (key === 'causes') error[key] = value.slice(0, 5).map(({ relation, type, message }) => ({ relation, type, message: message.slice(0, 1000), stack: [] }));
    else if (Array.isArray(value)) error[key] = value.slice(-20).map((line) => line.slice(0, 1000));
  }
}

module.exports = { Failure, beforeExit, failureOf, load, modules, open, packed, stopped };
