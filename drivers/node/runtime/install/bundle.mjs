// What esbuild does in an installer: finding the imports of code, and bundling TypeScript.

import fs from 'node:fs';
import { createRequire, isBuiltin } from 'node:module';
import path from 'node:path';
import { CODE, Refused, esbuild } from './tools.mjs';
import { findHandler, isModule } from '../loop/handler.js';
import { up } from './lockfile.mjs';
import { read } from './sets.mjs';

const TYPESCRIPT = ['.ts', '.mts', '.cts'];
const UNREAD = 'require(any)';
const LATE = '='; // before the name of a module, or of all that are not known to be imported first
const COMMON = ['--bundle', '--packages=external', '--platform=node', '--log-level=error', '--color=false', '--loader:.node=file'];

// What the handler's file does whenever it is imported, directly or through other files of the function. Imports are the packages that it imports, as importModule of load.js
// has them: those of import statements with "import:" before them, since a package may have different files for them. Sets are as core has them.
export async function readCode(handler, packages) {
  const [file] = findHandler(handler, CODE);
  return file === undefined || needsBuild(file) ? { imports: [] } : scan(file, packages);
}

async function scan(file, packages) {
  const found = new Set(), files = new Set([file]), named = new Map(); // specifiers, as found is, with the modules that they stand for
  let order = { sets: [], first: [], changes: false };
  for (const one of files) {
    const { inputs, code } = await bundled(one);
    for (const [input, { imports }] of Object.entries(inputs)) {
      const outside = imports.filter(({ path: specifier, external }) => external && !isBuiltin(specifier));
      const atOnce = outside.some(({ kind }) => kind !== 'import-statement') ? await calledAtOnce(path.join(CODE, input)) : {};
      for (const { path: specifier, kind } of outside) {
        const name = moduleName(specifier, packages, path.dirname(input)), way = kind === 'require-call' ? '' : 'import:';
        if (name !== undefined) named.set(way + specifier, (named.get(way + specifier) ?? new Set()).add(way + name));
        if (kind !== 'import-statement' && !atOnce[kind]?.has(specifier)) continue;
        if (name !== undefined) found.add(way + name);
        else ownFile(specifier, input).forEach((own) => files.add(own));
      }
    }
    if (one === file) order = await read(code, (specifier) => named.has(specifier));
  }
  const first = order.first.map((specifier) => named.get(specifier)).flatMap((names) => (names.size === 1 ? [...names] : [])); // or nobody knows which
  const late = [...found].filter((name) => !first.includes(name)).map((name) => LATE + name);
  return { imports: [...found], sets: order.changes ? [...order.sets, ...late, `${LATE}*`] : order.sets };
}

// A file of the function with all others that it imports, but for packages, as one file, and what each of them imports.
async function bundled(file) {
  const meta = '/tmp/meta.json', out = '/tmp/scanned.mjs';
  const { code } = await esbuild(file, ...COMMON, '--format=esm', `--outfile=${out}`, `--metafile=${meta}`);
  if (code !== 0) return { inputs: {}, code: UNREAD }; // the import will say so, with all its words
  return { inputs: JSON.parse(fs.readFileSync(meta, 'utf8')).inputs, code: fs.readFileSync(out, 'utf8') };
}

// The file of the function that a package of its own, a directory, has for a specifier, if it is one.
function ownFile(specifier, input) {
  try {
    const file = createRequire(path.join(CODE, input)).resolve(specifier);
    return /\.[cm]?js$/.test(file) && file.startsWith(`${CODE}/`) ? [file] : [];
  } catch {
    return []; // the import will say so
  }
}

// What is inside of these may never run when the file does.
const LATER = /Function|^(If|Try|Switch|For|ForIn|ForOf|While)Statement$|^(Conditional|Logical)Expression$/;

// The specifiers that a file of JavaScript requires, and gives to import(), whenever it runs, by esbuild's names for these.
async function calledAtOnce(file) {
  const { parse } = await import('./acorn.mjs');
  const required = new Set(), imported = new Set();
  const visit = (node) => {
    if (LATER.test(node.type)) return;
    const [first] = node.arguments ?? [];
    if (node.type === 'CallExpression' && node.callee.name === 'require' && typeof first?.value === 'string') required.add(first.value);
    if (node.type === 'ImportExpression' && typeof node.source.value === 'string') imported.add(node.source.value);
    for (const child of Object.values(node).flat()) {
      if (typeof child?.type === 'string') visit(child);
    }
  };
  try {
    visit(parse(fs.readFileSync(file, 'utf8'), { ecmaVersion: 'latest', sourceType: isModule(file) ? 'module' : 'script', allowReturnOutsideFunction: true, allowHashBang: true }));
  } catch {
    // it is no JavaScript, or one that its import will have something to say of
  }
  return { 'require-call': required, 'dynamic-import': imported };
}

// A specifier with the real name and the version of its package, of which others may have other versions.
function moduleName(specifier, packages, directory) {
  const [, name, rest] = /^((?:@[^/]+\/)?[^/]+)(.*)$/.exec(specifier);
  const p = packages.top(name, directory);
  return p && `${p.real}@${p.version}${rest}`;
}

function needsBuild(file) {
  return TYPESCRIPT.includes(path.extname(file)) || fs.existsSync(path.join(CODE, 'tsconfig.json'));
}

// Bundles the function's own code, without its packages, into one file of JavaScript where the handler is looked for.
export async function build(handler, packages) {
  const [file] = findHandler(handler, CODE);
  if (!needsBuild(file)) return { imports: [] };
  const extension = path.extname(file).replace('t', 'j');
  const out = file.slice(0, -path.extname(file).length) + extension;
  const format = isModule(out) ? 'esm' : 'cjs';
  const { code, stderr } = await esbuild(file, ...COMMON, `--format=${format}`, `--target=node${process.versions.node}`, '--sourcemap', '--allow-overwrite', `--outfile=${out}`);
  if (code !== 0) throw new Refused('build', 'handler', `${path.relative(CODE, file)} cannot be built:\n${stderr.trim()}`);
  return scan(out, new Installed(packages));
}

function linkAt(file) {
  return fs.lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() ? fs.readlinkSync(file) : undefined;
}

// What moduleName asks of a Graph, of the packages that are installed and linked.
class Installed {
  #packages;

  constructor(packages) {
    this.#packages = packages;
  }

  top(alias, directory) {
    const link = up(directory, (at) => linkAt(path.join(CODE, at, 'node_modules', alias)));
    const [, root, base, , ...real] = link?.split('/') ?? [];
    const found = root === 'packages' && this.#packages.find(({ name, version }) => `${name}-${version}` === base);
    return found ? { real: real.join('/'), version: found.version } : undefined;
  }
}
