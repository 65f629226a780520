"""Finds what the files of a function set before they import packages, by reading them: environment variables, and what else decides what an import does."""

import ast
import os
import re
import sys
from importlib.machinery import PathFinder

STDLIB = [os.path.dirname(os.__file__), os.path.dirname(os.__file__) + "/lib-dynload"]
ALL = "*"
# Functions of modules that change what is imported after them, or how it works.
PATCHES = re.compile(r"patch|patch_\w+|monkey_patch|monkeypatch|load_dotenv|install_as_\w+|install_aliases")
ENVIRONMENT = {"os.environ", "os.environb"}
# Lists and maps that imports go by. What is only appended to sys.path hides nothing.
IMPORT_SYSTEM = {"sys.modules", "sys.path", "sys.meta_path", "sys.path_hooks", "builtins.__import__"}
HARMLESS = {"append", "extend", "get", "index", "count", "copy", "keys", "values", "items"}
# Attributes of modules that change nothing for others, or are watched in another way.
OWN = {"sys.argv", "sys.dont_write_bytecode", "sys.tracebacklimit"}


def own_files(code, module):
    """The files of the function that a module is."""
    path = f"{code}/{module.replace('.', '/')}"
    return [file for file in (path + ".py", path + "/__init__.py") if os.path.exists(file)]


def in_standard_library(name):
    names = getattr(sys, "stdlib_module_names", None)
    if names is not None:
        return name in names
    return name in sys.builtin_module_names or PathFinder.find_spec(name, STDLIB) is not None  # Python 3.9


def imports(node):
    """Whether a function imports, or anything imports what is computed."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return any(isinstance(inner, (ast.Import, ast.ImportFrom)) for inner in ast.walk(node))
    return isinstance(node, ast.Name) and node.id in ("__import__", "import_module", "importlib", "exec", "eval")


def is_main(test):
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def sets_of(code, handler_module, is_own, shadows):
    """Returns names of environment variables, and ALL for anything else. is_own finds a module among the function's files and returns them; shadows
    are modules of the function that take the names of others."""
    order = Order(code, is_own)
    for file in is_own(handler_module):
        order.file(file)
    return sorted(order.sets | ({ALL} if shadows else set()))


def calls_before(code, handler_module, is_own):
    """Returns which packages the files call into before each import, by file and line: the first parts of their modules' names. A package is called
    into too when its attributes are set, or its classes are bases. Returns too whether anything at all may be done before an import."""
    order = Order(code, is_own)
    for file in is_own(handler_module):
        order.file(file)
    return order.calls, order.late or order.acted and order.hidden


class Order:
    """Follows the statements of files in the order in which they are executed when the first is imported, through all branches, and into functions of the
    same file that are called. sets is what was set before a later import of something that is not the function's."""

    def __init__(self, code, is_own):
        self.code, self.is_own = code, is_own
        self.sets, self.pending, self.files = set(), set(), {}
        self.called, self.calls = set(), {}
        self.acted = self.late = self.hidden = False  # anything was done, before an import, with imports in functions

    def file(self, path):
        if path in self.files:
            return
        file = self.files[path] = File(self, path)
        try:
            with open(path, "rb") as source:
                tree = ast.parse(source.read())
            self.hidden = self.hidden or any(map(imports, ast.walk(tree)))
            file.statements(tree.body)
        except (OSError, SyntaxError, ValueError):
            pass  # the import will say so
        except (RecursionError, MemoryError):  # too deep for this reader, and perhaps not for the interpreter
            self.sets.add(ALL)
            self.late = True

    def imports(self, name, path, line):
        """Follows an import into the function's own files. One of a package finds what was set and called before."""
        parts = name.split(".")
        own = [file for n in range(1, len(parts) + 1) for file in self.is_own(".".join(parts[:n]))]
        for file in own:
            self.file(file)
        self.late = self.late or self.acted and not own
        if not own and not in_standard_library(parts[0]):
            self.sets |= self.pending
            self.calls.setdefault((path, line), set()).update(self.called)

    def calls_into(self, name):
        """Something is called, or set, whose name may not be known."""
        self.acted = True
        top = name.partition(".")[0]
        if top and not in_standard_library(top) and not self.is_own(top):
            self.called.add(top)

    def function(self, name):
        """The file and the function's own function that have this name."""
        module, _, symbol = name.rpartition(".")
        for path in self.is_own(module) if module else ():
            file = self.files.get(path)
            if file and symbol in file.functions:
                return file, symbol
        return None, symbol


class File:
    def __init__(self, order, path):
        self.order, self.path = order, path
        directory = os.path.relpath(os.path.dirname(path), order.code)
        self.package = [] if directory == "." else directory.split(os.sep)
        self.names, self.functions, self.running = {}, {}, set()

    def statements(self, body):
        for statement in body:
            self.statement(statement)

    def statement(self, statement):
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                self.order.imports(alias.name, self.path, statement.lineno)
                self.names[alias.asname or alias.name.partition(".")[0]] = alias.name if alias.asname else alias.name.partition(".")[0]
        elif isinstance(statement, ast.ImportFrom):
            self.import_from(statement)
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self.functions[statement.name] = statement
            for decorator in statement.decorator_list:
                self.order.calls_into(self.dotted(decorator))
                self.expression(decorator)
        elif isinstance(statement, ast.ClassDef):
            for base in statement.bases:
                self.order.calls_into(self.dotted(base))
            for decorator in statement.decorator_list:
                self.order.calls_into(self.dotted(decorator))
                self.expression(decorator)
            self.statements(statement.body)
        elif isinstance(statement, ast.If) and is_main(statement.test):
            self.statements(statement.orelse)
        else:
            self.targets(statement)
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                self.names[statement.targets[0].id] = self.dotted(statement.value)
            for field, value in ast.iter_fields(statement):
                if field in ("body", "orelse", "finalbody"):
                    self.statements(value)
                elif field in ("handlers", "cases"):
                    for one in value:
                        self.statements(one.body)
                else:
                    for node in value if isinstance(value, list) else [value]:
                        if isinstance(node, ast.AST):
                            self.expression(node)

    def import_from(self, statement):
        base = statement.module or ""
        if statement.level:
            base = ".".join(self.package[: len(self.package) - statement.level + 1] + ([base] if base else []))
        if base:
            self.order.imports(base, self.path, statement.lineno)
        for alias in statement.names:
            name = f"{base}.{alias.name}" if base else alias.name
            self.names[alias.asname or alias.name] = name
            for file in self.order.is_own(name):
                self.order.file(file)

    def targets(self, statement):
        targets = getattr(statement, "targets", None) or [target for target in (getattr(statement, "target", None),) if target is not None]
        for target in targets:
            for node in ast.walk(target):
                if isinstance(node, ast.Subscript):
                    self.order.calls_into(self.dotted(node.value))
                    self.set(self.dotted(node.value), [getattr(node, "slice", None)])
                elif isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)):
                    self.set_attribute(self.dotted(node), statement)

    def set_attribute(self, name, statement):
        """Of a module: os.environ |= {…}; socket.socket = …, which other modules of the language see too."""
        self.order.calls_into(name)
        if name in ENVIRONMENT and isinstance(statement, ast.AugAssign):
            self.update(statement.value)
        elif name not in OWN and in_standard_library(name.partition(".")[0]):
            self.order.pending.add(ALL)

    def set(self, name, keys):
        if name in ENVIRONMENT:
            for key in keys:
                if isinstance(key, getattr(ast, "Index", ())):
                    key = key.value  # Python 3.8's trees
                constant = isinstance(key, ast.Constant) and key.value
                self.order.pending.add(os.fsdecode(constant) if isinstance(constant, (str, bytes)) else ALL)
        elif name in IMPORT_SYSTEM:
            self.order.pending.add(ALL)

    def expression(self, expression):
        for node in ast.walk(expression):
            if isinstance(node, ast.Call):
                self.call(node)

    def call(self, call):
        if isinstance(call.func, ast.Name) and call.func.id in self.functions:
            return self.run(call.func.id)
        name = self.dotted(call.func)
        file, symbol = self.order.function(name)
        if file:
            return file.run(symbol)
        self.order.calls_into(name)
        thing, _, method = name.rpartition(".")
        if name in ("os.putenv", "os.unsetenv"):
            self.set("os.environ", call.args[:1])
        elif thing in ENVIRONMENT and method in ("setdefault", "pop", "__setitem__", "__delitem__"):
            self.set(thing, call.args[:1])
        elif thing in ENVIRONMENT and method == "update":
            self.order.pending.update(keyword.arg or ALL for keyword in call.keywords)
            for argument in call.args:
                self.update(argument)
        elif thing in ENVIRONMENT and method == "clear" or thing in IMPORT_SYSTEM and method not in HARMLESS or name == "site.addsitedir":
            self.order.pending.add(ALL)
        elif thing and PATCHES.fullmatch(method):
            self.order.pending.add(ALL)

    def run(self, function):
        if function not in self.running:
            self.running.add(function)
            self.statements(self.functions[function].body)

    def update(self, value):
        if isinstance(value, ast.Dict):
            self.set("os.environ", value.keys)
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict" and not value.args:
            self.order.pending.update(keyword.arg or ALL for keyword in value.keywords)
        else:
            self.order.pending.add(ALL)

    def dotted(self, expression):
        """The name of what an expression is, from the module on: "os.environ". Empty when it is not of a module."""
        if isinstance(expression, ast.Name):
            return self.names.get(expression.id, "")
        if isinstance(expression, ast.Attribute):
            base = self.dotted(expression.value)
            return base and f"{base}.{expression.attr}"
        return ""
