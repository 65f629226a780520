"""What is told of exceptions. They are foreign objects: whatever one of them raises when it is looked at, the rest is told all the same."""

import importlib
import itertools
import os
import traceback

# Bytes of what is told of an exception.
MAX_MESSAGE, MAX_STACK = 64 << 10, 256 << 10

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
    return {"type": name_of(error), "message": cut(text_of(error), MAX_MESSAGE), "stack": innermost(frames_of(error))}


def name_of(thing):
    """The name of the type of anything."""
    return plain(type.__dict__["__name__"].__get__(type(thing)))


def is_a(thing, kind):
    """As isinstance, which asks the thing for its class."""
    return issubclass(type(thing), kind)


def text_of(error):
    try:
        return plain(str(error))
    except BaseException:
        return "(its text cannot be had: its __str__ raises)"


def plain(text):
    """The text as a str, also when it is of a class of its own."""
    return text if type(text) is str else str.__add__("", text)


def frames_of(error):
    trace = BaseException.__dict__["__traceback__"].__get__(error)
    try:
        lines = [frame.line for frame in traceback.extract_tb(trace)]
    except BaseException:  # a loader of somebody's is asked for the source
        lines = itertools.repeat("")
    frames = []
    for (frame, number), line in zip(traceback.walk_tb(trace), lines):
        code = frame.f_code
        if not code.co_filename.startswith(RUNTIME_FILES):
            frames.append(f"{code.co_filename}:{number} in {code.co_name}" + (f": {line}" if line else ""))
    if is_a(error, SyntaxError):
        try:
            if error.filename:
                frames.append(plain(f"{error.filename}:{error.lineno}: {(error.text or '').strip()}"))
        except BaseException:
            pass
    return frames


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
