"""Where secrets go, in one module and from one module of a package to another: from what reads the whole environment or a file such as
~/.aws, through variables, attributes, parameters and results, to a call of the network."""

import ast

from names import FUNCTIONS, own, parameters

# Methods that give what they are given to the object that they are of.
STORES = {"append", "extend", "update", "add", "insert", "write", "setdefault", "put"}
ROUNDS = 6  # of looking where secrets go next: each takes them through one more function


class Flow:
    """Secrets that are read somewhere in a module. Names of variables are told apart by the function that they are in."""

    def __init__(self, reader, given=()):
        self.reader = reader
        self.given = set(given)  # functions of other modules that return secrets, as Reader.name has them
        self.held = {}  # (function or None, name), (None, ".attribute"), (None, "function()"): which secret
        self.scopes = []
        if not any(map(reader.secret, reader.nodes)) and not any(isinstance(node, ast.Call) and reader.callee(node) in self.given for node in reader.nodes):
            return  # most modules read none
        self.scopes = [(None, own(reader.tree))]
        self.in_classes = {item for node in reader.nodes if isinstance(node, ast.ClassDef) for item in node.body}
        self.functions = {node: node.name for node in reader.nodes if isinstance(node, FUNCTIONS)}
        self.functions |= {node: name for name, node in reader.functions.items() if isinstance(node, ast.Lambda)}
        self.scopes += [(node, own(node)) for node in self.functions]
        self.bound = {function: self.names_bound(function, nodes) for function, nodes in self.scopes}
        self.globals = {name for node in reader.nodes if isinstance(node, ast.Global) for name in node.names}
        self.by_name = {name: node for node, name in self.functions.items()}
        self.filled = set()  # (function, parameter) that it puts secrets into
        for _ in range(ROUNDS):
            before = len(self.held)
            for function, nodes in self.scopes:
                for node in nodes:
                    self.follow(function, node)
                if isinstance(function, ast.Lambda) and (secret := self.secret(function, function.body)):
                    self.held.setdefault((None, self.functions[function] + "()"), secret)
            if len(self.held) == before:
                break

    @staticmethod
    def names_bound(function, nodes):
        """The names that are a function's own."""
        parameters = [a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)] if function else []
        return {*parameters, *(node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))}

    def key(self, function, name):
        return (function if name in self.bound[function] and name not in self.globals else None, name)

    def secret(self, function, expression):
        """Returns which secret an expression has in it, None when it has none."""
        for node in self.parts(expression):
            if found := self.reader.secret(node):
                return found[1]
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                found = self.held.get((function, node.id)) or self.held.get((None, node.id))
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found = self.held.get((None, "." + node.attr))
            elif isinstance(node, ast.Call):
                name = self.reader.callee(node)
                found = self.held.get((None, name.rpartition(".")[2] + "()")) or ("what " + name + " reads" if name in self.given else None)
            if found:
                return found
        return None

    @staticmethod
    def parts(expression):
        """The nodes of an expression, but for the environment that a program is given: what it answers is none."""
        stack = [expression]
        while stack:
            node = stack.pop()
            yield node
            stack += [child for child in ast.iter_child_nodes(node) if not (isinstance(child, ast.keyword) and child.arg == "env")]

    def hold(self, function, target, secret):
        for node in self.reader.walk(target):
            if isinstance(node, ast.Name):
                self.held.setdefault(self.key(function, node.id), secret)
            elif isinstance(node, ast.Attribute):
                self.held.setdefault((None, "." + node.attr), secret)
            elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and self.reader.name(node.value) == "__dict__":
                self.held.setdefault((None, node.slice.value), secret)

    def follow(self, function, node):
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
            if node.value is not None and (secret := self.secret(function, node.value)):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    self.hold(function, target, secret)
                    if node in self.in_classes and isinstance(target, ast.Name):
                        self.held.setdefault((None, "." + target.id), secret)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            if secret := self.secret(function, node.iter):
                self.hold(function, node.target, secret)
        elif isinstance(node, ast.withitem):
            if node.optional_vars is not None and (secret := self.secret(function, node.context_expr)):
                self.hold(function, node.optional_vars, secret)
        elif isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)):
            if function is not None and node.value is not None and (secret := self.secret(function, node.value)):
                self.held.setdefault((None, self.functions[function] + "()"), secret)
        elif isinstance(node, ast.Call):
            self.give(function, node)

    def give(self, function, call):
        """Takes secrets into the parameters of a function of the module, and into what they are stored in."""
        called = self.by_name.get(self.reader.callee(call).rpartition(".")[2])
        for at, argument in enumerate(call.args if called is not None else ()):
            names = parameters(called)
            if at < len(names) and (secret := self.secret(function, argument)):
                self.held.setdefault((called, names[at]), secret)
            if at < len(names) and (called, names[at]) in self.filled:
                self.hold(function, argument, self.held[called, names[at]])
        for keyword in call.keywords:
            if called is not None and keyword.arg and (secret := self.secret(function, keyword.value)):
                self.held.setdefault((called, keyword.arg), secret)
        self.give_along(function, call)
        if isinstance(call.func, ast.Attribute) and call.func.attr in STORES and isinstance(call.func.value, (ast.Name, ast.Attribute)):
            for argument in call.args:
                if secret := self.secret(function, argument):
                    self.hold(function, call.func.value, secret)
                    if isinstance(call.func.value, ast.Name):
                        self.filled.add((function, call.func.value.id))
        elif self.reader.name(call.func) == "setattr" and len(call.args) == 3 and (secret := self.secret(function, call.args[2])):
            self.held.setdefault((None, "." + str(getattr(call.args[1], "value", ""))), secret)

    def give_along(self, function, call):
        """What is given to a call beside a function of the module, that function is given: by Thread, partial and their like."""
        arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        for other in [self.by_name[a.id] for a in arguments if isinstance(a, ast.Name) and a.id in self.by_name]:
            for secret in filter(None, (self.secret(function, a) for a in arguments if not isinstance(a, ast.Name) or a.id not in self.by_name)):
                for name in parameters(other):
                    self.held.setdefault((other, name), secret)

    def sent(self):
        """Yields the calls of the network that are given a secret, which one, and in which function."""
        for function, nodes in self.scopes:
            for node in nodes:
                if isinstance(node, ast.Call) and self.reader.sends(node):
                    for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                        if secret := self.secret(function, argument):
                            yield node, secret, function
                            break

    def returning(self):
        """Returns the names of functions whose result has a secret in it."""
        return {name[:-2] for scope, name in self.held if scope is None and name.endswith("()")}
