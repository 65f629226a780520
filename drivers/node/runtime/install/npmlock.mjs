// Reads a lock file of npm, of version 2 or 3: package-lock.json or npm-shrinkwrap.json.

import { Refused } from './tools.mjs';
import { checkPlace, compare, fits, inside, refuseMachine, refuseMissing, refuseOutside, refuseSource } from './lockfile.mjs';

const MODULES = 'node_modules/';
const KINDS = ['dependencies', 'optionalDependencies', 'peerDependencies'];

// Returns what a Graph is made of. A package's key is its place in the tree. What manifest returns of a directory of the function is its
// package.json, {} when it has none, and undefined when the directory is not there.
export function npmLock(file, content, manifest) {
  if (![2, 3].includes(content.lockfileVersion)) {
    throw new Refused('install', 'caller', `${file} is of version ${content.lockfileVersion ?? 1}, and 2 or 3 is needed: run npm install with npm 7 or later`);
  }
  const entries = { '': {}, ...content.packages }, nodes = new Map(), links = [], directories = [], carried = [];
  for (const [place, entry] of Object.entries(entries)) {
    if (entry.dev || entry.extraneous) continue;
    const at = place.lastIndexOf(MODULES), name = place.slice(at + MODULES.length), carrier = at >= 0 && entry.inBundle && carrierOf(entries, place);
    if (at >= 0) checkPlace(file, place, name);
    if (at < 0) directories.push([place, entry]);
    else if (entry.link) links.push(linked(file, place, name, entry, manifest));
    else if (carrier) carried.push([place, carrier]);
    else nodes.set(place, { ...entry, name: entry.name ?? name, requires: required(entries, place) });
  }
  for (const [directory, entry] of directories) agree(file, directory, entry, manifest);
  // What lies in the archive of a package finds what is outside through it.
  for (const [place, carrier] of carried) nodes.get(carrier)?.requires.push(...required(entries, place).filter(([, to]) => !to.startsWith(`${carrier}/`)));
  leaveOut(file, nodes);
  keep(file, nodes, directories.flatMap(([directory]) => required(entries, directory)));
  const own = [...nodes.keys()].filter((place) => place.indexOf(MODULES) === place.lastIndexOf(MODULES));
  return { file, nodes, finds: [...own.map((place) => ({ at: place, key: place })), ...links] };
}

// A directory of the function that its code finds as a package.
function linked(file, place, name, { resolved: path }, manifest) {
  if (!inside(path) || place.indexOf(MODULES) !== place.lastIndexOf(MODULES)) refuseOutside(file, name, path);
  if (manifest(path) === undefined) refuseMissing(file, name, path);
  return { at: place, path };
}

// Refuses a lock file that was made when a directory asked for other packages.
function agree(file, directory, entry, manifest) {
  if (!inside(directory)) refuseOutside(file, entry.name ?? directory, directory);
  const asked = manifest(directory);
  if (asked === undefined) refuseMissing(file, entry.name ?? directory, directory);
  const { dependencies = {}, optionalDependencies = {}, peerDependencies = {} } = asked;
  const others = Object.entries(dependencies).filter(([name]) => !(name in optionalDependencies)); // npm has a name once
  compare(file, directory, Object.fromEntries(others), entry.dependencies ?? {});
  compare(file, directory, optionalDependencies, entry.optionalDependencies ?? {});
  compare(file, directory, peerDependencies, entry.peerDependencies ?? {});
}

// Leaves out what is not for this machine, and what cannot be without it, as npm does.
function leaveOut(file, nodes) {
  const optional = (node) => node.optional || node.devOptional;
  const out = new Set();
  for (const [place, node] of nodes) {
    if (fits(node)) continue;
    if (!optional(node)) refuseMachine(file, node);
    out.add(place);
  }
  if (out.size === 0) return;
  const needed = new Map(); // place -> places of those that cannot be without it
  for (const [place, node] of nodes) {
    for (const [name, to] of node.requires) if (optional(node) && isHard(node, name)) needed.set(to, [...needed.get(to) ?? [], place]);
  }
  for (const place of out) {
    nodes.delete(place);
    needed.get(place)?.forEach((from) => out.add(from));
  }
}

function isHard({ dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta }, name) {
  if (optionalDependencies?.[name] !== undefined) return false;
  return dependencies?.[name] !== undefined || peerDependencies?.[name] !== undefined && !peerDependenciesMeta?.[name]?.optional;
}

// Keeps what the function's directories require, directly or not, and what nobody else has than packages that are left out goes with them.
function keep(file, nodes, roots) {
  const reached = new Set(roots.map(([, place]) => place).filter((place) => nodes.has(place)));
  for (const place of reached) nodes.get(place).requires.forEach(([, to]) => nodes.has(to) && reached.add(to));
  for (const [place, { name, version, resolved: from = '' }] of nodes) {
    if (!reached.has(place)) nodes.delete(place);
    // Where an entry was fetched from does not count, only that it was a registry: all functions share a package by name and version, so
    // it comes from the worker's.
    else if (version === undefined || /^(git|file:)/.test(from) || /^https?:/.test(from) && !/\/-\/[^/]+\.tgz$/.test(from)) refuseSource(file, name, from);
  }
}

// The place of the package in whose archive another lies, if it does: the uppermost that has bundled dependencies. What the function bundles
// itself is not in an archive.
function carrierOf(entries, place) {
  let found;
  for (let at = above(place); at.includes(MODULES); at = above(at)) {
    const bundles = entries[at]?.bundleDependencies;
    if (bundles === true || bundles?.length > 0) found = at;
  }
  return found;
}

const above = (place) => place.slice(0, Math.max(0, place.lastIndexOf(MODULES) - 1));

// What the package at a place requires: [name, place]. One that only says that a peer is optional looks for it too.
function required(entries, place) {
  const names = new Set([...KINDS, 'peerDependenciesMeta'].flatMap((kind) => Object.keys(entries[place][kind] ?? {})));
  return [...names].map((name) => [name, locate(entries, place, name)]).filter(([, found]) => found !== undefined);
}

// Where a package, or a directory of the function, finds another, as Node.js looks for it.
function locate(entries, place, name) {
  for (let at = place; ; at = at.includes(MODULES) ? above(at) : '') {
    const candidate = (at && `${at}/`) + MODULES + name;
    if (entries[candidate]) return candidate;
    if (at === '') return undefined;
  }
}
