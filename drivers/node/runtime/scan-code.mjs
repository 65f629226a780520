// What is suspicious in JavaScript, found by reading it with acorn.
//
// There are three questions to each file: is text decoded and then run, wherever it is; does importing the module start programs or reach the
// network; do functions that call each other read secrets and reach the network.

import { parse } from './acorn.mjs';
import { Names, REQUIRES, Scope, children, isFunction } from './scan-names.mjs';
import { unseen, unseenIn, unseenText } from './scan-text.mjs';

// Files without any of these words have nothing to find, and need not be parsed.
const WORTH = new RegExp([
  String.raw`\b(eval|Function\s*\(|_compile|fetch\s*\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|atob|fromCharCode|dlopen|_?(linkedB|b)inding|getBuiltinModule|mainModule|_load|_extensions|require\.extensions|SourceTextModule|runIn\w*Context|compileFunction)`,
  String.raw`["'\`](node:)?(vm|child_process|worker_threads|https?|http2|net|tls|dgram|dns|node-fetch|undici|superagent|needle|axios|request|got|ws|base64|hex|data:)\b`,
  String.raw`_0x[0-9a-f]{4}|;[ \t]{80,}\S`,
  String.raw`\bimport\s*\(|\brequire\s*\(\s*([^"'\`\s)]|["'\`][^"'\`\n]*["'\`]\s*[^)\s])|\[\s*["'\`][^"'\`\]\n]*["'\`]\s*\+`, // names that are put together
  String.raw`\.constructor\s*[.([]|\["'\`]constructor["'\`]\]|["'\`][^"'\`\n]*\.(txt|dat|data|bin|log|csv|md|bak|tmp)["'\`]\s*\)`,
].join('|'));
const REACHES = /\b(https?|http2|net|tls|dns|dgram|fetch|undici|superagent|needle|axios|request|got|XMLHttpRequest|WebSocket|EventSource|sendBeacon|ws)\b/;
const PROCESS = /^(child_process\.(exec|execSync|execFile|execFileSync|spawn|spawnSync|fork)|process\.dlopen|process\.binding\.(spawn_sync|process_wrap)\..+)$/;
const NETWORK = /^(https?\.(get|request)|http2\.connect|net\.(connect|createConnection|Socket)|tls\.connect|dns\.(promises\.)?(lookup|resolve\w*|Resolver)|dgram\.createSocket|fetch|node-fetch|undici\.(fetch|request|stream)|superagent(\.\w+)?|needle(\.\w+)?|axios(\.(get|post|put|request))?|request(\.(get|post|put))?|got(\.(get|post))?|XMLHttpRequest|WebSocket|EventSource|navigator\.sendBeacon|ws)$/;
const RUNNERS = /^(eval|Function|vm\.(runInThisContext|runInNewContext|runInContext|compileFunction|Script|SourceTextModule)|.*\._compile|worker_threads\.Worker|setTimeout|setInterval|require|module\.require)$/;
const LOADERS = /^(require\.extensions|(.*\.)?_extensions)\.\.\w+$/; // what Node.js loads a file with, by its extension
const READS = /^fs(\/promises|\.promises)?\.readFile(Sync)?$/;
const INTERNALS = /^process\.binding\.(spawn_sync|process_wrap|tcp_wrap|udp_wrap|pipe_wrap|cares_wrap|js_stream)$/;
export const DATA = /\.(txt|dat|data|bin|log|csv|md|bak|tmp)$/i; // that Node.js takes for JavaScript when they are required
const DECODERS = /^(atob|zlib\.(inflate|inflateRaw|gunzip|unzip|brotliDecompress)Sync|String\.fromCharCode\.apply)$/;
const SECRETS = /(\.ssh\b|\.aws\b|\.azure\b|\.gnupg\b|\.pgpass\b|\.config\/gcloud|\/proc\/(self|\d+)\/environ|\.npmrc\b|\.netrc\b|\.docker\/config|\.kube\/config|\.git-credentials|\.bash_history|id_rsa|\/etc\/(passwd|shadow)|Login Data|wallet\.dat)/;
const PRIVATE = /process\s*\.\s*env\b/;
const WHOLE = /^(.*\.stringify|Object\.(keys|entries|values|assign|fromEntries)|.*\.inspect|structuredClone|URLSearchParams|Map|v8\.serialize)$/;
const LATER = /^Promise$|(^|\.)(then|catch|finally|forEach|map|filter|find|some|every|reduce|flatMap|sort|setTimeout|setInterval|setImmediate|nextTick|queueMicrotask|on|once|addListener)$/; // calls the function that it is given
const SCRAMBLED = 20; // different names as an obfuscator makes them
const STEPS = 3; // calls over which a secret is followed to the network

// The text with its escapes undone: names and strings may be written with them.
function plain(text) {
  return text.replace(/\\(?:u\{([0-9a-f]+)\}|u([0-9a-f]{4})|x([0-9a-f]{2})|([0-7]{1,3})|\r?\n|([^nrtbvfux\d\s]))/gi, (escape, braced, four, two, octal, itself = '') => {
    const number = octal === undefined ? parseInt(braced ?? four ?? two, 16) : parseInt(octal, 8);
    return number <= 0x10ffff ? String.fromCodePoint(number) : itself;
  });
}

// What the functions of a file do that others can call: name -> ["process" or "network", by what], "default" for the module itself.
export function exported(text) {
  if (!WORTH.test(plain(text))) return new Map();
  try {
    const tree = read(text);
    return tree === undefined ? new Map() : new Reader(text, () => {}, false).exported(tree);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return new Map(); // suspicions says so
  }
}

// Returns [rule, line, reason] of what is in a file. What others is called with is a name of another file of the package and what is taken of
// it, "./lib/run.start"; it returns what calling that does, as exported has it. Without it the file uses none that does anything.
export function suspicions(text, others) {
  const hidden = unseen(text);
  if (!hidden && !others && !WORTH.test(plain(text))) return [];
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
  return undefined; // it cannot be imported either
}

function lineAt(text, offset) {
  let line = 1;
  for (let i = text.indexOf('\n'); i >= 0 && i < offset; i = text.indexOf('\n', i + 1)) line++;
  return line;
}

class Reader extends Names {
  constructor(text, add, hidden, others = () => undefined) {
    super();
    this.text = text;
    this.others = others;
    this.hidden = hidden; // whether there are characters that nobody sees
    this.add = (rule, node, reason) => add(rule, lineAt(text, node.start), reason);
    this.called = new Set();
    this.functions = new Map(); // all with their scopes, when they are asked for secrets
    this.kept = new Map(); // what a scope knows of a variable -> the secret that it gets
    this.parts = new WeakSet(); // expressions of which one part by a name is taken
    this.passed = new WeakSet(); // environments of programs that are started
    const words = plain(text);
    this.internals = /ding/.test(words);
    this.private = REACHES.test(words) && (SECRETS.test(words) || PRIVATE.test(words)); // whether secrets is worth asking
  }

  read(tree) {
    const scope = new Scope();
    this.scopes.set(tree, scope);
    this.declareAll(tree, scope);
    if (this.private) this.keep(tree, scope);
    this.look(tree, scope);
    const nodes = [...this.running(tree.body, scope)];
    this.atImport(nodes);
    if (this.private) {
      this.secrets(nodes);
      this.flow();
    }
  }

  // ---- text that is decoded, and run

  // Returns how an expression gets its text when that hides it, undefined when it does not.
  how(node, scope, depth = 0) {
    if (depth > 15 || !node) return undefined;
    this.step();
    const again = (other, where = scope) => this.how(other, where, depth + 1);
    switch (node.type) {
      case 'Identifier': {
        const known = scope.find(node.name);
        if (known?.module && /\.json$/.test(known.node.value)) return `read from the data file ${known.node.value}`;
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
    const { name, given: [first, second] } = this.invoked(node, scope);
    const file = READS.test(name) ? this.dataFile(first, scope) : REQUIRES.test(name) && /\.json$/.exec(this.tail(first, scope) ?? '')?.input;
    if (file) return `read from the data file ${file}`;
    const decoder = [name, this.name(node.callee, scope)].find((one) => DECODERS.test(one));
    if (decoder) return `decoded by ${decoder}`;
    if (/^(Buffer(\.from)?)$/.test(name) && second?.type === 'Literal' && /^(base64(url)?|hex)$/.test(second.value)) return `decoded from ${second.value}`;
    if (name === 'String.fromCharCode' && (node.arguments.length > 7 || first?.type === 'SpreadElement')) return 'put together from character codes';
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
    if (/^(String|unescape|decodeURIComponent|Buffer\.from|JSON\.parse)$/.test(name)) return again(first);
    return node.callee.type === 'MemberExpression' ? again(node.callee.object) : undefined;
  }

  // Looks at every node, wherever it is.
  look(node, scope) {
    const own = this.scopes.get(node) ?? scope;
    const unseen = this.hidden && /Identifier$|^(Literal|TemplateElement)$/.test(node.type) && unseenIn(node.value?.cooked ? { type: node.type, value: node.value.cooked } : node, this.text.slice(node.start, node.end));
    if (unseen) this.add('hidden-code', node, unseen);
    if (node.type === 'CallExpression' || node.type === 'NewExpression') {
      const { name, given } = this.invoked(node, own);
      const how = RUNNERS.test(name) && this.how(given[name === 'Function' ? given.length - 1 : 0], own);
      const inside = this.internals ? this.name(node, own) : '';
      const loaded = LOADERS.test(name) ? this.dataFile(given[1], own) : REQUIRES.test(name) && DATA.exec(this.tail(given[0], own) ?? '')?.input;
      if (INTERNALS.test(inside)) this.add('hidden-code', node, `takes ${inside.split('.').at(-1)} from the inside of Node.js, past the modules that programs and connections are made with`);
      if (loaded) this.add('hidden-code', node, `runs the data file ${loaded}`);
      else if (how && /require$/.test(name)) this.add('hidden-code', node, `requires a module whose name is ${how}`);
      else if (how) this.add('hidden-code', node, `${name} runs text that is ${how}`);
    } else if (node.type === 'ImportExpression') {
      const how = this.how(node.source, own) ?? (/^data:/i.test(this.start(node.source, own)) ? 'the code itself (data:)' : undefined);
      if (how) this.add('hidden-code', node, `imports a module whose name is ${how}`);
    } else if (/^(Import|ExportNamed|ExportAll)Declaration$/.test(node.type) && /^data:/i.test(node.source?.value)) this.add('hidden-code', node, 'imports a module whose name is the code itself (data:)');
    else if (this.private && isFunction(node)) this.functions.set(node, own);
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
    if (node.type === 'CallExpression' || node.type === 'NewExpression') yield* this.runningCalls(node, scope, caller);
    for (const child of children(node)) yield* this.runningOne(child, scope, caller);
  }

  * runningCalls(node, scope, caller) {
    let { callee } = node;
    if (callee.type === 'MemberExpression' && isFunction(callee.object) && /^(call|apply)$/.test(callee.property.name)) callee = callee.object;
    const known = this.functionOf(node.type === 'NewExpression' ? node : callee, scope);
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
      const { name } = this.invoked(node, scope);
      const where = caller ? `${name}, in a function that line ${lineAt(this.text, caller.start)} calls` : name;
      const [does] = this.effects(name) ?? [];
      if (does === 'process') this.add('process', node, `${caller ? 'may start' : 'starts'} a program when it is imported (${where})`);
      else if (does === 'network') this.add('network', node, `${caller ? 'may reach' : 'reaches'} for the network when it is imported (${where})`);
    }
  }

  // What calling something does.
  effects(name) {
    if (PROCESS.test(name)) return ['process', name];
    if (NETWORK.test(name)) return ['network', name];
    return name.startsWith('.') ? this.others(name) : undefined;
  }

  // ---- what others can call

  exported(tree) {
    const scope = new Scope(), found = new Map();
    this.scopes.set(tree, scope);
    this.declareAll(tree, scope);
    for (const [name, value] of this.exports(tree.body, scope)) {
      const called = this.functionOf(value, scope);
      if (called === undefined) continue;
      this.called = new Set([called]);
      const body = called.body.type === 'BlockStatement' ? called.body.body : [called.body];
      for (const [node, where] of this.running(body, this.scopes.get(called) ?? scope)) {
        const does = /^(Call|New)Expression$/.test(node.type) && this.effects(this.invoked(node, where).name);
        if (does && !found.has(name)) found.set(name, does);
      }
    }
    return found;
  }

  // Yields [name, expression] of what a module exports.
  * exports(body, scope) {
    const ofObject = function* ofObject(node) {
      for (const { key, value } of node.properties ?? []) if (key) yield [key.name ?? key.value, value];
    };
    for (const { type, expression, declaration, specifiers = [] } of body) {
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

  // ---- secrets

  // Says of each function whether it reads secrets and reaches for the network, itself or by functions of the file that it calls or gives to others:
  // who does it over more steps is a whole program.
  flow() {
    const facts = new Map([...this.functions].map(([one, scope]) => [one, this.facts(one, scope)]));
    for (let step = 0; step < STEPS; step++) {
      const now = new Map([...facts].map(([one, { read, network }]) => [one, { read, network }]));
      for (const fact of facts.values()) {
        for (const called of fact.calls) {
          fact.read ??= now.get(called)?.read;
          fact.network ||= now.get(called)?.network ?? false;
        }
      }
    }
    for (const { read, network } of facts.values()) this.tell(read, network);
  }

  facts(own, inside) {
    const fact = { read: undefined, network: false, calls: new Set() };
    const visit = (node, scope) => {
      this.fact(node, scope, fact);
      if (node.type === 'CallExpression') [node.callee, ...node.arguments].forEach((one) => fact.calls.add(this.functionOf(one, scope)));
      for (const child of children(node)) if (!isFunction(child)) visit(child, scope);
    };
    visit(own.body, inside);
    return fact;
  }

  fact(node, scope, fact) {
    const calls = node.type === 'CallExpression' || node.type === 'NewExpression';
    if (calls && NETWORK.test(this.invoked(node, scope).name)) fact.network = true;
    fact.read ??= this.secret(node, scope, calls) ?? (node.type === 'Identifier' && !this.parts.has(node) ? this.kept.get(scope.find(node.name)) : undefined);
  }

  tell(read, network) {
    if (read && network) this.add('secrets', read[0], `reads ${read[1]} and reaches for the network in one go`);
  }

  // Remembers which variables get secrets that are read in one place and may be sent from another.
  keep(node, scope) {
    const own = this.scopes.get(node) ?? scope;
    const [target, value] = node.type === 'AssignmentExpression' ? [node.left, node.right] : node.type === 'VariableDeclarator' ? [node.id, node.init] : [];
    if (target?.type === 'Identifier' && value && !isFunction(value)) {
      const read = this.readIn(value, own), known = own.find(target.name);
      if (read && known) this.kept.set(known, read);
    }
    if (node.type === 'MemberExpression' && !node.computed) this.parts.add(node.object);
    for (const child of children(node)) this.keep(child, own);
  }

  readIn(node, scope) {
    const read = this.secret(node, scope, node.type === 'CallExpression' || node.type === 'NewExpression');
    if (read) return read;
    for (const child of children(node)) {
      const found = isFunction(child) ? undefined : this.readIn(child, scope);
      if (found) return found;
    }
    return undefined;
  }

  secrets(nodes) {
    const fact = { read: undefined, network: false };
    for (const [node, scope] of nodes) this.fact(node, scope, fact);
    this.tell(fact.read, fact.network);
  }

  secret(node, scope, calls) {
    const text = /^(Literal|TemplateLiteral|BinaryExpression)$/.test(node.type) ? this.fold(node, scope) : undefined;
    if (text?.length < 200 && SECRETS.test(text)) return [node, JSON.stringify(text)];
    if (node.type === 'Property' && (node.key.name ?? node.key.value) === 'env') [node.value, ...node.value.properties ?? []].forEach((one) => this.passed.add(one));
    if (this.passed.has(node)) return undefined;
    const environment = (other) => other && (this.name(other, scope) === 'process.env' || (other.properties ?? other.elements ?? []).some((one) => environment(one?.argument ?? one?.value ?? one)));
    if (calls && (WHOLE.test(this.name(node.callee, scope)) || NETWORK.test(this.name(node.callee, scope))) && node.arguments.some(environment)) return [node, 'the whole environment'];
    if ((node.type === 'ForInStatement' && environment(node.right)) || (node.type === 'SpreadElement' && environment(node.argument))) return [node, 'the whole environment'];
    return undefined;
  }
}
