// What is suspicious in a package: its files, its scripts, and what files do together.

import fs from 'node:fs';
import path from 'node:path';
import { DATA } from './calls.mjs';
import { exported, suspicions } from './suspicions.mjs';

export const MAX_FILE = 32 << 20; // bytes of a file that are read

// Scripts that npm runs when a package is installed from a registry. prepare is not one of them.
const HOOKS = ['preinstall', 'install', 'postinstall'];

const MAGIC = [['7f454c46', 'for Linux'], ['4d5a', 'for Windows'], ['0061736d', 'for WebAssembly'], ['cffaedfe', 'for macOS'], ['cefaedfe', 'for macOS'], ['cafebabe', 'for macOS']];

// Returns what machine a file has code for. A Java class begins as a macOS binary does, but for its version.
function machine(file) {
  const head = Buffer.alloc(8);
  const descriptor = fs.openSync(file, 'r');
  const length = fs.readSync(descriptor, head, 0, 8, 0);
  fs.closeSync(descriptor);
  const hex = head.toString('hex', 0, length);
  const [magic, name] = MAGIC.find(([start]) => hex.startsWith(start)) ?? [];
  return magic === 'cafebabe' && !hex.startsWith('cafebabe000000') ? undefined : name;
}

function* files(directory, below = '') {
  for (const entry of fs.readdirSync(path.join(directory, below), { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = path.join(below, entry.name);
    if (entry.isDirectory()) yield* files(directory, name);
    else if (entry.isFile()) yield name;
  }
}

function lineOf(text, word) {
  const at = text.indexOf(word);
  return at < 0 ? 0 : text.slice(0, at).split('\n').length;
}

// The text of a package.json, which may be no file.
export function readManifest(root) {
  const info = fs.lstatSync(path.join(root, 'package.json'), { throwIfNoEntry: false });
  return info?.isFile() && info.size <= MAX_FILE ? fs.readFileSync(path.join(root, 'package.json'), 'utf8') : undefined;
}

const OWN = /(?:require\s*\(|from|import)\s*\(?\s*["'](\.[^"'\n]*)["']/g; // specifiers of files of the package

const isFile = (file) => fs.lstatSync(file, { throwIfNoEntry: false })?.isFile() ?? false;

export class Package {
  constructor(root) {
    this.root = root;
    this.found = [];
    this.binaries = [];
    this.text = readManifest(root) ?? '{}';
    try {
      this.manifest = Object(JSON.parse(this.text.replace(/^\uFEFF/, '')));
    } catch {
      this.manifest = {};
    }
    this.run = this.started();
    this.effects = new Map(); // file -> what its functions do that others can call
  }

  // The files that run by whatever name they have: of the package, its programs, and its hooks.
  started() {
    const { main, bin, scripts } = this.manifest;
    const hooks = HOOKS.flatMap((hook) => [...String(Object(scripts)[hook] ?? '').matchAll(/\bnode\s+(?:-\S+\s+)*["']?([^\s"';&|]+)/g)].map(([, file]) => file));
    return new Set([main, ...typeof bin === 'string' ? [bin] : Object.values(Object(bin)), ...hooks].filter((file) => typeof file === 'string').map((file) => path.join(file)));
  }

  add(rule, file, line, reason) { this.found.push({ rule, file: file.slice(0, 500), line, reason }); }

  scan() {
    this.hooks();
    for (const name of files(this.root)) this.file(name);
    if (this.binaries.length > 0) this.add(...this.toldBinaries());
    return this.found;
  }

  hooks() {
    const scripts = Object(this.manifest.scripts);
    for (const hook of HOOKS) {
      if (typeof scripts[hook] === 'string') this.add('install-hook', 'package.json', lineOf(this.text, `"${hook}"`), `runs when it is installed: ${scripts[hook].slice(0, 200)}`);
    }
    if (fs.existsSync(path.join(this.root, 'binding.gyp')) && !scripts.install && !scripts.preinstall) {
      this.add('install-hook', 'binding.gyp', 0, 'is compiled when it is installed (node-gyp rebuild)');
    }
  }

  file(name) {
    const full = path.join(this.root, name);
    const { size } = fs.lstatSync(full);
    if (/\.[cm]?js$/.test(name) || this.run.has(name) && !machine(full)) {
      if (this.run.has(name) && DATA.test(name)) this.add('hidden-code', name, 0, 'is run as code, and named as if it were data');
      if (size > MAX_FILE) this.add('hidden-code', name, 0, `has ${size} bytes of code: it was not read`);
      else for (const [rule, line, reason] of this.suspicions(name, fs.readFileSync(full, 'utf8'))) this.add(rule, name, line, reason);
    } else if (size >= 64) {
      const found = machine(full);
      if (found) this.binaries.push([name, found]);
    }
  }

  // What is in a file, with what it calls in other files of the package.
  suspicions(name, text) {
    return suspicions(text, this.others(name, text));
  }

  // A function that says what another file of the package has, by the name that a file has for it, if there is anything.
  others(name, text) {
    if (![...text.matchAll(OWN)].some(([, specifier]) => this.exported(name, specifier)?.size > 0)) return undefined;
    return (called) => {
      for (let at = called.length; at > 0; at = called.lastIndexOf('.', at - 1)) {
        const found = this.exported(name, called.slice(0, at))?.get(called.slice(at + 1) || 'default');
        if (found) return found;
      }
      return undefined;
    };
  }

  // What functions do of the file that a specifier in another leads to.
  exported(from, specifier) {
    const base = path.join(path.dirname(from), specifier);
    const file = base.startsWith('..') ? undefined : ['', '.js', '.cjs', '.mjs', '/index.js'].map((end) => base + end).find((one) => isFile(path.join(this.root, one)));
    if (file === undefined) return undefined;
    if (!this.effects.has(file)) {
      const full = path.join(this.root, file);
      this.effects.set(file, new Map()); // while it is read: files may import each other
      const text = /\.[cm]?js$/.test(file) && fs.lstatSync(full).size <= MAX_FILE ? fs.readFileSync(full, 'utf8') : '';
      this.effects.set(file, exported(text, this.others(file, text)));
    }
    return this.effects.get(file);
  }

  toldBinaries() {
    let which = this.binaries.slice(0, 5).map(([name, found]) => `${path.basename(name)} ${found}`).join(', ');
    if (this.binaries.length > 5) which += ` and ${this.binaries.length - 5} more`;
    const first = this.binaries[0][0];
    const { os, cpu, binary, gypfile } = this.manifest;
    if (os || cpu) return ['binary', first, 0, `has compiled code without its source, as its ${os ? 'os' : 'cpu'} in package.json says: ${which}`];
    if (gypfile || binary || fs.existsSync(path.join(this.root, 'binding.gyp')) || this.binaries.every(([name]) => name.startsWith('prebuilds/'))) {
      return ['binary', first, 0, `has compiled code, as packages with an addon do: ${which}`];
    }
    if (this.binaries.every(([, found]) => found === 'for WebAssembly')) return ['binary', first, 0, `has compiled code without its source: ${which}`];
    return ['stray-binary', first, 0, `says nothing of compiled code (neither binding.gyp nor os and cpu in package.json) and has: ${which}`];
  }
}
