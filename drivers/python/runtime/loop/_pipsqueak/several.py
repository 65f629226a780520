"""Several events at once: those of plain handlers and of WSGI in threads, those of async handlers and of ASGI in one event loop, which runs in the
main thread. That thread reads all frames. Each event has a context of its own (contextvars): so what it prints is known to be its own."""

import _thread
import asyncio
import contextvars
import json
import os
import queue
import select
import sys
import threading

from _pipsqueak import instance
from _pipsqueak.instance import ASYNC_GENERATOR, COROUTINE, ENDPOINT, EVENT, GENERATOR, GONE, META, accepts_context, dump_message
from _pipsqueak.response import pass_on, pass_on_async

OUTPUT = b"O"[0]
MAX_OUTPUT = 32 << 10
ASYNC = 0x80 | 0x200  # a code's flags of an async function and of an async generator

_event = contextvars.ContextVar("event", default=None)  # of the code that runs: its Context


class Several:
    """An instance with several events."""

    def __init__(self, served, handler, most, buffer):
        self.served, self.most, self.buffer = served, most, buffer
        takes_context = accepts_context(handler)
        self.call = handler if takes_context else lambda event, context: handler(event)
        self.running = {}  # contexts of events by token
        self.takers = {}  # by the number of a call, or by the token of an event: the token, and what takes its answer, or the news that the caller has gone
        self.lock = threading.RLock()  # held while a frame of an event is sent, for none may come after the answer
        self.reader = _thread.get_ident()
        instance._several = self
        for stream, number in ((sys.stdout, b"1"), (sys.stderr, b"2")):
            try:
                self.assign(stream, number)
                self.assign(stream.buffer, number)
            except Exception:  # a package may have closed or replaced it
                pass

    def read(self):
        """Reads one frame, and begins an event or hands what it says to who waits for it."""
        length = instance.receive(self.buffer, b"EAG")
        if length < 0:
            instance.leave(0)
        if self.buffer[4] == EVENT:
            context, text = self.served.take(self.buffer, length)
            self.running[context._token] = context
            return self.start(context, text)
        if self.buffer[4] == GONE:
            return self.note_left(bytes(self.buffer[5:length]))
        (meta_length,) = META.unpack_from(self.buffer, 5)
        told = json.loads(bytes(self.buffer[9 : 9 + meta_length]))
        _, taker = self.takers.pop(told["call"], (None, None))
        if taker:
            taker((told, bytes(self.buffer[9 + meta_length : length])))

    def note_left(self, token):
        with self.lock:
            if token in self.running:
                instance._left.add(token)
        _, taker = self.takers.pop(token, (None, None))
        if taker:
            taker(None)

    def answer(self, context, kind, body):
        with self.lock:
            del self.running[context._token]
            instance._left.discard(context._token)
            instance.answer(kind, body, context._token)
        for number, (token, _) in list(self.takers.items()):
            if token == context._token and (taken := self.takers.pop(number, None)):
                taken[1](None)  # whatever still waits in the event waits in vain

    def begin(self, kind, token, meta, body, taker):
        """Asks core for something. Returns the number of the call, None if the event has been answered."""
        with self.lock:
            if token not in self.running:
                return None
            number = next(instance._calls)
            self.takers[number] = token, taker
            meta = dump_message({"call": number, **meta})
            instance.send(kind, META.pack(len(meta)) + meta + body, token)
        return number

    def ask(self, kind, token, meta, body):
        """As the function of that name in instance. In the thread that reads it reads on meanwhile, so other events begin."""
        own, arrived = [], _thread.allocate_lock()
        arrived.acquire()

        def take(answer):
            own.append(answer)
            arrived.release()

        if self.begin(kind, token, meta, body, take) is None:
            return None
        while not own and _thread.get_ident() == self.reader:
            self.read()
        arrived.acquire()
        return own[0]

    async def ask_in_loop(self, kind, token, meta, body):
        return await self.arrival(lambda taker: self.begin(kind, token, meta, body, taker))

    async def until_left(self, token):
        def expect(taker):
            self.takers[token] = token, taker
            return token

        await self.arrival(expect)

    async def arrival(self, expect):
        """As the function of that name in instance. Returns None if there is no key."""
        loop = asyncio.get_running_loop()
        awaited = loop.create_future()

        def resolve(answer):
            if not awaited.done():
                awaited.set_result(answer)

        key = expect(lambda answer: loop.call_soon_threadsafe(resolve, answer))
        if key is None:
            return None
        try:
            return await awaited
        finally:
            self.takers.pop(key, None)

    def assign(self, stream, number):
        """Has what is written to the stream in an event come to core with the event's token. The rest goes where it went before."""
        write = stream.write

        def assigned(text):
            context = _event.get()
            if context is None or os.getpid() != instance._process or not isinstance(text, (str, bytes, bytearray)):
                return write(text)
            data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
            with self.lock:
                if context._token not in self.running:
                    return write(text)
                for at in range(0, len(data), MAX_OUTPUT):
                    instance.send(OUTPUT, number + data[at : at + MAX_OUTPUT], context._token)
            return len(text)

        stream.write = assigned


class Threads(Several):
    """The handler runs in threads, as many as there are events at once."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.waiting, self.idle, self.threads = queue.SimpleQueue(), threading.Semaphore(0), 0
        self.own = threading.local()
        self.served.call = self.call_and_wait

    def serve(self):
        while True:
            self.read()

    def start(self, context, text):
        self.waiting.put((context, text))
        if not self.idle.acquire(blocking=False) and self.threads < self.most:
            self.threads += 1
            threading.Thread(target=self.work, name=f"event-{self.threads}", daemon=True).start()

    def work(self):
        while True:
            contextvars.copy_context().run(self.run, *self.waiting.get())
            self.idle.release()

    def run(self, context, text):
        _event.set(context)
        self.answer(context, *self.served.handle(context, text))

    def call_and_wait(self, event, context):
        """The call, and what it returns if that is still to be made: with an event loop of the thread's own."""
        result = self.call(event, context)
        if type(result) is GENERATOR:
            return pass_on(result, context)
        if type(result) is ASYNC_GENERATOR:
            result = pass_on_async(result, context)
        if type(result) is not COROUTINE:
            return result
        if not hasattr(self.own, "loop"):
            self.own.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.own.loop)
        return self.own.loop.run_until_complete(result)


class Loop(Several):
    """The handler runs in an event loop. Between events, that is when there is none, the loop stands still."""

    def __init__(self, served, handler, most, buffer):
        asgi = as_asgi(handler)
        super().__init__(served, handler, most, buffer)
        if asgi:
            self.call = lambda event, context: asgi.serve(asgi.request(event), event, context)
        self.loop = asgi.loop if asgi else asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.base, self.tasks = contextvars.copy_context(), set()

    def serve(self):
        self.loop.add_reader(ENDPOINT, self.ready)
        self.loop.call_soon(self.wait)
        while True:
            try:
                self.loop.run_forever()
            except SystemExit as stop:  # of a task that the handler has made
                self.served.stop(stop, _event.get() or next(iter(self.running.values())))

    def wait(self):
        while not self.running:
            self.read()
        self.ready()

    def ready(self):
        while instance._ahead or select.select([ENDPOINT], [], [], 0)[0]:
            self.read()

    def start(self, context, text):
        task = self.base.run(self.loop.create_task, self.run(context, text))  # not in the context of an event that reads on
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self, context, text):
        _event.set(context)
        try:
            result = self.call(json.loads(str(text, "utf-8")), context)
            reply = self.served.encode(await (pass_on_async(result, context) if type(result) is ASYNC_GENERATOR else result))
        except SystemExit as stop:
            self.served.stop(stop, context)
        except BaseException as error:
            reply = self.served.failure(error)
        self.answer(context, *reply)
        if not self.running:
            self.loop.call_soon(self.wait)


def as_asgi(handler):
    """The handler if it is an ASGI application."""
    application = sys.modules.get("_pipsqueak.application")
    return handler if application and type(handler) is application.Asgi else None


def is_async(handler):
    if as_asgi(handler):
        return True
    try:
        function = handler if hasattr(handler, "__code__") else type(handler).__call__
        return bool(function.__code__.co_flags & ASYNC)
    except Exception:  # a callable object can have any attributes
        return False


def serve(served, handler, most, buffer):
    """As Instance.serve, with so many events at once."""
    (Loop if is_async(handler) else Threads)(served, handler, most, buffer).serve()
