"""Finds the modules that a handler's file imports whenever it is imported, by reading it."""

import ast
import os
import re
import sys

from _pipsqueak.order import STDLIB, in_standard_library, own_files

HARMLESS = {"__future__", "antigravity", "idlelib", "site", "test", "this", "turtledemo"}  # modules that no other imports, and no zygote should


def imports_of(code, handler_module, locked):
    """Returns the modules that the handler's file imports, directly or through other files of the function, and that are neither the function's
    nor the language's; and names that are perhaps modules besides. locked has the names of the function's packages.

    What is in a function or under a condition may never be imported, and is left out. What is in a try statement may be something that is not
    installed: it counts when a package has its name."""
    found, perhaps, seen = {}, {}, set()
    files = own_files(code, handler_module)
    while files:
        file = files.pop(0)
        if file in seen:
            continue
        seen.add(file)
        reader = Reader(code, file, locked)
        try:
            with open(file, "rb") as source:
                body = ast.parse(source.read()).body
            reader.statements(body, sure=True)
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # the import will say so, with all its words
        found.update(dict.fromkeys(reader.found))
        perhaps.update(dict.fromkeys(reader.perhaps))
        files.extend(reader.own)
    return list(found), [name for name in perhaps if name not in found]


def shadows(code, locked):
    """The modules of the function that take names from the language or, as far as their names tell, from packages."""
    names = {entry[:-3] if entry.endswith(".py") else entry for entry in os.listdir(code) if entry.endswith(".py") or os.path.exists(f"{code}/{entry}/__init__.py")}
    return sorted(name for name in names if (in_standard_library(name) or as_package(name) in locked) and name not in HARMLESS and name not in sys.builtin_module_names)


class Reader:
    """Reads the statements of one file: found has the modules of packages, own the function's files."""

    def __init__(self, code, file, locked):
        self.code, self.locked = code, locked
        self.package = os.path.relpath(os.path.dirname(file), code).split(os.sep) if os.path.dirname(file) != code else []
        self.found, self.perhaps, self.own = [], [], []

    def statements(self, body, sure):
        """Returns whether everything that is imported there can be, as far as one can tell. Not sure is what may be missing."""
        there = True
        for statement in body:
            if isinstance(statement, ast.Import):
                for alias in statement.names:
                    there &= self.module(alias.name, sure)
            elif isinstance(statement, ast.ImportFrom):
                there &= self.names_from(statement, sure)
            elif isinstance(statement, (ast.Try, getattr(ast, "TryStar", ast.Try))):
                there &= self.attempt(statement, sure)
            elif isinstance(statement, ast.With):
                suppressed = any("suppress" in ast.dump(item.context_expr) for item in statement.items)
                there &= self.statements(statement.body, sure and not suppressed) or suppressed
            elif isinstance(statement, ast.AsyncFunctionDef):
                self.perhaps.append("asyncio")
            elif isinstance(statement, ast.ClassDef):
                there &= self.statements(statement.body, sure)
            elif isinstance(statement, ast.If) and checks_types(statement.test):
                there &= self.statements(statement.orelse, sure)
        return there

    def attempt(self, statement, sure):
        guarded = bool(statement.handlers)
        there = self.statements(statement.body, sure and not guarded)
        if there:
            self.statements(statement.orelse, sure and not guarded)
        elif guarded:
            self.statements(statement.handlers[0].body, False)
        self.statements(statement.finalbody, sure)
        return there or guarded

    def names_from(self, statement, sure):
        """from a import b: b may be a module of its own. One of the function's has a file; one of a package is known when a package is called so."""
        base = statement.module or ""
        if statement.level:
            above = self.package[: len(self.package) - statement.level + 1]
            base = ".".join(above + ([base] if base else []))
        there = self.module(base, sure) if base else True
        for alias in statement.names:
            name = f"{base}.{alias.name}" if base else alias.name
            files = self.files(name)
            if files:
                self.own.extend(files)
            elif not statement.level and "." in name and self.has_package(name):
                self.tell(name)
            elif base in self.found or in_standard_library(base) and is_module(name):
                self.perhaps.append(name)
        return there

    def module(self, name, sure):
        parts = name.split(".")
        own = [file for n in range(1, len(parts) + 1) for file in self.files(".".join(parts[:n]))]
        self.own.extend(own)
        if own or os.path.isdir(f"{self.code}/{parts[0]}"):
            return True
        if in_standard_library(parts[0]):
            if name not in sys.modules and parts[0] not in HARMLESS:
                self.perhaps.append(name)
            return True
        if sure or any(self.has_package(".".join(parts[:n])) for n in range(1, len(parts) + 1)):
            self.tell(name)
            return True
        return False

    def tell(self, name):
        if name not in self.found:
            self.found.append(name)

    def has_package(self, module):
        return as_package(module) in self.locked

    def files(self, module):
        return own_files(self.code, module)


def as_package(module):
    """What a package is called that is called like its module."""
    return re.sub(r"[._]+", "-", module).lower()


def is_module(name):
    """Whether the standard library has a module inside of a package."""
    return any(os.path.exists(f"{directory}/{name.replace('.', '/')}.py") for directory in STDLIB)


def checks_types(test):
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING" or isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
