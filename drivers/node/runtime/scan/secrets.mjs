// Secrets that are read, and where they go.

import { CONNECTIONS, FETCHERS, FILLS, NETWORK, PROCESS, SECRETS, TELLS, WHOLE } from './calls.mjs';
import { Names, children, isFunction } from './names.mjs';

const STEPS = 3; // calls over which a secret is followed to the network

export class Secrets extends Names {
  // What another file of the package has by a name, as exported of scan-code.mjs says it.
  of(name) {
    return name.startsWith('.') ? this.others?.(name) : undefined;
  }

  // Returns of each function whether it reads secrets and reaches for the network, itself or by functions that it calls or gives to others: who does
  // it over more steps is a whole program.
  flow(tree, scope) {
    const functions = new Map();
    const find = (node, above) => {
      const own = this.scopes.get(node) ?? above;
      if (isFunction(node)) functions.set(node, own);
      for (const child of children(node)) find(child, own);
    };
    find(tree, scope);
    const facts = new Map([...functions].map(([one, inside]) => [one, this.facts(one, inside)]));
    for (let step = 0; step < STEPS; step++) {
      const now = new Map([...facts].map(([one, { read, network }]) => [one, { read, network }]));
      for (const fact of facts.values()) {
        for (const called of fact.calls) {
          fact.read ??= now.get(called)?.read;
          fact.network ||= now.get(called)?.network ?? false;
        }
      }
    }
    return facts;
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
    if (calls) {
      const { name, given } = this.invoked(node, scope);
      const texts = PROCESS.test(name) ? given.flatMap((one) => [this.fold(one, scope), this.start(one ?? {}, scope)]).filter(Boolean) : [];
      if (NETWORK.test(name) || CONNECTIONS.test(name) || texts.some((text) => FETCHERS.test(text)) || this.of(name)?.sends) fact.network = true;
      if (texts.some((text) => FETCHERS.test(text) && (SECRETS.test(text) || TELLS.test(text)))) fact.read ??= [node, 'secrets by a program'];
    }
    fact.read ??= this.secret(node, scope, calls) ?? this.heldBy(node, scope);
  }

  // The secret that a variable or attribute has, when all of it is meant.
  heldBy(node, scope) {
    if (this.parts.has(node)) return undefined;
    if (node.type === 'Identifier' && this.kept.has(scope.find(node.name))) return this.kept.get(scope.find(node.name));
    const other = this.others && /^(Identifier|MemberExpression)$/.test(node.type) ? this.of(this.name(node, scope))?.secret : undefined;
    if (other) return [node, other];
    return node.type === 'MemberExpression' && !node.computed ? this.kept.get('.' + node.property.name) : undefined;
  }

  told(read, network) {
    if (read && network) this.add('secrets', read[0], `reads ${read[1]} and reaches for the network in one go`);
  }

  // Remembers which variables and attributes get secrets that are read in one place and may be sent from another.
  keep(tree, scope) {
    for (let before = -1; before < this.kept.size;) {
      before = this.kept.size;
      this.keepOne(tree, scope);
    }
  }

  keepOne(node, scope) {
    const own = this.scopes.get(node) ?? scope;
    const [target, value] = this.stored(node, own);
    if (target && value && !isFunction(value)) {
      const known = target.type === 'Identifier' ? own.find(target.name) : /^(Member|This)Expression$|^PropertyDefinition$/.test(target.type) && !target.computed ? '.' + (target.property ?? target.key)?.name : undefined;
      const read = known && !this.kept.has(known) ? this.readIn(value, own) : undefined;
      if (read) this.kept.set(known, read);
    }
    if (node.type === 'CallExpression') this.methodsCalled.add(node.callee);
    if (node.type === 'MemberExpression' && !node.computed && !this.methodsCalled.has(node)) this.parts.add(node.object);
    for (const child of children(node)) this.keepOne(child, own);
  }

  // Returns where a node stores something, and what.
  stored(node, scope) {
    switch (node.type) {
      case 'AssignmentExpression': return [node.left, node.right];
      case 'VariableDeclarator': return [node.id, node.init];
      case 'PropertyDefinition': return [node, node.value];
      case 'ForInStatement': return [node.left.declarations?.[0].id ?? node.left, node.right && this.name(node.right, scope) === 'process.env' ? { type: 'SpreadElement', argument: node.right } : undefined];
      case 'CallExpression': {
        if (!FILLS.test(this.name(node.callee, scope))) return [];
        const into = this.name(node.callee, scope) === 'Object.assign' ? node.arguments[0] : node.callee.object;
        return [into, { type: 'ArrayExpression', elements: node.arguments.filter((one) => one !== into).map((one) => (this.name(one, scope) === 'process.env' ? { type: 'SpreadElement', argument: one } : one)) }];
      }
      default: return [];
    }
  }

  readIn(node, scope) {
    if (!node) return undefined;
    const read = this.secret(node, scope, node.type === 'CallExpression' || node.type === 'NewExpression') ?? this.heldBy(node, scope);
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
    this.told(fact.read, fact.network);
  }

  secret(node, scope, calls) {
    const text = /^(Literal|TemplateLiteral|BinaryExpression)$/.test(node.type) ? this.fold(node, scope) : undefined;
    if (text?.length < 200 && SECRETS.test(text)) return [node, JSON.stringify(text)];
    if (node.type === 'Property' && (node.key.name ?? node.key.value) === 'env') [node.value, ...node.value.properties ?? []].forEach((one) => this.passed.add(one));
    if (this.passed.has(node)) return undefined;
    const environment = (other) => other && (this.name(other, scope) === 'process.env' || (other.properties ?? other.elements ?? []).some((one) => environment(one?.argument ?? one?.value ?? one)));
    const { name = '', given = [] } = calls ? this.invoked(node, scope) : {};
    if (PROCESS.test(name) && TELLS.test(this.fold(given[0], scope) ?? '')) return [node, 'the whole environment'];
    if (this.of(name)?.secret) return [node, this.of(name).secret];
    if (calls && (WHOLE.test(this.name(node.callee, scope)) || NETWORK.test(this.name(node.callee, scope))) && node.arguments.some(environment)) return [node, 'the whole environment'];
    if ((node.type === 'ForInStatement' && environment(node.right)) || (node.type === 'SpreadElement' && environment(node.argument))) return [node, 'the whole environment'];
    return undefined;
  }
}
