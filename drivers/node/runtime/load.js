'use strict';
// Imports: of packages, by a zygote or an instance, and of a handler.

const fs = require('fs');
const { createRequire } = require('module');
const path = require('path');
const { pathToFileURL } = require('url');
const vm = require('vm');
const { describe, syntaxPlace } = require('./describe');
const { findHandler, isModule } = require('./handler');

const CODE = '/function';
const MAX_PACKET = 128 << 10;
const MAX_LOADED = 64; // modules that core is told of, of those that it did not know a handler imports

// An error to report: kind and fault as core has them, and the exception behind it.
class Failure extends Error {
  constructor(kind, fault, message, cause) {
    super(message);
    this.reply = { kind, fault, message };
    if (cause !== undefined) this.reply.exception = cause;
  }
}

// What to do with what is thrown outside of the imports themselves: an import under way sets it.
let stop = null;

// Whether an import was under way, and so has been ended.
function stopped(thrown) {
  if (stop === null) return false;
  stop(thrown);
  return true;
}

// Imports the modules of a request, and the handler that an instance's has, from the directory. Returns the report and the handler.
// What is thrown outside of the imports themselves, and a request to exit, end the process through fail.
async function load(request, fail, directory = CODE) {
  const start = performance.now();
  const modules = {};
  const { reallyExit } = process;
  let importing = '';
  stop = (thrown) => {
    const exception = describe(thrown);
    fail(new Failure('exception', 'handler', `importing ${importing} failed: ${exception.type}: ${exception.message}`, exception));
  };
  process.reallyExit = (code) => stop(new Exit(`process.exit(${code ?? ''}) was called`));
  fs.promises.readFile = readAtOnce;
  try {
    for (importing of request.modules ?? []) {
      const begin = performance.now();
      await attempt(importing, () => importModule(importing, request.packages ?? []));
      modules[importing] = (performance.now() - begin) / 1000;
    }
    const report = { took: 0, modules, threads: 1 };
    let handler;
    if (request.handler) {
      importing = request.handler;
      const known = Object.keys(require.cache).length;
      handler = await importHandler(request.handler, directory);
      const loaded = loadedSince(known);
      if (loaded.length > 0) report.loaded = loaded;
    }
    report.took = (performance.now() - start) / 1000;
    report.threads = fs.readdirSync('/proc/self/task').length;
    return { report, handler };
  } finally {
    stop = null;
    fs.promises.readFile = readFile;
    process.reallyExit = reallyExit;
  }
}

// What the function's own files have required of packages after the first so many files. Of ES modules nothing is known.
function loadedSince(known) {
  const found = new Set();
  for (const file of Object.keys(require.cache).slice(known)) {
    const [, base, pack, rest] = /^\/packages\/([^/]+)\/node_modules\/((?:@[^/]+\/)?[^/]+)(.*)$/.exec(file) ?? [];
    if (pack === undefined || !require.cache[file].parent?.filename?.startsWith(CODE + '/')) continue;
    let main;
    try {
      main = createRequire(file).resolve(file.slice(0, -rest.length));
    } catch {
      // it has none
    }
    const name = `${pack}@${base.slice(pack.length + 1)}`;
    found.add(main === file ? name : name + rest);
  }
  return [...found].slice(0, MAX_LOADED);
}

class Exit extends Error {
  name = 'process.exit';
}

// Node 20 reads ES modules with fs.promises, for which libuv starts threads, and a process with threads cannot fork.
const { readFile } = fs.promises;
const { readFile: readAtOnce } = { async readFile(file, options) {
  return file instanceof URL && options === undefined ? fs.readFileSync(file) : readFile(file, options);
} };

async function attempt(name, run, file) {
  try {
    return await run();
  } catch (thrown) {
    const exception = describe(thrown);
    if (thrown instanceof SyntaxError && exception.stack.length === 0 && file) exception.stack = syntaxPlace(file);
    throw new Failure('exception', 'handler', `importing ${name} failed: ${exception.type}: ${exception.message}`, exception);
  }
}

// Imports what the installer has called "name@version", with "/file" where it is not the whole package; with "import:" before it as an ES module.
function importModule(name, packages) {
  const [, esm, pack, version, file] = /^(import:)?((?:@[^/]+\/)?[^/@]+)(?:@([^/]+))?(.*)$/.exec(name);
  const base = `${pack.replace('/', '+')}-${version}`;
  const home = packages.find((dir) => (version === undefined ? fs.existsSync(`${dir}/node_modules/${pack}`) : path.basename(dir) === base));
  if (home === undefined) throw new Error(`no package of the function has the module ${name}`);
  const from = `${home}/node_modules/pipsqueak.js`; // a file that would be beside the package
  if (!esm) return createRequire(from)(pack + file);
  return vm.runInThisContext('(name) => import(name)', { filename: from, importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER })(pack + file);
}

// Returns the function behind "directory/file.symbol". Both the file and the symbol may have dots in them.
async function importHandler(name, directory) {
  const [file, symbol] = findHandler(name, directory);
  if (file === undefined) throw new Failure('invalid', 'handler', `there is no file for the handler ${JSON.stringify(name)} in the function`);
  const module = await attempt(path.relative(directory, file), () => importFile(file), file);
  let value = module, owner;
  for (const part of symbol.split('.')) {
    // An ES module that was made of a CommonJS one may have its exports below default.
    const holder = value?.[part] === undefined && value === module ? module.default : value;
    owner = holder;
    value = holder?.[part];
  }
  const relative = path.relative(directory, file);
  if (value === undefined || value === null) {
    throw new Failure('invalid', 'handler', `${relative} exports no ${JSON.stringify(symbol)}, which the handler ${JSON.stringify(name)} names`);
  }
  if (typeof value !== 'function') {
    throw new Failure('invalid', 'handler', `${JSON.stringify(symbol)} in ${relative} is a ${typeof value}, not a function`);
  }
  return { call: value.bind(owner === module ? undefined : owner), length: value.length };
}

function importFile(file) {
  return isModule(file) ? import(pathToFileURL(file)) : createRequire(file)(file);
}

// A message as JSON, of at most MAX_PACKET bytes: a longer one is an error, and cut.
function packed(message) {
  let packet = JSON.stringify(message);
  if (Buffer.byteLength(packet) > MAX_PACKET) {
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
    else if (Array.isArray(value)) error[key] = value.slice(-20).map((line) => line.slice(0, 1000));
  }
}

module.exports = { Failure, load, packed, stopped };
