// The packages of a lock file, as packages that functions can share.
//
// A package manager gives a package its place in a tree of node_modules directories, and what it requires is found from there, so its directory
// means something in that tree only. Here a package has a directory of its own that also has, as links, what it requires: at the
// same versions, it can stand in the tree of any function. When what it requires is of different versions, it is another package: its
// version gets a suffix, a digest of everything that it requires, directly or not. One whose install script may run has "scripts" in the suffix
// too, for the script may leave other files.

import crypto from 'node:crypto';
import { Refused } from './tools.mjs';

const LIBC = process.report.getReport().header.glibcVersionRuntime ? 'glibc' : 'musl';

// Names and versions become paths.
const NAME = /^(@[\w~.-]+\/)?(?!\.)[\w~.!'()*-]+$/;
const VERSION = /^\d[\w.+-]*$/;

export class Graph {
  #nodes; // key -> { name, version, integrity, optional, os, cpu, libc, requires: [[name, key]] }
  #top; // [name, key], what the function's own code finds
  #links; // [name, path], directories of the function that it finds as packages
  #allow; // names of packages whose scripts may run
  #suffixes = new Map();
  #all;

  // What npmLock and pnpmLock return. The nodes are those to install, and what they require is one of them.
  constructor({ file, nodes, top, links }, allow = []) {
    this.file = file;
    this.#allow = new Set(allow);
    this.#nodes = nodes;
    this.#top = top.filter(([, key]) => nodes.has(key));
    this.#links = links;
    for (const [name] of [...top, ...links]) if (!NAME.test(name)) refuseName(file, name);
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
    return this.packages().map((p) => ({ name: p.name, version: p.version, archives: p.archives, purl: `pkg:npm/${p.real.replace('@', '%40')}@${encodeURIComponent(p.exact)}`,
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

  // The links of the function's own node_modules: [name, where it leads].
  links() {
    return [...this.#top.map(([name, key]) => [name, target('/packages', this.#package(key))]),
      ...this.#links.map(([name, path]) => [name, '../'.repeat(name.split('/').length) + path])];
  }

  // The package that the function's code finds by a name.
  top(name) {
    const found = this.#top.find(([top]) => top === name);
    return found && this.#package(found[1]);
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

// Where a package is below a directory that has packages.
export const target = (root, p) => `${root}/${p.base}/node_modules/${p.real}`;

// The digests of a Subresource Integrity text, as core has them: the strongest kind that there is.
function archives(file, { name, version, integrity = '' }) {
  for (const kind of ['sha512', 'sha256']) {
    const found = integrity.split(/\s+/).filter((one) => one.startsWith(`${kind}-`));
    if (found.length > 0) return found.map((one) => `${kind}:${Buffer.from(one.slice(kind.length + 1).split('?')[0], 'base64').toString('hex')}`);
  }
  throw new Refused('install', 'caller', `${file} has no digest of ${name}@${version}${integrity && ' that is safe'}: remove ${file}, make it anew, and deploy it`);
}

// Refuses a lock file of another package.json. Both are { name: what is asked for }.
export function compare(file, asked, locked) {
  const other = [...Object.keys(asked), ...Object.keys(locked)].find((name) => asked[name] !== locked[name]);
  if (other !== undefined) {
    throw new Refused('install', 'caller', `package.json asks for ${other}@${asked[other] ?? 'nothing'} and ${file} for ${other}@${locked[other] ?? 'nothing'}: `
      + `run ${file.startsWith('pnpm') ? 'pnpm' : 'npm'} install, and deploy both`);
  }
}

function refuseName(file, what) {
  throw new Refused('install', 'caller', `${file}: ${JSON.stringify(what)} cannot be a package of a registry: make ${file} anew, and deploy it`);
}

export function refuseSource(file, name, from) {
  throw new Refused('install', 'caller', `${file}: ${name} comes from ${from || 'nowhere'}, not from a registry at an exact version; `
    + 'paths outside, links and repositories are not supported: put the code into the function\'s directory');
}

// Whether a package is to be installed: one that is not for this machine is left out if it is optional, and refused if not.
export function wanted(file, name, { version, optional, os, cpu, libc }) {
  if (allowed(os, process.platform) && allowed(cpu, process.arch) && allowed(libc, LIBC)) return true;
  if (optional) return false;
  throw new Refused('install', 'caller', `${file}: ${name}@${version} is not for this machine (${process.platform}, ${process.arch})`);
}

// A list names what a package is for, or, with "!", what it is not for.
function allowed(list, value) {
  if (list === undefined) return true;
  const names = [list].flat();
  if (names.includes(`!${value}`)) return false;
  return names.includes(value) || names.includes('any') || names.every((name) => name.startsWith('!'));
}
