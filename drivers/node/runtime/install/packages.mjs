// Installs packages, each in a directory of its own:
//
//     /out/<name>-<version>/node_modules/<name>        the package
//     /out/<name>-<version>/node_modules/<other>       a link to /packages/…, for each package that it requires

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { isModule } from '../loop/handler.js';
import { bundled, target } from './lockfile.mjs';
import { Registry } from './registry.mjs';
import { Refused, say } from './tools.mjs';

const OUT = '/out';
const TRIAL = '/out/.scripts'; // where packages are together with what they require, while their scripts run

// Installs packages of the graph, and returns their receipts. They are what the request has: names, versions, digests.
export async function install(graph, packages) {
  process.umask(0o022);
  const registry = await Registry.open();
  const wanted = packages.map(({ archives, ...p }) => ({ ...graph.find(p), archives }));
  let done = 0;
  const receipts = await Registry.each(wanted, async (p) => {
    const { data, archive } = await put(registry, graph, p, OUT, '/packages');
    const signature = await registry.signature(p, archive);
    say({ progress: { verb: 'install', item: `${p.name}==${p.version}`, detail: 'fetched', bytes: data.length, done: ++done, total: wanted.length } });
    return { name: p.name, version: p.version, archive, bytes: data.length, signatures: [signature] };
  });
  await runScripts(registry, graph, wanted.filter(({ scripts }) => scripts));
  return wanted.map((p, i) => ({ ...receipts[i], ...described(p) }));
}

// Fetches a package into its directory below the root, and links what it requires.
async function put(registry, graph, p, root, others) {
  const fetched = await registry.fetch(p);
  const directory = target(root, p);
  registry.unpack(p, fetched.data, directory);
  for (const file of Object.values(bins(manifestOf(directory), p.real))) {
    if (fs.existsSync(path.join(directory, file))) fs.chmodSync(path.join(directory, file), 0o755);
  }
  linkRequired(graph, p, root, others);
  return fetched;
}

function linkRequired(graph, p, root, others) {
  for (const [name, other] of graph.requires(p)) {
    if (name !== p.real) link(`${root}/${p.base}/node_modules/${name}`, target(others, other));
  }
}

export function link(at, to) {
  fs.mkdirSync(path.dirname(at), { recursive: true });
  fs.rmSync(at, { force: true });
  fs.symlinkSync(to, at);
}

// Runs the install scripts of packages that may, one after the other, each among what it requires.
async function runScripts(registry, graph, packages) {
  if (packages.length === 0) return;
  hideSecrets();
  for (const p of packages) {
    for (const other of graph.closure(p)) {
      if (other.base !== p.base) await put(registry, graph, other, TRIAL, TRIAL);
    }
    linkRequired(graph, p, TRIAL, TRIAL);
    for (const [, other] of graph.requires(p)) {
      const directory = target(TRIAL, other);
      for (const [name, file] of Object.entries(bins(manifestOf(directory), other.real))) link(`${TRIAL}/${p.base}/node_modules/.bin/${name}`, path.join(directory, file));
    }
    const home = target(OUT, p), away = target(TRIAL, p);
    fs.mkdirSync(path.dirname(away), { recursive: true });
    fs.renameSync(home, away);
    for (const event of ['preinstall', 'install', 'postinstall']) await runScript(registry, p, event, away);
    fs.renameSync(away, home);
    fs.rmSync(TRIAL, { recursive: true });
  }
}

// Scripts are told nothing of how the registry is reached but its address. What this process was started with they could read in /proc.
function hideSecrets() {
  for (const [name, value] of Object.entries(process.env)) {
    if (/^npm_config_(\/\/|cert|key)/i.test(name)) delete process.env[name];
    else if (/registry$/i.test(name)) process.env[name] = value.replace(/\/\/[^/]*@/, '//');
  }
  process.on('SIGUSR1', () => {}); // or node would begin to listen for a debugger, who can read everything
  const addon = { exports: {} };
  process.dlopen(addon, fileURLToPath(new URL('../loop/pipsqueak.node', import.meta.url)));
  addon.exports.close();
}

async function runScript(registry, p, event, directory) {
  try {
    await registry.library('@npmcli/run-script')({ event, path: directory, stdio: 'pipe' });
  } catch (error) {
    throw new Refused('install', 'caller', `the ${event} script of ${p.real}@${p.exact} failed: ${error.message}\n${error.stdout ?? ''}\n${error.stderr ?? ''}`.trim());
  }
}

// The installed packages that have an install script which was not run: [package, what to do]. A package that may run its own says so in its version.
export function unrun(packages) {
  return packages.flatMap(({ name, version }) => {
    const real = name.replace('+', '/'), directory = target('/packages', { base: `${name}-${version}`, real });
    const { scripts, gypfile } = manifestOf(directory);
    const has = ['preinstall', 'install', 'postinstall'].some((event) => scripts?.[event]) || gypfile !== false && fs.existsSync(`${directory}/binding.gyp`);
    if (!has || /\+scripts(\.|$)/.test(version)) return [];
    return [[`${name}==${version}`, `has an install script, which was not run; if it does not work without, allow it with 'allow_scripts: ["${real}"]'`]];
  });
}

// The programs of a package: { name: file inside of it }.
function bins({ bin }, real) {
  const all = typeof bin === 'string' ? { [path.basename(real)]: bin } : bin ?? {};
  return Object.fromEntries(Object.entries(all).filter(([, file]) => typeof file === 'string').map(([name, file]) => [path.basename(name), path.join('/', file)]));
}

function manifestOf(directory) {
  try {
    return JSON.parse(fs.readFileSync(`${directory}/package.json`, 'utf8')) ?? {};
  } catch {
    return {}; // its import will say so
  }
}

// What is told of an installed package.
function described(p) {
  const directory = target(OUT, p), manifest = manifestOf(directory);
  const { license, licenses = [] } = manifest;
  const stated = [license ?? licenses].flat().map((one) => one?.type ?? one).filter((one) => typeof one === 'string');
  const inside = carried(directory).map((one) => [`${one.name} ${one.version}`, one]);
  return { modules: modules(p, directory, manifest), licenses: stated, bundles: [...new Map(inside).values()] };
}

// The packages that lie in a package, however deep.
function carried(directory) {
  const below = (dir) => fs.existsSync(dir) ? fs.readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => `${dir}/${name}`) : [];
  const all = below(`${directory}/node_modules`).flatMap((dir) => (path.basename(dir)[0] === '@' ? below(dir) : [dir]));
  return all.flatMap((dir) => [...bundled(manifestOf(dir)), ...carried(dir)]);
}

// The name by which a package can be imported, as importModule of load.js has it: with "import:" when require cannot. Nothing of it is run to
// find out.
function modules(p, directory, { exports }) {
  const name = `${p.real}@${p.version}`;
  let file;
  try {
    file = createRequire(`${path.dirname(directory)}/x.js`).resolve(p.real);
  } catch {
    const entry = importEntry(exports);
    return typeof entry === 'string' && fs.existsSync(path.join(directory, entry)) ? [`import:${name}`] : [];
  }
  if (/\.[cm]?ts$/.test(file)) return []; // types only
  return isModule(file) ? [`import:${name}`] : [name];
}

// The file that an import statement takes of the exports of a package.json.
function importEntry(exports) {
  if (exports === null || typeof exports !== 'object') return exports;
  if (Array.isArray(exports)) return exports.map(importEntry).find(Boolean);
  if ('.' in exports) return importEntry(exports['.']);
  return Object.entries(exports).filter(([condition]) => ['node', 'import', 'module-sync', 'default'].includes(condition)).map(([, to]) => importEntry(to)).find(Boolean);
}
