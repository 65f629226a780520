"""Which environment variables are read while something is imported: an instance may have others than a zygote. And
what a handler sets: variables, the working directory, the process's arguments."""

import ctypes
import os
import sys
import time
import types

from _pipsqueak.describe import is_a

ALL = "*"
DIRECTORY, ARGUMENTS = "./", "@argv"  # as core has them
# What is set again for each instance, or has to be there when the interpreter starts.
OURS = ("PYTHON", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS")

PRELOAD = ctypes.CDLL(os.path.dirname(os.path.dirname(__file__)) + "/preload.so")  # its functions are those that C code calls, Python's too
PRELOAD.ps_watched.restype = PRELOAD.ps_looked.restype = ctypes.c_char_p

PACKAGES, CODE = "/packages/", "/function"

Environment = type(os.environ)


class Clock(types.ModuleType):
    """The module time, which reports each read of what it has made of TZ."""

    def __getattribute__(self, name):
        if name in ("altzone", "daylight", "timezone", "tzname"):
            Clock.note("TZ")
        return super().__getattribute__(name)


class Watch:
    """A context in which reads has the names of the variables that were read, ALL when somebody has looked at all of them."""

    def __enter__(self):
        self.reads = set()
        self.was = {name: Environment.__dict__.get(name) for name in ("__getitem__", "__contains__", "__iter__", "copy")}
        get, iterate = self.was["__getitem__"], self.was["__iter__"]

        def watched(environment, key):
            self.note(key)
            return get(environment, key)

        def contains(environment, key):
            self.note(key)
            try:
                get(environment, key)
            except KeyError:
                return False
            return True

        def watched_all(environment):
            self.reads.add(ALL)
            return iterate(environment)

        def copy(environment):
            self.reads.add(ALL)
            return {key: get(environment, key) for key in iterate(environment)}

        Environment.__getitem__, Environment.__contains__, Environment.__iter__, Environment.copy = watched, contains, watched_all, copy
        Clock.note, time.__class__ = self.note, Clock
        PRELOAD.ps_watch()
        return self

    def note(self, key):
        name = os.fsdecode(key) if isinstance(key, (str, bytes)) else ""
        if name and not name.startswith(OURS):
            self.reads.add(name)

    def __exit__(self, *_):
        for name in PRELOAD.ps_watched().splitlines():
            self.note(name)
        time.__class__ = types.ModuleType
        for name, method in self.was.items():
            if method is None:
                delattr(Environment, name)
            else:
                setattr(Environment, name, method)
        if ALL in self.reads:  # who has looked at all has read each that is there
            self.reads -= set(os.environ)


class Told:
    """A function that reports the result of each call, and the frame that called it. It is no method of a class
    that has it, as one written in C is none."""

    def __init__(self, function, tell):
        self.function, self.tell = function, tell

    def __call__(self, *args, **kwargs):
        result = self.function(*args, **kwargs)
        self.tell(result, sys._getframe(1))
        return result


class Sets:
    """A context in which names has the variables that are set, changed or removed by others than packages that are
    just being imported, ALL when something else has taken the place of os.environ; and DIRECTORY and ARGUMENTS when
    they change those. It stays in the process, which never gets an event."""

    def __enter__(self):
        self.names, self.environ, self.arguments = set(), os.environ, list(sys.argv)
        put, unset = os.putenv, os.unsetenv  # os.environ uses them too, before it remembers what they do

        def put_noted(key, value):
            put(key, value)
            self.note(key, value)

        def unset_noted(key):
            unset(key)
            self.note(key, None)

        def move(_, frame):
            if not is_being_imported(frame):
                self.names.add(DIRECTORY)

        os.putenv, os.unsetenv = put_noted, unset_noted
        os.chdir, os.fchdir = Told(os.chdir, move), Told(os.fchdir, move)
        return self

    def note(self, key, value):
        try:
            key, value = os.fsencode(key), value if value is None else os.fsencode(value)
            if os.environb.get(key) != value and not is_being_imported(sys._getframe(2)):
                self.names.add(os.fsdecode(key))
        except Exception:
            self.names.add(ALL)

    def __exit__(self, *_):
        if os.environ is not self.environ:
            self.names = {ALL}
        if sys.argv != self.arguments:
            self.names.add(ARGUMENTS)


IMPORTING = "_load_unlocked", "exec_module", "create_module"


def is_being_imported(frame):
    """Whether what a frame does belongs to the import of a package: of the files of packages and of the function that
    are just being imported, the innermost is a package's."""
    while frame is not None:
        code = frame.f_code
        if code.co_name in IMPORTING and code.co_filename.startswith("<frozen importlib._bootstrap"):
            names = frame.f_locals
            spec = names.get("spec") or getattr(names.get("module"), "__spec__", None)
            origin = getattr(spec, "origin", None)
            if is_a(origin, str) and origin.startswith((PACKAGES, CODE + "/")):
                return origin.startswith(PACKAGES)
        frame = frame.f_back
    return False
