"""Which modules a function's own code imports after it has prepared for them: it has changed the state of the interpreter, or has called into a package
that they look at."""

import builtins
import codecs
import importlib
import random
import sys
import threading

from _pipsqueak.asked import package_of
from _pipsqueak.order import calls_before, own_files
from _pipsqueak.state import State, is_of_others, is_standard
from _pipsqueak.watch import CODE, Told

LATE = "="  # before the name of a module, as core has it
# What they change nobody can look at.
HIDDEN = [(codecs, "register"), (codecs, "unregister"), (codecs, "register_error"), (random, "seed"), (sys, "addaudithook")]


class Prepared:
    """A context in which late has the names of these modules. Each import by the function's code is looked at: what it loads is late if that code has
    prepared before. Of a module that was there before that code nobody knows what it would load, and it is late alone."""

    def __init__(self, handler):
        self.handler = handler.rpartition(".")[0].replace("/", ".")

    def __enter__(self):
        self.late, self.named, self.standard, self.own = set(), set(), set(), {}
        self.ahead = self.asked = None
        self.prepared, self.thread = False, threading.get_ident()
        self.was = ask, get = builtins.__import__, importlib._bootstrap._gcd_import

        def ask_watched(name, globals=None, locals=None, fromlist=(), level=0):
            return self.around(absolute(name, globals, level), fromlist or (), lambda: ask(name, globals, locals, fromlist, level))

        def get_watched(name, package=None, level=0):
            return self.around(absolute(name, {"__package__": package}, level), (), lambda: get(name, package, level))

        builtins.__import__, importlib._bootstrap._gcd_import = ask_watched, get_watched
        return self

    def __exit__(self, *_):
        builtins.__import__, importlib._bootstrap._gcd_import = self.was
        self.late |= {LATE + name for name in self.standard & self.named}

    def begin(self):
        self.calls, acts = calls_before(CODE, self.handler, lambda name: own_files(CODE, name))
        if acts:
            for module, name in HIDDEN:
                setattr(module, name, Told(getattr(module, name), self.told))
        self.ahead, self.state = set(sys.modules), State() if acts else None

    def told(self, *_):
        self.prepared = self.prepared or self.asked is None

    def around(self, name, members, run):
        if threading.get_ident() != self.thread:
            return run()
        if self.asked is not None:
            self.asked.add(name.partition(".")[0])
        elif self.ahead is None and name == self.handler:
            self.begin()
        elif self.ahead is not None:
            frame = own_frame()
            if frame is not None and not self.is_own(name):
                return self.outermost(name, members, frame, run)
        return run()

    def outermost(self, name, members, frame, run):
        names = {name, *(f"{name}.{member}" for member in members if isinstance(member, str))}
        called, there = self.calls.get((frame.f_code.co_filename, frame.f_lineno), set()), set(sys.modules)
        self.prepared = self.has_changed() or self.prepared
        self.named |= names
        self.asked = {name.partition(".")[0]}
        try:
            return run()
        finally:
            asked, self.asked = self.asked, None
            before = names & self.ahead
            if self.prepared or called & asked or called and before:
                self.add([*(each for each in list(sys.modules) if each not in there), *before])
            self.has_changed()  # by the import

    def has_changed(self):
        try:
            return self.state is not None and self.state.changed()
        except Exception:  # things of the function's are among it
            return True

    def add(self, modules):
        for name in modules:
            if is_standard(name):
                self.standard.add(name)
            elif isinstance(name, str) and not self.is_own(name) and package_of(name):
                self.late.add(LATE + package_of(name))

    def is_own(self, name):
        top = name.partition(".")[0]
        if top not in self.own:
            self.own[top] = not is_standard(top) and not is_of_others(top)
        return self.own[top]


def own_frame():
    """The frame of the function's code that imports, if it is the function's code that does."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename in (__file__, importlib.__file__):
        frame = frame.f_back
    return frame if frame is not None and str(frame.f_globals.get("__file__")).startswith(CODE + "/") else None


def absolute(name, globals, level):
    """The whole name of a module that is named in an import."""
    if not level:
        return name
    package = (globals or {}).get("__package__") or ""
    base = package.rsplit(".", level - 1)[0]
    return f"{base}.{name}" if name else base
