// What a function's own files do before they import packages: the environment variables that they set, and whether they prepare for their imports otherwise.

import fs from 'node:fs';
import { isBuiltin } from 'node:module';
import path from 'node:path';
import { OTHER, OWN, Scope, isEnvironment, isHarmless, isHelper, isMine, kindOf, memberKind, mine, ofData } from './effects.mjs';
import { CODE } from './tools.mjs';

const ALL = '*';

// Packages that read variables from files, and those that change how others are imported or what they find.
const READS_FILE = /^(dotenv(-\w+)?|custom-env)(\/|$)/;
const PREPARES = /^(dd-trace|newrelic|elastic-apm-node|appdynamics|@sentry\/|@opentelemetry\/|aws-xray-sdk|module-alias|app-module-path|tsconfig-paths|mock-require|proxyquire|rewire|pirates|[\w-]+-in-the-middle|ts-node|@swc\/register|@babel\/register|esm$|source-map-support\/register)/;
const OF_ESBUILD = /^__(require|create|defProp|defProps|getOwnProp\w+|getProtoOf|hasOwnProp|propIsEnum|commonJS|esm|export|copyProps|reExport|toESM|toCommonJS)$/; // that it writes at the top
const FUNCTION = /Function/, LATER = /^(If|Try|Switch|For|While|DoWhile)Statement$|^(Conditional|Logical)Expression$/; // what is in these may not run

// The variables in a file of the function that has one in each line.
function variablesIn(file) {
  const at = path.resolve(CODE, file);
  if (!at.startsWith(`${CODE}/`) || !fs.existsSync(at)) return [];
  return [...fs.readFileSync(at, 'utf8').matchAll(/^\s*(?:export\s+)?([\w.-]+)\s*[=:]/gm)].map(([, name]) => name);
}

// What code does that esbuild has made one file of: what runs first stands first, but for files of CommonJS, which are functions that are called. Sets are the
// variables that it sets before it imports a package, "*" when it is not known which. First are the imports of packages, as isPackage has them, before anything that
// may change what packages find when they are imported. Changes is whether there is such a thing.
export async function read(code, isPackage, variables = variablesIn) {
  const { parse } = await import('./acorn.mjs');
  return new Reader(isPackage, variables).read(parse(code, { ecmaVersion: 'latest', sourceType: 'module', allowHashBang: true }));
}

class Reader {
  #isPackage;
  #variablesIn;
  #sets = new Set(); // before the last import of a package
  #since = []; // after it
  #first = new Set();
  #certain = new Set(); // of those, whatever the conditions
  #changes = false;
  #perhaps = 0; // how many conditions decide whether this runs
  #modules = new Map(); // functions that are files, by their names
  #bound = new Map(); // what names of the code have been imported as
  #top = ofFile();
  #scope = this.#top;
  #inside = new Set(); // the functions that are being called

  constructor(isPackage, variablesIn) {
    this.#isPackage = isPackage;
    this.#variablesIn = variablesIn;
  }

  read(program) {
    this.#run(program.body);
    const sets = this.#sets.has(ALL) ? [ALL] : [...this.#sets].sort();
    return { sets, first: [...this.#first], changes: this.#changes };
  }

  // Statements, which may call functions that come later.
  #run(statements) {
    for (const node of statements) {
      const own = /^Export(Named|Default)Declaration$/.test(node.type) ? node.declaration : node;
      if (own?.type === 'FunctionDeclaration' && own.id) this.#scope.declare(own.id.name, kindOf(own, this.#scope));
    }
    statements.forEach((node) => this.#visit(node));
  }

  #in(scope, run) {
    const before = this.#scope;
    this.#scope = scope;
    run();
    this.#scope = before;
  }

  #within(names, run) {
    const inner = new Scope(this.#scope);
    for (const [name, kind] of names) inner.declare(name, kind);
    this.#in(inner, run);
  }

  #visit(node) {
    if (FUNCTION.test(node.type)) return; // it may never run
    const visit = this[`visit${node.type}`];
    if (visit !== undefined) visit.call(this, node);
    else if (LATER.test(node.type)) {
      this.#perhaps++;
      this.#children(node);
      this.#perhaps--;
    } else this.#children(node);
  }

  #children(node) {
    for (const child of Object.values(node).flat()) {
      if (typeof child?.type === 'string') this.#visit(child);
    }
  }

  visitImportDeclaration({ source, specifiers }) {
    const builtin = isBuiltin(source.value) && source.value.replace(/^node:/, '');
    for (const { imported, local } of specifiers) {
      const name = imported === undefined || imported.name === 'default' ? '' : `.${imported.name ?? imported.value}`;
      this.#bound.set(local.name, source.value);
      this.#scope.declare(local.name, builtin ? { language: builtin + name } : OTHER);
    }
    this.#import(source.value, 'import:');
  }

  visitExportAllDeclaration({ source }) {
    this.#import(source.value, 'import:');
  }

  visitExportNamedDeclaration(node) {
    if (node.source) this.#import(node.source.value, 'import:');
    else this.#children(node);
  }

  visitImportExpression(node) {
    if (typeof node.source.value === 'string') this.#import(node.source.value, 'import:');
    else {
      this.#visit(node.source);
      this.#importUnread(node.source);
    }
  }

  visitBlockStatement({ body }) {
    this.#within([], () => this.#run(body));
  }

  visitStaticBlock(node) {
    this.visitBlockStatement(node);
  }

  visitPropertyDefinition({ key, computed, value, static: atOnce }) {
    if (computed) this.#visit(key);
    if (atOnce && value) this.#visit(value);
  }

  visitClassDeclaration(node) {
    this.#scope.declare(node.id?.name, mine());
    this.#children(node);
  }

  visitForOfStatement({ left, right, body, await: awaits }) {
    this.#visit(right);
    if (awaits) this.#change();
    this.#perhaps++;
    this.#within(namesIn(left.declarations?.[0].id ?? left).map((name) => [name, kindOf(right, this.#scope) === OWN ? OWN : OTHER]), () => this.#visit(body));
    this.#perhaps--;
  }

  visitForInStatement(node) {
    this.visitForOfStatement(node);
  }

  visitCatchClause({ param, body }) {
    this.#within(namesIn(param).map((name) => [name, OTHER]), () => this.#visit(body));
  }

  visitAwaitExpression({ argument }) {
    this.#visit(argument);
    if (!isImport(argument) && kindOf(argument, this.#scope) !== OWN) this.#change(); // others have their turn
  }

  visitTaggedTemplateExpression(node) {
    this.#children(node);
    if (kindOf(node.tag, this.#scope).language !== 'String.raw') this.#change();
  }

  visitVariableDeclarator({ id, init }) {
    if (OF_ESBUILD.test(id.name)) return undefined;
    if (init === null || init === undefined) return this.#scope.declare(id.name, OWN);
    const wrapped = init.type === 'CallExpression' && /^__(commonJS|esm)\w*$/.test(init.callee.name) && init.arguments[0]?.properties?.[0]?.value;
    if (wrapped) return this.#modules.set(id.name, wrapped);
    this.#visit(init);
    this.#declare(id, kindOf(init, this.#scope));
    const name = required(init) ?? (init.type === 'CallExpression' ? init.arguments.map(required).find((one) => one !== undefined) : undefined);
    if (name !== undefined) for (const one of namesIn(id)) this.#bound.set(one, name);
    return undefined;
  }

  #declare(id, kind) {
    if (id.type === 'Identifier') return this.#scope.declare(id.name, kind);
    for (const name of namesIn(id)) this.#scope.declare(name, kind === OWN ? OWN : OTHER);
    for (const { key, value, computed } of id.type === 'ObjectPattern' ? id.properties : []) {
      if (value?.type === 'Identifier') this.#scope.declare(value.name, memberKind(kind, { property: key, computed }));
    }
    return undefined;
  }

  visitNewExpression(node) {
    node.arguments.forEach((one) => this.#visit(one));
    this.#called(node);
  }

  visitCallExpression(node) {
    const { callee, arguments: given } = node;
    const name = required(node), module = this.#modules.get(callee.name);
    if (name !== undefined) return this.#import(name, '');
    if (module !== undefined) return this.#load(callee.name, module);
    this.#children(node);
    if (/^(__)?require$/.test(callee.name) && this.#scope.find(callee.name) === undefined) return this.#importUnread(given[0]);
    if (isMember(callee, 'Object', /^(assign|defineProperty|setPrototypeOf)$/) && given.length > 0 && this.#isEnvironment(given[0])) {
      return given.slice(1).forEach((more) => this.#variables(more));
    }
    // dotenv.config(), require('dotenv').config({ path: 'x.env' }), and config() when it is dotenv's
    const of = callee.type === 'MemberExpression' ? required(callee.object) ?? this.#bound.get(root(callee)) : this.#bound.get(callee.name);
    if (of === undefined || !READS_FILE.test(of)) return this.#called(node);
    const file = given[0]?.properties?.find(({ key }) => key?.name === 'path')?.value;
    return this.#since.push(...(file === undefined ? this.#variablesIn('.env') : typeof file.value === 'string' ? this.#variablesIn(file.value) : [ALL]));
  }

  // A file of CommonJS, which is called when it is first required.
  #load(name, { params: [exports, module], body }) {
    const exported = mine(), own = mine([['exports', exported]]);
    this.#modules.delete(name);
    this.#top.declare(name, { returns: OTHER });
    const names = [[exports?.name, exported], [module?.name, own]];
    this.#in(this.#top, () => this.#within(names, () => this.#run(body.body)));
    this.#top.declare(name, { returns: own.known.get('exports') });
  }

  // A call of something that is no module, whose arguments were visited.
  #called({ callee, arguments: given }) {
    const called = callee.type === 'SequenceExpression' ? callee.expressions.at(-1) : callee;
    const [first] = given, data = ofData(called, this.#scope), kind = data ? OWN : kindOf(called, this.#scope);
    if (isHelper(called)) return;
    if (kind.body !== undefined) return this.#enter(kind, OTHER);
    if (kind.returns !== undefined) return;
    if (!data && !(kind.language !== undefined && isHarmless(kind.language, first ? kindOf(first, this.#scope) : OWN))) return this.#change();
    if (first && !data) kindOf(first, this.#scope).known?.clear(); // it may be assigned to
    for (const one of given) {
      const of = kindOf(one, this.#scope);
      if (of.body !== undefined) this.#enter(of, kind);
      else if (data && of !== OWN) this.#scope.assign(root(called), OTHER); // it may be in the data now
    }
  }

  // The body of a function of the file's, which is called here.
  #enter({ body: { params, body }, scope }, given) {
    if (this.#inside.has(body)) return;
    this.#inside.add(body);
    const names = params.flatMap((one) => namesIn(one).map((name) => [name, one.type === 'Identifier' && given === OWN ? OWN : OTHER]));
    this.#in(scope, () => this.#within(names, () => (body.type === 'BlockStatement' ? this.#run(body.body) : this.#visit(body))));
    this.#inside.delete(body);
  }

  #import(name, way) {
    if (isBuiltin(name)) return;
    if (PREPARES.test(name) || !this.#isPackage(way + name)) this.#change();
    if (!this.#changes) this.#first.add(way + name);
    else if (!this.#certain.has(way + name)) this.#first.delete(way + name);
    if (!this.#changes && this.#perhaps === 0) this.#certain.add(way + name);
    if (READS_FILE.test(name)) {
      if (/\/config$/.test(name)) this.#since.push(...this.#variablesIn('.env'));
      return;
    }
    this.#since.forEach((one) => this.#sets.add(one));
    this.#since = [];
  }

  // An import whose name cannot be read: of a package, which changes no more than any other, or of a file of the function's.
  #importUnread(name) {
    if (!isOfPackage(name)) this.#change();
  }

  #change() {
    this.#changes = true;
  }

  #isEnvironment(node) {
    return isEnvironment(kindOf(node, this.#scope));
  }

  #variables(object) {
    const { type, value, properties = [{}] } = object;
    if (type === 'Literal') this.#since.push(String(value));
    else properties.forEach(({ key, computed }) => this.#since.push(key === undefined || computed ? ALL : key.name ?? key.value));
  }

  visitAssignmentExpression({ left, right, operator }) {
    this.#visit(right);
    const kind = operator === '=' ? kindOf(right, this.#scope) : OTHER;
    this.#set(left, kind);
    if (left.type === 'Identifier' && required(right) !== undefined) this.#bound.set(left.name, required(right));
  }

  visitUpdateExpression({ argument }) {
    this.#set(argument, OWN);
  }

  visitUnaryExpression(node) {
    if (node.operator === 'delete') this.#set(node.argument, OWN);
    else this.#children(node);
  }

  // A variable of the environment, or something that belongs to the file, or to others.
  #set(target, kind) {
    if (target.type === 'Identifier') {
      if (!this.#scope.assign(target.name, kind)) this.#change();
      return;
    }
    if (target.type !== 'MemberExpression') return namesIn(target).forEach((name) => this.#set({ type: 'Identifier', name }, OTHER));
    const { object, property, computed } = target;
    this.#visit(object);
    if (computed) this.#visit(property);
    if (this.#isEnvironment(object)) this.#since.push(computed ? property.value ?? ALL : property.name);
    else if (this.#isEnvironment(target)) this.#since.push(ALL);
    else if (!isMember(target, 'process', /^(exitCode|title)$/)) {
      const of = kindOf(object, this.#scope);
      if (!isMine(of)) this.#change();
      if (computed) of.known?.clear();
      else of.known?.set(property.name, of.known.has(property.name) && this.#perhaps > 0 ? OTHER : kind);
      if (kind !== OWN && kindOf(rootNode(target), this.#scope) === OWN) this.#scope.assign(root(target), OTHER);
    }
  }
}

// The names that a file of CommonJS has before its own.
function ofFile() {
  const scope = new Scope(), exported = mine();
  scope.declare('exports', exported);
  scope.declare('module', mine([['exports', exported]]));
  return scope;
}

// Whether nothing but imports is awaited.
function isImport(node) {
  if (node.type === 'CallExpression' && isMember(node.callee, 'Promise', /^all(Settled)?$/)) return (node.arguments[0]?.elements ?? [OTHER]).every((one) => one !== null && isImport(one));
  return node.type === 'ImportExpression';
}

// Whether the name of a module is put together of text, and begins as no file's does.
function isOfPackage(node) {
  switch (node?.type) {
    case 'Literal': return typeof node.value === 'string' && !/^[./]/.test(node.value);
    case 'TemplateLiteral': return /^[^./]/.test(node.quasis[0].value.cooked);
    case 'BinaryExpression': return isOfPackage(node.left);
    case 'ArrayExpression': return isOfPackage(node.elements[0]);
    case 'CallExpression': return node.callee.type === 'MemberExpression' && isOfPackage(node.callee.object);
    default: return false;
  }
}

// The names that a pattern binds.
function namesIn(pattern) {
  switch (pattern?.type) {
    case 'Identifier': return [pattern.name];
    case 'ObjectPattern': return pattern.properties.flatMap((one) => namesIn(one.value ?? one.argument));
    case 'ArrayPattern': return pattern.elements.flatMap(namesIn);
    case 'AssignmentPattern': return namesIn(pattern.left);
    case 'RestElement': return namesIn(pattern.argument);
    default: return [];
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

function rootNode(node) {
  return node.type === 'MemberExpression' ? rootNode(node.object) : node;
}

function root(node) {
  return rootNode(node).name;
}
