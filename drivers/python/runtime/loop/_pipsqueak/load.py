"""Imports: of packages, by a zygote or an instance, and of a handler."""

import importlib
import importlib.machinery
import itertools
import os
import sys
import time
import types

from _pipsqueak import fresh, names
from _pipsqueak import threads as numerical
from _pipsqueak.application import application
from _pipsqueak.asked import Asked, Place
from _pipsqueak.describe import MAX_MESSAGE, Failure, cut, is_a, name_of, text_of
from _pipsqueak.site import programs
from _pipsqueak.watch import Sets, Watch

PACKAGES = "/packages/"
PROGRAMS = os.path.dirname(os.path.dirname(__file__)) + "/programs"
# Modules that are reported to core, of those that it did not know a handler imports.
MAX_LOADED = 64

# Seconds that a thread may still be seen after it was joined.
SETTLING = 0.01

os.environ.pop("LD_PRELOAD", None)  # what a package starts at import is not to have it

MAIN = types.ModuleType("__main__")  # of the function's program

# The environment that a root zygote begins with, and what this runtime has made of it.
BEGINNING = dict(os.environ)


def set_environment(env):
    """Makes env the whole environment, but for what was imported has changed meanwhile, as it would in any process."""
    there = dict(os.environ)
    changed = {name for name in {**there, **BEGINNING} if there.get(name) != BEGINNING.get(name)}
    for name in there.keys() - env.keys() - changed:
        del os.environ[name]
    for name, value in env.items():
        if name not in changed and there.get(name) != value:
            os.environ[name] = value
    if os.environ.get("TZ") != there.get("TZ"):
        time.tzset()


def load_watched(request):
    with Watch() as watch, Asked() as asked, Place() as place:
        report, _ = load(request)
    report["reads"], report["asks"] = sorted(watch.reads), sorted([*asked.names, *place.names])
    return report


def load_noted(request):
    from _pipsqueak.prepared import Prepared  # no other process needs it

    with Sets() as sets, Prepared(request["handler"]) as prepared:
        report, handler = load(request)
    report["sets"] = sorted(sets.names | prepared.late)
    return report, handler


def load(request):
    """Imports the modules of a request, and the handler that an instance's has. Returns the report and the handler."""
    start = time.perf_counter()
    name = request.get("handler")
    names.look_in(request.get("packages", []), names.CODE if name else None)
    if name:
        look_like(f"{names.CODE}/{name.rpartition('.')[0].replace('.', '/')}.py")
        names.forget_shadowed()
        use_processors(request)
    elif request.get("modules"):
        fresh.watch_seeds()
    modules, begun = {}, len(sys.modules)
    for module in request.get("modules", []):
        begin = time.perf_counter()
        import_module(module)
        modules[module] = time.perf_counter() - begin
    known = len(sys.modules)
    handler = import_handler(name) if name else None
    if name and not is_plain(handler):
        handler = as_application(handler, name)
    if name and len(sys.modules) > begun + 1:
        use_processors(request, again=True)
    report = {"took": time.perf_counter() - start, "modules": modules, "threads": threads()}
    if report["threads"] > 1 and not name:
        time.sleep(SETTLING)
        report["threads"] = threads()
    if len(sys.modules) > known + 1:
        report["loaded"] = loaded_since(known)
    return report, handler


def look_like(file):
    """Makes the main module that of a program in the file. Its name in __spec__ has processes that are spawned leave that file alone: they import the
    handler's module by its own name."""
    loader = importlib.machinery.SourceFileLoader("__main__", file)
    MAIN.__file__, MAIN.__loader__, MAIN.__cached__ = file, loader, None
    MAIN.__spec__ = importlib.machinery.ModuleSpec("__main__", loader, origin=file)


def tell_programs(packages):
    """Has what this process starts find the packages, if it is a Python, and their programs."""
    if not packages:
        return
    path, modules = (os.environ.get(name, "").split(":") for name in ("PATH", "PYTHONPATH"))
    told = {"PIPSQUEAK_PACKAGES": packages, "PYTHONPATH": [entry for entry in modules if entry and entry != PROGRAMS] + [PROGRAMS]}
    if found := programs(packages):
        told["PATH"] = found + [entry for entry in path if not entry.startswith(PACKAGES)]
    for name, entries in told.items():
        BEGINNING[name] = os.environ[name] = ":".join(entries)


def use_processors(request, again=False):
    """Has numerical libraries use the processors that the function has: those of the zygote, and those that were loaded since, which took what the machine has."""
    machine = len(os.sched_getaffinity(0))
    processors = request.get("processors") or machine
    if again:
        if processors == machine:
            return
        numerical.find()
    try:
        numerical.use(processors)
    except Exception:
        pass  # they are the packages', and it is slower without


def threads():
    return len(os.listdir("/proc/self/task"))


def loaded_since(known):
    """Returns what has been imported of packages after the first so many modules: of those inside of one another, the outermost."""
    found = set()
    for name in list(itertools.islice(sys.modules, known, None)):
        file = fresh.vars_of(sys.modules.get(name)).get("__file__")
        if is_a(name, str) and is_a(file, str) and file.startswith(PACKAGES):
            found.add(name)
    return [name for name in sorted(found) if not is_inside(name, found)][:MAX_LOADED]


def is_inside(name, packages):
    while "." in name:
        name = name.rpartition(".")[0]
        if name in packages:
            return True
    return False


def is_plain(handler):
    """Whether it is a function of the usual arguments, as nearly every handler is."""
    return type(handler) is types.FunctionType and handler.__code__.co_argcount in (1, 2) and "start_response" not in handler.__code__.co_varnames[:2]


def as_application(handler, name):
    """Returns the handler, or if it is a web application, one that answers requests by it."""
    try:
        return application(handler, name) or handler
    except BaseException as error:
        raise Failure("exception", "handler", f"starting {name} failed: {name_of(error)}: {cut(text_of(error), MAX_MESSAGE)}", error) from None


def import_module(name):
    try:
        return importlib.import_module(name)
    except BaseException as error:  # whatever third-party code raises, SystemExit too, is reported and not acted on
        raise Failure("exception", "handler", f"importing {name} failed: {name_of(error)}: {cut(text_of(error), MAX_MESSAGE)}", error) from None


def import_handler(name):
    """Returns the callable behind "directory/file.symbol"."""
    module_name, _, symbol = name.rpartition(".")
    module = import_module(module_name.replace("/", "."))
    try:
        handler = getattr(module, symbol, None)
    except BaseException as error:
        raise Failure("exception", "handler", f"looking for {symbol} in {module_name}.py failed: {name_of(error)}: {cut(text_of(error), MAX_MESSAGE)}", error) from None
    if handler is None:
        raise Failure("invalid", "handler", f"{module_name}.py has no {symbol!r}, which the handler {name!r} names")
    if not callable(handler):
        raise Failure("invalid", "handler", f"{symbol!r} in {module_name}.py is a {name_of(handler)}, not a function")
    return handler
