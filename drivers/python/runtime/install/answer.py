"""How an installer program answers the driver: JSON messages over descriptor 3."""

import errno
import json
import socket

MAX_PACKET = 100 << 10
FULL = (errno.ENOSPC, errno.EDQUOT)
CONTROL = 3


class Refused(Exception):
    """What the user is told: kind and fault as core has them."""

    def __init__(self, kind, fault, message):
        super().__init__(message)
        self.reply = {"kind": kind, "fault": fault, "message": message[:8000]}


def full(what):
    return Refused("exhausted", "worker", f"the disk of the worker is full: free space there, or start the worker with --data on a larger disk: {what}")


def of_disk(what, error):
    """What the user is told of an OSError."""
    return full(f"{what}: {error}") if error.errno in FULL else Refused("install", "worker", f"{what}: {error}")


def progress(item, detail, done=0, total=0):
    say({"progress": {"verb": "install", "item": item, "detail": detail, "done": done, "total": total}})


def say(message):
    """Sends the message, in several packets when it is long: each but the last begins with '+'."""
    text = json.dumps(message).encode()
    control = socket.socket(fileno=CONTROL)
    try:
        while len(text) > MAX_PACKET:
            control.send(b"+" + text[:MAX_PACKET])
            text = text[MAX_PACKET:]
        control.send(b"." + text)
    finally:
        control.detach()
