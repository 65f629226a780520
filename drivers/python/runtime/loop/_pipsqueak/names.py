"""Where modules are looked for, as a plain interpreter does it in a virtual environment: the function's directory, the standard library, the packages."""

import importlib.machinery
import os
import site
import sys

from _pipsqueak.site import arrange

CODE = "/function"
LOOP = os.path.dirname(os.path.dirname(__file__))
STDLIB = [path for path in sys.path if path not in (LOOP, *site.getsitepackages())]
SUFFIXES = importlib.machinery.all_suffixes()
# Modules that a plain interpreter has before it looks for the program's: nothing takes their names.
STARTUP = {*sys.builtin_module_names, "__main__", "_collections_abc", "_sitebuiltins", "abc", "codecs", "encodings", "genericpath", "io", "ntpath", "os", "posixpath",
           "site", "sitecustomize", "stat", "usercustomize", "zipimport"}


def look_in(packages, code=None):
    """Sets sys.path."""
    sys.path[:] = ([code] if code else []) + STDLIB + packages
    sys.path += arrange(packages)


def forget_shadowed():
    """Has modules that are there already looked for again, when the function has files of their names."""
    try:
        entries = os.listdir(CODE)
    except OSError:
        return
    for name in {entry.partition(".")[0] for entry in entries}:
        if name in sys.modules and name not in STARTUP and has_module(CODE, name):
            for inner in [m for m in sys.modules if m == name or isinstance(m, str) and m.startswith(name + ".")]:
                del sys.modules[inner]


def has_module(directory, name):
    """Whether a module of that name is in a directory: a file, or a package that is not a mere namespace."""
    return any(os.path.isfile(f"{directory}/{name}{suffix}") or os.path.isfile(f"{directory}/{name}/__init__{suffix}") for suffix in SUFFIXES)
