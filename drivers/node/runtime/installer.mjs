// What the Node.js driver runs in an installer's sandbox: resolve a function's packages, install them, or build its code.
//
// Started as `node installer.mjs REQUEST`, REQUEST being JSON. Answers over descriptor 3, in packets as core/driver/zygote has them:
// any number of {"progress": …}, then {"result": …} or {"error": …}.

import fs from 'node:fs';
import path from 'node:path';
import { build, importsOf } from './bundle.mjs';
import { CODE, Refused, npm, say } from './tools.mjs';
import { Graph } from './lockfile.mjs';

const OUT = '/out';
const LOCKFILES = ['npm-shrinkwrap.json', 'package-lock.json'];

// Finds the exact packages, and links the function's node_modules to where they will be.
async function resolve({ handler }) {
  const graph = readGraph() ?? (wantsPackages() ? await lock() : undefined);
  if (graph === undefined) return { packages: [], imports: [] };
  for (const [place, target] of graph.links()) link(path.join(CODE, place), target);
  const packages = graph.packages();
  return { packages: packages.map(({ name, version }) => ({ name, version })), imports: await importsOf(handler, graph) };
}

// The lock file of the function, read. A function that brings its node_modules along has none that counts.
function readGraph() {
  if (vendored()) return undefined;
  const name = LOCKFILES.find((file) => fs.existsSync(path.join(CODE, file)));
  if (name === undefined) return undefined;
  const content = readJSON(name);
  if (!(content.lockfileVersion >= 2)) {
    throw new Refused('install', 'caller', `${name} is of version ${content.lockfileVersion ?? 1}, and 2 or 3 is needed: run npm install with npm 7 or later`);
  }
  const manifest = fs.existsSync(path.join(CODE, 'package.json')) ? readJSON('package.json') : {};
  return new Graph(name, content, manifest);
}

// Whether node_modules has anything but the links that an earlier step has made.
function vendored() {
  const real = (dir) => fs.existsSync(dir) && fs.readdirSync(dir, { withFileTypes: true })
    .some((entry) => !entry.name.startsWith('.') && !entry.isSymbolicLink() && (entry.name[0] !== '@' || real(path.join(dir, entry.name))));
  return real(path.join(CODE, 'node_modules'));
}

function wantsPackages() {
  if (!fs.existsSync(path.join(CODE, 'package.json')) || fs.existsSync(path.join(CODE, 'node_modules'))) return false;
  const manifest = readJSON('package.json');
  return ['dependencies', 'optionalDependencies', 'peerDependencies'].some((key) => Object.keys(manifest[key] ?? {}).length > 0);
}

function readJSON(name) {
  try {
    const content = JSON.parse(fs.readFileSync(path.join(CODE, name), 'utf8'));
    if (content === null || typeof content !== 'object') throw new TypeError('it is no object');
    return content;
  } catch (error) {
    throw new Refused('install', 'caller', `${name} cannot be read: ${error.message}`);
  }
}

// Makes the lock file that the function does not have. It stays in the code: the next deploy of it gets the same packages.
async function lock() {
  // A function cannot choose where packages come from.
  const config = path.join(CODE, '.npmrc');
  const aside = '/tmp/npmrc.aside';
  const has = fs.existsSync(config);
  if (has) {
    fs.copyFileSync(config, aside);
    fs.rmSync(config);
  }
  try {
    await npm('resolving package.json', CODE, 'install', '--package-lock-only', '--omit=dev');
  } finally {
    if (has) fs.copyFileSync(aside, config);
  }
  return readGraph();
}

// Installs packages that the lock file has, each in a directory of its own:
//
//     /out/<name>-<version>/node_modules/<name>        the package
//     /out/<name>-<version>/node_modules/<other>       a link to /packages/…, for each package that it requires
async function install({ packages }) {
  if (packages === undefined) return {};
  const graph = readGraph();
  const wanted = packages.map((p) => graph.find(p));
  const all = path.join(OUT, '.all');
  fs.mkdirSync(all);
  // npm is asked for them under other names, all at the top and requiring nothing: it fetches, verifies and unpacks them, and lays out nothing.
  const names = wanted.map((_, i) => `p${i}`);
  const manifest = { name: 'packages', version: '0.0.0', dependencies: {} };
  const locked = {};
  wanted.forEach((p, i) => {
    manifest.dependencies[names[i]] = `npm:${p.real}@${p.exact}`;
    locked[`node_modules/${names[i]}`] = { name: p.real, version: p.exact, integrity: p.integrity };
  });
  fs.writeFileSync(path.join(all, 'package.json'), JSON.stringify(manifest));
  fs.writeFileSync(path.join(all, 'package-lock.json'), JSON.stringify({ ...manifest, lockfileVersion: 3, requires: true, packages: { '': manifest, ...locked } }));
  wanted.forEach((p) => progress(p, 'fetching', 0, wanted.length));
  await npm('installing packages', all, 'ci', '--no-bin-links');
  wanted.forEach((p, i) => {
    const modules = path.join(OUT, `${p.name}-${p.version}`, 'node_modules');
    fs.mkdirSync(path.dirname(path.join(modules, p.real)), { recursive: true });
    fs.renameSync(path.join(all, 'node_modules', names[i]), path.join(modules, p.real));
    for (const [name, target] of p.links) {
      if (name !== p.real) link(path.join(modules, name), target);
    }
    progress(p, 'installed', i + 1, wanted.length);
  });
  fs.rmSync(all, { recursive: true });
  return {};
}

function link(at, target) {
  fs.mkdirSync(path.dirname(at), { recursive: true });
  fs.rmSync(at, { force: true });
  fs.symlinkSync(target, at);
}

function progress(p, detail, done, total) {
  say({ progress: { verb: 'install', item: `${p.real}@${p.exact}`, detail, done, total } });
}

const request = JSON.parse(process.argv[2]);
const full = (error) => ['ENOSPC', 'EDQUOT'].includes(error?.code);
try {
  const result = await { resolve, install, build }[request.op](request);
  say({ result });
} catch (error) {
  if (error instanceof Refused) say({ error: error.reply });
  else if (full(error)) say({ error: { kind: 'exhausted', fault: 'worker', message: `the disk of the worker is full: free space there: ${error.message}` } });
  else say({ error: { kind: 'install', fault: 'worker', message: `${request.op}: ${error?.stack ?? error}` } });
}
