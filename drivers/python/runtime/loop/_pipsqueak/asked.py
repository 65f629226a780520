"""What is looked for while something is imported that may be another thing in an instance than in a zygote: modules
and distributions, what is in the working directory, and the process's id, arguments and program."""

import builtins
import importlib
import os
import re
import sys
import types

from _pipsqueak.watch import ALL, ARGUMENTS, CODE, PACKAGES, PRELOAD, Told

MAX_ASKED = 1000  # names, before it is all of them
WHERE, PID, PROGRAM = ".", "@pid", "@program"  # as core has them


class Asked:
    """A context in which names has the modules that somebody has looked for, and distributions, there or not, ALL when somebody has looked at all of
    them. Of a module it is the package that it is in, or the first one that is not there, and of namespaces the one below. Modules that have been
    imported are asked of no finder, so __import__ tells of those."""

    def __enter__(self):
        import importlib.util

        self.asked, self.distributions = set(), set()
        self.was = ask, get, find = builtins.__import__, importlib._bootstrap._gcd_import, importlib.util.find_spec

        def ask_watched(name, globals=None, locals=None, fromlist=(), level=0):
            if level == 0:
                self.asked.add(name)
                self.asked.update(f"{name}.{each}" for each in fromlist or () if isinstance(each, str))
            return ask(name, globals, locals, fromlist, level)

        def get_watched(name, package=None, level=0):
            if level == 0:
                self.asked.add(name)
            return get(name, package, level)

        def find_watched(name, package=None):
            self.asked.add(name)
            return find(name, package)

        builtins.__import__, importlib._bootstrap._gcd_import, importlib.util.find_spec = ask_watched, get_watched, find_watched
        sys.meta_path.insert(0, self)
        return self

    def find_spec(self, name, path=None, target=None):
        self.asked.add(name)

    def find_distributions(self, context):
        self.distributions.add(re.sub(r"[-_.]+", "-", context.name).lower() if context.name else ALL)
        return iter(())

    def __exit__(self, *_):
        builtins.__import__, importlib._bootstrap._gcd_import, importlib.util.find_spec = self.was
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        names = self.distributions | {package_of(name) for name in self.asked if isinstance(name, str)}
        self.names = sorted(names - {""}) if ALL not in names and len(names) <= MAX_ASKED else [ALL]


def package_of(name):
    """Returns how the name of a module begins, up to what is no namespace; nothing of a namespace alone and of the standard library."""
    parts = name.split(".")
    if parts[0] in sys.stdlib_module_names or parts[0] in ("", "__main__"):
        return ""
    for end in range(1, len(parts) + 1):
        try:
            namespace = sys.modules[".".join(parts[:end])].__spec__.origin is None
        except Exception:  # it is not there, or is an object of the package's own
            namespace = False
        if not namespace:
            return ".".join(parts[:end])
    return ""


class Main(types.ModuleType):
    """The main module, which tells who asks for the program that it is of."""

    def __getattribute__(self, name):
        if name in ("__file__", "__spec__", "__loader__"):
            Main.tell(sys._getframe(1))
        return super().__getattribute__(name)


class Place:
    """A context in which names has what is in the working directory that somebody has looked at, DIRECTORY for all of
    it, WHERE if somebody has asked which it is, and PID, ARGUMENTS and PROGRAM if code of packages has."""

    def __enter__(self):
        self.names, self.ids = set(), []
        self.was = os.getcwd, os.getcwdb, os.getpid, sys.argv
        os.getcwd, os.getcwdb = (Told(function, lambda *_: self.names.add(WHERE)) for function in self.was[:2])
        os.getpid, sys.argv = Told(os.getpid, self.identified), Arguments(sys.argv)
        sys.argv.tell = self.argued
        Main.tell, sys.modules["__main__"].__class__ = self.programmed, Main
        PRELOAD.ps_look(CODE.encode())
        return self

    def identified(self, pid, frame):
        if frame.f_code.co_filename.startswith(PACKAGES):
            self.ids.append((pid, frame.f_code, frame.f_globals))

    def argued(self, frame):
        if frame.f_code.co_filename.startswith(PACKAGES):
            self.names.add(ARGUMENTS)

    def programmed(self, frame):
        if frame.f_code.co_filename.startswith(PACKAGES):
            self.names.add(PROGRAM)

    def __exit__(self, *_):
        sys.modules["__main__"].__class__ = types.ModuleType
        os.getcwd, os.getcwdb, os.getpid, sys.argv = self.was
        self.names.update(os.fsdecode(name) for name in PRELOAD.ps_looked().splitlines())
        if keeps(self.ids):
            self.names.add(PID)


def keeps(ids):
    """Whether somebody has kept the process's id of those who have read it, and does not read it again to notice a
    fork. Each read has an object of its own."""
    unkept = None
    for pid, code, names in [(int("20001"), None, {}), *ids]:
        references = sys.getrefcount(pid)
        if unkept is None:
            unkept = references
        others = other_names(code, names)
        if "getpid" not in others and (references > unkept or keeps_text(str(pid), names, others)):
            return True
    return False


def keeps_text(pid, names, others):
    """Whether a text with the id is a constant of a module, or is used by its functions: it may also be left over."""
    return any(type(value) is str and pid in value and (name.isupper() or name in others) for name, value in list(names.items()))


def other_names(code, names):
    """The names that other code of a module than this uses, but for what runs at its import only."""
    try:
        found = [names["__spec__"].loader.get_code(names["__name__"])]
        for each in found:
            found += [const for const in each.co_consts if isinstance(const, types.CodeType)]
        return {name for each in found[1:] if each != code for name in each.co_names}
    except Exception:  # it is no module with code
        return set()


class Arguments(list):
    """The arguments of the process, which report who reads them."""


def told(name):
    read = getattr(list, name)

    def read_told(self, *args):
        self.tell(sys._getframe(1))
        return read(self, *args)

    return read_told


for name in ("__getitem__", "__iter__", "__len__", "__contains__", "__eq__", "__add__", "copy", "index", "pop"):
    setattr(Arguments, name, told(name))
