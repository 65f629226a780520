"""The handler that the conformance kit sends its events to: it does what event["do"] says (docs/conformance.md)."""

import ctypes
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import uuid

count = 0
held = []


class KitError(Exception):
    pass


def handler(event, context):
    if not isinstance(event, dict) or "do" not in event:
        return event
    return globals()["do_" + event["do"]](event, context)


def do_echo(event, context):
    return event["value"]


def do_raise(event, context):
    fall(event["message"], event.get("depth", 0), event.get("causes", []))


def fall(message, depth, causes):
    if depth > 0:
        fall(message, depth - 1, causes)
    if not causes:
        raise KitError(message)
    try:
        fall(causes[0], 0, causes[1:])
    except KitError as cause:
        raise KitError(message) from cause


class Unreadable(Exception):
    def __str__(self):
        raise KitError("no text")


def do_unreadable(event, context):
    error = Unreadable()
    error.__cause__ = error
    raise error


def do_exit(event, context):
    sys.exit(event["code"])


def do_crash(event, context):
    ctypes.string_at(0)


def do_hang(event, context):
    while True:
        time.sleep(1)


def do_print(event, context):
    sys.stdout.write(event.get("out", ""))
    sys.stderr.write(event.get("err", ""))


def do_big(event, context):
    return "x" * event["bytes"]


def do_state(event, context):
    global count
    count += 1
    return count


def do_random(event, context):
    return {
        "random": str(random.random()),
        "secrets": secrets.token_hex(16),
        "uuid": str(uuid.uuid4()),
        "tempfile": next(tempfile._get_candidate_names()),
        "urandom": os.urandom(16).hex(),
    } | ({"generator": str(sys.modules["kit_a"].generator.random())} if "kit_a" in sys.modules else {})


def do_drawn(event, context):
    return sys.modules[event["module"]].drawn


def do_env(event, context):
    return dict(os.environ)


def do_about(event, context):
    return {
        "request_id": context.aws_request_id,
        "function": context.function_name,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "pid": os.getpid(),
        "cwd": os.getcwd(),
    }


def do_file(event, context):
    if "text" in event:
        with open(event["path"], "w") as file:
            file.write(event["text"])
    with open(event["path"]) as file:
        return file.read()


def do_run(event, context):
    run = subprocess.run(["/bin/sh", "-c", event["command"]], stdout=subprocess.PIPE)
    return {"out": run.stdout.decode(), "status": run.returncode}


def do_signal(event, context):
    caught = []
    signal.signal(signal.SIGUSR2, lambda *_: caught.append(1))
    os.kill(os.getpid(), signal.SIGUSR2)
    return len(caught)


def do_sleep(event, context):
    time.sleep(event["ms"] / 1000)


def do_grow(event, context):
    held.append(bytearray(b"x") * event["bytes"])


def do_unusable(event, context):
    return object()


def do_odd(event, context):
    cycle = []
    cycle.append(cycle)
    odd = {"function": do_odd, "object": KitError(), "cycle": cycle}[event["name"]]
    return {"value": odd} if event["within"] else odd


def do_number(event, context):
    return [float(event["name"])] if event.get("within") else float(event["name"])


def do_bytes(event, context):
    text = bytes(event["bytes"]).decode("utf-8", "surrogateescape")
    return {text: 1} if event.get("key") else text


def do_nest(event, context):
    nested = []
    for _ in range(event["levels"] - 1):
        nested = [nested]
    return nested


def do_fork(event, context):
    child = os.fork()
    if child == 0:
        return "child"
    os.waitpid(child, 0)
    return "parent"


def do_stream(event, context):
    global count
    parts = ["x" * event["bytes"]] if "bytes" in event else event.get("parts", [])
    try:
        if "head" in event:
            yield event["head"]
        yield from parts
    except BrokenPipeError:
        count += 1
        return
    if "raise" in event:
        raise KitError(event["raise"])


def do_invoke(event, context):
    results = []
    for name, argument in event["calls"]:
        if "bytes" in event:
            argument = "x" * event["bytes"]
        try:
            results.append({"result": context.invoke(name, argument)})
        except Exception as error:
            if event.get("uncaught"):
                raise
            results.append({"error": {"kind": error.kind, "fault": error.fault, "message": str(error), "retryable": error.retryable}})
    return results
