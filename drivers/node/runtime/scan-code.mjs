// What is suspicious in JavaScript, found by reading it with acorn.
//
// There are three questions to each file: is text decoded and then run, wherever it is; does importing the module start programs or reach the
// network; does one function read secrets and reach the network. What a name stands for is looked up in the scopes that the language has, for
// in minified code one letter means a hundred things.

import { parse } from './acorn.mjs';

// Files without any of these words have nothing to find, and need not be parsed.
const WORTH = /\b(eval|Function\s*\(|_compile|fetch\s*\(|XMLHttpRequest|WebSocket|atob|fromCharCode|dlopen)|["'`](node:)?(vm|child_process|https?|http2|net|tls|dgram|dns|node-fetch|axios|request|got|ws|base64|hex)\b|_0x[0-9a-f]{4}|;[ \t]{80,}\S/;
const REACHES = /\b(https?|http2|net|tls|dns|dgram|fetch|axios|request|got|XMLHttpRequest|WebSocket|ws)\b/;
const PROCESS = /^(child_process\.(exec|execSync|execFile|execFileSync|spawn|spawnSync|fork)|process\.dlopen)$/;
const NETWORK = /^(https?\.(get|request)|http2\.connect|net\.(connect|createConnection)|tls\.connect|dns\.(promises\.)?(lookup|resolve\w*)|dgram\.createSocket|fetch|node-fetch|axios(\.(get|post|put|request))?|request(\.(get|post|put))?|got(\.(get|post))?|XMLHttpRequest|WebSocket|ws)$/;
const RUNNERS = /^(eval|Function|vm\.(runInThisContext|runInNewContext|runInContext|compileFunction|Script)|.*\._compile|setTimeout|setInterval|require|module\.require)$/;
const DECODERS = /^(atob|zlib\.(inflate|inflateRaw|gunzip|unzip|brotliDecompress)Sync|String\.fromCharCode\.apply)$/;
const SECRETS = /(\.ssh\b|\.aws\b|\.npmrc\b|\.netrc\b|\.docker\/config|\.kube\/config|\.git-credentials|\.bash_history|id_rsa|\/etc\/(passwd|shadow)|Login Data|wallet\.dat)/;
const PRIVATE = /process\s*\.\s*env\b/;
const WHOLE = /^(JSON\.stringify|Object\.(keys|entries|values|assign))$/;
const LATER = /(^|\.)(then|forEach|map|setTimeout|setImmediate|nextTick|queueMicrotask|on|once)$/; // calls the function that it is given
const SCRAMBLED = 20; // different names as an obfuscator makes them
const PATIENCE = 5e6; // expressions of a file that are followed: one that names another twice, which does so too, has no end

const isFunction = (node) => node?.type === 'FunctionExpression' || node?.type === 'ArrowFunctionExpression' || node?.type === 'FunctionDeclaration';

function children(node) {
  const all = [];
  for (const key in node) {
    const value = node[key];
    if (value === null || typeof value !== 'object') continue;
    if (Array.isArray(value)) { for (const item of value) if (item?.type) all.push(item); } else if (value.type) all.push(value);
  }
  return all;
}

// The text with its escapes undone: names and strings may be written with them.
function plain(text) {
  return text.replace(/\\(?:u\{([0-9a-f]+)\}|u([0-9a-f]{4})|x([0-9a-f]{2})|([0-7]{1,3})|\r?\n|([^nrtbvfux\d\s]))/gi, (escape, braced, four, two, octal, itself = '') => {
    const number = octal === undefined ? parseInt(braced ?? four ?? two, 16) : parseInt(octal, 8);
    return number <= 0x10ffff ? String.fromCodePoint(number) : itself;
  });
}

// Returns [rule, line, reason] of what is in a file.
export function suspicions(text) {
  if (!WORTH.test(plain(text))) return [];
  const found = new Map();
  const add = (rule, line, reason) => { if (!found.has(rule + line)) found.set(rule + line, [rule, line, reason]); };
  const names = new Set(text.match(/\b_0x[0-9a-f]{4,8}\b/g));
  if (names.size >= SCRAMBLED) add('hidden-code', lineAt(text, text.indexOf('_0x')), `has ${names.size} names as an obfuscator makes them`);
  const aside = /;[ \t]{80,}[^\s/]/.exec(text);
  if (aside) add('hidden-code', lineAt(text, aside.index), 'has code behind so many blanks that an editor does not show it');
  try {
    const tree = read(text);
    if (tree !== undefined) new Reader(text, add).read(tree);
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
  return undefined; // it cannot be imported either
}

function lineAt(text, offset) {
  let line = 1;
  for (let i = text.indexOf('\n'); i >= 0 && i < offset; i = text.indexOf('\n', i + 1)) line++;
  return line;
}

// A scope knows, by name, {node, scope, path}: what a name stands for is the part `path` of the expression `node`, as it is understood in the scope.
// Without a node it is not known.
class Scope extends Map {
  constructor(above) { super(); this.above = above; }

  find(name) {
    for (let scope = this; scope; scope = scope.above) if (scope.has(name)) return scope.get(name);
    return undefined;
  }

  declare(name, node, scope, path = []) {
    const known = this.get(name);
    if (!known || (known.node === undefined && !known.given)) this.set(name, { node, scope, path, given: node !== undefined });
    else if (node !== undefined) this.set(name, { given: true }); // it is set twice
  }
}

class Reader {
  constructor(text, add) {
    this.text = text;
    this.add = (rule, node, reason) => add(rule, lineAt(text, node.start), reason);
    this.scopes = new Map(); // of functions
    this.called = new Set();
    this.steps = 0;
    const words = plain(text);
    this.private = REACHES.test(words) && (SECRETS.test(words) || PRIVATE.test(words)); // whether secrets is worth asking
  }

  read(tree) {
    const scope = new Scope();
    this.scopes.set(tree, scope);
    this.declareAll(tree, scope);
    this.look(tree, scope);
    const nodes = [...this.running(tree.body, scope)];
    this.atImport(nodes);
    if (this.private) this.secrets(nodes);
  }

  // ---- names

  declareAll(node, scope) {
    for (const child of children(node)) this.declareOne(child, scope, node);
  }

  declareOne(node, scope, parent) {
    if (node.type === 'VariableDeclarator') this.pattern(node.id, node.init ?? undefined, scope, scope);
    else if (node.type === 'AssignmentExpression' && node.left.type === 'Identifier') (this.owner(scope, node.left.name) ?? scope).declare(node.left.name, node.right, scope);
    else if (node.type === 'ImportDeclaration') {
      for (const s of node.specifiers) {
        const path = s.type === 'ImportSpecifier' ? [s.imported.name ?? s.imported.value] : [];
        scope.declare(s.local.name, node.source, scope, path);
        scope.get(s.local.name).module = true;
      }
    } else if (node.type === 'FunctionDeclaration' && node.id) scope.declare(node.id.name, node, scope);
    else if (node.type === 'ClassDeclaration' && node.id) scope.declare(node.id.name, undefined, scope);
    if (!isFunction(node)) {
      this.declareAll(node, scope);
      return;
    }
    const own = new Scope(scope);
    this.scopes.set(node, own);
    // Of a function that is called where it stands, the parameters are known.
    const given = parent?.type === 'CallExpression' && parent.callee === node ? parent.arguments : [];
    node.params.forEach((parameter, i) => this.pattern(parameter, given[i], own, scope));
    if (node.id && node.type === 'FunctionExpression') own.declare(node.id.name, node, scope);
    this.declareAll(node.body.type === 'BlockStatement' ? node.body : { body: [node.body] }, own);
  }

  owner(scope, name) {
    for (let one = scope; one; one = one.above) if (one.has(name)) return one;
    return undefined;
  }

  pattern(target, node, scope, where, path = []) {
    if (target.type === 'Identifier') scope.declare(target.name, node, where, path);
    else if (target.type === 'AssignmentPattern') this.pattern(target.left, node ?? target.right, scope, where, path);
    else if (target.type === 'ObjectPattern') {
      for (const p of target.properties) {
        if (p.type === 'Property' && !p.computed) this.pattern(p.value, node, scope, where, [...path, p.key.name ?? p.key.value]);
        else if (p.argument) this.pattern(p.argument, undefined, scope, where);
      }
    } else if (target.type === 'ArrayPattern') for (const p of target.elements) if (p) this.pattern(p, undefined, scope, where);
  }

  // Returns what an expression names, with dots, '?' where that is not known.
  name(node, scope, depth = 0) {
    if (depth > 30 || !node) return '?';
    switch (node.type) {
      case 'Identifier': {
        const known = scope.find(node.name);
        if (!known) return /^(globalThis|global|window|self)$/.test(node.name) ? '' : node.name;
        if (!known.node || isFunction(known.node)) return '?';
        const base = known.module ? module(known.node.value) : this.name(known.node, known.scope, depth + 1);
        return [base, ...known.path.filter((part) => part !== 'default')].join('.');
      }
      case 'MemberExpression': {
        const property = node.computed ? (node.property.type === 'Literal' ? String(node.property.value) : '?') : node.property.name;
        const below = this.name(node.object, scope, depth + 1);
        return below === '' || property === 'default' ? below + (below ? '' : property) : `${below}.${property}`;
      }
      case 'ChainExpression': return this.name(node.expression, scope, depth + 1);
      case 'SequenceExpression': return this.name(node.expressions.at(-1), scope, depth + 1);
      case 'AwaitExpression': return this.name(node.argument, scope, depth + 1);
      case 'ImportExpression': return node.source.type === 'Literal' ? module(node.source.value) : '?';
      case 'CallExpression': {
        const called = this.name(node.callee, scope, depth + 1);
        const first = node.arguments[0];
        if ((called === 'require' || called === 'module.require') && first?.type === 'Literal') return module(first.value);
        if (/(^|\.)__(importDefault|importStar|toESM)$|^_interopRequire/.test(node.callee.name ?? '')) return this.name(first, scope, depth + 1);
        return `${called}()`;
      }
      case 'NewExpression': return `${this.name(node.callee, scope, depth + 1)}()`;
      default: return '?';
    }
  }

  // ---- text that is decoded, and run

  // Returns how an expression gets its text when that hides it, undefined when it does not.
  how(node, scope, depth = 0) {
    if (depth > 15 || !node) return undefined;
    if (++this.steps > PATIENCE) throw new RangeError('tangled');
    const again = (other, where = scope) => this.how(other, where, depth + 1);
    switch (node.type) {
      case 'Identifier': {
        const known = scope.find(node.name);
        return known?.node && known.path.length === 0 && !known.module && !isFunction(known.node) ? again(known.node, known.scope) : undefined;
      }
      case 'AwaitExpression': return again(node.argument);
      case 'ChainExpression': return again(node.expression);
      case 'BinaryExpression': return again(node.left) ?? again(node.right);
      case 'AssignmentExpression': return again(node.right);
      case 'TemplateLiteral': return node.expressions.map((e) => again(e)).find(Boolean);
      case 'MemberExpression': return again(node.object);
      case 'CallExpression':
      case 'NewExpression': return this.howCalled(node, scope, depth, again);
      default: return undefined;
    }
  }

  howCalled(node, scope, depth, again) {
    const name = this.name(node.callee, scope);
    const second = node.arguments[1];
    if (DECODERS.test(name)) return `decoded by ${name}`;
    if (/^(Buffer(\.from)?)$/.test(name) && second?.type === 'Literal' && /^(base64(url)?|hex)$/.test(second.value)) return `decoded from ${second.value}`;
    if (name === 'String.fromCharCode' && (node.arguments.length > 7 || node.arguments[0]?.type === 'SpreadElement')) return 'put together from character codes';
    if (/\.join$/.test(name) && /\.reverse\(\)\.join$/.test(name)) return 'written backwards';
    if (NETWORK.test(name)) return `fetched by ${name}`;
    if (/createDecipher(iv)?\(\)\.(update|final)$/.test(name)) return 'deciphered';
    const callee = node.callee.type === 'Identifier' ? scope.find(node.callee.name) : undefined;
    const called = isFunction(node.callee) ? node.callee : callee?.node;
    if (isFunction(called) && depth < 8) {
      const own = this.scopes.get(called);
      const results = called.body.type === 'BlockStatement' ? called.body.body.filter((s) => s.type === 'ReturnStatement').map((s) => s.argument) : [called.body];
      return results.map((result) => again(result, own)).find(Boolean);
    }
    if (node.callee.type === 'MemberExpression') return again(node.callee.object);
    return /^(String|unescape|decodeURIComponent|Buffer\.from)$/.test(name) ? again(node.arguments[0]) : undefined;
  }

  // Looks at every node, wherever it is.
  look(node, scope) {
    const own = this.scopes.get(node) ?? scope;
    if (node.type === 'CallExpression' || node.type === 'NewExpression') {
      const name = this.name(node.callee, own);
      const text = node.arguments[name === 'Function' ? node.arguments.length - 1 : 0];
      const how = RUNNERS.test(name) && this.how(text, own);
      if (how && /require$/.test(name)) this.add('hidden-code', node, `requires a module whose name is ${how}`);
      else if (how) this.add('hidden-code', node, `${name} runs text that is ${how}`);
    } else if (node.type === 'ImportExpression') {
      const how = this.how(node.source, own);
      if (how) this.add('hidden-code', node, `imports a module whose name is ${how}`);
    } else if (this.private && isFunction(node)) this.secrets([...this.together(node.body, own)]);
    for (const child of children(node)) this.look(child, own);
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
    if (node.type === 'CallExpression') yield* this.runningCalls(node, scope, caller);
    for (const child of children(node)) yield* this.runningOne(child, scope, caller);
  }

  * runningCalls(node, scope, caller) {
    let { callee } = node;
    if (callee.type === 'MemberExpression' && isFunction(callee.object) && /^(call|apply)$/.test(callee.property.name)) callee = callee.object;
    const known = callee.type === 'Identifier' ? scope.find(callee.name)?.node : undefined;
    const inPlace = isFunction(callee);
    const all = inPlace || LATER.test(this.name(callee, scope)) ? [callee, ...node.arguments] : [known];
    for (const called of all) {
      if (!isFunction(called) || this.called.has(called)) continue;
      this.called.add(called);
      const body = called.body.type === 'BlockStatement' ? called.body.body : [called.body];
      yield* this.running(body, this.scopes.get(called), caller ?? (called === known ? node : undefined));
    }
  }

  // Whether a condition is false in a module that is imported.
  isMain(test, scope) {
    return test.type === 'BinaryExpression' && [test.left, test.right].some((side) => this.name(side, scope) === 'require.main');
  }

  atImport(nodes) {
    for (const [node, scope, caller] of nodes) {
      if (node.type !== 'CallExpression' && node.type !== 'NewExpression') continue;
      const name = this.name(node.callee, scope);
      const where = caller ? `${name}, in a function that line ${lineAt(this.text, caller.start)} calls` : name;
      if (PROCESS.test(name)) this.add('process', node, `${caller ? 'may start' : 'starts'} a program when it is imported (${where})`);
      else if (NETWORK.test(name)) this.add('network', node, `${caller ? 'may reach' : 'reaches'} for the network when it is imported (${where})`);
    }
  }

  // ---- secrets

  // Yields the nodes of a function with those of the functions that it gives to others.
  * together(node, scope) {
    yield [node, scope];
    for (const child of children(node)) {
      if (!isFunction(child)) yield* this.together(child, scope);
      else if (node.type === 'CallExpression') yield* this.together(child.body, this.scopes.get(child));
    }
  }

  secrets(nodes) {
    let read;
    let network = false;
    for (const [node, scope] of nodes) {
      const calls = node.type === 'CallExpression' || node.type === 'NewExpression';
      if (calls && NETWORK.test(this.name(node.callee, scope))) network = true;
      else read ??= this.secret(node, scope, calls);
    }
    if (read && network) this.add('secrets', read[0], `reads ${read[1]} and reaches for the network in one go`);
  }

  secret(node, scope, calls) {
    if (node.type === 'Literal' && typeof node.value === 'string' && node.value.length < 200 && SECRETS.test(node.value)) return [node, JSON.stringify(node.value)];
    const environment = (other) => other && this.name(other, scope) === 'process.env';
    if (calls && WHOLE.test(this.name(node.callee, scope)) && node.arguments.some(environment)) return [node, 'the whole environment'];
    if ((node.type === 'ForInStatement' && environment(node.right)) || (node.type === 'SpreadElement' && environment(node.argument))) return [node, 'the whole environment'];
    return undefined;
  }
}

const module = (name) => String(name).replace(/^node:/, '');
