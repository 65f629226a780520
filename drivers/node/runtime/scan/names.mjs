// What the names in JavaScript stand for: looked up in the scopes that the language has, for in minified code one letter means a hundred things.

import { PATIENCE, Texts } from './texts.mjs';

export const REQUIRES = /^((.*\.)?require|module\.createRequire\(\)|.*\._load|process\.getBuiltinModule)$/;
const BUILTIN = /^(child_process|process|https?|http2|net|tls|dgram|dns|fs|vm|worker_threads|module|os|cluster|eval|Function)\b/; // which of several things a name is taken for
const ITERATES = /^(forEach|map|filter|some|every|find|flatMap|findLast)$/;
const DEEP = 40; // names that stand for names
const ENTERED = 3; // calls of functions that are looked into with what they are given

export const isFunction = (node) => node?.type === 'FunctionExpression' || node?.type === 'ArrowFunctionExpression' || node?.type === 'FunctionDeclaration';

// What a function that is an argument gets as arguments itself, as far as that shows.
function givenTo(node, parent) {
  if (parent?.type !== 'CallExpression') return [];
  if (parent.callee === node) return parent.arguments;
  const method = parent.callee.property?.name ?? parent.callee.name;
  if (method === 'then' && parent.arguments[0] === node) return [parent.callee.object];
  if (ITERATES.test(method) && parent.callee.object && parent.arguments[0] === node) return [element(parent.callee.object)];
  if (/^(on|once)$/.test(method) && parent.callee.object && parent.arguments[0].value === 'data') return [parent.callee.object];
  return method === 'readFile' && parent.arguments.at(-1) === node ? [undefined, parent] : [];
}

// One of what an expression holds, whichever.
const element = (object) => ({ type: 'Element', object });

// The expressions of which one is what an expression is.
const either = ({ type, left, right, consequent, alternate }) => (type === 'ConditionalExpression' ? [consequent, alternate] : [left, right]);

// The expressions that a function returns.
export function results({ body }) {
  if (body.type !== 'BlockStatement') return [body];
  const found = [], rest = [...body.body];
  for (let node; (node = rest.shift());) {
    if (node.type === 'ReturnStatement' && node.argument) found.push(node.argument);
    else if (!isFunction(node)) rest.push(...children(node).filter(({ type }) => /Statement$|^(CatchClause|SwitchCase)$/.test(type)));
  }
  return found;
}

export function children(node) {
  const all = [];
  for (const key in node) {
    const value = node[key];
    if (value === null || typeof value !== 'object') continue;
    if (Array.isArray(value)) { for (const item of value) if (item?.type) all.push(item); } else if (value.type) all.push(value);
  }
  return all;
}

// A scope knows, by name, {node, scope, path}: what a name stands for is the part `path` of the expression `node`, as it is understood in the scope.
// Without a node it is not known.
export class Scope extends Map {
  constructor(above, level = above?.level ?? 0) { super(); this.above = above; this.level = level; } // level: of calls that are looked into

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

export class Names extends Texts {
  scopes = new Map(); // of functions
  classes = new Map(); // name -> node of a class
  methods = new Map(); // name -> all functions that are methods of that name
  getters = new Set(); // those of them that run when they are read
  grown = new Map(); // what is known of a variable -> what was appended to it, and its scope
  #assigned = []; // [assignment or call, scope]: looked at when all names are declared
  #known = new WeakMap(); // scope -> expression -> its name
  #deep = 0;
  #steps = 0;

  // Declares all names of a module.
  declareModule(tree, scope) {
    this.scopes.set(tree, scope);
    this.declareAll(tree, scope);
    for (const [node, where] of this.#assigned) {
      if (node.left?.type === 'Identifier') this.grown.set(where.find(node.left.name), [node.right, where]);
      else if (node.type === 'AssignmentExpression') this.owned(node.left.object, where)?.props.set(property(node.left), { node: node.right, scope: where });
      else this.declareGiven(node, where);
    }
    this.#known = new WeakMap();
  }

  // What parameters are given by the calls of a function that is known; by two calls they are not known.
  declareGiven(node, scope) {
    const called = this.functionOf(node.callee, scope), own = this.scopes.get(called);
    called?.params.forEach((parameter, i) => {
      const known = parameter.type === 'Identifier' ? own.get(parameter.name) : undefined;
      if (known && node.arguments[i] && node.arguments[i].type !== 'SpreadElement' && (!known.given || known.called)) {
        own.set(parameter.name, known.called ? { given: true } : { node: node.arguments[i], scope, path: [], given: true, called: true });
      }
    });
  }

  // What is known of the variable that an expression is, of which properties are set.
  owned(node, scope) {
    const known = node?.type === 'Identifier' ? scope.find(node.name) : undefined;
    if (known) known.props ??= new Map();
    return known;
  }

  declareAll(node, scope) {
    for (const child of children(node)) this.declareOne(child, scope, node);
  }

  declareOne(node, scope, parent) {
    if (isFunction(node.value) && node.key?.name) this.method(node.key.name, node.value, node.kind === 'get');
    if (/^Class(Declaration|Expression)$/.test(node.type)) this.classes.set(node.id?.name ?? parent.id?.name, node);
    if (node.type === 'AssignmentExpression' && node.operator === '+=' && node.left.type === 'Identifier') this.#assigned.push([node, scope]);
    else if (node.type === 'AssignmentExpression' && node.left.type === 'MemberExpression' && property(node.left)) {
      if (isFunction(node.right)) this.method(property(node.left), node.right);
      this.#assigned.push([node, scope]);
    } else if (node.type === 'CallExpression') this.#assigned.push([node, scope]);
    else if (node.type === 'ForOfStatement') this.pattern(node.left.declarations?.[0].id ?? node.left, element(node.right), scope, scope);
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
    // Of a function that is called where it stands, the parameters are known; and of what is called with the result of a promise or of a file.
    const given = givenTo(node, parent);
    node.params.forEach((parameter, i) => this.pattern(parameter, given[i], own, scope));
    this.declareAll({ parameters: node.params }, own);
    if (node.id && node.type === 'FunctionExpression') own.declare(node.id.name, node, scope);
    this.declareAll(node.body.type === 'BlockStatement' ? node.body : { body: [node.body] }, own);
  }

  method(name, node, getter) {
    this.methods.set(name, [...this.methods.get(name) ?? [], node]);
    if (getter) this.getters.add(node);
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
    } else if (target.type === 'ArrayPattern') target.elements.forEach((p, i) => p && this.pattern(p, node, scope, where, [...path, i]));
  }

  // Returns what an expression names, with dots, '?' where that is not known.
  name(node, scope) {
    if (!node || this.#deep > DEEP) return '?';
    let known = this.#known.get(scope);
    if (!known) this.#known.set(scope, known = new Map());
    if (known.has(node)) return known.get(node);
    known.set(node, '?'); // for what names itself
    this.#deep++;
    this.step();
    const name = this.#named(node, scope);
    this.#deep--;
    known.set(node, name);
    return name;
  }

  #named(node, scope) {
    const again = (other, where = scope) => this.name(other, where);
    switch (node.type) {
      case 'Identifier': {
        const known = scope.find(node.name);
        if (!known) return /^(globalThis|global|window|self)$/.test(node.name) ? '' : node.name;
        if (!known.node || isFunction(known.node)) return '?';
        if (known.module) return [module(known.node.value), ...known.path.filter((part) => part !== 'default')].join('.');
        return this.part(known.node, known.scope, known.path);
      }
      case 'MemberExpression': {
        const part = this.key(node, scope) ?? '?';
        if (part === 'constructor' && this.isCallable(node.object, scope)) return 'Function';
        const known = node.object.type === 'Identifier' ? scope.find(node.object.name)?.props?.get(part) : undefined;
        return known ? again(known.node, known.scope) : this.part(node.object, scope, [part]);
      }
      case 'ChainExpression': return again(node.expression);
      case 'SequenceExpression': return again(node.expressions.at(-1));
      case 'AssignmentExpression': return again(node.right);
      case 'SpreadElement':
      case 'AwaitExpression': return again(node.argument);
      case 'LogicalExpression':
      case 'ConditionalExpression': {
        const names = either(node).map((one) => again(one));
        return names.find((one) => BUILTIN.test(one)) ?? names[0];
      }
      case 'Element': return this.part(node.object, scope, [undefined]);
      case 'ImportExpression': return module(this.fold(node.source, scope) ?? '?');
      case 'CallExpression': return this.nameCalled(node, scope, again);
      case 'NewExpression': return `${again(node.callee)}()`;
      default: return '?';
    }
  }

  // The name of a part of an expression, of what stands there in brackets or braces too. An undefined step is any.
  part(node, scope, path, depth = 0) {
    const [held, where, ...rest] = this.held(node, scope, path);
    if (held === undefined || depth > DEEP) return '?';
    if (held !== node) return this.part(held, where, rest, depth + 1);
    const below = this.name(node, scope);
    const parts = path.filter((one) => one !== 'default').map((one) => one ?? '?');
    return [...below === '' ? [] : [below], ...parts].join('.') || below;
  }

  // Goes down from an expression by a path as far as it can be seen, and returns where that ends and what is left of the path.
  held(node, scope, path, depth = 0) {
    const stay = [node, scope, ...path];
    if (path.length === 0 || depth > 20 || !node) return depth > 20 ? [undefined] : stay;
    const [step, ...rest] = path;
    if (node.type === 'AwaitExpression') return this.held(node.argument, scope, path, depth + 1);
    if (node.type === 'Identifier') {
      const known = scope.find(node.name);
      const inside = known?.node && !known.module && known.path.length === 0 && /^(Object|Array|Await|Call)Expression$/.test(known.node.type);
      const [held, where, ...left] = inside ? this.held(known.node, known.scope, path, depth + 1) : stay;
      return left.length < path.length && held !== node ? [held, where, ...left] : stay;
    }
    if (node.type === 'CallExpression' && /^(Promise\.(all|resolve)|Object\.freeze)$/.test(this.name(node.callee, scope))) return this.held(node.arguments[0], scope, path, depth + 1);
    if (node.type === 'ArrayExpression' && typeof step !== 'string') {
      const found = step === undefined ? this.any(node.elements, scope) : node.elements[step];
      return found ? [found, scope, ...rest] : [undefined];
    }
    if (node.type !== 'ObjectExpression') return stay;
    const own = node.properties.find(({ key }) => (key?.name ?? key?.value) === step) ?? node.properties.find(({ type }) => type === 'SpreadElement');
    if (own?.type === 'SpreadElement') return [own.argument, scope, ...path];
    return own ? [own.value, scope, ...rest] : stay;
  }

  any(nodes, scope) {
    return nodes.find((one) => one && BUILTIN.test(this.name(one, scope))) ?? nodes.find(Boolean);
  }

  // What a member is called by.
  key(node, scope) {
    if (!node.computed) return node.property.name;
    return node.property.type === 'Literal' && typeof node.property.value === 'number' ? node.property.value : this.fold(node.property, scope);
  }

  nameCalled(node, scope, again) {
    const { name: called, given: [first, second] } = this.invoked(node, scope);
    const text = REQUIRES.test(called) || /^process\.(_linkedB|b)inding$/.test(called) ? this.fold(first, scope) : undefined;
    if (text !== undefined) return REQUIRES.test(called) ? module(text) : `process.binding.${text}`;
    if (called === 'util.promisify' || called === 'Object.freeze') return again(first);
    if (called === 'Object.assign') return again(node.arguments.at(-1));
    if (/^(Reflect\.get|Object\.getOwnPropertyDescriptor)$/.test(called)) return `${again(first)}.${this.fold(second, scope) ?? '?'}`;
    if (called.endsWith('.bind')) return called.slice(0, -'.bind'.length);
    if (/(^|\.)__(importDefault|importStar|toESM)$|^_interopRequire/.test(node.callee.name ?? '')) return again(first);
    const own = this.functionOf(node.callee, scope);
    if (own) {
      const inside = this.entered(own, node.arguments, scope);
      const names = results(own).map((result) => again(result, inside));
      const known = names.find((one) => BUILTIN.test(one)) ?? names[0];
      if (known !== undefined && !known.startsWith('?')) return known;
    }
    return `${called}()`;
  }

  // The scope of a function as a call sees it.
  entered(called, given, scope) {
    const own = this.scopes.get(called), inside = new Scope(own, scope.level + 1);
    if (given.length === 0 || called.params.length === 0 || inside.level > ENTERED) return own;
    called.params.forEach((parameter, i) => parameter.type === 'Identifier' && given[i] && inside.set(parameter.name, { node: given[i], scope, path: [], given: true }));
    return inside;
  }

  // Whether an expression is a function for certain, so that its constructor makes functions of text.
  isCallable(node, scope) {
    if (isFunction(node)) return true;
    if (node.type === 'CallExpression') return this.name(node.callee, scope) === 'Object.getPrototypeOf' && isFunction(node.arguments[0]);
    if (node.type !== 'MemberExpression') return node.type === 'Identifier' && /^(Function|Object|Array|eval|setTimeout)$/.test(this.name(node, scope));
    if ((node.computed ? this.fold(node.property, scope) : node.property.name) === 'constructor') return true;
    return ['Literal', 'TemplateLiteral', 'ArrayExpression', 'ObjectExpression'].includes(node.object.type);
  }

  // What a call calls, and what it gives to that: also through call, apply, bind and Reflect.
  invoked({ callee, arguments: given = [] }, scope) {
    const list = (node) => (node?.type === 'ArrayExpression' ? node.elements : []);
    given = given.flatMap((one) => (one.type === 'SpreadElement' && one.argument.type === 'ArrayExpression' ? one.argument.elements : [one]));
    const descriptor = callee?.type === 'MemberExpression' && callee.property.name === 'value' && this.name(callee.object.callee, scope) === 'Object.getOwnPropertyDescriptor';
    const name = this.name(descriptor ? callee.object : callee, scope);
    if (/^Reflect\.(apply|construct)$/.test(name)) return { name: this.name(given[0], scope), given: list(given.at(-1)) };
    const bound = callee?.type === 'CallExpression' && callee.callee.type === 'MemberExpression' && callee.callee.property.name === 'bind';
    if (bound) return { name: this.name(callee.callee.object, scope), given: [...callee.arguments.slice(1), ...given] };
    const how = callee?.type === 'MemberExpression' ? /(?:^|\.)(call|apply)$/.exec(name)?.[1] : undefined;
    if (how === undefined) return { name, given };
    return { name: this.name(callee.object, scope), given: how === 'call' ? given.slice(1) : list(given[1]) };
  }

  // The function of the file that an expression is for certain: by its name, or as the only method of that name.
  functionOf(node, scope) {
    if (!node || isFunction(node)) return node ?? undefined;
    if (node.type === 'ChainExpression') return this.functionOf(node.expression, scope);
    if (node.type === 'NewExpression') return isFunction(this.constructorOf(node, scope)) ? this.constructorOf(node, scope) : undefined;
    if (node.type === 'Identifier') return this.isFunctionHeld(scope.find(node.name));
    if (node.type !== 'MemberExpression') return undefined;
    if (/^(call|apply)$/.test(node.property.name) && this.functionOf(node.object, scope)) return this.functionOf(node.object, scope);
    const [held, , ...rest] = this.held(node.object, scope, [this.key(node, scope)]);
    if (rest.length === 0 && isFunction(held)) return held;
    let root = node.object;
    while (root.type === 'MemberExpression') root = root.object;
    const own = /^(This|New)Expression$|^Super$/.test(root.type) || root.type === 'Identifier' && scope.find(root.name) && !/^[a-z]/.test(this.name(root, scope));
    const all = own && !node.computed ? this.methods.get(node.property.name) : undefined;
    return all?.length === 1 ? all[0] : undefined;
  }

  isFunctionHeld(known) {
    if (isFunction(known?.node) && known.path.length === 0) return known.node;
    const [held, , ...rest] = known?.node && !known.module && known.path.length > 0 ? this.held(known.node, known.scope, known.path) : [];
    return isFunction(held) && rest.length === 0 ? held : undefined;
  }

  // The class or function that makes an object.
  constructorOf({ callee }, scope) {
    if (/^Class|^Function/.test(callee.type)) return callee;
    return callee.type === 'Identifier' ? this.classes.get(callee.name) ?? this.functionOf(callee, scope) : undefined;
  }

  step() {
    if (++this.#steps > PATIENCE) throw new RangeError('tangled');
  }
}

const module = (name) => String(name).replace(/^node:/, '');

const property = ({ computed, property: { name, value } }) => (computed ? value : name);
