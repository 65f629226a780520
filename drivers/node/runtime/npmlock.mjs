// Reads a lock file of npm, of version 2 or 3: package-lock.json or npm-shrinkwrap.json.

import { Refused } from './tools.mjs';
import { compare, refuseSource, wanted } from './lockfile.mjs';

const MODULES = 'node_modules/';

// Returns what a Graph is made of. A package's key is its place in the tree.
export function npmLock(file, content, manifest) {
  if (!(content.lockfileVersion >= 2)) {
    throw new Refused('install', 'caller', `${file} is of version ${content.lockfileVersion ?? 1}, and 2 or 3 is needed: run npm install with npm 7 or later`);
  }
  const entries = content.packages ?? {};
  const root = entries[''] ?? {};
  for (const key of ['dependencies', 'optionalDependencies']) compare(file, manifest[key] ?? {}, root[key] ?? {});
  const nodes = new Map(), top = [], links = [];
  for (const [place, entry] of Object.entries(entries)) {
    const { link, inBundle, dev, extraneous, resolved: from = '' } = entry;
    const at = place.lastIndexOf(MODULES);
    if (at < 0) continue;
    const name = place.slice(at + MODULES.length), isTop = !place.slice(0, at).includes(MODULES);
    if (link && isTop && typeof entry.resolved === 'string' && !entry.resolved.startsWith('/') && !entry.resolved.split('/').includes('..')) links.push([name, entry.resolved]);
    if (link || inBundle || dev || extraneous || !wanted(file, name, entry)) continue;
    // Where an entry was fetched from does not count, only that it was a registry: all functions share a package by name and version, so
    // it comes from the worker's.
    if (entry.version === undefined || /^(git|file:)/.test(from) || /^https?:/.test(from) && !/\/-\/[^/]+\.tgz$/.test(from)) refuseSource(file, name, from);
    nodes.set(place, { ...entry, name: entry.name ?? name, requires: required(entries, place) });
    if (isTop) top.push([name, place]);
  }
  return { file, nodes, top, links };
}

// What the package at a place requires: [name, place].
function required(entries, place) {
  const { dependencies, optionalDependencies, peerDependencies } = entries[place];
  const names = new Set([dependencies, optionalDependencies, peerDependencies].flatMap((wanted) => Object.keys(wanted ?? {})));
  return [...names].map((name) => [name, locate(entries, place, name)]);
}

// Where a package finds another, as Node.js looks for it.
function locate(entries, place, name) {
  for (let at = place; ; at = at.slice(0, Math.max(0, at.lastIndexOf(MODULES) - 1))) {
    const candidate = (at && `${at}/`) + MODULES + name;
    if (entries[candidate]) return candidate;
    if (at === '' || !at.includes(MODULES)) return at === '' ? undefined : entries[MODULES + name] && MODULES + name;
  }
}
