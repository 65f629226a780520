"""What modules give for random numbers: their generators, and the functions and classes of which the names say that they make identities.

A probe compares it between two forks and a process for itself (core/probe). The process that draws is of no other use."""

import contextlib
import datetime
import os
import re
import signal
import sys
import time
import types

from _pipsqueak.describe import is_a
from _pipsqueak.fresh import kinds, vars_of

DEPTH = 3  # objects inside of objects in which a generator of a package is looked for
NOW = 3_000_000_000  # the time in each process that draws: ids have the time in them
PATIENCE, PATIENCE_FOR_ALL = 0.2, 2.0  # seconds for a function, and for all of them

# Names in small letters, with a "_" between the words.
MAKES = r"(?:generate|gen|create|new|make|random|rand|unique|next|mint)"
IDENTITY = r"(?:(?:object|short|nano|flake|snowflake|type|push)_?id|uuid|guid|ulid|cuid|ksuid|tsid|xid|uid|suid|oid|snowflake|token|nonce)"
FORM = r"(?:_?(?:v?\d+|hex|str|string|bytes|urlsafe|text))*"
GIVES = re.compile(rf"(?:{MAKES}_?)?(?:{IDENTITY}|random){FORM}|{MAKES}_?(?:[a-z\d]+_)*(?:id|key|secret|salt){FORM}")
MAKER = re.compile(rf"{MAKES}|default|v\d+")  # where the name of the package says of what

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # what an object without a text of its own says


def draw(modules):
    """Draws from the generators that the modules have, and from functions of theirs that make identities. Returns for each module a line for each of them."""
    drawn, end = {}, time.monotonic() + PATIENCE_FOR_ALL
    for module in modules:
        lines = []
        for name in sorted(name for name in list(sys.modules) if isinstance(name, str) and (name + ".").startswith(module + ".")):
            for attribute, value in sorted(((a, v) for a, v in list(vars_of(sys.modules.get(name)).items()) if isinstance(a, str)), key=lambda pair: pair[0]):
                lines.extend(f"{name}.{attribute}{path} {number}" for path, number in draw_from(value, attribute, name, DEPTH, set(), end))
        if lines:
            drawn[module] = "\n".join(lines)
    return drawn


def draw_from(thing, attribute, module, depth, seen, end):
    """Yields where in an object there are generators, and what they give."""
    try:
        number = draw_once(thing, attribute, module, end)
        if number is not None:
            yield "", number
        inside = object.__getattribute__(thing, "__dict__") if depth and type(thing).__module__.startswith(module.partition(".")[0]) else {}
    except BaseException:
        return
    if id(thing) in seen or not is_a(inside, dict):
        return
    seen.add(id(thing))
    for name, value in list(inside.items()):
        for path, number in draw_from(value, "", module, depth - 1, seen, end):
            yield f".{name}{path}", number


def draw_once(thing, attribute, module, end):
    """A number or text, or None when the object gives none. The global generators of random and numpy are in modules of their own."""
    if is_a(thing, kinds("random", "Random")):
        return None if thing is sys.modules["random"]._inst and module != "random" else thing.getrandbits(62)
    if is_a(thing, kinds("numpy.random", "Generator")):
        return int(thing.integers(1 << 62))
    if is_a(thing, kinds("numpy.random", "RandomState")):
        return thing.bytes(8).hex()
    if is_a(thing, kinds("numpy.random", "BitGenerator")):
        return int(thing.random_raw())
    if time.monotonic() < end and is_a(thing, (types.FunctionType, types.BuiltinFunctionType, type)) and thing.__module__ == module and gives(attribute, module):
        with limited(), still(module.partition(".")[0]):
            return telling(thing)
    return None


def gives(name, module=""):
    """Whether the name of a function or class says that it makes identities."""
    name, package = in_words(name), in_words(module.partition(".")[0])
    return bool(GIVES.fullmatch(name) or MAKER.fullmatch(name) and any(GIVES.fullmatch(part) for part in (package, *package.split("_"))))


def in_words(name):
    return re.sub(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def telling(give):
    """What a function gives next, as text: so much of it that two processes do not have the same by chance. None when it gives nothing to compare."""
    values = [text_of(give())]
    while values[-1] is not None and len(values) < 64 and len(values[-1]) < 8:
        values.append(text_of(give()))
    return None if None in values else " ".join(values).replace("\n", " ")


def text_of(value):
    kind = type(value)
    if value is None or kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        return None
    text = repr(value) if is_a(value, (str, bytes, float)) else str(value)
    return None if ADDRESS.search(text) else text


@contextlib.contextmanager
def limited():
    """Ends what takes too long."""

    def stop(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def still(package):
    """Has a package find the same time in each process, and the id that every instance has."""
    ticks = iter(range(NOW * 10**6, sys.maxsize))  # microseconds: who waits for the next time gets it

    class Still(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromtimestamp(next(ticks) / 1e6, tz)

        @classmethod
        def utcnow(cls):
            return datetime.datetime.fromtimestamp(next(ticks) / 1e6, datetime.timezone.utc).replace(tzinfo=None)

    others = [(time.time, lambda: next(ticks) / 1e6), (time.time_ns, lambda: next(ticks) * 1000), (os.getpid, lambda: 2), (datetime.datetime, Still)]
    replaced = []
    for name, module in [*sys.modules.items()]:
        if module not in (time, os, datetime) and not (isinstance(name, str) and (name + ".").startswith(package + ".")):
            continue
        names = vars_of(module)
        for attribute, value in [*names.items()]:
            for given, other in others:
                if value is given:
                    names[attribute] = other
                    replaced.append((names, attribute, given))
    try:
        yield
    finally:
        for names, attribute, given in replaced:
            names[attribute] = given
