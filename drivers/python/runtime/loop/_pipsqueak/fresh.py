"""What a child must not share with its siblings: states of random generators, and what else is made of them.

A plain interpreter gives new numbers in each process only from generators that were seeded by the system. One that its author has seeded gives the same in
each, and is left as it is. So only generators are seeded again that are known to have been seeded by the system; of any other a probe finds out (draw)
whether it gives in each fork what it would not give in each process.
"""

import ctypes
import gc
import os
import sys
import time
import types
import weakref

from _pipsqueak.describe import is_a

LARGE = 1 << 64  # what the system seeds with has 128 bits, what people write mostly less than 64
MULTIPROCESSING = "multiprocessing", "multiprocess", "billiard"  # the language's own, and copies of it that packages bring

_by_hand = weakref.WeakSet()  # generators of the module random that were seeded with something
_seen = []  # references, weak where they can be, to the generators that were there when this process or an ancestor had imported
_renewable = []  # those of them that the system has seeded
_global_state = None  # of the module random, when what was imported has seeded it
_plain_seed = None  # random.Random.seed, as long as another one is in its place


def watch_seeds():
    """Has generators of the module random remember how they were seeded, because their state does not show it."""
    global _plain_seed
    if _plain_seed is not None:
        return
    import random

    plain = _plain_seed = random.Random.seed

    def seed(self, a=None, version=2):
        try:
            (_by_hand.discard if a is None else _by_hand.add)(self)
        except TypeError:
            pass  # a subclass that cannot be referred to weakly, or not be hashed: it is found to repeat, if it does
        return plain(self, a, version)

    seed.__doc__, seed.__qualname__ = plain.__doc__, plain.__qualname__
    random.Random.seed = seed
    random.seed = random._inst.seed


def leave_seeds():
    """Gives an instance the module random as it is."""
    if _plain_seed is not None:
        import random

        random.Random.seed = _plain_seed
        random.seed = random._inst.seed


def find():
    """Looks for generators among the objects that the collector has not forgotten."""
    global _global_state
    python, numpy = kinds("random", "Random"), kinds("numpy.random", "RandomState", "BitGenerator")
    system = kinds("random", "SystemRandom")
    if not python:
        return
    for thing in gc.get_objects():
        kind = type(thing)
        if issubclass(kind, python) and not issubclass(kind, system) or numpy and issubclass(kind, numpy):
            _seen.append(reference(thing))
    _renewable[:] = [found for found in _seen if renewable(found())]
    random = sys.modules["random"]
    _global_state = random.getstate() if random._inst in _by_hand else None


def renewable(thing):
    """Whether a generator was seeded by the system, as far as that can be seen."""
    try:
        if is_a(thing, kinds("random", "Random")):
            return thing not in _by_hand and thing is not sys.modules["random"]._inst  # which is seeded again by its module
        bits = getattr(thing, "_bit_generator", thing)
        sequence = getattr(bits, "seed_seq", None) or getattr(bits, "_seed_seq", None)  # none when it was seeded in the way of old
        return isinstance(sequence.entropy, int) and sequence.entropy >= LARGE and not sequence.spawn_key
    except BaseException:
        return False


def kinds(module, *names):
    """Those classes of a module that are there, if it is."""
    there = vars_of(sys.modules.get(module))
    return tuple(there[name] for name in names if is_a(there.get(name), type))


def vars_of(module):
    """The names of a module. Anything may be in sys.modules, and some modules import when they are asked for a name."""
    return types.ModuleType.__dict__["__dict__"].__get__(module) if is_a(module, types.ModuleType) else {}


def reference(thing):
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: thing


def renew():
    """Makes a child new. What belongs to packages can be anything by now, and is left alone when it does not do what it should."""
    for change in (renew_random, renew_numpy, renew_torch, renew_ssl, renew_sqlite, renew_tempfile, renew_uuid, renew_multiprocessing, renew_threading, renew_logging):
        try:
            change()
        except BaseException:
            pass
    for found in _renewable:
        try:
            renew_generator(found())
        except BaseException:
            pass


def renew_generator(thing):
    if hasattr(thing, "random_raw"):
        thing.state = type(thing)().state
    elif hasattr(thing, "set_state"):  # its seed() would forget that it was the system's
        thing.set_state({**type(thing._bit_generator)().state, "has_gauss": 0, "gauss": 0.0})
    elif thing is not None:
        thing.seed()


def renew_random():
    if _global_state is not None:
        sys.modules["random"].setstate(_global_state)  # the module itself has seeded again after the fork


def renew_numpy():
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None and "BitGenerator" not in vars_of(numpy_random):  # before 1.17
        numpy_random.seed()


def renew_torch():
    generator = vars_of(sys.modules.get("torch")).get("default_generator")
    if generator is not None and generator.initial_seed() >= 1 << 32:
        generator.seed()


def renew_ssl():
    ssl = sys.modules.get("ssl")
    if ssl is not None:
        ssl.RAND_add(os.urandom(32), 32.0)


def renew_sqlite():
    if "_sqlite3" in sys.modules:  # it has drawn for whoever has a database open
        ctypes.PyDLL("libsqlite3.so.0").sqlite3_randomness(0, None)


def renew_tempfile():
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile._name_sequence = None  # it knows a fork by the pid, which may be its zygote's in another namespace


def renew_uuid():
    uuid = sys.modules.get("uuid")
    if uuid is not None:
        uuid._node = uuid._last_timestamp = None


def renew_multiprocessing():
    for name in MULTIPROCESSING:
        process = sys.modules.get(name + ".process")
        if process is not None:
            process.current_process()._config["authkey"] = process.AuthenticationString(os.urandom(32))


def renew_threading():
    """threading gives the main thread its number when it is made, and after a fork an identity only."""
    threading = sys.modules.get("threading")
    if threading is not None:
        threading.main_thread()._set_native_id()


def renew_logging():
    """The time from which records count is that of the process."""
    logging = sys.modules.get("logging")
    if logging is not None:
        now = time.time_ns()
        logging._startTime = now if type(logging._startTime) is int else now / 1e9  # seconds before Python 3.13
