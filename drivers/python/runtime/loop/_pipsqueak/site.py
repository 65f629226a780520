"""Makes the directories of packages, of which each has one on sys.path, what one directory with all of them would be to Python.

Such a directory has the files of all packages that share a package of Python, also where one of them gives it an __init__.py, which makes Python look
nowhere else; and the interpreter reads the .pth files in it when it starts. Of a file that two packages have, the first one's counts.
"""

import os
import sys
import types
from importlib.machinery import PathFinder

from _pipsqueak.describe import is_a

PACKAGES = "/packages/"
PROGRAMS = "bin"  # the directory in a package that has its programs

_directories = {}  # of each package that was seen: the names of the directories in it
_paths = {}  # of each that has .pth files: the directories that these name
_last = []
_shared = set()  # what several packages have at their top


def arrange(packages):
    """Takes these directories of packages for all that are on sys.path. Returns those that belong at its end besides."""
    global _last, _shared
    if packages != _last:
        new = [package for package in packages if package not in _directories]
        for package in new:
            look_into(package)
        counts = {}
        for package in packages:
            for name in _directories[package]:
                counts[name] = counts.get(name, 0) + 1
        _last, _shared = list(packages), {name for name, count in counts.items() if count > 1 and name != PROGRAMS}
        if _shared:
            if Merged not in sys.meta_path:
                sys.meta_path.insert(sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else 0, Merged)
            extend_imported(packages)
        for package in new:
            read_pth(package)
    return [path for package in packages for path in _paths.get(package, ())]


def programs(packages):
    """Returns the directories with programs of packages."""
    return [f"{package}/{PROGRAMS}" for package in packages if (PROGRAMS in _directories[package] if package in _directories else os.path.isdir(f"{package}/{PROGRAMS}"))]


def look_into(package):
    found, pth = [], []
    try:
        with os.scandir(package) as entries:
            for entry in entries:
                if entry.name.endswith(".pth") and not entry.name.endswith("-nspkg.pth"):  # which makes a namespace that is one without it
                    pth.append(entry.path)
                elif "." not in entry.name and entry.is_dir():
                    found.append(entry.name)
    except OSError:
        pass  # an import will say so
    _directories[package] = found
    if pth:
        _paths[package] = sorted(pth)


def read_pth(package):
    """Does what site does with .pth files: a line names a directory, or is run when it begins with import."""
    files, directories = _paths.pop(package, ()), []
    for file in files:
        try:
            with open(file, encoding="utf-8-sig") as lines:
                text = lines.read()
        except (OSError, UnicodeDecodeError) as error:
            print(f"{file} cannot be read: {error}", file=sys.stderr)
            continue
        for line in map(str.rstrip, text.splitlines()):
            if line.startswith(("import ", "import\t")):
                try:
                    exec(line, {"sitedir": package})
                except BaseException as error:  # as of any module: it is reported, and not acted on
                    print(f"{file}: {type(error).__name__}: {error}, in: {line:.200}", file=sys.stderr)
            elif line and not line.startswith("#"):
                directory = os.path.join(package, line)
                if os.path.isdir(directory) and directory not in directories:
                    directories.append(directory)
    if directories:
        _paths[package] = directories


class Merged:
    """Finds packages of Python that several packages share, with all their directories."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        top, _, _ = name.partition(".")
        if top not in _shared:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None and spec.submodule_search_locations:
            extend(spec.submodule_search_locations, [entry for entry in (sys.path if path is None else path) if isinstance(entry, str)], name.rpartition(".")[2])
        return spec


def extend(locations, entries, below):
    """Adds to the directories of a Python package, which one of the packages has, those that the others have of it."""
    if not isinstance(locations, list) or not locations[0].startswith(PACKAGES):
        return
    for entry in entries:
        other = f"{entry}/{below}"
        if entry.startswith(PACKAGES) and other not in locations and os.path.isdir(other):
            locations.append(other)


def extend_imported(packages):
    """Adds to what a zygote has imported what further packages have of it."""
    for name, module in list(sys.modules.items()):
        if is_a(module, types.ModuleType) and is_a(name, str) and name.partition(".")[0] in _shared:
            known = types.ModuleType.__dict__["__dict__"].__get__(module)
            if known.get("__file__") is not None and known.get("__path__"):
                extend(known["__path__"], packages, name.replace(".", "/"))
