// What code at the top of a file stands for, as far as it can be read: enough to tell what has no effect on packages that are imported after it.

import { isBuiltin } from 'node:module';

export const OWN = {}; // data that the file has made, with nothing in it that is not
export const OTHER = {};

// An object of the file's: its properties may be set, and what is not known of them may be anything.
export const mine = (known = []) => ({ known: new Map(known) });

const DATA = /^(undefined|NaN|Infinity|__dirname|__filename)$/;
const CLASSES = /^(String|Number|Boolean|BigInt|Symbol|Array|Object|Date|RegExp|\w*Error|(Weak)?(Map|Set)|URL|URLSearchParams|TextEncoder|TextDecoder|AbortController|\w+Array|Promise|Headers)$/;
const ASSIGNS = /^Object\.(assign|freeze|seal|defineProperty|defineProperties|setPrototypeOf|preventExtensions)$|^util\.inherits$/;
const GIVES = /^util\.(promisify|callbackify|deprecate|debuglog)$|^module\.createRequire$/; // functions, which do anything

// Calls of the language's own that change nothing but, perhaps, what they are given.
const LANGUAGE = [CLASSES, /^(parse(Int|Float)|is(NaN|Finite)|(en|de)codeURI(Component)?|atob|btoa|structuredClone)$/,
  /^(console|Math|JSON|Number|String|Array|Date|Promise|Buffer|Symbol|Intl|URL|performance)\.\w+$/, /^Reflect\.(has|get|ownKeys|getPrototypeOf)$/,
  /^Object\.(keys|values|entries|fromEntries|create|is|hasOwn|getOwnProperty\w+|getPrototypeOf)$/, ASSIGNS, GIVES,
  /^(__)?require\.resolve$/, /^process\.(cwd|loadEnvFile|uptime|hrtime(\.bigint)?|memoryUsage|cpuUsage)$/, /^(path|url|querystring|util|assert|string_decoder|buffer|stream)(\.|$)/,
  /^os\.(?!setPriority)/, /^fs\.(readFile|exists|l?stat|readdir|realpath|access)Sync$/, /^crypto\.(create|random|get|timingSafe|webcrypto)\w*/,
  /^zlib\.\w+Sync$/, /^events(\.EventEmitter)?$/, /^https?\.Agent$/, /^async_hooks\.Async\w+$/, /^perf_hooks\.performance\.now$/];

// Functions that compilers write into files, or take from tslib.
const HELPERS = /^(__(importDefault|importStar|exportStar|createBinding|setModuleDefault|toESM|toCommonJS|export|reExport|copyProps|awaiter|generator|rest|spreadArray|name|esModule)|_interopRequire(Default|Wildcard)|_export(_star|Star)?)$/;

export const isHelper = ({ name, property }) => HELPERS.test(name ?? property?.name ?? '');

// Whether a call of something of the language's own is without effect on others. The target is what it may change.
export const isHarmless = (called, target) => LANGUAGE.some((one) => one.test(called)) && (!ASSIGNS.test(called) || isMine(target));

// Whether properties of something may be set without effect on others.
export const isMine = (kind) => kind === OWN || kind.known !== undefined || kind.body !== undefined;

export const isEnvironment = ({ language }) => language === 'process.env';

const givesFunction = (called) => GIVES.test(called);

// The names of a file, or of a function or block in it, with what they stand for.
export class Scope {
  #names = new Map();
  #outer;

  constructor(outer) {
    this.#outer = outer;
  }

  declare(name, kind) {
    this.#names.set(name, kind);
  }

  find(name) {
    return this.#names.has(name) ? this.#names.get(name) : this.#outer?.find(name);
  }

  // Gives a name something else, which may be only sometimes. Returns whether there is the name.
  assign(name, kind) {
    if (!this.#names.has(name)) return this.#outer?.assign(name, kind) ?? false;
    const before = this.#names.get(name);
    this.#names.set(name, before === undefined || before === kind ? kind : OTHER);
    return true;
  }
}

// What an expression stands for: OWN, mine(), OTHER, { language: its name }, { body: a function, scope: of its names }
// or { returns: what a call of it stands for }.
export function kindOf(node, scope) {
  switch (node?.type) {
    case undefined: case 'Literal': case 'TemplateLiteral': case 'UnaryExpression': case 'UpdateExpression': case 'BinaryExpression': return OWN;
    case 'Identifier': return scope.find(node.name) ?? named(node.name);
    case 'ThisExpression': case 'ClassDeclaration': case 'ClassExpression': return mine();
    case 'MetaProperty': return OWN;
    case 'FunctionDeclaration': case 'FunctionExpression': case 'ArrowFunctionExpression': return { body: node, scope };
    case 'ArrayExpression': return allOwn(node.elements.filter(Boolean), scope) ? OWN : mine();
    case 'ObjectExpression': return allOwn(node.properties, scope) ? OWN : mine(node.properties.filter(isPlain).map(({ key, value }) => [nameOf(key), kindOf(value, scope)]));
    case 'Property': return node.computed && kindOf(node.key, scope) !== OWN ? OTHER : kindOf(node.value, scope);
    case 'SpreadElement': return kindOf(node.argument, scope);
    case 'SequenceExpression': return kindOf(node.expressions.at(-1), scope);
    case 'ChainExpression': case 'ParenthesizedExpression': return kindOf(node.expression, scope);
    case 'AssignmentExpression': return kindOf(node.right, scope);
    case 'LogicalExpression': return allOwn([node.left, node.right], scope) ? OWN : OTHER;
    case 'ConditionalExpression': return allOwn([node.consequent, node.alternate], scope) ? OWN : OTHER;
    case 'MemberExpression': return memberKind(kindOf(node.object, scope), node);
    case 'CallExpression': case 'NewExpression': return resultKind(node, scope);
    default: return OTHER;
  }
}

function named(name) {
  if (DATA.test(name)) return OWN;
  return { language: name };
}

// What a property of something stands for.
export function memberKind(kind, { property, computed }) {
  if (kind === OWN) return OWN;
  if (kind.known?.has(nameOf(property)) && !computed) return kind.known.get(nameOf(property));
  if (isMine(kind) && !computed && property.name === 'prototype') return mine();
  if (kind.known !== undefined && !computed && property.name === 'default') return kind; // of an import
  if (isEnvironment(kind)) return OWN;
  if (kind.language === undefined || computed && typeof property.value !== 'string') return OTHER;
  const name = computed ? property.value : property.name;
  if (name === 'default') return kind; // of an import
  const whole = /^(globalThis|global)$/.test(kind.language) ? name : `${kind.language}.${name}`;
  return /^process\.(argv|platform|arch|version|pid)$/.test(whole) ? OWN : { language: whole };
}

function resultKind(node, scope) {
  const { callee, arguments: given } = node, [first] = given;
  if (/^(__)?require$/.test(callee.name) && typeof first?.value === 'string') {
    return isBuiltin(first.value) ? { language: first.value.replace(/^node:/, '') } : OTHER;
  }
  const { returns } = scope.find(callee.name) ?? {};
  if (returns !== undefined) return returns;
  if (isHelper(callee)) return callee.name === '__toESM' ? kindOf(first, scope) : OTHER;
  const kind = ofData(callee, scope) ? OWN : kindOf(callee, scope);
  const harmless = kind === OWN || kind.language !== undefined && isHarmless(kind.language, OWN) && !givesFunction(kind.language);
  return harmless && given.every((one) => givenKind(one, scope, kind) === OWN) ? OWN : OTHER;
}

// Whether a method of data is called.
export const ofData = (callee, scope) => callee.type === 'MemberExpression' && kindOf(callee.object, scope) === OWN;

// What an argument stands for, or, of a function that data calls with what is in it, the result.
function givenKind(node, scope, of) {
  if (node.type !== 'ArrowFunctionExpression' || !node.expression) return kindOf(node, scope);
  const inner = new Scope(scope);
  for (const { name } of node.params) inner.declare(name, of);
  return kindOf(node.body, inner);
}

const nameOf = ({ name, value }) => name ?? value;
const isPlain = ({ type, kind, computed }) => type === 'Property' && kind === 'init' && !computed;

function allOwn(nodes, scope) {
  return nodes.every((node) => kindOf(node, scope) === OWN);
}
