// A lock file of npm (version 2 and 3), as packages that functions can share.
//
// npm gives a package its place in a tree of node_modules directories, and what it requires is found from there, so its directory means something
// in that tree only. Here a package has a directory of its own that also has, as links, what it requires: at the
// same versions, it can stand in the tree of any function. When what it requires is of different versions, it is another package: its
// version gets a suffix, a digest of everything that it requires, directly or not.

import crypto from 'node:crypto';
import { Refused } from './tools.mjs';

const MODULES = 'node_modules/';
const LIBC = process.report.getReport().header.glibcVersionRuntime ? 'glibc' : 'musl';

export class Graph {
  #name;
  #entries; // place in the tree -> what the lock file says of it
  #own; // places of the packages to install
  #suffixes = new Map();
  #all; // packages

  constructor(name, content, manifest) {
    this.#name = name;
    this.#entries = content.packages ?? {};
    this.#own = new Set(Object.keys(this.#entries).filter((place) => this.#isOwn(place)));
    this.#compare(manifest);
    for (const place of this.#own) this.#check(place, this.#entries[place]);
  }

  #isOwn(place) {
    const { link, inBundle, dev, extraneous, optional, ...entry } = this.#entries[place];
    return place.includes(MODULES) && !link && !inBundle && !dev && !extraneous && !(optional && !fits(entry));
  }

  // Refuses a lock file of another package.json.
  #compare(manifest) {
    const locked = this.#entries[''] ?? {};
    for (const key of ['dependencies', 'optionalDependencies']) {
      const [a, b] = [manifest[key] ?? {}, locked[key] ?? {}];
      const other = [...Object.keys(a), ...Object.keys(b)].find((name) => a[name] !== b[name]);
      if (other !== undefined) {
        throw new Refused('install', 'caller', `package.json asks for ${other}@${a[other] ?? 'nothing'} and ${this.#name} for ${other}@${b[other] ?? 'nothing'}: run npm install, and deploy both`);
      }
    }
  }

  // Where an entry was fetched from does not count, only that it was a registry: all functions share a package by name and version, so
  // it comes from the worker's.
  #check(place, entry) {
    const from = entry.resolved ?? '';
    if (entry.version === undefined || /^(git|file:)/.test(from) || /^https?:/.test(from) && !/\/-\/[^/]+\.tgz$/.test(from)) {
      throw new Refused('install', 'caller', `${this.#name}: ${nameOf(place)} comes from ${from || 'nowhere'}, not from a registry at an exact version; `
        + 'paths outside, links and repositories are not supported: put the code into the function\'s directory');
    }
    if (!entry.optional && !fits(entry)) {
      throw new Refused('install', 'caller', `${this.#name}: ${nameOf(place)}@${entry.version} is not for this machine (${process.platform}, ${process.arch})`);
    }
  }

  // Each package once.
  packages() {
    if (this.#all) return this.#all;
    const all = new Map();
    for (const place of this.#own) {
      const p = this.#package(place);
      all.set(`${p.name}-${p.version}`, p);
    }
    return this.#all = [...all.values()];
  }

  // What packages() has, with links: [name, where its package is].
  find({ name, version }) {
    const found = this.packages().find((p) => p.name === name && p.version === version);
    if (found === undefined) throw new Refused('install', 'worker', `${this.#name} has no ${name}@${version} any more`);
    return found;
  }

  #package(place) {
    const entry = this.#entries[place];
    const real = entry.name ?? nameOf(place);
    return { name: real.replace('/', '+'), version: entry.version + this.#suffix(place), real, exact: entry.version, integrity: entry.integrity,
      links: this.#required(place).map(([name, other]) => [name, this.#target(other)]) };
  }

  #target(place) {
    const entry = this.#entries[place];
    const real = entry.name ?? nameOf(place);
    return `/packages/${real.replace('/', '+')}-${entry.version}${this.#suffix(place)}/${MODULES}${real}`;
  }

  // The links of the function's own node_modules: all that npm would have put there.
  links() {
    const links = [];
    for (const [place, entry] of Object.entries(this.#entries)) {
      const at = place.lastIndexOf(MODULES);
      if (at < 0 || place.slice(0, at).includes(MODULES)) continue;
      if (this.#own.has(place)) links.push([place, this.#target(place)]);
      else if (entry.link && typeof entry.resolved === 'string' && !entry.resolved.startsWith('/') && !entry.resolved.split('/').includes('..')) {
        links.push([place, '../'.repeat(place.split('/').length - 1) + entry.resolved]);
      }
    }
    return links;
  }

  // The versions of a package at the top of the function's own node_modules, and anywhere.
  versions(name) {
    const top = this.#own.has(MODULES + name) ? this.#package(MODULES + name) : undefined;
    return { top, all: this.packages().filter((p) => p.real === (top?.real ?? name)) };
  }

  // What the package at a place requires: [name, place].
  #required(place) {
    const entry = this.#entries[place];
    const names = new Set([entry.dependencies, entry.optionalDependencies, entry.peerDependencies].flatMap((wanted) => Object.keys(wanted ?? {})));
    return [...names].sort().map((name) => [name, this.#locate(place, name)]).filter(([, at]) => this.#own.has(at));
  }

  // Where a package finds another, as Node.js looks for it.
  #locate(place, name) {
    for (let at = place; ; at = at.slice(0, Math.max(0, at.lastIndexOf(MODULES) - 1))) {
      const candidate = (at && `${at}/`) + MODULES + name;
      if (this.#entries[candidate]) return candidate;
      if (at === '' || !at.includes(MODULES)) return at === '' ? undefined : this.#entries[MODULES + name] && MODULES + name;
    }
  }

  #suffix(place) {
    if (!this.#suffixes.has(place)) {
      const lines = new Set(), seen = new Set([place]);
      for (const from of seen) {
        for (const [name, to] of this.#required(from)) {
          lines.add(`${this.#id(from)} ${name} ${this.#id(to)}\n`);
          seen.add(to);
        }
      }
      const digest = crypto.createHash('sha256').update([...lines].sort().join('')).digest('hex').slice(0, 12);
      this.#suffixes.set(place, lines.size > 0 ? `+${digest}` : '');
    }
    return this.#suffixes.get(place);
  }

  #id(place) {
    return `${this.#entries[place].name ?? nameOf(place)}@${this.#entries[place].version}`;
  }
}

function nameOf(place) {
  return place.slice(place.lastIndexOf(MODULES) + MODULES.length);
}

// Whether a package is for this machine: a list names what it is for, or, with "!", what it is not for.
function fits({ os, cpu, libc }) {
  const allowed = (list, value) => {
    if (list === undefined) return true;
    const names = [list].flat();
    if (names.includes(`!${value}`)) return false;
    return names.includes(value) || names.includes('any') || names.every((name) => name.startsWith('!'));
  };
  return allowed(os, process.platform) && allowed(cpu, process.arch) && allowed(libc, LIBC);
}
