// What the Node.js driver runs in an installer's sandbox: resolve a function's packages, install them, or build its code.
//
// Started as `node installer.mjs REQUEST…`, REQUEST being JSON in one or more pieces. Answers over descriptor 3, in packets as core/driver/kit/installer has them:
// any number of {"progress": …}, then {"result": …} or {"error": …}.

import fs from 'node:fs';
import path from 'node:path';
import { build, readCode } from './bundle.mjs';
import { Graph } from './lockfile.mjs';
import { npmLock } from './npmlock.mjs';
import { install, link, unrun } from './packages.mjs';
import { CODE, Refused, npm, requested, say } from './tools.mjs';

const MANIFEST = 'package.json', MADE = 'package-lock.json';
const LOCKFILES = ['npm-shrinkwrap.json', MADE, 'pnpm-lock.yaml'];
const UNREAD = ['yarn.lock', 'bun.lock', 'bun.lockb', 'pnpm-workspace.yaml'];

// Finds the exact packages, and links the function's node_modules to where they will be.
async function resolve({ handler, allow, lock }) {
  const files = {};
  let graph = await readGraph(allow);
  if (graph === undefined && wantsPackages()) {
    if (lock !== undefined) throw new Refused('install', 'caller', `the lock of this function has no ${MADE}: run \`pipsqueak lock\`, and deploy both`);
    await makeLock();
    files[MADE] = fs.readFileSync(path.join(CODE, MADE), 'utf8');
    graph = await readGraph(allow);
  }
  const packages = graph?.locked() ?? [];
  if (lock !== undefined) agree(graph?.file ?? MANIFEST, packages, lock);
  if (graph === undefined) return { packages, files, imports: [] };
  for (const [at, to] of graph.links()) {
    if (isDirectory(at)) throw new Refused('install', 'caller', `${at} is in the function, and ${graph.file} too: deploy all that node_modules has, or nothing of it`);
    link(path.join(CODE, at), to);
  }
  return { packages, files, ...await readCode(handler, graph), offers: graph.names() };
}

// The lock file of the function, read. A function that brings its node_modules along has none that counts.
async function readGraph(allow) {
  if (vendored()) return undefined;
  const file = LOCKFILES.find((name) => fs.existsSync(path.join(CODE, name)));
  if (file === undefined) return undefined;
  try {
    if (file !== 'pnpm-lock.yaml') return new Graph(npmLock(file, readJSON(file), manifestIn), allow);
    const { pnpmLock, WORKSPACE } = await import('./pnpmlock.mjs');
    return new Graph(pnpmLock(file, readText(file), readText(WORKSPACE), manifestIn), allow);
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw new Refused('install', 'caller', `${file} is no lock file as its tool makes them (${error.message}): make it again, and deploy it`);
  }
}

// Whether node_modules has anything but the links that an earlier step has made.
function vendored() {
  const real = (dir) => fs.existsSync(dir) && fs.statSync(dir).isDirectory() && fs.readdirSync(dir, { withFileTypes: true })
    .some((entry) => !entry.name.startsWith('.') && !entry.isSymbolicLink() && (entry.name[0] !== '@' || real(path.join(dir, entry.name))));
  return real(path.join(CODE, 'node_modules'));
}

function wantsPackages() {
  if (!fs.existsSync(path.join(CODE, MANIFEST)) || fs.existsSync(path.join(CODE, 'node_modules'))) return false;
  const manifest = readJSON(MANIFEST);
  return manifest.workspaces !== undefined || ['dependencies', 'optionalDependencies', 'peerDependencies'].some((key) => Object.keys(manifest[key] ?? {}).length > 0);
}

const isDirectory = (at) => fs.lstatSync(path.join(CODE, at), { throwIfNoEntry: false })?.isDirectory() ?? false;

// The package.json of a directory of the function: {} when it has none, undefined when there is no such directory.
function manifestIn(directory) {
  if (!fs.statSync(path.join(CODE, directory), { throwIfNoEntry: false })?.isDirectory()) return undefined;
  const name = path.join(directory, MANIFEST);
  return fs.existsSync(path.join(CODE, name)) ? readJSON(name) : {};
}

function readText(name) {
  return fs.existsSync(path.join(CODE, name)) ? fs.readFileSync(path.join(CODE, name), 'utf8') : undefined;
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

// Makes the lock file that the function does not have. It stays in the code, and in the lock: the next deploy gets the same packages. It does
// not say where the worker's registry is.
async function makeLock() {
  const unread = UNREAD.find((name) => fs.existsSync(path.join(CODE, name)));
  if (unread !== undefined) {
    throw new Refused('install', 'caller', `${unread} alone says too little: make a lock file by \`npm install --package-lock-only\`, \`pnpm import\` or \`pnpm install --lockfile-only\`, and deploy it along`);
  }
  // A function cannot choose where packages come from.
  const config = path.join(CODE, '.npmrc'), aside = `${config}.aside`;
  const has = fs.existsSync(config);
  if (has) fs.renameSync(config, aside);
  try {
    // Since npm 12 an archive of a registry, which it reads for the packages in it, counts as remote; others are refused when the lock file is read.
    await npm('resolving package.json', CODE, 'install', '--package-lock-only', '--omit=dev', '--no-install-links', '--omit-lockfile-registry-resolved', '--allow-remote=all');
  } finally {
    if (has) fs.renameSync(aside, config);
  }
}

// Refuses a lock file that has other packages than the function's lock.
function agree(file, packages, lock) {
  const [a, b] = [packages, lock].map((all) => all.map(({ name, version }) => `${name}==${version}`));
  const other = a.find((p) => !b.includes(p)) ?? b.find((p) => !a.includes(p));
  if (other !== undefined) {
    throw new Refused('install', 'caller', `the lock of this function was made from another ${file}, or for another kind of machine: only one of them has ${other}; run \`pipsqueak lock\`, and deploy both`);
  }
  for (const { name, version, purl } of packages) { // by which lists of vulnerabilities know them
    const said = lock.find((p) => p.name === name && p.version === version).purl;
    if (said !== purl) {
      throw new Refused('install', 'caller', `the lock says that ${name}==${version} is ${JSON.stringify(said)?.slice(0, 200)}, and it is "${purl}": resolve again with \`pipsqueak lock\` or \`pipsqueak deploy --anew\``);
    }
  }
}

async function installAll({ packages, allow }) {
  return { receipts: packages === null ? [] : await install(await readGraph(allow), packages) };
}

async function buildAll({ handler, packages }) {
  for (const [item, detail] of unrun(packages ?? [])) say({ progress: { verb: 'install', item, detail, ended: true } });
  return build(handler, packages ?? []);
}

const request = requested();
const full = (error) => ['ENOSPC', 'EDQUOT'].includes(error?.code);
try {
  const result = await { resolve, install: installAll, build: buildAll }[request.op](request);
  say({ result });
} catch (error) {
  if (error instanceof Refused) say({ error: error.reply });
  else if (full(error)) say({ error: { kind: 'exhausted', fault: 'worker', message: `the disk of the worker is full: free space there: ${error.message}` } });
  else say({ error: { kind: 'install', fault: 'worker', message: `${request.op}: ${error?.stack ?? error}` } });
}
