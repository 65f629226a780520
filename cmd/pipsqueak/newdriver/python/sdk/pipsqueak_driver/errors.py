"""What goes wrong, in the words that the host knows (PROTOCOL.md, Errors)."""

import errno

from .wire import driver_pb2 as pb

# What the machine, or a limit around this process, has no more of for now.
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC)


class DriverError(Exception):
    """An error that the host can act on.

    kind and fault are words of core/errors.go: "unavailable" and "worker", for example. The message names the
    input and says what to do. A retryable error may not come again.
    """

    def __init__(self, kind: str, fault: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.told = pb.Error(kind=kind, fault=fault, message=message, retryable=retryable)

    @classmethod
    def of(cls, told: pb.Error) -> "DriverError":
        """The error that a process has reported."""
        error = cls(told.kind, told.fault, told.message)
        error.told = told
        return error


def tell(error: Exception) -> pb.Error:
    """The report of any exception to the host (C26)."""
    if isinstance(error, DriverError):
        return error.told
    if isinstance(error, OSError) and error.errno in SHORTAGES:
        return pb.Error(kind="exhausted", fault="worker", message=repr(error), retryable=True)
    return pb.Error(kind="internal", fault="driver", message=repr(error))
