// Reads pnpm-lock.yaml, of version 9.

import path from 'node:path';
import { Refused } from './tools.mjs';
import { compare, fits, inside, refuseMissing, refuseOutside, refuseSource } from './lockfile.mjs';
import { parseAllDocuments } from './yaml.mjs';

export const WORKSPACE = 'pnpm-workspace.yaml';

// Returns what a Graph is made of, of the text of the lock file and of pnpm-workspace.yaml, if there is one. A package's key is that of its
// snapshot, name@version(peers). What manifest returns is as npmLock has it.
export function pnpmLock(file, text, workspace, manifest) {
  const content = read(file, text);
  if (!/^9(\.0)?$/.test(content.lockfileVersion)) {
    throw new Refused('install', 'caller', `${file} is of version ${content.lockfileVersion}, and 9.0 is needed: run pnpm install with pnpm 9 or later`);
  }
  if (content.patchedDependencies) throw new Refused('install', 'caller', `${file} has patchedDependencies, which are not supported: publish what is patched under a name of your own`);
  compareCatalogs(file, workspace === undefined ? {} : read(WORKSPACE, workspace), content.catalogs ?? {});
  return new Reader(file, content, manifest).read();
}

class Reader {
  #file; #content; #manifest;
  #nodes = new Map();
  #finds = new Map(); // at -> what is found there, as Graph has it

  constructor(file, { importers = {}, packages = {}, snapshots = {}, overrides = {}, settings = {} }, manifest) {
    this.#file = file;
    this.#content = { importers, packages, snapshots, overrides, settings };
    this.#manifest = manifest;
  }

  // Directories that are not there are of other projects of a repository, as long as nobody requires them.
  read() {
    const { importers } = this.#content;
    for (const [directory, importer] of Object.entries({ '.': {}, ...importers })) {
      const asked = inside(directory) ? this.#manifest(directory) : undefined;
      if (asked === undefined) continue;
      this.#agree(directory, asked, importer);
      const wanted = Object.entries({ ...importer.dependencies, ...importer.optionalDependencies });
      for (const [name, { version }] of wanted) this.#find(directory, name, version);
    }
    return { file: this.#file, nodes: this.#nodes, finds: [...this.#finds.values()] };
  }

  // Overrides have other names and versions in the lock file than in package.json, or take them away.
  #agree(directory, asked, importer) {
    const { overrides, settings } = this.#content;
    const overridden = (name, specifier) => Object.entries(overrides).some(([selector, to]) => selector.replace(/^.*>/, '').replace(/(?!^)@.*/, '') === name
      && (to === specifier || to === '-' && specifier === undefined));
    for (const kind of ['dependencies', 'optionalDependencies']) {
      const locked = Object.fromEntries(Object.entries(importer[kind] ?? {}).map(([name, { specifier }]) => [name, specifier]));
      const wanted = { ...asked[kind] };
      if (kind === 'dependencies' && settings.autoInstallPeers) { // those that are for development as well are that
        for (const [name, specifier] of Object.entries(asked.peerDependencies ?? {})) if (!(name in (asked.devDependencies ?? {}))) wanted[name] ??= specifier;
      }
      for (const name of Object.keys(wanted)) {
        if (kind === 'dependencies' && name in (asked.optionalDependencies ?? {})) delete wanted[name]; // pnpm has a name once
        else if (wanted[name] !== locked[name] && overridden(name, locked[name])) wanted[name] = locked[name];
      }
      compare(this.#file, directory, wanted, locked);
    }
  }

  // What the code of a directory finds by a name.
  #find(directory, name, version) {
    const at = path.join(directory, 'node_modules', name);
    const [, protocol, to] = /^(link|file):(.*?)(\(.*)?$/.exec(version) ?? [];
    const own = protocol === 'link' ? path.join(directory, to) : to;
    const type = this.#content.packages[`${name}@file:${to}`]?.resolution?.type;
    let found;
    if (protocol === undefined) found = { at, key: this.#add(name, version) };
    else if (protocol === 'file' && type !== 'directory') refuseSource(this.#file, name, version);
    else if (to.startsWith('/') || !inside(own)) refuseOutside(this.#file, name, own);
    else if (this.#manifest(own) === undefined) refuseMissing(this.#file, name, own);
    else found = { at, path: own };
    const before = this.#finds.get(at);
    if (before?.key !== found.key || before?.path !== found.path) {
      if (before) throw new Refused('install', 'caller', `${this.#file}: ${directory} requires ${name} at two versions: make it a package of the workspace that is not injected`);
    }
    this.#finds.set(at, found);
    // pnpm has a copy of such a directory for each who requires it, and here there is the one.
    if (protocol !== 'file' || before) return;
    const { dependencies, optionalDependencies } = this.#content.snapshots[`${name}@${version}`] ?? {};
    for (const [other, its] of Object.entries({ ...dependencies, ...optionalDependencies })) this.#find(own, other, its);
  }

  // Adds a package with all that it requires, and returns its key: undefined when it is not for this machine, and so is what only it requires.
  #add(name, version) {
    const { packages, snapshots } = this.#content, file = this.#file;
    if (/^(link|file|git|https?):|^[^@]+\//.test(version)) refuseSource(file, name, version);
    // A version is one of the package of that name, or the key of another's that has it as an alias.
    const key = [`${name}@${version}`, version].find((one) => snapshots[one]);
    if (key === undefined) throw new Refused('install', 'caller', `${file} has no snapshot of ${name}@${version}: run pnpm install`);
    if (this.#nodes.has(key)) return key;
    const plain = key.replace(/\(.*/, ''), at = plain.lastIndexOf('@');
    const { resolution = {}, ...entry } = packages[plain] ?? {};
    const node = { ...entry, name: plain.slice(0, at), version: plain.slice(at + 1), integrity: resolution.integrity, requires: [] };
    if (resolution.type !== undefined) refuseSource(file, name, resolution.repo ?? resolution.directory ?? resolution.type);
    if (snapshots[key].optional && !fits(node)) return undefined; // another pnpm installs too, and warns
    this.#nodes.set(key, node);
    for (const [other, its] of Object.entries({ ...snapshots[key].dependencies, ...snapshots[key].optionalDependencies })) {
      // Functions share a package, so it finds a directory of one function as what it does not declare: through the function.
      if (its.startsWith('link:')) this.#find('.', other, its);
      else node.requires.push([other, this.#add(other, its)]);
    }
    return key;
  }
}

// Refuses a lock file that was made with other catalogs.
function compareCatalogs(file, { catalog, catalogs }, locked) {
  const asked = { ...catalogs, ...catalog && { default: catalog } };
  for (const [name, entries] of Object.entries(locked)) {
    for (const [of, { specifier }] of Object.entries(entries)) {
      if (asked[name]?.[of] === specifier) continue;
      throw new Refused('install', 'caller', `${WORKSPACE} has ${of}@${asked[name]?.[of] ?? 'nothing'} in its catalog ${name}, and ${file} ${of}@${specifier}: run pnpm install, and deploy both`);
    }
  }
}

// The last document counts: one before it, since pnpm 11, is of pnpm itself.
function read(file, text) {
  try {
    const document = parseAllDocuments(text).at(-1);
    if (document?.errors.length > 0) throw document.errors[0];
    const content = document?.toJS();
    if (content === null || typeof content !== 'object') throw new TypeError('it is no mapping');
    return content;
  } catch (error) {
    throw new Refused('install', 'caller', `${file} cannot be read: ${error.message}`);
  }
}
