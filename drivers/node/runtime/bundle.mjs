// What esbuild does in an installer: finding the imports of code, and bundling TypeScript.

import fs from 'node:fs';
import { isBuiltin } from 'node:module';
import path from 'node:path';
import { CODE, Refused, esbuild } from './tools.mjs';
import { findHandler, isModule } from './handler.js';

const TYPESCRIPT = ['.ts', '.mts', '.cts'];
const COMMON = ['--bundle', '--packages=external', '--platform=node', '--log-level=error', '--color=false', '--loader:.node=file'];

// The packages that the handler's file imports, directly or through other files of the function, as importModule of load.js has them: those
// of import statements with "import:" before them, since a package may have different files for them.
export async function importsOf(handler, graph) {
  const [file] = findHandler(handler, CODE);
  if (needsBuild(file)) return []; // what is built may have others
  return scan(file, graph);
}

async function scan(file, graph) {
  const meta = '/tmp/meta.json';
  const { code } = await esbuild(file, ...COMMON, '--format=esm', '--outdir=/tmp/scanned', `--metafile=${meta}`);
  if (code !== 0) return []; // the import will say so, with all its words
  const found = new Set();
  for (const { imports } of Object.values(JSON.parse(fs.readFileSync(meta, 'utf8')).inputs)) {
    for (const { path: specifier, kind, external } of imports) {
      if (!external || isBuiltin(specifier) || !['require-call', 'import-statement'].includes(kind)) continue;
      const name = moduleName(specifier, graph);
      if (name !== undefined) found.add((kind === 'import-statement' ? 'import:' : '') + name);
    }
  }
  return [...found];
}

// A specifier with the version of its package, where the function has several.
function moduleName(specifier, graph) {
  const [, name, rest] = /^((?:@[^/]+\/)?[^/]+)(.*)$/.exec(specifier);
  const { top, all } = graph.versions(name);
  if (top === undefined || top.real !== name) return undefined;
  return all.length > 1 ? `${name}@${top.version}${rest}` : specifier;
}

function needsBuild(file) {
  return TYPESCRIPT.includes(path.extname(file)) || fs.existsSync(path.join(CODE, 'tsconfig.json'));
}

// Bundles the function's own code, without its packages, into one file of JavaScript where the handler is looked for.
export async function build({ handler, packages = [] }) {
  const [file] = findHandler(handler, CODE);
  if (!needsBuild(file)) return { imports: [] };
  const extension = path.extname(file).replace('t', 'j');
  const out = file.slice(0, -path.extname(file).length) + extension;
  const format = isModule(out) ? 'esm' : 'cjs';
  const { code, stderr } = await esbuild(file, ...COMMON, `--format=${format}`, `--target=node${process.versions.node}`, '--sourcemap', '--allow-overwrite', `--outfile=${out}`);
  if (code !== 0) throw new Refused('build', 'handler', `${path.relative(CODE, file)} cannot be built:\n${stderr.trim()}`);
  return { imports: await scan(out, new Installed(packages)) };
}

// What moduleName asks of a Graph, of the packages that are installed and linked.
class Installed {
  #packages;

  constructor(packages) {
    this.#packages = packages.map(({ name, version }) => ({ real: name.replace('+', '/'), base: `${name}-${version}`, version }));
  }

  versions(name) {
    let base = '';
    try {
      base = fs.readlinkSync(path.join(CODE, 'node_modules', name)).split('/')[2];
    } catch {
      // it is not at the top
    }
    return { top: this.#packages.find((p) => p.base === base), all: this.#packages.filter((p) => p.real === name) };
  }
}
