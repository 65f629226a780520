// What the names in JavaScript stand for: looked up in the scopes that the language has, for in minified code one letter means a hundred things.

export const REQUIRES = /^((.*\.)?require|module\.createRequire\(\)|.*\._load|process\.getBuiltinModule)$/;
const CODE = /\.([cm]?[jt]sx?|node|wasm)$/i; // files that are looked at as what they are
const PATIENCE = 5e6; // expressions of a file that are followed: one that names another twice, which does so too, has no end

export const isFunction = (node) => node?.type === 'FunctionExpression' || node?.type === 'ArrowFunctionExpression' || node?.type === 'FunctionDeclaration';

// What a function that is an argument gets as arguments itself, as far as that shows.
function givenTo(node, parent) {
  if (parent?.type !== 'CallExpression') return [];
  if (parent.callee === node) return parent.arguments;
  const method = parent.callee.property?.name ?? parent.callee.name;
  if (method === 'then' && parent.arguments[0] === node) return [parent.callee.object];
  return method === 'readFile' && parent.arguments.at(-1) === node ? [undefined, parent] : [];
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

export class Names {
  scopes = new Map(); // of functions
  classes = new Map(); // name -> constructor
  methods = new Map(); // name -> all functions that are methods of that name
  #steps = 0;
  #folds = 0;

  declareAll(node, scope) {
    for (const child of children(node)) this.declareOne(child, scope, node);
  }

  declareOne(node, scope, parent) {
    if (isFunction(node.value) && node.key?.name) this.methods.set(node.key.name, [...this.methods.get(node.key.name) ?? [], node.value]);
    if (/^Class(Declaration|Expression)$/.test(node.type)) this.classes.set(node.id?.name ?? parent.id?.name, node.body.body.find(({ kind }) => kind === 'constructor')?.value);
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
        const property = (node.computed ? this.fold(node.property, scope) : node.property.name) ?? '?';
        if (property === 'constructor' && this.isCallable(node.object, scope)) return 'Function';
        const below = this.name(node.object, scope, depth + 1);
        return below === '' || property === 'default' ? below + (below ? '' : property) : `${below}.${property}`;
      }
      case 'ChainExpression': return this.name(node.expression, scope, depth + 1);
      case 'SequenceExpression': return this.name(node.expressions.at(-1), scope, depth + 1);
      case 'AwaitExpression': return this.name(node.argument, scope, depth + 1);
      case 'ImportExpression': return module(this.fold(node.source, scope) ?? '?');
      case 'CallExpression': {
        const { name: called, given: [first] } = this.invoked(node, scope, depth + 1);
        const text = REQUIRES.test(called) || /^process\.(_linkedB|b)inding$/.test(called) ? this.fold(first, scope) : undefined;
        if (text !== undefined) return REQUIRES.test(called) ? module(text) : `process.binding.${text}`;
        if (called === 'util.promisify') return this.name(first, scope, depth + 1);
        if (called.endsWith('.bind')) return called.slice(0, -'.bind'.length);
        if (/(^|\.)__(importDefault|importStar|toESM)$|^_interopRequire/.test(node.callee.name ?? '')) return this.name(first, scope, depth + 1);
        return `${called}()`;
      }
      case 'NewExpression': return `${this.name(node.callee, scope, depth + 1)}()`;
      default: return '?';
    }
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
  invoked({ callee, arguments: given = [] }, scope, depth = 0) {
    const list = (node) => (node?.type === 'ArrayExpression' ? node.elements : []);
    const name = this.name(callee, scope, depth);
    if (/^Reflect\.(apply|construct)$/.test(name)) return { name: this.name(given[0], scope, depth), given: list(given.at(-1)) };
    const bound = callee?.type === 'CallExpression' && callee.callee.type === 'MemberExpression' && callee.callee.property.name === 'bind';
    if (bound) return { name: this.name(callee.callee.object, scope, depth), given: [...callee.arguments.slice(1), ...given] };
    const how = callee?.type === 'MemberExpression' ? /(?:^|\.)(call|apply)$/.exec(name)?.[1] : undefined;
    if (how === undefined) return { name, given };
    return { name: this.name(callee.object, scope, depth), given: how === 'call' ? given.slice(1) : list(given[1]) };
  }

  // The text that an expression is, put together as it may be; undefined when it cannot be known.
  fold(node, scope, depth = 0) {
    if (!node || depth > 15 || ++this.#folds > PATIENCE) return undefined;
    const again = (other, where = scope) => this.fold(other, where, depth + 1);
    const joined = (parts, by = '') => (parts.includes(undefined) ? undefined : parts.join(by));
    switch (node.type) {
      case 'Literal': return node.value === null || node.regex ? undefined : String(node.value);
      case 'TemplateLiteral': return joined(node.quasis.flatMap(({ value }, i) => [value.cooked ?? undefined, ...i < node.expressions.length ? [again(node.expressions[i])] : []]));
      case 'BinaryExpression': return node.operator === '+' ? joined([again(node.left), again(node.right)]) : undefined;
      case 'Identifier': {
        const known = scope.find(node.name);
        return known?.node && known.path.length === 0 && !known.module ? again(known.node, known.scope) : undefined;
      }
      case 'CallExpression': {
        const { object, property } = node.callee;
        if (property?.name === 'join' && object.type === 'ArrayExpression') return joined(object.elements.map((one) => again(one)), node.arguments[0] ? again(node.arguments[0]) : ',');
        return property?.name === 'concat' ? joined([object, ...node.arguments].map((one) => again(one))) : undefined;
      }
      default: return undefined;
    }
  }

  // The end of the path that an expression is, as far as it can be known.
  tail(node, scope, depth = 0) {
    if (!node || depth > 15) return undefined;
    const again = (other, where = scope) => this.tail(other, where, depth + 1);
    switch (node.type) {
      case 'TemplateLiteral': return node.quasis.at(-1).value.cooked || again(node.expressions.at(-1));
      case 'BinaryExpression': return again(node.right);
      case 'Identifier': {
        const known = scope.find(node.name);
        return known?.node && known.path.length === 0 && !known.module ? again(known.node, known.scope) : undefined;
      }
      case 'NewExpression':
      case 'CallExpression': {
        const name = this.name(node.callee, scope);
        if (/^path(\/posix|\.posix)?\.(join|resolve)$/.test(name)) return again(node.arguments.at(-1));
        return /^(URL|url\.(URL|fileURLToPath)|require\.resolve)$/.test(name) ? again(node.arguments[0]) : undefined;
      }
      default: return this.fold(node, scope);
    }
  }

  // How an expression that is put together begins.
  start(node, scope, depth = 0) {
    if (node.type === 'TemplateLiteral') return node.quasis[0].value.cooked ?? '';
    if (node.type === 'BinaryExpression') return this.start(node.left, scope, depth);
    const known = node.type === 'Identifier' && depth < 15 ? scope.find(node.name) : undefined;
    return known?.node ? this.start(known.node, known.scope, depth + 1) : this.fold(node, scope) ?? '';
  }

  // The name of a file of data that a path leads to.
  dataFile(node, scope) {
    const file = this.tail(node, scope)?.split('/').at(-1);
    return file && !CODE.test(file) ? file : undefined;
  }

  // The function of the file that an expression is for certain: by its name, or as the only method of that name.
  functionOf(node, scope) {
    if (!node || isFunction(node)) return node ?? undefined;
    if (node.type === 'NewExpression') return this.classes.get(node.callee.name);
    if (node.type === 'Identifier') return [scope.find(node.name)?.node].find(isFunction);
    if (node.type !== 'MemberExpression' || node.computed) return undefined;
    const own = node.object.type === 'ThisExpression' || node.object.type === 'Identifier' && scope.find(node.object.name) && !/^[a-z]/.test(this.name(node.object, scope));
    const all = own ? this.methods.get(node.property.name) : undefined;
    return all?.length === 1 ? all[0] : undefined;
  }

  step() {
    if (++this.#steps > PATIENCE) throw new RangeError('tangled');
  }
}

const module = (name) => String(name).replace(/^node:/, '');
