"""Responses that a handler makes in parts. Each part is passed on to the caller before the handler makes the next one. Where nobody takes parts, the whole
response is the result, as in AWS Lambda's function URLs, payload format 2.0."""

import base64
import errno

from _pipsqueak import instance

MAX_PART = 64 << 10
TEXTS = ("text/", "application/json", "application/javascript", "application/xml")


class CallerGone(BrokenPipeError):
    """Nothing more of the response is passed on."""


class Response:
    """The head is an object with statusCode, headers and cookies; length is the number of bytes that the response will have, if it is known."""

    def __init__(self, context, head, length=None):
        self.context, self.head, self.length = context, head, length
        self.begun, self.gone, self.kept = False, None, bytearray()

    def write(self, data):
        """Passes on bytes, and returns when the caller has taken them. Raises CallerGone."""
        for meta, part in self.parts(data):
            self.took(instance.ask(instance.PART, self.context._token, meta, part))

    async def send(self, data):
        """The same in an event loop, which runs meanwhile."""
        for meta, part in self.parts(data):
            self.took(await instance.ask_in_loop(instance.PART, self.context._token, meta, part))

    def parts(self, data):
        """The parts that are to be passed on now, each with its meta."""
        if self.gone:
            raise self.gone
        if not self.context._stream:
            self.kept += data
            if len(self.kept) > instance.MAX_RESULT:
                raise instance.TooLarge(f"the response has over {instance.MAX_RESULT} bytes, and who has asked for it takes it as a whole only: ask over HTTP/1.1 at /fn")
            return
        if not self.begun and len(data) == self.length and len(data) <= MAX_PART:
            self.kept += data  # as the result, which costs less
            return
        if self.kept:
            data = bytes(self.kept) + data
            self.kept.clear()
        at = 0
        while at < len(data) or not self.begun:
            meta, self.begun = {} if self.begun else {"head": self.head}, True
            yield meta, data[at : at + MAX_PART]
            at += MAX_PART

    def took(self, answer):
        failed = answer[0].get("error") if answer else {"message": "the event has been answered"}
        if failed:
            self.gone = CallerGone(errno.EPIPE, failed.get("message", ""))
            raise self.gone

    def whole(self, data):
        """The response has this body and no other."""
        if self.context._stream and len(data) > MAX_PART:
            self.write(data)
        else:
            self.kept += data

    def end(self):
        """Returns the result."""
        if self.begun:
            return None
        body, headers = self.kept, self.head.get("headers") or {}
        media = next((str(value) for name, value in headers.items() if name.lower() == "content-type"), "")
        result = {"statusCode": 200, **self.head, "isBase64Encoded": False}
        if media.startswith(TEXTS) and not any(name.lower() == "content-encoding" for name in headers):
            try:
                result["body"] = body.decode()
                return result
            except UnicodeDecodeError:
                pass
        result["body"], result["isBase64Encoded"] = base64.b64encode(body).decode("ascii"), True
        return result


def is_of(error, gone):
    """Whether the error says nothing but that the caller has gone."""
    while error is not None and gone is not None:
        if error is gone:
            return True
        error = error.__cause__ or error.__context__
    return False


class Yielded:
    """What a generator of a handler yields: perhaps an object that is the head, then text and bytes."""

    def __init__(self, context):
        self.response = Response(context, {})
        self.first = True

    def data(self, part):
        """The bytes of what was yielded, None for the head."""
        first, self.first = self.first, False
        if first:
            self.response.head = dict(part) if isinstance(part, dict) else {}
            headers = self.response.head.get("headers") or {}
            if isinstance(headers, dict) and not any(str(name).lower() == "content-type" for name in headers):
                self.response.head["headers"] = {**headers, "content-type": "application/octet-stream"}
            if isinstance(part, dict):
                return None
        if isinstance(part, str):
            return part.encode()
        if not isinstance(part, (bytes, bytearray, memoryview)):
            raise TypeError(f"a generator of a handler yields str or bytes, and first of all perhaps a dict with statusCode, headers and cookies; this is a {type(part).__name__}")
        return bytes(part)


def pass_on(generator, context):
    """Passes on what the generator yields; where that fails, the generator sees it raised. Returns the result."""
    yielded = Yielded(context)
    try:
        part = next(generator)
        while True:
            try:
                data = yielded.data(part)
                if data is not None:
                    yielded.response.write(data)
            except (CallerGone, TypeError, instance.TooLarge) as error:
                part = generator.throw(error)
            else:
                part = next(generator)
    except StopIteration:
        pass
    except CallerGone as error:
        if error is not yielded.response.gone:
            raise
    return yielded.response.end()


async def pass_on_async(generator, context):
    """The same with an async generator."""
    yielded = Yielded(context)
    try:
        part = await generator.__anext__()
        while True:
            try:
                data = yielded.data(part)
                if data is not None:
                    await yielded.response.send(data)
            except (CallerGone, TypeError, instance.TooLarge) as error:
                part = await generator.athrow(error)
            else:
                part = await generator.__anext__()
    except StopAsyncIteration:
        pass
    except CallerGone as error:
        if error is not yielded.response.gone:
            raise
    return yielded.response.end()
