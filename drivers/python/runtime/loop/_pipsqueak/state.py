"""The state of the interpreter and of the language's own modules, which an import may go by. A plain interpreter has what a function's file has made of
it, a zygote has it as it was."""

import gc
import importlib.machinery
import operator
import re
import sys
import types

from _pipsqueak.describe import is_a

DEPTH = 6  # of containers in containers
CODE = "/function"
STANDARD = sys.stdlib_module_names if hasattr(sys, "stdlib_module_names") else frozenset()
# Kept to be quicker, or to know what is still there.
BOOKKEEPING = re.compile("cache|lock|dangling|atexit|registry|^_active|^_limbo|^last_|^environ|argv$")
WEAK = "weakref", "_weakrefset"  # what is there as long as others use it
MAPS = dict, types.MappingProxyType
SIMPLE = str, bytes, int, float
HOLD_NOTHING = frozenset(
    [str, bytes, int, float, bool, tuple, frozenset, property, classmethod, staticmethod, re.Pattern]
    + [kind for kind in vars(types).values() if type(kind) is type and kind not in (types.SimpleNamespace, types.MappingProxyType)]
)


class State:
    """What all that holds now. changed tells whether it holds something else since, and takes that for what it holds."""

    def __init__(self):
        self.kept, self.settings = {}, settings()
        self.take_modules()

    def take_modules(self):
        for name, module in list(sys.modules.items()):
            if is_standard(name) and is_a(module, types.ModuleType):
                self.take(vars_of(module), DEPTH)

    def take(self, things, depth):
        """Keeps the things alive too, so that nothing else gets their place."""
        if id(things) in self.kept:
            return
        names, values = contents(things)
        self.kept[id(things)] = things, names, values, depth
        self.take_inner(names, values, depth)

    def take_inner(self, names, values, depth):
        for name, value in zip(names, values) if depth else ():
            if type(value) not in HOLD_NOTHING and (type(name) is not str or not BOOKKEEPING.search(name)):
                inner = inside(value)
                if inner is not None:
                    self.take(inner, depth - 1)

    def changed(self):
        now, before = settings(), self.settings
        self.settings, changed = now, any(now[name] != value for name, value in before.items())
        for key, (things, names, values, depth) in list(self.kept.items()):
            if not same(values, things.values() if hasattr(things, "values") else things):
                names_now, values_now = contents(things)
                self.kept[key] = things, names_now, values_now, depth
                self.take_inner(names_now, values_now, depth)
                changed = changed or differ(things, dict(zip(names, values)), dict(zip(names_now, values_now)))
        self.take_modules()
        return changed


def same(one, other):
    """A name that a value has changed is no matter."""
    return len(one) == len(other) and all(map(operator.is_, one, other))


def differ(things, before, now):
    if things is sys.path:  # what is only appended hides nothing
        return list(now.values())[: len(before)] != list(before.values())
    for name in {**before, **now}:
        if type(name) is str and BOOKKEEPING.search(name):
            continue
        if name not in before and (is_imported(name, now[name]) if things is sys.modules else is_part(things, now[name])):
            continue
        if name not in before or name not in now or not equal(before[name], now[name]):
            return True
    return False


def equal(one, other):
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    return one == other if type(one) in SIMPLE else type(one) is tuple and len(one) == len(other) and all(map(equal, one, other))


def is_imported(name, module):
    """Whether a module is where an import has put it."""
    return getattr(vars_of(module).get("__spec__"), "name", None) == name


def is_part(things, value):
    """Whether a module has taken a thing of its own inner modules, as some do when it is first asked for."""
    module = value.__name__ if is_a(value, types.ModuleType) else getattr(value, "__module__", None)
    outer = things.get("__name__") if is_a(things, dict) else None
    return type(module) is str and type(outer) is str and module.startswith(outer + ".")


def contents(things):
    if is_a(things, dict) and things is loggers():
        things = {name: logger for name, logger in list(things.items()) if is_told(name, logger)}
    if is_a(things, MAPS):
        return list(things), list(things.values())
    values = list(things)
    return list(range(len(values))), values


def loggers():
    logging = sys.modules.get("logging")
    return logging and logging.Logger.manager.loggerDict


def is_told(name, logger):
    """Whether code elsewhere may find a logger other than as it would make it itself."""
    held = getattr(logger, "__dict__", {})
    plain = not held.get("level") and not held.get("handlers") and not held.get("filters") and held.get("propagate", True) and not held.get("disabled")
    return not plain and is_of_others(name.partition(".")[0])


def is_of_others(name):
    """Whether a module of that name can be imported that is not the function's."""
    try:
        spec = vars_of(sys.modules[name]).get("__spec__") if name in sys.modules else importlib.machinery.PathFinder.find_spec(name)
        return spec is not None and not any(place.startswith(CODE + "/") for place in [spec.origin or "", *(spec.submodule_search_locations or ())])
    except Exception:
        return True


def inside(thing):
    """What a thing holds that others can change: its members if it is a container, its attributes if it is the language's."""
    kind = type(thing)
    if kind in (dict, list, set):
        return thing
    try:
        if is_a(thing, type):
            return vars(thing) if is_standard(thing.__module__) else None
        if is_standard(kind.__module__) and kind.__module__ not in WEAK and kind not in (types.ModuleType, types.FunctionType):
            return object.__getattribute__(thing, "__dict__")
    except Exception:
        pass
    return None


def vars_of(module):
    return types.ModuleType.__dict__["__dict__"].__get__(module) if is_a(module, types.ModuleType) else {}


def is_standard(name):
    return type(name) is str and name.partition(".")[0] in STANDARD


def settings():
    """What is not in objects of Python."""
    found = {
        "recursion": sys.getrecursionlimit(), "switch": sys.getswitchinterval(), "trace": sys.gettrace(), "profile": sys.getprofile(), "hooks": sys.get_asyncgen_hooks(),
        "collects": gc.isenabled(), "threshold": gc.get_threshold(), "digits": getattr(sys, "get_int_max_str_digits", int)(),
    }  # fmt: skip
    for module, ask in ASK.items():
        if module in sys.modules:
            found[module] = ask(sys.modules[module])
    return found


def context(decimal):
    return [[c.prec, c.rounding, c.Emin, c.Emax, c.capitals, c.clamp, dict(c.traps)] for c in (decimal.getcontext(), decimal.DefaultContext)]


ASK = {
    "_abc": lambda m: m.get_cache_token(),
    "_locale": lambda m: m.setlocale(m.LC_ALL),
    "_csv": lambda m: [m.field_size_limit(), m.list_dialects()],
    "_socket": lambda m: m.getdefaulttimeout(),
    "_thread": lambda m: m.stack_size(),
    "decimal": context,
    "resource": lambda m: [m.getrlimit(getattr(m, name)) for name in dir(m) if name.startswith("RLIMIT_")],
    "signal": lambda m: [m.getsignal(n) for n in sorted(m.valid_signals())],
}
