// The texts that expressions are, put together as they may be. Names of what they call are those of names.mjs.

const CODE = /\.([cm]?[jt]sx?|node|wasm)$/i; // files that are looked at as what they are
export const PATIENCE = 5e6; // expressions of a file that are followed: one that names another twice, which does so too, has no end

export class Texts {
  #folds = 0;

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
      case 'CallExpression': return this.folded(node, scope, again, joined);
      default: return undefined;
    }
  }

  // The text that a call makes of others.
  folded(node, scope, again, joined) {
    const { object, property: method } = node.callee, [first, second] = node.arguments;
    const of = (list) => (list?.type === 'ArrayExpression' ? list.elements.map((one) => again(one)) : this.foldList(list, again));
    if (!object || node.callee.computed) return node.callee.name === 'atob' ? decoded(again(first), 'base64') : undefined;
    switch (method.name) {
      case 'join': return joined(of(object) ?? [undefined], first ? again(first) : ',');
      case 'concat': return joined([object, ...node.arguments].map((one) => again(one)));
      case 'fromCharCode':
      case 'fromCodePoint': return joined(node.arguments.map(({ value }) => (typeof value === 'number' ? String.fromCharCode(value) : undefined)));
      case 'toLowerCase': return again(object)?.toLowerCase();
      case 'toUpperCase': return again(object)?.toUpperCase();
      case 'trim': return again(object)?.trim();
      case 'replace':
      case 'replaceAll': return again(first) !== undefined && again(second) !== undefined ? again(object)?.[method.name](again(first), again(second)) : undefined;
      case 'toString': return object.callee && /^Buffer(\.from)?$/.test(this.name(object.callee, scope)) ? decoded(again(object.arguments[0]), again(object.arguments[1]) ?? 'utf8') : undefined;
      default: return undefined;
    }
  }

  // The texts of a list that is made of a text, and may be turned around.
  foldList(node, again) {
    const method = node?.callee?.property?.name;
    if (method === 'reverse') return this.foldList(node.callee.object, again)?.reverse();
    return method === 'split' ? again(node.callee.object)?.split(again(node.arguments[0]) ?? '\0') : undefined;
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
    const whole = this.fold(node, scope);
    if (whole !== undefined) return whole;
    if (node.type === 'TemplateLiteral') return node.quasis[0].value.cooked ?? '';
    if (node.type === 'NewExpression' && node.arguments[0] && this.name(node.callee, scope) === 'URL') return this.start(node.arguments[0], scope, depth + 1);
    if (node.type === 'BinaryExpression') return this.start(node.left, scope, depth);
    const known = node.type === 'Identifier' && depth < 15 ? scope.find(node.name) : undefined;
    return known?.node ? this.start(known.node, known.scope, depth + 1) : this.fold(node, scope) ?? '';
  }

  // The name of a file of data that a path leads to.
  dataFile(node, scope) {
    const file = this.tail(node, scope)?.split('/').at(-1);
    return file && !CODE.test(file) ? file : undefined;
  }
}

function decoded(text, encoding) {
  return text !== undefined && Buffer.isEncoding(encoding) ? Buffer.from(text, encoding).toString() : undefined;
}
