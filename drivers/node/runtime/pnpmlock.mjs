// Reads pnpm-lock.yaml, of version 9.

import { Refused } from './tools.mjs';
import { compare, refuseSource, wanted } from './lockfile.mjs';
import { parse } from './yaml.mjs';

// Returns what a Graph is made of. A package's key is that of its snapshot, name@version(peers).
export function pnpmLock(file, text, manifest) {
  const content = read(file, text);
  if (!/^9(\.|$)/.test(content.lockfileVersion)) {
    throw new Refused('install', 'caller', `${file} is of version ${content.lockfileVersion}, and 9 is needed: run pnpm install with pnpm 9 or later`);
  }
  if (content.patchedDependencies) throw new Refused('install', 'caller', `${file} has patchedDependencies, which are not supported: publish what is patched under a name of your own`);
  const { importers = {}, packages = {}, snapshots = {}, overrides = {} } = content;
  const root = importers['.'] ?? {};
  for (const key of ['dependencies', 'optionalDependencies']) {
    const asked = Object.entries(manifest[key] ?? {}).map(([name, spec]) => [name, overrides[name] ?? spec]);
    compare(file, Object.fromEntries(asked), Object.fromEntries(Object.entries(root[key] ?? {}).map(([name, { specifier }]) => [name, specifier])));
  }
  const nodes = new Map(), top = [], links = [];
  const add = (name, version) => {
    if (/^(link|file|git|https?):|^[^@]+\//.test(version)) refuseSource(file, name, version);
    const key = keyOf(snapshots, name, version);
    if (key === undefined) throw new Refused('install', 'caller', `${file} has no snapshot of ${name}@${version}: run pnpm install`);
    if (nodes.has(key)) return key;
    const plain = key.replace(/\(.*/, ''), at = plain.lastIndexOf('@');
    const { resolution = {}, ...entry } = packages[plain] ?? {};
    const node = { ...entry, name: plain.slice(0, at), version: plain.slice(at + 1), optional: snapshots[key].optional, integrity: resolution.integrity, requires: [] };
    if (!wanted(file, name, node)) return undefined;
    nodes.set(key, node);
    for (const [other, itsVersion] of Object.entries({ ...snapshots[key].dependencies, ...snapshots[key].optionalDependencies })) node.requires.push([other, add(other, itsVersion)]);
    return key;
  };
  for (const [name, { version }] of Object.entries({ ...root.dependencies, ...root.optionalDependencies })) {
    const [, path] = /^link:((?!\/).*)$/.exec(version) ?? [];
    if (path && !path.split('/').includes('..')) links.push([name, path]);
    else top.push([name, add(name, version)]);
  }
  return { file, nodes, top, links };
}

function read(file, text) {
  try {
    const content = parse(text);
    if (content === null || typeof content !== 'object') throw new TypeError('it is no mapping');
    return content;
  } catch (error) {
    throw new Refused('install', 'caller', `${file} cannot be read: ${error.message}`);
  }
}

// A version is one of the package of that name, or the key of another's that has it as an alias.
function keyOf(snapshots, name, version) {
  return [`${name}@${version}`, version].find((key) => snapshots[key]);
}
