"""The loop of a Python process of Pipsqueak: a zygote that imports and forks, and the instances that its children are.

Started as `python3 -I -S zygote.py LIBRARY`, with a control socket (SOCK_SEQPACKET) as descriptor 3. The driver asks over
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
import traceback
import types

STDLIB = list(sys.path)  # -I leaves this file's directory out
sys.path.append(os.path.dirname(__file__))
from pipsqueak_instance import ENDPOINT, Instance, answer, leave, prepare_streams, receive  # noqa: E402
from pipsqueak_site import arrange  # noqa: E402

CONTROL = 3
CODE = "/function"
PACKAGES = "/packages/"
MAX_PACKET = 128 << 10
# Modules that core is told of, of those that it did not know a handler imports.
MAX_LOADED = 64
# Bytes of what is told of an exception.
MAX_MESSAGE, MAX_STACK = 64 << 10, 256 << 10
# Seconds after which an instance that has not been told anything was forked ahead, and has time to rehearse.
PATIENCE = 0.002

# Seconds that a thread may still be seen after it was joined.
SETTLING = 0.01

# What ps_zygote returns besides the length of a request.
LOST, ZYGOTE, INSTANCE = 0, -1, -2

# Kinds of frame with which an instance answers core that it is to import a handler.
REPORT, FAILURE = b"P"[0], b"F"[0]

# Files whose frames a user need not see.
RUNTIME_FILES = (os.path.dirname(__file__), importlib.__file__, "<frozen importlib")


class Failure(Exception):
    """An error to report: kind and fault as core has them, and the exception behind it."""

    def __init__(self, kind, fault, message, cause=None):
        super().__init__(message)
        self.reply = {"kind": kind, "fault": fault, "message": message}
        if cause is not None:
            self.reply["exception"] = describe(cause)


def describe(error):
    """What a user is told of an exception: its type, text, and stack without the frames of this runtime."""
    frames = [
        f"{f.filename}:{f.lineno} in {f.name}" + (f": {f.line}" if f.line else "")
        for f in traceback.extract_tb(error.__traceback__)
        if not f.filename.startswith(RUNTIME_FILES)
    ]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append(f"{error.filename}:{error.lineno}: {(error.text or '').strip()}")
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be had: its __str__ raises)"
    return {"type": type(error).__name__, "message": cut(text, MAX_MESSAGE), "stack": innermost(frames)}


def cut(text, limit):
    """The beginning of a text, of at most so many bytes."""
    if len(text) * 4 <= limit:
        return text
    whole = text.encode("utf-8", "backslashreplace")
    return text if len(whole) <= limit else whole[:limit].decode("utf-8", "ignore")


def innermost(frames):
    """The frames next to where an exception was raised, of at most MAX_STACK bytes."""
    room = MAX_STACK
    for i in range(len(frames) - 1, -1, -1):
        room -= len(frames[i].encode("utf-8", "backslashreplace"))
        if room < 0:
            return frames[i + 1 :]
    return frames


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
        report, _ = load(request)
        prepare_to_fork()
        return report
    except Failure as failure:
        return {"error": failure.reply}


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
    os.environ.clear()
    os.environ.update(request.get("env", {}))
    try:
        report, handler = load(request)
    except Failure as failure:
        answer(FAILURE, packed(failure.reply))
        leave(1)
    answer(REPORT, packed(report))
    Instance(request, handler, describe).serve(buffer)


def load(request):
    """Imports the modules of a request, and the handler that an instance's has. Returns the report and the handler."""
    start = time.perf_counter()
    name = request.get("handler")
    packages = request.get("packages", [])
    sys.path[:] = ([CODE] if name else []) + packages + STDLIB
    sys.path += arrange(packages)
    modules = {}
    for module in request.get("modules", []):
        begin = time.perf_counter()
        import_module(module)
        modules[module] = time.perf_counter() - begin
    known = len(sys.modules)
    handler = import_handler(name) if name else None
    report = {"took": time.perf_counter() - start, "modules": modules, "threads": threads()}
    if report["threads"] > 1 and not name:
        time.sleep(SETTLING)
        report["threads"] = threads()
    if len(sys.modules) > known + 1:
        report["loaded"] = loaded_since(known)
    return report, handler


def threads():
    return len(os.listdir("/proc/self/task"))


def loaded_since(known):
    """Returns what has been imported of packages after the first so many modules: of those inside of one another, the outermost."""
    found = set()
    for name in list(itertools.islice(sys.modules, known, None)):
        module = sys.modules.get(name)
        # Anything may be there, and some do their import when they are asked for an attribute.
        file = object.__getattribute__(module, "__dict__").get("__file__") if isinstance(module, types.ModuleType) else None
        if isinstance(file, str) and file.startswith(PACKAGES):
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
        raise Failure("exception", "handler", f"importing {name} failed: {type(error).__name__}: {error}", error) from None


def import_handler(name):
    """Returns the callable behind "directory/file.symbol"."""
    module_name, _, symbol = name.rpartition(".")
    module = import_module(module_name.replace("/", "."))
    handler = getattr(module, symbol, None)
    if handler is None:
        raise Failure("invalid", "handler", f"{module_name}.py has no {symbol!r}, which the handler {name!r} names")
    if not callable(handler):
        raise Failure("invalid", "handler", f"{symbol!r} in {module_name}.py is a {type(handler).__name__}, not a function")
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
        elif isinstance(value, list):
            error[key] = [line[:1000] for line in value[-20:]]


def prepare_to_fork():
    """Makes a process a zygote. The kernel is to reap its children, and what lives now is moved out of the collector's
    sight: a collection in a child would touch, and so copy, all of it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
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
    """Makes a child forget what it must not share with its siblings. The random module reseeds itself after os.fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    ssl = sys.modules.get("ssl")
    if ssl is not None:
        ssl.RAND_add(os.urandom(32), 32.0)
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile._name_sequence = None  # it knows a fork by the pid, which is 1 in every sandbox


if __name__ == "__main__":
    prepare_to_fork()
    be_zygote(sys.argv[1])
    be_instance()
