// Text that is decoded, or read from a file that is no code, and then run.

import { DATA, DECODERS, INTERNALS, LOADERS, NETWORK, READS, RUNNERS } from './calls.mjs';
import { REQUIRES, children, isFunction, results } from './names.mjs';
import { Secrets } from './secrets.mjs';
import { unseenIn } from './text.mjs';

const TEXT = /^(eval|Function|vm\.(runIn\w+|compileFunction))$/; // what runs text that it is given

export class Hidden extends Secrets {
  // Returns how an expression gets its text when that hides it, undefined when it does not.
  how(node, scope, depth = 0) {
    if (depth > 15 || !node) return undefined;
    this.step();
    const again = (other, where = scope) => this.how(other, where, depth + 1);
    switch (node.type) {
      case 'Identifier': {
        const known = scope.find(node.name);
        if (known?.module && /\.json$/.test(known.node.value)) return `read from the data file ${known.node.value}`;
        const grown = known && this.grown.get(known);
        return (grown && again(...grown)) ?? (known?.node && !known.module && !isFunction(known.node) ? again(known.node, known.scope) : undefined);
      }
      case 'Element': return again(node.object);
      case 'LogicalExpression': return again(node.left) ?? again(node.right);
      case 'ConditionalExpression': return again(node.consequent) ?? again(node.alternate);
      case 'ImportExpression': return /\.json$/.test(this.fold(node.source, scope) ?? '') ? `read from the data file ${this.fold(node.source, scope)}` : undefined;
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
    const called = this.functionOf(node.callee, scope);
    if (called && depth < 8) {
      const own = this.entered(called, node.arguments, scope);
      return results(called).map((result) => again(result, own)).find(Boolean);
    }
    // What a function of another module makes of hidden text is hidden as well.
    const made = /^(String|unescape|decodeURIComponent|Buffer\.from|JSON\.parse)$/.test(name) || /^[@\w-]+(\/[\w-]+)?\.(load|parse|decode\w*|decompress\w*|gunzip\w*|inflate\w*)(Sync)?$/.test(name);
    return (made ? again(first) : undefined) ?? (node.callee.type === 'MemberExpression' ? again(node.callee.object) : undefined);
  }

  // Looks at every node, wherever it is.
  look(node, scope) {
    const own = this.scopes.get(node) ?? scope;
    const unseen = this.hidden && /Identifier$|^(Literal|TemplateElement)$/.test(node.type) && unseenIn(node.value?.cooked ? { type: node.type, value: node.value.cooked } : node, this.text.slice(node.start, node.end));
    if (unseen) this.add('hidden-code', node, unseen);
    if (node.type === 'CallExpression' || node.type === 'NewExpression') this.lookCalled(node, own);
    else if (node.type === 'ImportExpression') {
      const how = this.how(node.source, own) ?? (/^data:/i.test(this.start(node.source, own)) ? 'the code itself (data:)' : undefined);
      if (how) this.add('hidden-code', node, `imports a module whose name is ${how}`);
    } else if (/^(Import|ExportNamed|ExportAll)Declaration$/.test(node.type) && /^data:/i.test(node.source?.value)) this.add('hidden-code', node, 'imports a module whose name is the code itself (data:)');
    for (const child of children(node)) this.look(child, own);
  }

  lookCalled(node, own) {
    const { name, given } = this.invoked(node, own);
    const how = RUNNERS.test(name) && this.how(given[name === 'Function' ? given.length - 1 : 0], own);
    const file = /^(child_process\.fork|worker_threads\.Worker)$/.test(name) && DATA.exec(this.tail(given[0], own) ?? '')?.input;
    const loaded = LOADERS.test(name) ? this.dataFile(given[1], own) : file || REQUIRES.test(name) && DATA.exec(this.tail(given[0], own) ?? '')?.input;
    if (this.internals) this.lookInside(node, own, name, given);
    if (loaded) this.add('hidden-code', node, `runs the data file ${loaded}`);
    else if (how && /require$/.test(name)) this.add('hidden-code', node, `requires a module whose name is ${how}`);
    else if (how && !(name.startsWith('WebAssembly.') && /^decoded/.test(how))) this.add('hidden-code', node, `${name} runs text that is ${how}`);
    const runner = given.find((one) => /^(Identifier|MemberExpression)$/.test(one?.type) && TEXT.test(this.name(one, own)));
    const text = runner && node.callee.type === 'MemberExpression' ? this.how(node.callee.object, own) : undefined;
    if (text) this.add('hidden-code', node, `${this.name(runner, own)} runs text that is ${text}`);
  }

  lookInside(node, own, name, given) {
    const inside = this.name(node, own);
    const binding = (one) => /^process\.(_linkedB|b)inding$/.test(this.name(one, own));
    if (INTERNALS.test(inside)) this.add('hidden-code', node, `takes ${inside.split('.').at(-1)} from the inside of Node.js, past the modules that programs and connections are made with`);
    else if (/^process\.(_linkedB|b)inding$/.test(name) && given[0] && !inside.startsWith('process.binding.') || given.some((one) => /^(Identifier|MemberExpression)$/.test(one?.type) && binding(one)) && !/^Reflect\.|promisify/.test(this.name(node.callee, own))) {
      this.add('hidden-code', node, 'takes a part of the inside of Node.js whose name is not to be seen');
    }
  }
}
