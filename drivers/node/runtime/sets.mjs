// What a function's own files do before they import packages: the environment variables that they set, and whether they prepare for their imports otherwise.

import fs from 'node:fs';
import { isBuiltin } from 'node:module';
import path from 'node:path';
import { findHandler } from './handler.js';
import { CODE, esbuild } from './tools.mjs';

export const ALL = '*';

// Packages that read variables from files, and those that change how others are imported or what they find.
const READS_FILE = /^(dotenv(-\w+)?|custom-env)(\/|$)/;
const PREPARES = /^(dd-trace|newrelic|elastic-apm-node|appdynamics|@sentry\/|@opentelemetry\/|aws-xray-sdk|module-alias|app-module-path|tsconfig-paths|mock-require|proxyquire|rewire|pirates|[\w-]+-in-the-middle|ts-node|@swc\/register|@babel\/register|esm$|source-map-support\/register)/;
const GLOBALS = /^(globalThis|global|Date|Math|Promise|JSON|Object|Array|String|Function|Error|Map|Set|Intl|RegExp|process|console|Buffer|require|Module)$/;
const FUNCTION = /Function/;

// The names of the variables that the handler's file, and those of the function that it imports, set before a package is imported; "*" when it is not known which, or when
// they change what packages look at.
export async function setsOf(handler) {
  const [file] = findHandler(handler, CODE);
  if (file === undefined) return [];
  const out = '/tmp/sets/all.mjs';
  const { code } = await esbuild(file, '--bundle', '--packages=external', '--platform=node', '--format=esm', '--log-level=error', '--color=false', '--loader:.node=file', `--outfile=${out}`);
  return code === 0 ? setsIn(fs.readFileSync(out, 'utf8'), variablesIn) : []; // the import will say so
}

// The variables in a file of the function that has one in each line.
function variablesIn(file) {
  const at = path.resolve(CODE, file);
  if (!at.startsWith(`${CODE}/`) || !fs.existsSync(at)) return [];
  return [...fs.readFileSync(at, 'utf8').matchAll(/^\s*(?:export\s+)?([\w.-]+)\s*[=:]/gm)].map(([, name]) => name);
}

// The same of code that esbuild has made one file of: what runs first stands first, but for files of CommonJS, which are functions that are called.
export async function setsIn(code, variablesIn) {
  const { parse } = await import('./acorn.mjs');
  return new Reader(variablesIn).read(parse(code, { ecmaVersion: 'latest', sourceType: 'module', allowHashBang: true }));
}

class Reader {
  #variablesIn;
  #sets = new Set(); // before the last import of a package
  #since = []; // after it
  #modules = new Map(); // functions that are files, by their names
  #bound = new Map(); // what names of the code have been imported as

  constructor(variablesIn) {
    this.#variablesIn = variablesIn;
  }

  read(program) {
    this.#visit(program);
    return this.#sets.has(ALL) ? [ALL] : [...this.#sets].sort();
  }

  #visit(node) {
    if (FUNCTION.test(node.type)) return; // it may never run
    if (node.type === 'ImportDeclaration') this.#import(node.source.value, node.specifiers.map(({ local }) => local.name));
    else if (node.type === 'VariableDeclarator') this.#declare(node);
    else if (node.type === 'AssignmentExpression') this.#assign(node);
    else if (node.type === 'UnaryExpression' && node.operator === 'delete') this.#change(node.argument);
    else if (node.type === 'CallExpression') this.#call(node);
    else this.#children(node);
  }

  #children(node) {
    for (const child of Object.values(node).flat()) {
      if (typeof child?.type === 'string') this.#visit(child);
    }
  }

  #import(name, as = []) {
    for (const local of as) this.#bound.set(local, name);
    if (isBuiltin(name)) return;
    const before = [...this.#since];
    if (READS_FILE.test(name)) {
      if (/\/config$/.test(name)) this.#since.push(...this.#variablesIn('.env'));
      return;
    }
    this.#since = PREPARES.test(name) ? [ALL] : [];
    before.forEach((one) => this.#sets.add(one));
  }

  #declare({ id, init }) {
    if (init === null || init === undefined) return;
    const wrapped = init.type === 'CallExpression' && /^__(commonJS|esm)\w*$/.test(init.callee.name) && init.arguments[0]?.properties?.[0]?.value;
    if (wrapped) {
      this.#modules.set(id.name, wrapped.body);
      return;
    }
    this.#visit(init);
    const name = required(init) ?? (init.type === 'CallExpression' ? init.arguments.map(required).find((one) => one !== undefined) : undefined);
    if (name !== undefined && id.type === 'Identifier') this.#bound.set(id.name, name);
    if (name !== undefined && id.type === 'ObjectPattern') id.properties.forEach(({ value }) => value?.name && this.#bound.set(value.name, name));
  }

  #call(node) {
    const { callee, arguments: given } = node;
    const name = required(node), body = this.#modules.get(callee.name);
    if (name !== undefined) return this.#import(name);
    if (body !== undefined) {
      this.#modules.delete(callee.name);
      return this.#visit(body);
    }
    if (/^__toESM|^__toCommonJS/.test(callee.name)) return given.forEach((one) => this.#visit(one));
    this.#children(node);
    if (isMember(callee, 'Object', /^(assign|defineProperty|setPrototypeOf)$/) && given.length > 0) {
      if (!isEnvironment(given[0])) return this.#change({ type: 'MemberExpression', object: given[0], computed: true, property: {} });
      for (const more of given.slice(1)) this.#variables(more);
    }
    // dotenv.config(), require('dotenv').config({ path: 'x.env' }), and config() when it is dotenv's
    const of = callee.type === 'MemberExpression' ? required(callee.object) ?? this.#bound.get(root(callee)) : this.#bound.get(callee.name);
    if (of !== undefined && READS_FILE.test(of)) {
      const file = given[0]?.properties?.find(({ key }) => key?.name === 'path')?.value;
      this.#since.push(...(file === undefined ? this.#variablesIn('.env') : typeof file.value === 'string' ? this.#variablesIn(file.value) : [ALL]));
    }
    return undefined;
  }

  #variables(object) {
    const { type, value, properties = [{}] } = object;
    if (type === 'Literal') this.#since.push(String(value));
    else properties.forEach(({ key, computed }) => this.#since.push(key === undefined || computed ? ALL : key.name ?? key.value));
  }

  #assign({ left, right, operator }) {
    this.#visit(right);
    this.#change(left);
    if (operator !== '=' || left.type !== 'Identifier') return;
    const name = required(right);
    if (name !== undefined) this.#bound.set(left.name, name);
  }

  // A variable of the environment, or something that belongs to the language or a module of it.
  #change(target) {
    if (target.type !== 'MemberExpression') return;
    const { object, property, computed } = target;
    if (isEnvironment(object)) this.#since.push(computed ? property.value ?? ALL : property.name);
    else if (isEnvironment(target) || GLOBALS.test(root(target)) && !isMember(target, 'process', /^(exitCode|title)$/)) this.#since.push(ALL);
    else if (isBuiltin(required(rootNode(target)) ?? this.#bound.get(root(target)) ?? '')) this.#since.push(ALL);
  }
}

// The name in require('name').
function required(node) {
  const [first] = node.arguments ?? [];
  return node.type === 'CallExpression' && /^(__)?require$/.test(node.callee.name) && typeof first?.value === 'string' ? first.value : undefined;
}

function isMember(node, object, property) {
  return node.type === 'MemberExpression' && node.object.name === object && property.test(node.property.name ?? node.property.value);
}

function isEnvironment(node) {
  return isMember(node, 'process', /^env$/) || node.type === 'MemberExpression' && isMember(node.object, 'globalThis', /^process$/) && node.property.name === 'env';
}

function rootNode(node) {
  return node.type === 'MemberExpression' ? rootNode(node.object) : node;
}

function root(node) {
  return rootNode(node).name;
}
