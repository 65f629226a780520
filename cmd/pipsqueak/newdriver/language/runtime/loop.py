"""What every process of the driver runs: `loop.py LIBRARY`, LIBRARY being libpipsqueak-enter.so.

A zygote forks and imports as the driver asks over descriptor 3 (PROTOCOL.md, Zygote loop). An instance imports its handler and
answers events over descriptor 4 (PROTOCOL.md, Endpoint). This loop is for Python and works as it stands; one for another
language has the same four parts, marked below, and about the same length.
"""

import ctypes
import importlib
import json
import os
import random
import signal
import socket
import struct
import sys
import time
import traceback

CONTROL, ENDPOINT, CODE = 3, 4, "/function"
MAX_PACKET, MAX_FRAME, MAX_RESULT, MAX_TEXT = 128 << 10, (6 << 20) + (64 << 10), 6 << 20, 20_000
OUTER, INNER = 20, 40  # frames of a longer stack that are reported
MAX_CAUSES = 16  # exceptions behind one that are reported
LOST, ZYGOTE, INSTANCE = 0, -1, -2  # what ps_zygote returns besides the length of a request
STDLIB, OWN = list(sys.path), (__file__, importlib.__file__, "<frozen importlib")


class Failure(Exception):
    """An error as core has it: {"kind": …, "fault": …, "message": …}."""


# ---- part 1: the zygote. The waiting and the forking are done in C, because what a zygote's heap touches is copied. -------------------


class Hooks(ctypes.Structure):
    """struct ps_hooks: what the language itself has to do around a fork. NULL when there is nothing."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("before", "parent", "child")]


def be_zygote(library):
    """Forks and imports as the driver asks. Returns only in a child that is an instance."""
    api = ctypes.pythonapi
    hooks = Hooks(*(ctypes.cast(f, ctypes.c_void_p) for f in (api.PyOS_BeforeFork, api.PyOS_AfterFork_Parent, api.PyOS_AfterFork_Child)))
    kernel, buffer = ctypes.PyDLL(library), ctypes.create_string_buffer(MAX_PACKET)
    say({"parked": True})
    while True:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
        length = kernel.ps_zygote(CONTROL, ctypes.byref(hooks), buffer, MAX_PACKET)
        if length > 0:
            try:
                say(load(json.loads(buffer.raw[:length]))[0])
            except Failure as failure:
                say({"error": failure.args[0]})
        while length == LOST:
            signal.pause()  # what was forked from here would die with this process
        if length < 0:
            # Siblings must not share what is random, nor what is remembered of the process.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            random.seed()
        if length == INSTANCE:
            return


def say(message):
    flush()  # what is in a buffer at a fork, each child would print
    try:
        os.write(CONTROL, json.dumps(message).encode())
    except OSError:
        pass  # the driver is gone: ps_zygote will tell


# ---- part 2: imports, of a zygote and of an instance. -------------------------------------------------------------------------------


def load(request):
    """Imports the modules that a request names, and the handler that an instance's has. Returns the report and the handler."""
    began, modules, name = time.perf_counter(), {}, request.get("handler")
    sys.path[:] = [CODE] * bool(name) + request.get("packages", []) + STDLIB
    for module in request.get("modules", []):
        start = time.perf_counter()
        import_module(module)
        modules[module] = time.perf_counter() - start
    handler = import_handler(name) if name else None
    threads = len(os.listdir("/proc/self/task"))  # with more than one, core does not let this process fork
    report = {"took": time.perf_counter() - began, "modules": modules, "threads": threads}
    if request.get("watch"):
        report["asks"] = report["reads"] = ["*"]  # which modules they look for, and variables, this does not see; which files, the library does
    return report, handler


def import_module(name):
    try:
        return importlib.import_module(name)
    except BaseException as error:  # SystemExit too: it is reported, and ends nothing
        told = describe(error)
        text = f"importing {name} failed: {told['message']}"
        raise Failure({"kind": "exception", "fault": "handler", "message": text, "exception": told}) from None


def import_handler(name):
    """Returns the function behind "directory/file.symbol"; a symbol may have dots."""
    dot = name.find(".", name.rfind("/") + 1)
    file, symbol = name[:dot], name[dot + 1 :]
    found = import_module(file.replace("/", "."))
    for part in symbol.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise Failure({"kind": "invalid", "fault": "handler", "message": f"{file}.py has no function {symbol!r}, which the handler {name!r} names"})
    return found


def describe(error, seen=()):
    """The report of an exception to a user: its type, its text, its stack without the frames of this file, and the exceptions behind it. Whatever it raises
    when it is asked, the event is answered."""
    try:
        text = str(error)[:MAX_TEXT]
    except BaseException:
        text = "(its text cannot be had)"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(OWN)]
    stack = [f"{f.filename}:{f.lineno} in {f.name}"[:300] for f in frames]
    if (left := len(stack) - OUTER - INNER) > 1:
        stack[OUTER:-INNER] = [f"… ({left} frames left out)"]
    told, seen = {"type": type(error).__name__, "message": text, "stack": stack}, (*seen, id(error))
    context = None if error.__suppress_context__ else error.__context__
    for relation, other in (("cause", error.__cause__), ("context", context)):
        if other is not None and id(other) not in seen and len(seen) <= MAX_CAUSES:
            told["causes"] = [{"relation": relation, **describe(other, seen)}]
            break
    return told


# ---- part 3: frames. A length in 4 bytes, big-endian, then a byte that says what it is, then the rest. -------------------------------


def receive(endpoint):
    """Returns the kind of the next frame, and its body."""
    (length,) = struct.unpack(">I", exactly(endpoint, 4))
    if not 1 <= length <= MAX_FRAME:
        leave(1)  # that is no frame: the other end is broken
    frame = exactly(endpoint, length)
    return frame[:1], frame[1:]


def exactly(endpoint, size):
    data = bytearray()
    while len(data) < size:
        part = endpoint.recv(size - len(data))
        if not part:
            leave(0)  # core needs this instance no more
        data += part
    return bytes(data)


def send(endpoint, kind, message, token=""):
    body = token.encode() + (message if isinstance(message, bytes) else json.dumps(message).encode())
    endpoint.sendall(struct.pack(">Ic", len(body) + 1, kind) + body)


def leave(status):
    flush()
    os._exit(status)


def flush():
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


# ---- part 4: the instance. It imports its handler, then answers one event at a time until core closes the endpoint. -----------------


class Context:
    """What a handler is told besides the event. docs/drivers.md says which names users expect."""

    def __init__(self, request, meta):
        self.request_id, self.memory = meta["id"], request["memory"]
        self.function_name, self.function_version = request["function"], request["version"]
        self._deadline = meta["deadline_ms"]

    def remaining_ms(self):
        return max(0, self._deadline - time.time() * 1000)


def be_instance():
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    endpoint, process = socket.socket(fileno=ENDPOINT), os.getpid()
    _, body = receive(endpoint)
    request = json.loads(body)
    os.environ.clear()
    os.environ.update(request.get("env", {}))
    try:
        report, handler = load(request)
    except Failure as failure:
        send(endpoint, b"F", failure.args[0])
        leave(1)
    answer = b"P", report, ""
    while os.getpid() == process:  # else it is a child that the handler has forked, and that came back from it
        flush()
        send(endpoint, *answer)
        kind, body = receive(endpoint)
        if kind != b"E":
            leave(1)
        (size,) = struct.unpack_from(">I", body)
        meta = json.loads(body[4 : 4 + size])
        # An answer begins with the token of its event.
        answer = *run(handler, body[4 + size :], Context(request, meta)), meta["token"]
    leave(0)


def run(handler, event, context):
    """Calls the handler. Returns the kind and the body of the answer."""
    try:
        result = handler(json.loads(event), context)
    except SystemExit as stop:
        if stop.code is not None and not isinstance(stop.code, int):
            print(stop.code, file=sys.stderr)
        leave(stop.code if isinstance(stop.code, int) else int(stop.code is not None))
    except BaseException as error:
        return b"X", describe(error)
    try:
        body = json.dumps(result, allow_nan=False, ensure_ascii=False).encode()  # raises for half a surrogate pair
    except Exception as error:
        return b"L", {"kind": "invalid", "message": f"the result cannot be written as JSON: {error}"}
    if len(body) > MAX_RESULT:
        return b"L", {"kind": "too_large", "message": f"the result takes {len(body)} bytes as JSON; the limit is {MAX_RESULT}"}
    return b"R", body


if __name__ == "__main__":
    be_zygote(sys.argv[1])
    be_instance()
