// What is suspicious in JavaScript, found by reading it with acorn.
//
// There are three questions to each file: is text decoded and then run, wherever it is; does importing the module start programs or reach the
// network; do functions that call each other read secrets and reach the network.

import { parse } from '../install/acorn.mjs';
import { LATER, NETWORK, PRIVATE, PROCESS, REACHES, SECRETS, UNASKED } from './calls.mjs';
import { Hidden } from './hidden.mjs';
import { Scope, children, isFunction } from './names.mjs';
import { unseen, unseenText } from './text.mjs';

// Files without any of these words have nothing to find, and need not be parsed.
const WORTH = new RegExp([
  String.raw`\b(eval|Function\s*\(|_compile|fetch\s*\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|atob|fromCharCode|dlopen|_?(linkedB|b)inding|getBuiltinModule|mainModule|_load|_extensions|require\.extensions|SourceTextModule|runIn\w*Context|compileFunction|reallyExit|readFile|WebAssembly)`,
  String.raw`["'\`](node:)?(vm|child_process|cluster|worker_threads|https?|http2|net|tls|dgram|dns|node-fetch|undici|superagent|needle|axios|request|got|ws|base64|hex|data:)\b`,
  String.raw`_0x[0-9a-f]{4}|;[ \t]{80,}\S`,
  String.raw`\bimport\s*\(|\brequire\s*\(\s*([^"'\`\s)]|["'\`][^"'\`\n]*["'\`]\s*[^)\s])|\[\s*["'\`][^"'\`\]\n]*["'\`]\s*\+`, // names that are put together
  String.raw`\.constructor\s*[.([]|\["'\`]constructor["'\`]\]|["'\`][^"'\`\n]*\.(txt|dat|data|bin|log|csv|md|bak|tmp)["'\`]\s*[,)]`,
].join('|'));
const SCRAMBLED = 20; // different names as an obfuscator makes them

// The text with its escapes undone: names and strings may be written with them.
function plain(text) {
  return text.replace(/\\(?:u\{([0-9a-f]+)\}|u([0-9a-f]{4})|x([0-9a-f]{2})|([0-7]{1,3})|\r?\n|([^nrtbvfux\d\s]))/gi, (escape, braced, four, two, octal, itself = '') => {
    const number = octal === undefined ? parseInt(braced ?? four ?? two, 16) : parseInt(octal, 8);
    return number <= 0x10ffff ? String.fromCodePoint(number) : itself;
  });
}

// What others get from a file: name -> {process, network, secret}: by what a function of that name does the first two, and which secret it reads or
// is. "default" is the module itself. Others is as that of suspicions.
export function exported(text, others) {
  const words = plain(text);
  if (!WORTH.test(words) && !(REACHES.test(words) || SECRETS.test(words) || PRIVATE.test(words)) && !/\bfrom\b|require/.test(words)) return new Map();
  try {
    const tree = read(text);
    return tree === undefined ? new Map() : new Reader(text, () => {}, false, others).exported(tree);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return new Map(); // suspicions says so
  }
}

// Returns [rule, line, reason] of what is in a file. What others is called with is a name of another file of the package and what is taken of
// it, "./lib/run.start"; it returns what calling that does, as exported has it. Without it the file uses none that does anything.
export function suspicions(text, others) {
  const hidden = unseen(text);
  const words = plain(text);
  if (!hidden && !others && !WORTH.test(words) && !(REACHES.test(words) && (SECRETS.test(words) || PRIVATE.test(words)))) return [];
  const found = new Map();
  const add = (rule, line, reason) => { if (!found.has(rule + line)) found.set(rule + line, [rule, line, reason]); };
  const names = new Set(text.match(/\b_0x[0-9a-f]{4,8}\b/g));
  if (names.size >= SCRAMBLED) add('hidden-code', lineAt(text, text.indexOf('_0x')), `has ${names.size} names as an obfuscator makes them`);
  const aside = /;[ \t]{80,}[^\s/]/.exec(text);
  if (aside) add('hidden-code', lineAt(text, aside.index), 'has code behind so many blanks that an editor does not show it');
  for (const [offset, reason] of unseenText(text)) add('hidden-code', lineAt(text, offset), reason);
  try {
    const tree = read(text);
    if (tree !== undefined) new Reader(text, add, hidden, others).read(tree);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    add('hidden-code', 0, 'is nested or tangled too deep to be read');
  }
  return [...found.values()].sort((a, b) => a[1] - b[1]);
}

function read(text) {
  for (const sourceType of ['module', 'script']) {
    try {
      return parse(text, { sourceType, ecmaVersion: 'latest', allowHashBang: true, allowReturnOutsideFunction: true, allowAwaitOutsideFunction: true, allowImportExportEverywhere: true });
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  const older = text.replace(/\bassert(?=\s*\{\s*type\b)/g, 'with  '); // as Node.js 20 has it
  return older === text ? undefined : read(older); // it cannot be imported either
}

function lineAt(text, offset) {
  let line = 1;
  for (let i = text.indexOf('\n'); i >= 0 && i < offset; i = text.indexOf('\n', i + 1)) line++;
  return line;
}

class Reader extends Hidden {
  constructor(text, add, hidden, others) {
    super();
    this.text = text;
    this.others = others;
    this.hidden = hidden; // whether there are characters that nobody sees
    this.add = (rule, node, reason) => add(rule, lineAt(text, node.start), reason);
    this.called = new Set();
    this.kept = new Map(); // what a scope knows of a variable -> the secret that it gets
    this.parts = new WeakSet(); // expressions of which one part by a name is taken
    this.methodsCalled = new WeakSet(); // what is called of them
    this.passed = new WeakSet(); // environments of programs that are started
    const words = plain(text);
    this.internals = /ding|process\s*\[/.test(words);
    this.secretive = SECRETS.test(words) || PRIVATE.test(words); // whether it may read secrets
    this.private = REACHES.test(words) && this.secretive; // whether secrets is worth asking
  }

  read(tree) {
    const scope = new Scope();
    this.declareModule(tree, scope);
    if (this.private) this.keep(tree, scope);
    this.look(tree, scope);
    const nodes = [...this.running(tree.body, scope)];
    this.atImport(nodes);
    if (!this.private && !this.others) return;
    this.secrets(nodes);
    for (const { read, network } of this.flow(tree, scope).values()) this.told(read, network);
  }

  // ---- what runs at import

  // Yields the nodes of what runs when the statements do, with their scope and the node of the call that leads to them, if one does.
  * running(body, scope, caller) {
    for (const node of body) yield* this.runningOne(node, scope, caller);
  }

  * runningOne(node, scope, caller) {
    if (isFunction(node) || node.type === 'MethodDefinition' || (node.type === 'PropertyDefinition' && !node.static)) return;
    if (node.type === 'IfStatement' && this.isMain(node.test, scope)) {
      if (node.alternate) yield* this.runningOne(node.alternate, scope, caller);
      return;
    }
    yield [node, scope, caller];
    for (const called of this.runs(node, scope)) {
      if (this.called.has(called)) continue;
      this.called.add(called);
      const body = called.body?.type === 'BlockStatement' ? called.body.body : [called.body ?? called.value];
      const line = isFunction(node.callee ?? node) || LATER.test(this.name(node.callee, scope)) ? caller : caller ?? node;
      yield* this.running(body, this.scopes.get(called) ?? scope, line);
    }
    if (/^(Call|New)Expression$/.test(node.type)) yield* this.written(node, scope);
    for (const child of children(node)) yield* this.runningOne(child, scope, caller);
  }

  // Yields the functions of the file, and the values of fields, that a node runs.
  * runs(node, scope) {
    if (node.type === 'CallExpression') {
      const { callee } = node;
      const inPlace = isFunction(callee) || callee.type === 'MemberExpression' && isFunction(callee.object) && /^(call|apply)$/.test(callee.property.name);
      const all = [this.functionOf(callee, scope), ...inPlace || LATER.test(this.name(callee, scope)) ? node.arguments.map((one) => this.functionOf(one, scope)) : []];
      yield* all.filter(isFunction);
    } else if (node.type === 'NewExpression') yield* this.made(node, scope);
    else if (node.type === 'TaggedTemplateExpression') yield* [this.functionOf(node.tag, scope)].filter(isFunction);
    else if (node.type === 'MemberExpression' && this.getters.size > 0) yield* [this.functionOf(node, scope)].filter((one) => this.getters.has(one));
    else if (node.type === 'ObjectExpression') for (const { key, value, computed } of node.properties) if (key && isFunction(value) && UNASKED.test(computed ? this.name(key, scope) : key.name ?? '')) yield value;
  }

  // What runs when an object is made: constructors, fields, what the language calls; of a proxy all that its handler has.
  * made(node, scope) {
    const name = this.name(node.callee, scope);
    if (name === 'Proxy') for (const { value } of node.arguments[1]?.properties ?? []) if (isFunction(value)) yield value;
    if (LATER.test(name)) yield* node.arguments.map((one) => this.functionOf(one, scope)).filter(isFunction);
    const seen = new Set();
    for (let one = this.constructorOf(node, scope); one && !seen.has(one); one = one.superClass && this.constructorOf({ callee: one.superClass }, scope)) {
      seen.add(one);
      if (isFunction(one)) yield one;
      for (const { type, kind, key, value, computed, static: ofClass } of one.body.body ?? []) {
        if (type === 'PropertyDefinition' ? value && !ofClass && !isFunction(value) : kind === 'constructor' || value && !ofClass && UNASKED.test(computed ? this.name(key, scope) : key?.name ?? '')) yield isFunction(value) ? value : { value };
      }
    }
  }

  // Yields the nodes of code that a call runs and that stands there as text.
  * written(node, scope) {
    const { name, given } = this.invoked(node, scope);
    const text = /^(eval|Function|vm\.(run\w+|compileFunction|Script))$/.test(name) ? this.fold(given[name === 'Function' ? given.length - 1 : 0], scope) : undefined;
    if (text === undefined || !WORTH.test(text)) return;
    const tree = read(text), inside = new Scope(scope);
    if (tree === undefined) return;
    const place = (one) => { one.start = node.start; children(one).forEach(place); };
    place(tree);
    this.declareAll(tree, inside);
    yield* this.running(tree.body, inside, node);
  }

  // Whether a condition is false in a module that is imported.
  isMain(test, scope) {
    return test.type === 'BinaryExpression' && [test.left, test.right].some((side) => this.name(side, scope) === 'require.main');
  }

  atImport(nodes) {
    for (const [node, scope, caller] of nodes) {
      if (node.type !== 'CallExpression' && node.type !== 'NewExpression') continue;
      const { name, given } = this.invoked(node, scope);
      this.tell(node, this.effects(name), caller ? `${name}, in a function that line ${lineAt(this.text, caller.start)} calls` : name, caller);
      if (/(^|\.)(promisify|Reflect\.\w+|bind|call|apply|wrap\w*|toString|isFunction|equal|strictEqual|defineProperty|assign)$/.test(this.name(node.callee, scope))) continue;
      for (const one of given) {
        const passed = /^(Identifier|MemberExpression)$/.test(one?.type) ? this.name(one, scope) : '';
        if (PROCESS.test(passed)) this.tell(one, { process: true }, `${passed}, a function that may be called`, true);
      }
    }
  }

  tell(node, does, where, may) {
    if (does?.process) this.add('process', node, `${may ? 'may start' : 'starts'} a program when it is imported (${where})`);
    if (does?.network) this.add('network', node, `${may ? 'may reach' : 'reaches'} for the network when it is imported (${where})`);
  }

  // What calling something does.
  effects(name) {
    if (PROCESS.test(name)) return { process: true };
    if (NETWORK.test(name)) return { network: true };
    return this.of(name);
  }

  // ---- what others can call

  exported(tree) {
    const scope = new Scope(), found = new Map();
    this.declareModule(tree, scope);
    if (this.secretive) this.keep(tree, scope);
    const facts = this.flow(tree, scope);
    for (const [name, value] of this.exports(tree.body, scope)) {
      const does = this.does(value, scope, facts);
      if (Object.values(does).some(Boolean)) found.set(name, { ...found.get(name), ...does });
    }
    return found;
  }

  // What something that is exported does when it is called, or is.
  does(value, scope, facts) {
    const called = this.functionOf(value, scope);
    const other = this.of(this.name(value, scope));
    if (called === undefined) return { ...other, secret: other?.secret ?? (this.secretive && value ? this.readIn(value, scope)?.[1] ?? this.heldBy(value, scope)?.[1] : undefined) };
    const does = { secret: facts.get(called)?.read?.[1], sends: facts.get(called)?.network };
    this.called = new Set([called]);
    const body = called.body.type === 'BlockStatement' ? called.body.body : [called.body];
    for (const [node, where] of this.running(body, this.scopes.get(called) ?? scope)) {
      const found = /^(Call|New)Expression$/.test(node.type) && this.effects(this.invoked(node, where).name);
      does.process ||= found?.process;
      does.network ||= found?.network;
    }
    return does;
  }

  // Yields [name, expression] of what a module exports.
  * exports(body, scope) {
    const ofObject = function* ofObject(node) {
      for (const { key, value } of node.properties ?? []) if (key) yield [key.name ?? key.value, value];
    };
    for (const { type, expression, declaration, specifiers = [], source } of body) {
      if (source && type.startsWith('ExportNamed')) {
        for (const { local, exported } of specifiers) yield [exported.name ?? exported.value, { type: 'MemberExpression', object: { type: 'ImportExpression', source }, property: local }];
        continue;
      }
      if (type === 'ExportDefaultDeclaration') yield ['default', declaration];
      if (declaration?.type === 'FunctionDeclaration' && declaration.id) yield [declaration.id.name, declaration];
      for (const { id, init } of declaration?.declarations ?? []) yield [id.name, init];
      for (const { local, exported } of type === 'ExportNamedDeclaration' ? specifiers : []) yield [exported.name ?? exported.value, local];
      if (expression?.type !== 'AssignmentExpression' || expression.left.type !== 'MemberExpression') continue;
      const name = this.name(expression.left, scope).replace(/^module\.(?=exports\b)/, '');
      if (name === 'exports') yield* [['default', expression.right], ...ofObject(expression.right)];
      else if (name.startsWith('exports.')) yield [name.slice('exports.'.length), expression.right];
    }
  }
}
