"""The loop of a Python process of Pipsqueak: a zygote that imports and forks, and the instances that its children are.

Started as `python3 zygote.py LIBRARY`, with a control socket (SOCK_SEQPACKET) as descriptor 3. The driver asks over
it, one JSON packet a message; descriptors come as ancillary data. An instance hears nothing of it. Standard library only, and as little of it as possible:
what is imported here is in every function's process.
"""

import ctypes
import gc
import importlib
import itertools
import json
import linecache  # noqa: F401  imported for traceback: a handler's first exception finds it ready
import os
import select
import signal
import socket
import sys
import time
import types

import pipsqueak_fresh as fresh
import pipsqueak_names as names
import pipsqueak_threads as numerical
from pipsqueak_errors import MAX_MESSAGE, Failure, cut, describe, is_a, name_of, text_of
from pipsqueak_instance import ENDPOINT, Instance, answer, leave, prepare_streams, receive
from pipsqueak_place import Place
from pipsqueak_site import programs
from pipsqueak_watch import Asked, Sets, Watch

CONTROL = 3
PACKAGES = "/packages/"
MAX_PACKET = 128 << 10
# Modules that core is told of, of those that it did not know a handler imports.
MAX_LOADED = 64
# Seconds after which an instance that has not been told anything was forked ahead, and has time to rehearse.
PATIENCE = 0.002

# Seconds that a thread may still be seen after it was joined.
SETTLING = 0.01

# What ps_zygote returns besides the length of a request.
LOST, ZYGOTE, INSTANCE = 0, -1, -2

# Kinds of frame with which an instance answers core that it is to import a handler.
REPORT, FAILURE = b"P"[0], b"F"[0]

os.environ.pop("LD_PRELOAD", None)  # what a package starts at import is not to have it

# The environment that a root zygote begins with, and what this runtime has made of it.
BEGINNING = dict(os.environ)


class Hooks(ctypes.Structure):
    """struct ps_hooks: what CPython does around a fork, as os.fork does it."""

    _fields_ = [("before", ctypes.c_void_p), ("parent", ctypes.c_void_p), ("child", ctypes.c_void_p)]


def be_zygote(library):
    """Forks and imports as the driver asks. Returns only in a child that is an instance."""
    control = socket.socket(fileno=CONTROL)
    # PyDLL keeps the GIL, which a fork needs.
    kernel = ctypes.PyDLL(library)
    api = ctypes.pythonapi
    hooks = Hooks(*(ctypes.cast(f, ctypes.c_void_p) for f in (api.PyOS_BeforeFork, api.PyOS_AfterFork_Parent, api.PyOS_AfterFork_Child)))
    buffer = ctypes.create_string_buffer(MAX_PACKET)
    say(control, {"parked": True})
    while True:
        length = kernel.ps_zygote(CONTROL, ctypes.byref(hooks), buffer, MAX_PACKET)
        if length == INSTANCE:
            control.detach()  # closed already
            return after_fork()
        if length == ZYGOTE:
            after_fork()
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as in prepare_to_fork: it may fork before it imports anything
        elif length == LOST:
            # There is nothing more to do, but what was forked from here lives on, and would die with this process. Core ends
            # it when it is not needed any more.
            while True:
                signal.pause()
        else:
            say(control, answer_to(json.loads(buffer.raw[:length])))


def answer_to(request):
    try:
        if request["op"] != "import":
            raise Failure("internal", "driver", f"unknown request {request['op']!r}")
        tell_programs(request.get("packages", []))
        report = load_watched(request) if request.get("watch") else load(request)[0]
        if request.get("draw"):
            report["drawn"] = fresh.draw(request["draw"])
        prepare_to_fork()
        return report
    except Failure as failure:
        return {"error": failure.reply}
    except Exception as error:
        return {"error": ours(error).reply}


def ours(error):
    """What this runtime, and nobody else, has done wrong."""
    return Failure("internal", "driver", f"the Python runtime failed: {name_of(error)}: {cut(text_of(error), MAX_MESSAGE)}", error)


def say(control, message):
    try:
        control.send(packed(message))
    except OSError:
        pass  # the driver is gone, which the next receive finds too


def be_instance():
    """Imports the handler that core names on the endpoint, and answers events, until core closes it."""
    prepare_streams()
    if not select.select([ENDPOINT], [], [], PATIENCE)[0]:
        rehearse()
    buffer = bytearray(64 << 10)
    length = receive(buffer, b"H")
    if length < 0:
        leave(0)
    request = json.loads(buffer[5:length])
    try:
        fresh.leave_seeds()
        set_environment(request.get("env", {}))
        tell_programs(request.get("packages", []))
        report, handler = load_noted(request) if request.get("watch") else load(request)
    except Failure as failure:
        answer(FAILURE, packed(failure.reply))
        leave(1)
    except Exception as error:
        answer(FAILURE, packed(ours(error).reply))
        leave(1)
    answer(REPORT, packed(report))
    Instance(request, handler, describe).serve(buffer)


def set_environment(env):
    """Makes env the whole environment, but for what was imported has changed meanwhile, as it would in any process."""
    changed = {name: value for name, value in os.environ.items() if BEGINNING.get(name) != value}
    removed = BEGINNING.keys() - os.environ.keys()
    os.environ.clear()
    os.environ.update({name: value for name, value in env.items() if name not in removed})
    os.environ.update(changed)
    time.tzset()


def load_watched(request):
    with Watch() as watch, Asked() as asked, Place() as place:
        report, _ = load(request)
    report["reads"], report["asks"] = sorted(watch.reads), sorted([*asked.names, *place.names])
    return report


def load_noted(request):
    with Sets() as sets:
        report, handler = load(request)
    report["sets"] = sorted(sets.names)
    return report, handler


def tell_programs(packages):
    """Has what this process starts find the packages, if it is a Python, and their programs."""
    if not packages:
        return
    ours = os.path.dirname(__file__) + "/programs"
    path, modules = (os.environ.get(name, "").split(":") for name in ("PATH", "PYTHONPATH"))
    told = {"PIPSQUEAK_PACKAGES": packages, "PYTHONPATH": [entry for entry in modules if entry and entry != ours] + [ours]}
    if found := programs(packages):
        told["PATH"] = found + [entry for entry in path if not entry.startswith(PACKAGES)]
    for name, entries in told.items():
        BEGINNING[name] = os.environ[name] = ":".join(entries)


def load(request):
    """Imports the modules of a request, and the handler that an instance's has. Returns the report and the handler."""
    start = time.perf_counter()
    name = request.get("handler")
    names.look_in(request.get("packages", []), names.CODE if name else None)
    if name:
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
    if name and len(sys.modules) > begun + 1:
        use_processors(request, again=True)
    report = {"took": time.perf_counter() - start, "modules": modules, "threads": threads()}
    if report["threads"] > 1 and not name:
        time.sleep(SETTLING)
        report["threads"] = threads()
    if len(sys.modules) > known + 1:
        report["loaded"] = loaded_since(known)
    return report, handler


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


def import_module(name):
    try:
        return importlib.import_module(name)
    except BaseException as error:  # whatever third-party code raises, SystemExit too, is told and not acted on
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


def packed(message):
    """A message as JSON, of at most MAX_PACKET bytes: a longer one is an error, and cut."""
    packet = json.dumps(message).encode("utf-8", "replace")
    if len(packet) > MAX_PACKET:
        error = message.get("error", message)
        shorten(error)
        shorten(error.get("exception", {}))
        packet = json.dumps(message).encode("utf-8", "replace")
    return packet


def shorten(error):
    """Cuts an error that is too long for a packet to its beginning, and its stack to its end."""
    for key, value in error.items():
        if isinstance(value, str):
            error[key] = value[:10000]
        elif key == "causes":
            error[key] = [{"relation": c["relation"], "type": c["type"][:100], "message": c["message"][:1000], "stack": []} for c in value[:5]]
        elif isinstance(value, list):
            error[key] = [line[:1000] for line in value[-20:]]


def prepare_to_fork():
    """Makes a process a zygote. The kernel is to reap its children, and what lives now is moved out of the collector's
    sight: a collection in a child would touch, and so copy, all of it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    fresh.find()
    numerical.find()
    gc.freeze()


def rehearse():
    """Imports a handler and has it answer an event, both of this runtime's own, that do nothing.

    What a process writes to after a fork is copied page by page as it is touched, and that is most of what an import and a
    first event cost. An instance that waits has its copies made before it is needed.
    """
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(before)
    path = sys.path[:]
    sys.path[:] = [os.path.dirname(__file__)]
    handler = import_handler("pipsqueak_rehearsal.handler")
    Instance({"function": "", "version": 0, "memory": 0, "handler": ""}, handler, describe).rehearse()
    sys.path[:] = path
    del sys.modules["pipsqueak_rehearsal"]


def after_fork():
    """Makes a child forget what it must not share with its siblings."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    fresh.renew()


def look_plain():
    """Makes the interpreter look like one that runs a program of the function's: with a main module and arguments that are not this program's. Returns
    what must not be forgotten."""
    sys.argv[:] = [""]
    this = sys.modules["__main__"]
    sys.modules["__main__"] = type(sys)("__main__")
    return this


if __name__ == "__main__":
    library = sys.argv[1]
    this = look_plain()
    prepare_to_fork()
    be_zygote(library)
    be_instance()
