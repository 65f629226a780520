"""Which code of a module runs when a part of it does."""

import ast

from calls import RUNNERS
from names import FUNCTIONS, given

# Methods that run when an object is made, or is imported with. Those with underscores run too, with the first operator: all but __call__.
OF_OBJECTS = ("find_spec", "find_module", "load_module", "exec_module", "create_module")
OF_METACLASSES = ("__new__", "__init__", "__call__", "__prepare__")
# Functions that run those that they are given.
HIGHER = {"map", "filter", "reduce", "starmap", "sorted", "min", "max", "Thread", "Timer", "Process", "submit", "start_new_thread", "partial", "call_soon", "call_later", "run_in_executor",
          "run", "apply", "apply_async", "settrace", "setprofile", "addaudithook", "callback", "finalize", "field", "call", "add_done_callback", "starmap_async", "map_async", "to_thread", "accumulate",
          "takewhile", "dropwhile", "iter", "defaultdict"}


def special(name):
    return name.startswith("__") and name.endswith("__")


def of_objects(method):
    """Whether a method runs when an object is made, or soon."""
    return special(method) and method != "__call__" or method in OF_OBJECTS


class Running:
    """What runs when statements of a reader's module do: each function once, of each class."""

    def __init__(self, reader):
        self.reader, self.called = reader, set()

    def of(self, body):
        """Yields the nodes, each with the line that calls the function it is in, if it is in one."""
        stack = [(node, None, None) for node in reversed(body)]  # with the class that it is in
        while stack:
            node, caller, owner = stack.pop()
            into = lambda nodes, owner=owner, line=caller: stack.extend((n, line, owner) for n in reversed(list(nodes)))
            if isinstance(node, FUNCTIONS):
                into(self.of_definition(node))
                continue
            if isinstance(node, ast.Lambda):
                into(defaults(node.args))
                continue
            if isinstance(node, ast.If) and (never := self.never(node)) is not None:
                into(node.orelse if never else node.body)
                continue
            yield node, caller
            for function, of in self.runs(node, owner):
                into(self.once(function, of), of, caller or node.lineno)
            if isinstance(node, ast.ClassDef):
                into(map(applied, node.decorator_list))
                into(node.bases + node.keywords + node.decorator_list)
                into(node.body, node)
                continue
            if isinstance(node, ast.Call):
                into(self.given(node))
                into(self.written(node))
            into(ast.iter_child_nodes(node))

    def runs(self, node, owner):
        """Yields the functions of the module that a node runs, each with its class."""
        if isinstance(node, ast.ClassDef):
            yield from self.of_class(node)
        elif isinstance(node, ast.Call):
            yield from self.called_by(node, owner)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                yield from self.methods(self.reader.name(item.context_expr), special)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            for function, of in self.methods(self.class_of(node.value, owner), (node.attr,).__contains__):
                if any("property" in self.reader.name(decorator) for decorator in getattr(function, "decorator_list", ())):
                    yield function, of
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            yield from self.methods(node.value.id, ("__class_getitem__",).__contains__)

    def once(self, function, owner):
        if (function, owner) in self.called:
            return []
        self.called.add((function, owner))
        return [function.body] if isinstance(function, ast.Lambda) else function.body

    def written(self, call):
        """The nodes of code that a call runs and that stands there as text."""
        name = self.reader.callee(call)
        if name not in RUNNERS or not call.args or not (text := self.reader.text(call.args[0])):
            return []
        try:
            body = ast.parse(text.strip()).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return []
        nodes = [node for statement in body for node in ast.walk(statement)]
        for node in nodes:
            node.lineno, node.end_lineno = call.lineno, call.end_lineno
        self.reader.learn_imports(nodes)
        return body

    def of_definition(self, node):
        """What runs when a function is defined: its decorators, which also are given it, defaults and annotations."""
        inner = [*map(applied, node.decorator_list), *node.decorator_list, *defaults(node.args)]
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, *filter(None, (node.args.vararg, node.args.kwarg))]
        inner += [a.annotation for a in arguments if a.annotation] + ([node.returns] if node.returns else [])
        return inner + (node.body if self.reader.setup else [])

    def never(self, node):
        """Whether the body of an if is not run in a module that is imported; None when that is not known."""
        if self.elsewhere(node.test):
            return True
        test = node.test
        if isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__" and isinstance(test.ops[0], ast.NotEq):
            return self.reader.setup
        return None

    def elsewhere(self, test):
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            return any(map(self.elsewhere, test.values))
        if isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__":
            other = test.comparators[0]
            return not self.reader.setup and isinstance(test.ops[0], ast.Eq) and isinstance(other, ast.Constant) and other.value == "__main__"
        return self.reader.name(test).rpartition(".")[2] == "TYPE_CHECKING"

    # ---- classes

    def line_of_bases(self, node):
        """The class and those of the module that it inherits from."""
        reader, found, rest = getattr(self, "reader", self), [], [node]
        while rest:
            one = rest.pop()
            if one not in found:
                found.append(one)
                rest += [reader.classes[name] for base in one.bases if (name := reader.name(base)) in reader.classes]
        return found

    def of_class(self, node):
        """What runs when a class is made: its metaclass, and what its bases do with who inherits from them."""
        for at, one in enumerate(self.line_of_bases(node)):
            if at:
                yield from self.own(one, ("__init_subclass__",).__contains__, node)
            if any(self.reader.name(base).rpartition(".")[2].endswith(("Enum", "Flag")) for base in one.bases):  # objects of it are made with it
                yield from self.own(node, special)
            for keyword in one.keywords:
                if keyword.arg == "metaclass" and (meta := self.reader.classes.get(self.reader.name(keyword.value))):
                    for above in self.line_of_bases(meta):
                        yield from self.own(above, special, meta)
                elif keyword.arg == "metaclass" and (function := self.reader.functions.get(self.reader.name(keyword.value))):
                    yield function, None

    def own(self, node, wanted, owner=None):
        """The methods of a class itself, for a class that inherits them."""
        for item in node.body:
            if isinstance(item, FUNCTIONS) and wanted(item.name):
                yield item, owner or node
            elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name) and wanted(item.targets[0].id):
                function = item.value if isinstance(item.value, ast.Lambda) else self.reader.functions.get(self.reader.name(item.value))
                if function:
                    yield function, owner or node

    def methods(self, name, wanted):
        """The methods of what an expression names, when that is a class of the module or an object of one."""
        known = self.reader.classes.get(name.removesuffix("()"))
        return [pair for one in self.line_of_bases(known) for pair in self.own(one, wanted, known)] if known else []

    def class_of(self, node, owner):
        name = self.reader.name(node)
        return owner.name if name in ("self", "cls", "super()") and owner is not None else name

    # ---- calls

    def called_by(self, call, owner):
        """Yields the functions of the module that a call runs, each with its class."""
        name = self.reader.callee(call)
        if isinstance(call.func, ast.Lambda):
            yield call.func, None
        elif isinstance(call.func, ast.Call):  # of what a function returns: its inner functions
            for function in [f for f, _ in self.called_by(call.func, owner)]:
                yield from self.inner(function)
        elif name.removesuffix("()") != name and name[:-2] in self.reader.functions:
            yield from self.inner(self.reader.functions[name[:-2]])
        if name in self.reader.functions:
            yield self.reader.functions[name], None
        elif name in self.reader.classes:
            yield from self.methods(name, of_objects)
        elif owner is not None and isinstance(call.func, ast.Name):  # in the body of a class
            yield from self.own(owner, (name,).__contains__)
        elif name == "type" and len(call.args) == 3:
            yield from self.of_type(*call.args[1:])
        elif name.endswith("()") and name[:-2] in self.reader.classes:
            yield from self.methods(name, ("__call__",).__contains__)
        elif "." in name:
            of, _, method = name.rpartition(".")
            if of in ("self", "cls", "super()") and owner is not None:
                of = owner.name
            yield from self.methods(of, (method, "run" if method == "start" else method).__contains__)

    def inner(self, function):
        return ((node, None) for node in self.reader.walk(function) if isinstance(node, (*FUNCTIONS, ast.Lambda)) and node is not function)

    def of_type(self, bases, body):
        """What a class runs that is made by a call."""
        for base in bases.elts if isinstance(bases, (ast.Tuple, ast.List)) else ():
            yield from self.methods(self.reader.name(base), ("__init_subclass__",).__contains__)
        for key, value in zip(body.keys, body.values) if isinstance(body, ast.Dict) else ():
            if isinstance(key, ast.Constant) and special(str(key.value)):
                function = value if isinstance(value, ast.Lambda) else self.reader.functions.get(self.reader.name(value))
                if function:
                    yield function, None

    def given(self, call):
        """Calls of what a call is given, when it runs that."""
        name = self.reader.callee(call)
        function = self.reader.functions.get(name)
        if function:
            run = {node.func.id for node in self.reader.walk(function) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
            arguments = [argument for parameter, argument in given(call, function) if parameter in run]
        elif name.rpartition(".")[2] in HIGHER or name == "atexit.register":
            arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        else:
            return
        for argument in arguments:
            if isinstance(argument, (ast.Name, ast.Attribute, ast.Lambda)):
                yield applied(argument)


def defaults(arguments):
    return [*arguments.defaults, *filter(None, arguments.kw_defaults)]


def applied(node):
    """A call of an expression, at its place."""
    return ast.copy_location(ast.Call(func=node, args=[], keywords=[]), node)
