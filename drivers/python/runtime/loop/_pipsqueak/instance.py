"""An instance: one handler that answers events on its endpoint, one at a time (several.py has what differs when there are several at once).

Frames on the endpoint (PROTOCOL.md, endpoint): u32 length of what follows, u8 kind, body. An answer and a call begin with the
token of their event.
"""

import _thread
import ctypes
import itertools
import json
import os
import select
import socket
import struct
import sys
import time
import types

from _pipsqueak.describe import MAX_MESSAGE, InvokeError, cut, is_a, name_of, text_of

COROUTINE, GENERATOR, ASYNC_GENERATOR = types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType
ALIVE = frozenset((COROUTINE, GENERATOR, ASYNC_GENERATOR))  # results that are still to be made
TAKES_MORE = 0x04  # a code's flag of *args

ENDPOINT = 4
MAX_RESULT = 6 << 20
MAX_FRAME = MAX_RESULT + (64 << 10)
HEADER = struct.Struct(">IB")
META = struct.Struct(">I")
HANDLER, EVENT, RESULT, EXCEPTION, UNUSABLE, INVOKE, DEATH, PART, GONE = b"HERXLIDSG"


class Context:
    """The context of an event, with the names that AWS Lambda uses."""

    def __init__(self, function, meta):
        self.aws_request_id = meta["id"]
        self.function_name = function["function"]
        self.function_version = str(function["version"])
        self.memory_limit_in_mb = function["memory"] >> 20
        self.invoked_function_arn = "pipsqueak:function:" + function["function"]
        self.log_group_name = function["function"]
        self.log_stream_name = meta["id"]
        self.identity = None
        self.client_context = None
        self._deadline = meta["deadline_ms"]
        self._token = meta["token"].encode()
        self._stream = meta.get("stream", False)

    def get_remaining_time_in_millis(self):
        return max(0, int(self._deadline - time.time() * 1000))

    def invoke(self, function_name, event=None):
        """Runs another function on the same worker with the event, and returns its result. The request id and the deadline are
        this event's. Raises InvokeError."""
        return invoke(self._token, function_name, event)


def accepts_context(handler):
    """Whether the handler takes (event, context), as AWS Lambda calls it, or (event) alone, as OpenLambda does."""
    try:
        code = getattr(handler, "__code__", None)
        bound = 1 if getattr(handler, "__self__", None) is not None else 0
        return not isinstance(code, type(Instance.serve.__code__)) or bool(code.co_flags & TAKES_MORE) or code.co_argcount - bound >= 2
    except Exception:  # a callable object can have any attributes
        return True


def awaited(call):
    """The call, with what it returns waited for when it is a coroutine, and passed on when it is a generator. Its loop is kept for the events that follow, for what a handler has opened in it."""
    loop = None

    def call_and_wait(event, context):
        nonlocal loop
        result = call(event, context)
        kind = type(result)
        if kind not in ALIVE:
            return result
        if kind is not COROUTINE:
            from _pipsqueak.response import pass_on, pass_on_async  # it imports this module

            if kind is GENERATOR:
                return pass_on(result, context)
            result = pass_on_async(result, context)
        if loop is None:
            import asyncio

            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
        return loop.run_until_complete(result)

    return call_and_wait


class TooLarge(OverflowError):
    """A response that is taken as a whole has become too large."""


class Instance:
    def __init__(self, function, handler, describe):
        self.function = function
        self.describe = describe
        self.call = awaited(handler if accepts_context(handler) else lambda event, context: handler(event))

    def serve(self, buffer):
        """Answers events, which it reads into the buffer, until core closes the endpoint, and ends the process."""
        global _token
        _reading.acquire()
        while True:
            length = receive(buffer, b"EAG")
            if length < 0:
                leave(0)
            if buffer[4] != EVENT:
                continue  # the answer to a call that the last event did not wait for, or the end of its caller
            context, event = self.take(buffer, length)
            _left.clear()
            _token = context._token
            _reading.release()
            reply = self.handle(context, event)
            if _reading.acquire(False):
                answer(*reply, context._token)
            else:
                answer_last(*reply, context._token)

    def rehearse(self):
        """Answers one event of its own, as serve does, into nothing."""
        buffer = bytearray(4 << 10)
        meta, event = b'{"id": "", "deadline_ms": 0, "token": ""}', b'{"rehearsal": [1, 2.5, "three", null, true]}'
        frame = META.pack(0) + bytes([EVENT]) + META.pack(len(meta)) + meta + event
        buffer[: len(frame)] = frame
        kind, body = self.handle(*self.take(buffer, len(frame)))
        HEADER.pack(1 + len(body), kind)

    def take(self, buffer, length):
        """Returns the context and the text of the event in the buffer."""
        (meta_length,) = META.unpack_from(buffer, 5)
        body = 9 + meta_length
        with memoryview(buffer) as view:
            return Context(self.function, json.loads(bytes(view[9:body]))), bytes(view[body:length])

    def handle(self, context, text):
        """Runs one event. Returns the kind and the body of the answer."""
        try:
            # An event may be nested deeper than Python can follow, which is an exception as any other.
            result = self.call(json.loads(str(text, "utf-8")), context)
        except SystemExit as stop:
            self.stop(stop, context)
        except BaseException as error:
            return self.failure(error)
        return self.encode(result)

    def failure(self, error):
        """Returns the kind and the body of the answer when the handler has raised the error."""
        if type(error) is TooLarge:
            return UNUSABLE, dump_message({"kind": "too_large", "message": str(error)})
        return EXCEPTION, dump_message(self.describe(error))

    def stop(self, stop, context):
        """Ends the process as the interpreter does, and reports where the handler has asked for it."""
        code, told = SystemExit.__dict__["code"].__get__(stop), self.describe(stop)
        if code is None or is_a(code, int):
            status = 0 if code is None else int.__and__(code, 0xFF)
            told["message"] = f"code {status}"
        else:
            status, told["message"] = 1, cut(text_of(code), MAX_MESSAGE)
            try:
                print(told["message"], file=sys.stderr)
            except BaseException:  # a handler may have closed or replaced it
                pass
        if os.getpid() == _process:
            answer(DEATH, dump_message(told), context._token)
        leave(status)

    def encode(self, result):
        try:
            body = dump(result)
        except BaseException as error:
            return UNUSABLE, dump_message({
                "kind": "invalid",
                "message": f"the result of {self.function['handler']} (a {name_of(result)}) cannot be written as JSON: "
                f"{text_of(error)}; return dicts, lists, strings, finite numbers, booleans and None",
            })
        if len(body) > MAX_RESULT:
            return UNUSABLE, dump_message({
                "kind": "too_large",
                "message": f"the result of {self.function['handler']} takes {len(body)} bytes as JSON; the limit is {MAX_RESULT}",
            })
        return RESULT, body


# Who reads from the endpoint: the loop between events, a call while one runs. Numbers of calls are never used twice. Answers to some calls of the event are
# awaited by an event loop: each number has what takes its answer. The token of the event has what takes the news that its caller has gone.
_reading, _writing, _calls, _expected = _thread.allocate_lock(), _thread.allocate_lock(), itertools.count(1), {}

# The token of the event under way, and the process that answers it.
_token, _process = None, 0

# Tokens of events under way whose callers have gone.
_left = set()

# Waits until there is something to read. A read that waits itself is woken in vain by each answer that core has taken.
_readable = select.poll()
_readable.register(ENDPOINT, select.POLLIN)

# What was read of the frames after the last one: answers to calls may come close behind each other.
_ahead = b""

# The last event is being answered.
_over = False

# Has all this in its own way if there are several events at once.
_several = None


def invoke(token, name, event):
    body = dump(event)
    if os.getpid() != _process:
        raise InvokeError(name, {"kind": "invalid", "fault": "handler", "message": f"{name} cannot be invoked by a process that the handler has forked"})
    answer = ask(INVOKE, token, {"function": name}, body)
    if answer is None:
        raise InvokeError(name, {"kind": "invalid", "fault": "handler", "message": f"{name} was invoked by a thread whose event has been answered"})
    told, result = answer
    if "error" in told:
        raise InvokeError(name, told["error"])
    return json.loads(result)


def ask(kind, token, meta, body):
    """Has core do something for an event, and waits for it. Returns the meta and the body of the answer, None if the event has been answered."""
    if _several:
        return _several.ask(kind, token, meta, body)
    with _reading:
        if token != _token:
            return None
        number = begin(kind, token, meta, body)
        buffer, own = bytearray(4 << 10), None
        while own is None or _ahead:
            told, result = take_answer(buffer)
            if told["call"] == number:
                own = told, result
            elif taker := _expected.pop(told["call"], None):
                taker((told, result))
    return own


async def ask_in_loop(kind, token, meta, body):
    """The same in an event loop, which does other things meanwhile."""
    if _several:
        return await _several.ask_in_loop(kind, token, meta, body)
    return await arrival(lambda taker: begin(kind, token, meta, body, taker)) if token == _token else None


def has_left(token):
    """Whether the caller of the event has gone, as far as core has told. Called in an event loop."""
    (_several.ready if _several else take_ready)()
    return token in _left


async def until_left(token):
    """Waits in an event loop until the caller of the event has gone."""
    def expect(taker):
        _expected[token] = taker
        return token

    await (_several.until_left(token) if _several else arrival(expect))


async def arrival(expect):
    """Waits in an event loop for what comes to a taker. Expect is called with the taker, and returns its key. Whoever waits outside of the loop for
    something else reads for it too."""
    import asyncio

    loop = asyncio.get_running_loop()
    awaited = loop.create_future()

    def resolve(answer):
        if not awaited.done():
            awaited.set_result(answer)

    key = expect(lambda answer: loop.call_soon_threadsafe(resolve, answer))
    loop.add_reader(ENDPOINT, take_ready)
    try:
        return await awaited
    finally:
        _expected.pop(key, None)
        if not _expected:
            loop.remove_reader(ENDPOINT)


def take_ready():
    """Takes the answers that are there for event loops."""
    if not _reading.acquire(False):
        time.sleep(0.0001)  # somebody else reads
        return
    try:
        while _ahead or select.select([ENDPOINT], [], [], 0)[0]:
            told, result = take_answer(bytearray(4 << 10))
            if taker := _expected.pop(told["call"], None):
                taker((told, result))
    finally:
        _reading.release()


def begin(kind, token, meta, body, taker=None):
    """Asks core for something. Returns the number of the call."""
    number = next(_calls)
    if taker:
        _expected[number] = taker
    meta = dump_message({"call": number, **meta})
    send(kind, META.pack(len(meta)) + meta + body, token)
    return number


def take_answer(buffer):
    """Reads the answer to a call, or the news that the caller has gone, which is returned as the answer to the event's token."""
    length = receive(buffer, b"AG")
    while _over:
        time.sleep(1)  # for the thread that answers
    if length < 0:
        leave(0)
    if buffer[4] == GONE:
        _left.add(token := bytes(buffer[5:length]))
        return {"call": token}, b""
    (meta_length,) = META.unpack_from(buffer, 5)
    return json.loads(bytes(buffer[9 : 9 + meta_length])), bytes(buffer[9 + meta_length : length])


def receive(buffer, kinds):
    """Reads one frame into the buffer, which grows as needed. Returns its length, or -1 at the end. A frame that cannot be, or is of
    none of the kinds, is core's defect: it ends the process, for nothing that follows can be understood."""
    global _ahead, _process
    if _ahead:
        if len(_ahead) > len(buffer):
            buffer.extend(bytes(len(_ahead) - len(buffer)))
        buffer[: len(_ahead)] = _ahead
    have, want = len(_ahead), 4
    if have >= 4:
        want = size(buffer)
    while have < want:
        _readable.poll()
        part = os.readv(ENDPOINT, [memoryview(buffer)[have:]])
        if part == 0:
            return -1
        have += part
        if want == 4 and have >= 4:
            want = size(buffer)
    _ahead = bytes(buffer[want:have])
    if buffer[4] not in kinds:
        leave(1)
    if buffer[4] == HANDLER:
        _process = os.getpid()
    return want


def size(buffer):
    """How long the frame is that begins in the buffer, which is made large enough."""
    want = 4 + int.from_bytes(buffer[:4], "big")
    if not 4 < want <= 4 + MAX_FRAME:
        leave(1)
    if want > len(buffer):
        buffer.extend(bytes(want - len(buffer)))
    return want


def answer(kind, body, token=b""):
    flush()
    send(kind, body, token)


def answer_last(kind, body, token):
    """Answers an event while a thread of the handler still waits for an answer of its own, which nobody gives after the event, and
    ends the process. The thread must not get the next event: core sees that none is taken here any more."""
    global _over
    _over = True
    leave_if_forked()
    socket.socket(fileno=os.dup(ENDPOINT)).shutdown(socket.SHUT_RD)
    answer(kind, body, token)
    leave(0)


def send(kind, body, token=b""):
    leave_if_forked()
    head = HEADER.pack(1 + len(token) + len(body), kind) + token
    with _writing:
        sent = os.writev(ENDPOINT, (head, body))
        if sent < len(head) + len(body):
            rest = memoryview(head + body)[sent:]
            while rest:
                rest = rest[os.write(ENDPOINT, rest):]


def dump(value):
    """Writes an event or a result. Raises for what is none, such as half a surrogate pair."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()


def dump_message(value):
    """Writes what has texts of others in it, in which there may be anything."""
    return json.dumps(value, separators=(",", ":")).encode()


# What extensions have printed by C's own streams.
flush_c = ctypes.PyDLL(None).fflush


def prepare_streams():
    """Lines come out as they are written. The objects are the zygote's, the descriptors under them the instance's own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
        except Exception:  # a package may have closed or replaced it
            pass


def flush():
    flush_c(None)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # a handler may have closed or replaced it
            pass


def leave_if_forked():
    """Ends a child that code of the handler has forked, and that came back from there: what it says is nobody's answer."""
    if os.getpid() != _process:
        leave(0)


def leave(code):
    flush()
    os._exit(code & 0xFF)
