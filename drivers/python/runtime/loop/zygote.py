"""The loop of a Python process of Pipsqueak: a zygote that imports and forks, and the instances that its children are.

Started as `python3 zygote.py LIBRARY`, with a control socket (SOCK_SEQPACKET) as descriptor 3. The driver asks over
it, one JSON packet a message; descriptors come as ancillary data. An instance hears nothing of it. Standard library only, and as little of it as possible:
what is imported here is in every function's process.
"""

import _signal  # its functions take and give numbers; those of signal make enumerations of them
import builtins
import ctypes
import encodings.idna  # noqa: F401  encodes names of hosts: of a first connection, and of the first request to many a web application
import gc
import json
import linecache  # noqa: F401  imported for traceback: a handler's first exception finds it ready
import os
import signal  # noqa: F401  many handlers import it
import socket
import sys

from _pipsqueak import fresh
from _pipsqueak import threads as numerical
from _pipsqueak.describe import MAX_MESSAGE, MAX_PACKET, Failure, cut, describe, name_of, packed, text_of
from _pipsqueak.instance import ENDPOINT, Instance, answer, leave, prepare_streams, receive
from _pipsqueak.load import MAIN, import_handler, load, load_noted, load_watched, set_environment, tell_programs

CONTROL = 3
# What ps_zygote returns besides the length of a request.
LOST, ZYGOTE, INSTANCE = 0, -1, -2

# Kinds of frame with which an instance answers core that it is to import a handler.
REPORT, FAILURE = b"P"[0], b"F"[0]


class Hooks(ctypes.Structure):
    """struct ps_hooks: what CPython does around a fork, as os.fork does it."""

    _fields_ = [("before", ctypes.c_void_p), ("parent", ctypes.c_void_p), ("child", ctypes.c_void_p)]


def be_zygote(library):
    """Forks and imports as the driver asks. Returns only in a child that is an instance: whether that may rehearse."""
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
            after_fork()
            return kernel.ps_may_rehearse
        if length == ZYGOTE:
            after_fork()
            _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # as in prepare_to_fork: it may fork before it imports anything
        elif length == LOST:
            # There is nothing more to do, but what was forked from here lives on, and would die with this process. Core ends
            # it when it is not needed any more.
            while True:
                _signal.pause()
        else:
            say(control, answer_to(json.loads(buffer.raw[:length])))


def answer_to(request):
    try:
        if request["op"] != "import":
            raise Failure("internal", "driver", f"unknown request {request['op']!r}")
        tell_programs(request.get("packages", []))
        report = load_watched(request) if request.get("watch") else load(request)[0]
        if request.get("draw"):
            from _pipsqueak.drawn import draw  # no other process needs it

            report["drawn"] = draw(request["draw"])
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


def be_instance(may_rehearse):
    """Imports the handler that core names on the endpoint, and answers events, until core closes it."""
    if may_rehearse(ENDPOINT):
        rehearse()
    buffer = bytearray(4 << 10)
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
    served, most = Instance(request, handler, describe), request.get("concurrency", 1)
    if most > 1:
        from _pipsqueak.several import serve  # most functions do not need it

        serve(served, handler, most, buffer)
    served.serve(buffer)


def prepare_to_fork():
    """Makes a process a zygote. The kernel is to reap its children, and what lives now is moved out of the collector's
    sight: a collection in a child would touch, and so copy, all of it. The streams are set here, once for all children."""
    prepare_streams()
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    gc.collect()
    fresh.find()
    numerical.find()
    gc.freeze()


def rehearse():
    """Imports a handler and has it answer an event, both of this runtime's own, that do nothing.

    What a process writes to after a fork is copied page by page as it is touched, and that is most of what an import and a
    first event cost. An instance that waits has its copies made before it is needed.
    """
    set_environment(dict(os.environ))
    path = sys.path[:]
    sys.path[:] = [os.path.dirname(__file__)]
    handler = import_handler("_pipsqueak.rehearsal.handler")
    Instance({"function": "", "version": 0, "memory": 0, "handler": ""}, handler, describe).rehearse()
    sys.path[:] = path
    del sys.modules["_pipsqueak.rehearsal"]


def after_fork():
    """Makes a child forget what it must not share with its siblings."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    fresh.renew()


def look_plain():
    """Makes the interpreter look like one that runs a program of the function's: with a main module and arguments that are not this program's. Returns
    what must not be forgotten."""
    sys.argv[:] = [""]
    this = sys.modules["__main__"]
    sys.modules["__main__"] = MAIN
    MAIN.__builtins__, MAIN.__annotations__ = builtins, {}
    return this


if __name__ == "__main__":
    library = sys.argv[1]
    this = look_plain()
    rehearse()  # what is made at a first import, such as finders of modules, no child makes again
    prepare_to_fork()
    be_instance(be_zygote(library))
