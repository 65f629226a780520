"""Which code of a module runs when a part of it does."""

import ast

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Methods that run when a class or an object of it is made, or is used in a with statement.
OF_OBJECTS = ("__init__", "__new__", "__post_init__", "__set_name__", "__enter__", "__exit__", "__aenter__", "__del__", "__init_subclass__")
OF_METACLASSES = ("__new__", "__init__", "__call__", "__prepare__")
# Functions that run those that they are given.
HIGHER = {"map", "filter", "reduce", "starmap", "sorted", "min", "max", "Thread", "Timer", "Process", "submit", "start_new_thread", "partial", "call_soon", "call_later", "run_in_executor",
          "run", "apply", "apply_async", "settrace", "setprofile", "addaudithook"}


class Running:
    """What runs when statements of a reader's module do: each function once."""

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
            if isinstance(node, ast.ClassDef):
                into(map(applied, node.decorator_list))
                for function, of in self.of_class(node):
                    into(self.once(function), of, caller or node.lineno)
                into(node.bases + node.keywords + node.decorator_list)
                into(node.body, node)
                continue
            if isinstance(node, ast.Call):
                for function, of in self.called_by(node, owner):
                    into(self.once(function), of, caller or node.lineno)
                into(self.given(node))
            elif isinstance(node, (ast.With, ast.AsyncWith)):
                for item in node.items:
                    for function, of in self.methods(self.reader.name(item.context_expr), ("__enter__", "__exit__", "__aenter__")):
                        into(self.once(function), of, caller or node.lineno)
            into(ast.iter_child_nodes(node))

    def once(self, function):
        if function in self.called:
            return []
        self.called.add(function)
        return [function.body] if isinstance(function, ast.Lambda) else function.body

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
        found, rest = [], [node]
        while rest:
            one = rest.pop()
            if one not in found:
                found.append(one)
                rest += [self.reader.classes[name] for base in one.bases if (name := self.reader.name(base)) in self.reader.classes]
        return found

    def of_class(self, node):
        """What runs when a class is made: its metaclass, and what its bases do with who inherits from them."""
        for at, one in enumerate(self.line_of_bases(node)):
            if at:
                yield from self.own(one, ("__init_subclass__",))
            for keyword in one.keywords:
                if keyword.arg == "metaclass" and (meta := self.reader.classes.get(self.reader.name(keyword.value))):
                    for above in self.line_of_bases(meta):
                        yield from self.own(above, OF_METACLASSES)
                elif keyword.arg == "metaclass" and (function := self.reader.functions.get(self.reader.name(keyword.value))):
                    yield function, None

    def own(self, node, names):
        return [(item, node) for item in node.body if isinstance(item, FUNCTIONS) and item.name in names]

    def methods(self, name, wanted):
        """The methods of what an expression names, when that is an object of a class of the module."""
        known = self.reader.classes.get(name.removesuffix("()"))
        return [pair for one in self.line_of_bases(known) for pair in self.own(one, wanted)] if known else []

    # ---- calls

    def called_by(self, call, owner):
        """Yields the functions of the module that a call runs, each with its class."""
        name = self.reader.name(call.func)
        if isinstance(call.func, ast.Lambda):
            yield call.func, None
        elif isinstance(call.func, ast.Call):  # of what a function returns: its inner functions
            for function in [f for f, _ in self.called_by(call.func, owner)]:
                yield from ((node, None) for node in self.reader.walk(function) if isinstance(node, (*FUNCTIONS, ast.Lambda)))
        if name in self.reader.functions and isinstance(call.func, (ast.Name, ast.Subscript)):
            yield self.reader.functions[name], None
        elif name in self.reader.classes:
            yield from self.methods(name, OF_OBJECTS)
        elif name == "type" and len(call.args) == 3 and isinstance(call.args[1], (ast.Tuple, ast.List)):
            for base in call.args[1].elts:
                yield from self.methods(self.reader.name(base), ("__init_subclass__",))
        elif name.endswith("()") and name[:-2] in self.reader.classes:
            yield from self.methods(name, ("__call__",))
        elif "." in name:
            of, _, method = name.rpartition(".")
            if of in ("self", "cls", "super()") and owner is not None:
                of = owner.name
            yield from self.methods(of, (method,))

    def given(self, call):
        """Calls of what a call is given, when it runs that."""
        name = self.reader.name(call.func)
        if name.rpartition(".")[2] not in HIGHER and name != "atexit.register":
            return
        for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
            if isinstance(argument, (ast.Name, ast.Attribute, ast.Lambda)):
                yield applied(argument)


def defaults(arguments):
    return [*arguments.defaults, *filter(None, arguments.kw_defaults)]


def applied(node):
    """A call of an expression, at its place."""
    return ast.copy_location(ast.Call(func=node, args=[], keywords=[]), node)
