// The packages of a lock file, as packages that functions can share.
//
// A package manager gives a package its place in a tree of node_modules directories, and what it requires is found from there, so its directory
// means something in that tree only. Here a package has a directory of its own that also has, as links, what it requires: at the
// same versions, it can stand in the tree of any function. When what it requires is of different versions, it is another package: its
// version gets a suffix, a digest of everything that it requires, directly or not. One whose install script may run has "scripts" in the suffix
// too, for the script may leave other files.

import crypto from 'node:crypto';
import path from 'node:path';
import { Refused } from './tools.mjs';

const LIBC = process.report.getReport().header.glibcVersionRuntime ? 'glibc' : 'musl';

// Names and versions become paths.
const NAME = /^(@[\w~.-]+\/)?(?!\.)[\w~.!'()*-]+$/;
const VERSION = /^\d[\w.+-]*$/;

export class Graph {
  #nodes; // key -> { name, version, integrity, requires: [[name, key]] }
  #finds; // place -> { at, key or path }: what the function's own code finds there, a package or a directory of the function
  #allow; // names of packages whose scripts may run
  #suffixes = new Map();
  #all;

  // What npmLock and pnpmLock return. The nodes are those to install, and what they require is one of them.
  constructor({ file, nodes, finds }, allow = []) {
    this.file = file;
    this.#allow = new Set(allow);
    this.#nodes = nodes;
    this.#finds = new Map(finds.filter(({ key, path }) => path !== undefined || nodes.has(key)).map((one) => [one.at, one]));
    for (const at of this.#finds.keys()) checkPlace(file, at, at.replace(/^(.*?\/)?node_modules\//, ''));
    for (const node of nodes.values()) {
      if (!NAME.test(node.name) || !VERSION.test(node.version)) refuseName(file, `${node.name}@${node.version}`);
      node.requires = node.requires.filter(([, key]) => nodes.has(key)).sort(([a], [b]) => (a < b ? -1 : 1));
      node.archives = archives(file, node);
    }
  }

  // Each package once.
  packages() {
    if (this.#all) return this.#all;
    const all = new Map();
    for (const key of this.#nodes.keys()) {
      const p = this.#package(key);
      all.set(p.base, p);
    }
    return this.#all = [...all.values()];
  }

  #package(key) {
    const { name: real, version: exact, archives } = this.#nodes.get(key);
    const name = real.replace('/', '+'), version = exact + this.#suffix(key);
    return { key, name, version, base: `${name}-${version}`, real, exact, archives, scripts: this.#allow.has(real) };
  }

  // What is told of the packages, as core.Locked has it.
  locked() {
    return this.packages().map((p) => ({ name: p.name, version: p.version, archives: p.archives, purl: purl(p.real, p.exact),
      requires: [...new Set(this.requires(p).map(([, other]) => `${other.name}==${other.version}`))] }));
  }

  find({ name, version }) {
    const found = this.packages().find((p) => p.name === name && p.version === version);
    if (found === undefined) throw new Refused('install', 'worker', `${this.file} has no ${name}@${version} any more`);
    return found;
  }

  // What a package requires: [name, package].
  requires(p) {
    return this.#nodes.get(p.key).requires.map(([name, key]) => [name, this.#package(key)]);
  }

  // A package and all that it requires, directly or not.
  closure(p) {
    return [...this.#reach(p.key)].map((key) => this.#package(key));
  }

  #reach(key) {
    const seen = new Set([key]);
    for (const from of seen) this.#nodes.get(from).requires.forEach(([, to]) => seen.add(to));
    return seen;
  }

  // The links of the function's own node_modules directories: [where, where it leads].
  links() {
    return [...this.#finds.values()].map(({ at, key, path }) => [at, path === undefined ? target('/packages', this.#package(key)) : '../'.repeat(at.split('/').length - 1) + path]);
  }

  // The names by which packages find, in the function's own node_modules, what they do not require.
  names() {
    return [...this.#finds.keys()].filter((at) => at.startsWith('node_modules/')).map((at) => at.slice('node_modules/'.length)).sort();
  }

  // The package that code in a directory of the function finds by a name.
  top(name, directory) {
    const found = up(directory, (at) => this.#finds.get(path.join(at, 'node_modules', name)));
    return found?.key && this.#package(found.key);
  }

  #suffix(key) {
    if (!this.#suffixes.has(key)) {
      const lines = new Set();
      for (const from of this.#reach(key)) {
        if (from !== key && this.#allow.has(this.#nodes.get(from).name)) lines.add(`${this.#id(from)} scripts\n`);
        for (const [name, to] of this.#nodes.get(from).requires) lines.add(`${this.#id(from)} ${name} ${this.#id(to)}\n`);
      }
      const parts = this.#allow.has(this.#nodes.get(key).name) ? ['scripts'] : [];
      if (lines.size > 0) parts.push(crypto.createHash('sha256').update([...lines].sort().join('')).digest('hex').slice(0, 12));
      this.#suffixes.set(key, parts.map((part, i) => (i === 0 ? '+' : '.') + part).join(''));
    }
    return this.#suffixes.get(key);
  }

  #id(key) {
    const { name, version } = this.#nodes.get(key);
    return `${name}@${version}`;
  }
}

// Its package URL. The digest in the version is Pipsqueak's own.
const purl = (name, version) => `pkg:npm/${name.replace('@', '%40')}@${encodeURIComponent(version)}`;

// What is told of a package that lies in the archive of another, nothing when it has no name and version as a package has them.
export function bundled({ name, version }) {
  return NAME.test(name) && VERSION.test(version) ? [{ name: name.replace('/', '+'), version, purl: purl(name, version) }] : [];
}

// Where a package is below a directory that has packages.
export const target = (root, p) => `${root}/${p.base}/node_modules/${p.real}`;

// The digests of a Subresource Integrity text, as core has them: the strongest kind that there is.
function archives(file, { name, version, integrity = '' }) {
  for (const kind of ['sha512', 'sha256']) {
    const found = integrity.split(/\s+/).filter((one) => one.startsWith(`${kind}-`));
    if (found.length > 0) return found.map((one) => `${kind}:${Buffer.from(one.slice(kind.length + 1).split('?')[0], 'base64').toString('hex')}`);
  }
  throw new Refused('install', 'caller', `${file} has no digest of ${name}@${version}${integrity && ' that is safe'}: remove ${file}, make it again, and deploy it`);
}

// Calls find with a directory of the function and those above it, to ".", until it returns something.
export function up(directory, find) {
  for (let at = directory || '.'; ; at = path.dirname(at)) {
    const found = find(at);
    if (found !== undefined || at === '.') return found;
  }
}

// Refuses a lock file of another package.json. Both are { name: what is asked for }.
export function compare(file, directory, asked, locked) {
  const other = [...Object.keys(asked), ...Object.keys(locked)].find((name) => asked[name] !== locked[name]);
  if (other !== undefined) {
    throw new Refused('install', 'caller', `${path.join(directory, 'package.json')} asks for ${other}@${asked[other] ?? 'nothing'} and ${file} for ${other}@${locked[other] ?? 'nothing'}: `
      + `run ${file.startsWith('pnpm') ? 'pnpm' : 'npm'} install, and deploy both`);
  }
}

// Refuses a place that is in no node_modules of the function, or not by a name.
export function checkPlace(file, at, name) {
  if (!NAME.test(name) || !inside(at)) refuseName(file, name);
}

function refuseName(file, what) {
  throw new Refused('install', 'caller', `${file}: ${JSON.stringify(what)} cannot be a package of a registry: make ${file} again, and deploy it`);
}

export function refuseSource(file, name, from) {
  throw new Refused('install', 'caller', `${file}: ${name} comes from ${from || 'nowhere'}, not from a registry at an exact version; `
    + 'archives, links and repositories are not supported: put the code into the function\'s directory');
}

export function refuseOutside(file, name, directory) {
  throw new Refused('install', 'caller', `${file}: ${name} comes from ${directory}, which is not in the function's directory: put the code there, and make ${file} again`);
}

export function refuseMissing(file, name, directory) {
  throw new Refused('install', 'caller', `${file}: ${name} is to be in ${directory}, and there is no such directory in the function: deploy it along, or take ${name} out of package.json`);
}

export function refuseMachine(file, { name, version }) {
  throw new Refused('install', 'caller', `${file}: ${name}@${version} is not for this machine (${process.platform}, ${process.arch})`);
}

// Whether a path is in the function's directory, "." too.
export const inside = (path) => typeof path === 'string' && !path.startsWith('/') && !path.split('/').includes('..');

// Whether a package is for this machine.
export const fits = ({ os, cpu, libc }) => allowed(os, process.platform) && allowed(cpu, process.arch) && allowed(libc, LIBC);

// A list names what a package is for, or, with "!", what it is not for.
function allowed(list, value) {
  if (list === undefined) return true;
  const names = [list].flat();
  if (names.includes(`!${value}`)) return false;
  return names.includes(value) || names.includes('any') || names.every((name) => name.startsWith('!'));
}
