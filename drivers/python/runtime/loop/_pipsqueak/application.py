"""Web applications as handlers: WSGI (PEP 3333) and ASGI 3 (https://asgi.readthedocs.io/en/stable/specs/www.html). The events are HTTP
requests as in AWS Lambda's function URLs, payload format 2.0, and so are the results."""

import base64
import io
import sys
import types
import urllib.parse

from _pipsqueak import instance
from _pipsqueak.response import MAX_PART, CallerGone, Response, is_of

COROUTINE = 0x80  # a code's flag of an async function
PATIENCE = 0.005  # seconds that an ASGI application may let the body of its response wait before the head is passed on alone


def application(handler, name):
    """Returns a handler that answers HTTP requests by the application, None if the object is no application. An ASGI application has
    started up by then."""
    code, bound = code_of(handler)
    if code is None:
        return None
    taken = code.co_varnames[bound : code.co_argcount]
    if len(taken) == 2 and taken[1] == "start_response":
        return Wsgi(handler, name)
    if taken == ("scope", "receive", "send") and code.co_flags & COROUTINE:
        return Asgi(handler, name)
    return None


def code_of(call):
    """Returns the code that a call of the object runs, and how many arguments it has got already; None and 0 if it is not in Python."""
    if type(call) is types.FunctionType:
        return call.__code__, 0
    function = call.__func__ if type(call) is types.MethodType else type.__getattribute__(type(call), "__call__")
    return (function.__code__, 1) if type(function) is types.FunctionType else (None, 0)


class Request:
    """What both interfaces take from an event. It raises a TypeError if the event is no HTTP request."""

    def __init__(self, event, name):
        try:
            self.http = event["requestContext"]["http"]
            self.method, self.path = self.http["method"], event["rawPath"]
            self.headers = {key.lower(): value for key, value in event["headers"].items()}
        except (KeyError, TypeError, AttributeError):
            raise TypeError(f"the handler {name} is a web application, and the event is no HTTP request: send requests to /fn/NAME") from None
        if event.get("cookies"):
            self.headers["cookie"] = "; ".join(event["cookies"])
        self.query = event.get("rawQueryString", "")
        body = event.get("body") or ""
        self.body = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
        self.mounted = urllib.parse.unquote(self.headers.get("x-forwarded-prefix", "").rstrip("/"))
        self.scheme = self.headers.get("x-forwarded-proto", "http")
        host, _, port = self.headers.get("host", "").rpartition(":")
        if not port.isdigit() or host.endswith(":"):  # an address of IPv6 without a port
            host, port = self.headers.get("host", ""), "443" if self.scheme == "https" else "80"
        self.server = host or "localhost", port
        self.client = self.http.get("sourceIp", "")


def begin(context, status, headers):
    """Returns the response with that status; headers are pairs of text."""
    joined, cookies = {}, []
    for name, value in headers:
        name = name.lower()
        if name == "set-cookie":
            cookies.append(value)
        else:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
    length = joined.get("content-length", "")
    return Response(context, {"statusCode": status, "headers": joined, "cookies": cookies}, int(length) if length.isdecimal() else None)


class Wsgi:
    def __init__(self, application, name):
        self.application, self.name = application, name

    def __call__(self, event, context):
        request = Request(event, self.name)
        environ = {
            "REQUEST_METHOD": request.method, "SCRIPT_NAME": native(request.mounted), "PATH_INFO": native(urllib.parse.unquote_to_bytes(request.path)),
            "QUERY_STRING": request.query, "SERVER_NAME": request.server[0], "SERVER_PORT": request.server[1], "REMOTE_ADDR": request.client,
            "SERVER_PROTOCOL": request.http.get("protocol", "HTTP/1.1"), "wsgi.version": (1, 0), "wsgi.url_scheme": request.scheme,
            "wsgi.input": io.BytesIO(request.body), "wsgi.errors": sys.stderr, "wsgi.multithread": instance._several is not None, "wsgi.multiprocess": False,
            "wsgi.run_once": False, "CONTENT_LENGTH": str(len(request.body)), "aws.event": event, "aws.context": context,
        }
        for name, value in request.headers.items():
            if name == "content-type":
                environ["CONTENT_TYPE"] = value
            elif name != "content-length" and "_" not in name:  # X_Y would pass for X-Y
                environ["HTTP_" + name.upper().replace("-", "_")] = native(value)
        response = None

        def start_response(status, headers, exc_info=None):
            nonlocal response
            if response and not exc_info:
                raise AssertionError("start_response was called twice")
            if response and response.begun:
                raise exc_info[1].with_traceback(exc_info[2])
            response = begin(context, int(status.split(" ", 1)[0]), headers)
            return response.write

        try:
            parts = self.application(environ, start_response)
            try:
                if isinstance(parts, (list, tuple)) and response:
                    response.whole(b"".join(parts))
                else:
                    self.pass_on(parts, lambda: response)
            finally:
                if hasattr(parts, "close"):
                    parts.close()
        except Exception as error:
            if not response or not is_of(error, response.gone):
                raise
        return response.end()

    def pass_on(self, parts, response):
        for part in parts:
            if part and response():
                response().write(part)
        if not response():
            raise AssertionError(f"the application {self.name} has not called start_response")


def native(text):
    """Text or bytes as WSGI has them: a text with a character for each byte."""
    return (text.encode() if isinstance(text, str) else text).decode("latin-1")


class Asgi:
    def __init__(self, application, name):
        import asyncio

        self.application, self.name = application, name
        self.asyncio, self.loop, self.state = asyncio, asyncio.new_event_loop(), {}
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.start())

    async def start(self):
        """Has the application start up. One without a lifespan raises, and serves all the same."""
        told, said = self.asyncio.Queue(), self.asyncio.Queue()
        told.put_nowait({"type": "lifespan.startup"})
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self.life = self.loop.create_task(self.application(scope, told.get, said.put))
        answer = self.loop.create_task(said.get())
        await self.asyncio.wait([self.life, answer], return_when=self.asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            self.life.exception()  # it is looked at, so nobody reports it
        elif answer.result()["type"] == "lifespan.startup.failed":
            raise RuntimeError(f"the application {self.name} did not start up: {answer.result().get('message', '')}")

    def __call__(self, event, context):
        return self.loop.run_until_complete(self.serve(self.request(event), event, context))

    def request(self, event):
        return Request(event, self.name)

    async def serve(self, request, event, context):
        # From 2.4 on Starlette would let a response that waits wait on, and look at errors of send alone.
        path = request.mounted.encode() + urllib.parse.unquote_to_bytes(request.path)
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": request.http.get("protocol", "HTTP/1.1").rpartition("/")[2],
            "method": request.method, "scheme": request.scheme, "path": path.decode("utf-8", "replace"), "raw_path": request.path.encode(),
            "query_string": request.query.encode(), "root_path": request.mounted, "client": (request.client, 0),
            "server": (request.server[0], int(request.server[1])), "state": dict(self.state), "aws.event": event, "aws.context": context,
            "headers": [(name.encode("latin-1"), value.encode()) for name, value in request.headers.items()],
        }
        body, ended, passing = [request.body], self.asyncio.Event(), self.asyncio.Lock()
        response = heading = leaving = None

        async def leave():
            await instance.until_left(context._token)
            ended.set()

        async def receive():
            nonlocal leaving
            if body:
                return {"type": "http.request", "body": body.pop(), "more_body": False}
            if not ended.is_set() and instance.has_left(context._token):
                ended.set()
            if not ended.is_set() and not leaving:
                leaving = self.loop.create_task(leave())
            await ended.wait()
            return {"type": "http.disconnect"}

        async def head():
            await self.asyncio.sleep(PATIENCE)
            async with passing:
                if not (response.begun or response.kept or ended.is_set()):
                    try:
                        await response.send(b"")
                    except CallerGone:
                        ended.set()

        async def send(message):
            nonlocal response, heading
            if message["type"] == "http.response.start":
                headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", [])]
                response = begin(context, message["status"], headers)
                if context._stream:
                    heading = self.loop.create_task(head())
            elif message["type"] == "http.response.body":
                part, more = bytes(message.get("body", b"")), message.get("more_body", False)
                if not more:
                    ended.set()
                try:
                    async with passing:
                        if more or response.begun or len(part) > MAX_PART:
                            await response.send(part)
                        else:
                            response.whole(part)
                finally:
                    if response.gone:
                        ended.set()

        try:
            await self.application(scope, receive, send)
        except Exception as error:
            if not response or not is_of(error, response.gone):
                raise
        finally:
            if heading:
                async with passing:
                    heading.cancel()
            if leaving and leaving.cancel():
                await self.asyncio.wait([leaving])
        if not response and instance.has_left(context._token):
            return None
        if not response:
            raise RuntimeError(f"the application {self.name} has not begun a response")
        return response.end()
