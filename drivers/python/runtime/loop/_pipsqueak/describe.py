"""Reports of exceptions. They are foreign objects: whatever one of them raises when it is looked at, the rest is reported all the same."""

import importlib
import itertools
import json
import os
import traceback

MAX_PACKET = 128 << 10  # bytes of a message to the driver, and of a report to core
# Bytes of the report of an exception, and how many frames of a longer stack: those at its ends.
MAX_MESSAGE, MAX_STACK = 64 << 10, 256 << 10
OUTER, INNER = 20, 40

# How many exceptions behind one are reported, and bytes of their texts and stacks; how many notes of each, and bytes of one.
MAX_BEHIND, MAX_MESSAGE_BEHIND, MAX_STACK_BEHIND, MAX_NOTES, MAX_NOTE = 16, 8 << 10, 16 << 10, 8, 1 << 10

# The class of groups of exceptions: the language's since 3.11, a package's before.
GROUPS = ("BaseExceptionGroup",)

# Files whose frames a user need not see.
RUNTIME_FILES = (os.path.dirname(os.path.dirname(__file__)), importlib.__file__, "<frozen importlib")


class InvokeError(Exception):
    """Why an invoked function gave no result. function is its name; kind and fault are the words of the HTTP interface; retryable says whether the same call
    may succeed later; exception is what the function raised, with type, message, stack and causes, or None."""

    def __init__(self, function, error):
        super().__init__(error.get("message", ""))
        self.function = function
        self.kind = error.get("kind")
        self.fault = error.get("fault")
        self.retryable = error.get("retryable", False)
        self.exception = error.get("exception")
        self._told = json.dumps(self.exception)


class Failure(Exception):
    """An error to report: kind and fault as core has them, and the exception behind it."""

    def __init__(self, kind, fault, message, cause=None):
        super().__init__(message)
        self.reply = {"kind": kind, "fault": fault, "message": message}
        if cause is not None:
            self.reply["exception"] = describe(cause)


def describe(error):
    """The report of an exception to a user: its type, text, stack without the frames of this runtime, notes, and the exceptions behind it."""
    told = {"type": name_of(error), "message": cut(text_of(error), MAX_MESSAGE), "stack": innermost(frames_of(error), MAX_STACK)}
    add_behind(told, error, {id(error)})
    return told


def add_behind(told, error, seen):
    """Adds notes and causes of an exception to its report. Seen has the ids of the exceptions that were reported, which may be behind each other."""
    notes, causes = notes_of(error), invoked(error)
    for relation, cause in behind(error):
        if id(cause) in seen:
            notes.append(f"({relation}: {name_of(cause)}, which was reported already)")
        elif len(seen) > MAX_BEHIND:
            notes.append("(there are more exceptions behind it)")
            break
        else:
            seen.add(id(cause))
            one = {"relation": relation, "type": name_of(cause), "message": cut(text_of(cause), MAX_MESSAGE_BEHIND), "stack": innermost(frames_of(cause), MAX_STACK_BEHIND)}
            add_behind(one, cause, seen)
            causes.append(one)
    if notes:
        told["notes"] = notes
    if causes:
        told["causes"] = causes


def behind(error):
    """The exceptions that an exception was raised because of, or while they were handled, and the members of a group: as (relation, exception)."""
    found = []
    cause = BaseException.__dict__["__cause__"].__get__(error)
    if cause is not None:
        found.append(("cause", cause))
    elif not BaseException.__dict__["__suppress_context__"].__get__(error):
        context = BaseException.__dict__["__context__"].__get__(error)
        if context is not None:
            found.append(("context", context))
    if any(type.__dict__["__name__"].__get__(kind) in GROUPS for kind in type.__dict__["__mro__"].__get__(type(error))):
        try:
            found += [("member", one) for one in itertools.islice(error.exceptions, MAX_BEHIND + 1) if is_a(one, BaseException)]
        except BaseException:
            pass
    return found


def invoked(error):
    """What a function that was invoked has raised, as core has reported and cut it."""
    try:
        told = json.loads(error._told) if is_a(error, InvokeError) else None
    except BaseException:  # it is in the hands of the handler
        told = None
    return [] if told is None else [{"relation": "cause", **told}]


def notes_of(error):
    """What __notes__ has, where it is a list."""
    try:
        return [cut(text_of(note), MAX_NOTE) for note in itertools.islice(error.__notes__, MAX_NOTES)]
    except BaseException:
        return []


def name_of(thing):
    """The name of the type of anything."""
    return plain(type.__dict__["__name__"].__get__(type(thing)))


def is_a(thing, kind):
    """As isinstance, which asks the thing for its class."""
    return issubclass(type(thing), kind)


def text_of(thing):
    try:
        return plain(thing if is_a(thing, str) else str(thing))
    except BaseException:
        return "(its text cannot be had: its __str__ raises)"


def plain(text):
    """The text as a str, also when it is of a class of its own."""
    return text if type(text) is str else str.__add__("", text)


def frames_of(error):
    trace = traceback.walk_tb(BaseException.__dict__["__traceback__"].__get__(error))
    whole = [(frame, number) for frame, number in trace if not frame.f_code.co_filename.startswith(RUNTIME_FILES)]
    left = len(whole) - OUTER - INNER
    told = whole if left <= 1 else whole[:OUTER] + whole[-INNER:]  # a recursion has the same ones many times
    try:
        lines = [frame.line for frame in traceback.StackSummary.extract(iter(told))]
    except BaseException:  # a loader of somebody's is asked for the source
        lines = itertools.repeat("")
    frames = []
    for (frame, number), line in zip(told, lines):
        code = frame.f_code
        frames.append(f"{code.co_filename}:{number} in {code.co_name}" + (f": {line}" if line else ""))
    if left > 1:
        frames.insert(OUTER, f"… ({left} frames left out)")
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


def innermost(frames, room):
    """The frames next to where an exception was raised, of at most so many bytes."""
    for i in range(len(frames) - 1, -1, -1):
        room -= len(frames[i].encode("utf-8", "backslashreplace"))
        if room < 0:
            return frames[i + 1 :]
    return frames


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
