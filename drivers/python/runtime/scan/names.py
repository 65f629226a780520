"""What the names in a module stand for: "os.system", with dots, "()" where something is called."""

import ast
import builtins
import collections
import re

from calls import IMPORTERS, RUNNERS

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LITERALS = (ast.List, ast.Tuple, ast.Set, ast.Dict)
DEEP = 25  # of expressions in expressions, and names that stand for names
LONG = 1 << 20  # characters: a text that is put together is not followed further
# Modules of which names are followed through variables.
KNOWN = frozenset("os posix subprocess commands pty socket requests httpx aiohttp urllib urllib2 urllib3 http httplib base64 ctypes _ctypes cffi pickle _pickle marshal builtins __builtins__ smtplib ftplib telnetlib "
                  "xmlrpc multiprocessing asyncio operator functools types code boto3 botocore paramiko websocket websockets pycurl dns httplib2 grpc redis pymongo pika kafka slack_sdk telegram "
                  "discord treq _posixsubprocess".split())
FILLS = {"read", "readfp", "read_file", "read_string", "append", "extend", "write", "update", "feed", "setdefault"}  # methods that give their object something


def walk(root):
    """Returns all nodes below a node, in no order: ast.walk takes twice the time."""
    nodes, stack = [], [root]
    while stack:
        node = stack.pop()
        nodes.append(node)
        for value in node.__dict__.values():
            if isinstance(value, ast.AST):
                stack.append(value)
            elif isinstance(value, list):
                stack.extend(item for item in value if isinstance(item, ast.AST))
    return nodes


def own(scope):
    """Returns the nodes of a function, lambda or module, without those of functions in it."""
    nodes, stack = [], [scope]
    while stack:
        for value in stack.pop().__dict__.values():
            for node in value if isinstance(value, list) else (value,):
                if isinstance(node, ast.AST) and not isinstance(node, FUNCTIONS):
                    nodes.append(node)
                    stack.append(node)
    return nodes


def results(function):
    """The expressions that a function returns."""
    if isinstance(function, ast.Lambda):
        return [function.body]
    return [node.value for node in own(function) if isinstance(node, (ast.Return, ast.Yield)) and node.value is not None]


def parameters(function):
    return [a.arg for a in function.args.posonlyargs + function.args.args if a.arg not in ("self", "cls")]


def given(call, function):
    """Yields (parameter, argument) of a call of a function of the module."""
    yield from zip(parameters(function), call.args)
    yield from ((keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg)


def pairs(target, value):
    """Yields (name, value) of what an assignment binds: names in tuples, and attributes as ".name"."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Attribute):
        yield "." + target.attr, value
    elif isinstance(target, ast.Starred):
        yield from pairs(target.value, value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        same = isinstance(value, (ast.Tuple, ast.List)) and len(target.elts) == len(value.elts)
        for one, part in zip(target.elts, value.elts if same else [value] * len(target.elts)):
            yield from pairs(one, part)


def parts(table):
    return table.values if isinstance(table, ast.Dict) else table.elts


def bindings(node):
    """Yields (name, value) of what a node binds. Of a loop the value is what it goes through, and each part of that where it stands there."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from pairs(target, node.value)
    elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)) and node.value is not None:
        yield from pairs(node.target, node.value)
    elif isinstance(node, (ast.With, ast.AsyncWith)):
        for item in node.items:
            if item.optional_vars is not None:
                yield from pairs(item.optional_vars, item.context_expr)
    elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
        for value in [node.iter, *(node.iter.elts if isinstance(node.iter, (ast.List, ast.Tuple, ast.Set)) else ())]:
            yield from pairs(node.target, value)
    elif isinstance(node, ast.ClassDef):
        for item in node.body:
            yield from (("." + name, value) for name, value in bindings(item)) if isinstance(item, (ast.Assign, ast.AnnAssign)) else ()
    elif isinstance(node, ast.arguments):
        positional = node.posonlyargs + node.args
        yield from ((a.arg, value) for a, value in [*zip(positional[len(positional) - len(node.defaults):], node.defaults), *zip(node.kwonlyargs, node.kw_defaults)] if value is not None)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute) and node.value.func.attr in FILLS:
        yield from pairs(node.value.func.value, node.value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr" and len(node.args) == 3 and isinstance(node.args[1], ast.Constant):
        yield f".{node.args[1].value}", node.args[2]


class Names:
    """The names of one module. Its own name, with dots, tells what its imports from beside it are of; names of its own functions are plain."""

    def __init__(self, tree, module):
        self.tree, self.module = tree, module
        self.top = module.partition(".")[0]  # of its package
        self.nodes = walk(tree)
        self.names = {}   # what a name stands for; attributes as ".name"
        self.stars = []   # modules of which all names were imported
        self.functions, self.classes = {}, {}
        self.asked = {}   # what was asked for before, by node and depth: what is asked twice at each step would be asked without end
        self.learn()

    def learn(self):
        """Notes what names stand for, wherever they are bound: a module seldom uses one name for two things."""
        methods = set()
        for node in self.nodes:
            if isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
                methods.update(item for item in node.body if isinstance(item, FUNCTIONS))
        self.learn_imports(self.nodes)
        for node in self.nodes:
            if isinstance(node, FUNCTIONS) and node not in methods:
                self.functions[node.name] = node
        self.bound = [pair for node in self.nodes for pair in bindings(node)]
        self.bound.sort(key=lambda pair: pair[1].lineno)  # what one name holds, the next may be given
        self.values = collections.defaultdict(list)
        for target, value in self.bound:
            self.values[target].append(value)
            if isinstance(value, ast.Lambda) and not target.startswith("."):
                self.functions.setdefault(target, value)
        for _ in range(2):
            self.learn_values()

    def learn_values(self):
        self.asked.clear()
        for target, value in [*self.bound, *self.arguments()]:
            if target not in self.names and target not in self.functions and not isinstance(value, (ast.Constant, ast.Lambda, *LITERALS)):
                table = next((v for v in self.values.get(value.id, ()) if isinstance(v, LITERALS)), None) if isinstance(value, ast.Name) else None
                name = self.first_known(parts(table), 0) if table else self.name(value)
                if self.known(name) or name in RUNNERS:
                    self.names[target] = name
        self.asked.clear()

    def link(self, resolve):
        """Notes what names stand for that other modules have."""
        changed = {name: other for name, stands_for in self.names.items() if (other := resolve(stands_for)) != stands_for}
        if changed or self.stars:
            self.names.update(changed)
            self.learn_values()

    def defined(self):
        """The names that another module gets with all names of this one."""
        return [name for name in (*self.functions, *self.classes, *self.names) if not name.startswith(("_", "."))]

    def arguments(self):
        """What parameters are given, of functions of the module, where no two have one of that name."""
        have = collections.Counter(name for function in self.functions.values() for name in parameters(function))
        for node in self.nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and (function := self.functions.get(node.func.id)):
                yield from ((name, value) for name, value in given(node, function) if have[name] == 1 and name not in self.values)

    def learn_imports(self, nodes):
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.names[alias.asname or alias.name.partition(".")[0]] = alias.name if alias.asname else alias.name.partition(".")[0]
            elif isinstance(node, ast.ImportFrom):
                module = self.above(node.level, node.module or "") if node.level else node.module or ""
                for alias in node.names:
                    if alias.name == "*":
                        self.stars.append(module)
                    else:
                        self.names[alias.asname or alias.name] = f"{module}.{alias.name}"

    def above(self, level, module):
        """The name of a module that is imported from beside this one."""
        packages = self.module.split(".")[:-level] if self.module else []
        return ".".join(packages + ([module] if module else [])) or "." + module

    def known(self, name):
        first = name.partition(".")[0].rstrip("()")
        return bool(name) and (first in KNOWN or first in self.classes or first in self.functions or first == self.top and first != "")

    def first_known(self, nodes, depth):
        names = [self.name(node, depth) for node in nodes]
        return next(filter(self.known, names), names[0] if names else "")

    def name(self, node, depth=0):
        """Returns what an expression names, with dots, "" when that is not known."""
        if depth > DEEP:
            return ""
        depth += 1
        if isinstance(node, ast.Name):
            return self.names.get(node.id) or self.from_star(node.id) or node.id
        if isinstance(node, ast.Attribute):
            below = self.name(node.value, depth)
            if (below in ("self", "cls") or below.removesuffix("()") in self.classes) and "." + node.attr in self.names:
                return self.names["." + node.attr]
            return f"{below}.{node.attr}" if below else f"?.{node.attr}"
        if isinstance(node, ast.Call):
            return self.once(self.result, node, depth)
        if isinstance(node, ast.Subscript):
            return self.once(self.item, node, depth)
        if isinstance(node, (ast.Await, ast.Starred, ast.NamedExpr)):
            return self.name(node.value, depth)
        if isinstance(node, (ast.IfExp, ast.BoolOp)):
            return self.first_known([node.body, node.orelse] if isinstance(node, ast.IfExp) else node.values, depth)
        return ""

    def once(self, ask, node, depth):
        key = (ask.__name__, node, depth)
        if key not in self.asked:
            self.asked[key] = ask(node, depth)
        return self.asked[key]

    def from_star(self, name):
        if self.stars and name not in self.functions and name not in self.classes and name not in self.values and not hasattr(builtins, name):
            return next((f"{module}.{name}" for module in self.stars if module in KNOWN), None)
        return None

    def callee(self, call, depth=0):
        """Returns the name of what a call calls."""
        if isinstance(call.func, ast.Call) and call.args and self.name(call.func.func, depth + 1) == "operator.methodcaller" and call.func.args:
            return f"{self.name(call.args[0], depth + 1)}.{self.text(call.func.args[0])}"
        if isinstance(call.func, ast.Lambda):
            return ""
        name = self.name(call.func, depth)
        if name == "operator.call" and call.args:
            return self.name(call.args[0], depth + 1)
        return name

    def result(self, call, depth):
        """What a call returns."""
        called, first = self.callee(call, depth), call.args[0] if call.args else None
        if isinstance(call.func, ast.Lambda):
            return self.name(call.func.body, depth)
        if IMPORTERS.match(called) and (module := self.text(first)):
            if module.startswith("."):
                return self.above(len(module) - len(module.lstrip(".")), module.lstrip("."))
            return module if called.endswith("import_module") or len(call.args) > 3 or call.keywords else module.partition(".")[0]
        if called == "getattr" and len(call.args) > 1 and (text := self.text(call.args[1])):
            return f"{self.name(first, depth)}.{text}"
        if called.endswith((".__getattr__", ".__getattribute__")) and (text := self.text(call.args[-1] if call.args else None)):
            return f"{called.rpartition('.')[0]}.{text}"
        if isinstance(call.func, ast.Call) and self.name(call.func.func, depth) == "operator.attrgetter" and call.func.args and (text := self.text(call.func.args[0])):
            return f"{self.name(first, depth)}.{text}"
        if re.fullmatch(r"ctypes\.(C|PY|WIN)FUNCTYPE\(\)", called) and isinstance(first, ast.Tuple) and len(first.elts) == 2 and (text := self.text(first.elts[0])):
            return f"{self.name(first.elts[1], depth)}.{text}"
        if called == "functools.partial" and first is not None:
            return self.name(first, depth)
        if called == "vars" and first is not None:
            return self.name(first, depth) + ".__dict__"
        if called in ("globals", "locals"):
            return "__dict__"
        if (function := self.functions.get(called)) and (name := self.once(self.returned, function, depth)) and self.known(name):
            return name
        return called + "()" if called else ""

    def returned(self, function, depth):
        return self.first_known(results(function), depth)

    def item(self, node, depth):
        """What an index of a table of modules or names, or of what stands in the module, stands for."""
        table = node.value if isinstance(node.value, LITERALS) else next((v for v in self.values.get(getattr(node.value, "id", None), ()) if isinstance(v, LITERALS)), None)
        key = node.slice.value if isinstance(node.slice, ast.Constant) else self.text(node.slice)
        if table is not None:
            values = parts(table)
            if isinstance(table, ast.Dict):
                values = [v for k, v in zip(table.keys, values) if isinstance(k, ast.Constant) and k.value == key] or values
            elif isinstance(key, int) and -len(values) <= key < len(values):
                values = [values[key]]
            return name if self.known(name := self.first_known(values, depth)) else ""
        below = self.name(node.value, depth)
        if not isinstance(key, str) or not below:
            return ""
        if below == "sys.modules":
            return key
        if below == "__dict__":
            return self.names.get(key, key)
        return f"{below.removesuffix('.__dict__')}.{key}"

    def text(self, node, depth=0):
        """The text that an expression is, put together as it may be, None when that is not known."""
        if node is None or depth > DEEP:
            return None
        text = self.once(self.put_together, node, depth)
        return text if text is None or len(text) <= LONG else None

    def put_together(self, node, depth):
        again = lambda other: self.text(other, depth + 1)
        if isinstance(node, ast.Constant):
            value = node.value
            return value if isinstance(value, str) else value.decode("latin-1") if isinstance(value, bytes) else None
        if isinstance(node, ast.Name):
            values = self.values.get(node.id, ())
            return again(values[0]) if len(values) == 1 else None
        texts = None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            texts = [again(node.left), again(node.right)]
        elif isinstance(node, ast.JoinedStr):
            texts = [again(part.value if isinstance(part, ast.FormattedValue) else part) for part in node.values]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join" and node.args and isinstance(node.args[0], (ast.List, ast.Tuple)):
            return by.join(joined) if (by := again(node.func.value)) is not None and None not in (joined := [again(e) for e in node.args[0].elts]) else None
        elif isinstance(node, ast.Subscript) and backwards(node.slice):
            return text[::-1] if (text := again(node.value)) else None
        return "".join(texts) if texts is not None and None not in texts else None


def backwards(s):
    return isinstance(s, ast.Slice) and s.lower is None and s.upper is None and isinstance(s.step, ast.UnaryOp) and isinstance(s.step.op, ast.USub)
