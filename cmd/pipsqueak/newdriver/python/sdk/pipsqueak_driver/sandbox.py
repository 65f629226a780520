"""The way into a sandbox (PROTOCOL.md, Gate), and what lies beside a driver: launcher, library, loop."""

import fcntl
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence

from .errors import DriverError
from .wire import driver_pb2 as pb

log = logging.getLogger(__name__)

LIBRARY = "libpipsqueak-enter.so"
LIBRARY_PATH = f"/pipsqueak/{LIBRARY}"  # where processes see it, with the mounts of files()
LAUNCHER = "pipsqueak-enter"

# What programs of all languages rely on, as core.Everywhere has it.
EVERYWHERE = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "TZ": ":UTC",
    "SHELL": "/bin/sh",
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "USER": "function",
    "LOGNAME": "function",
    "LAMBDA_TASK_ROOT": "/function",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
}


def libexec() -> str:
    """The directory with what drivers start and load: PIPSQUEAK_LIBEXEC, else libexec beside the program."""
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "libexec")
    return os.environ.get("PIPSQUEAK_LIBEXEC") or beside


def files(language: str) -> list[pb.Mount]:
    """What processes need of the host besides their interpreter.

    They see the library as LIBRARY_PATH, and libexec/<language>, with the loop, as /pipsqueak/<language>.
    """
    return [
        pb.Mount(source=os.path.join(libexec(), LIBRARY), target=LIBRARY_PATH),
        pb.Mount(source=os.path.join(libexec(), language), target=f"/pipsqueak/{language}"),
    ]


def to_gate(sandbox: pb.Sandbox) -> socket.socket:
    """Connects to a sandbox's gate and says whose process is going to come (G1).

    The connection is blocking, as who enters through it needs it.
    """
    gate = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        gate.connect(sandbox.gate)
        gate.send(sandbox.id.encode())
    except OSError as error:
        gate.close()
        raise DriverError("unavailable", "worker", f"the gate of {sandbox.id}: {error}") from None
    return gate


class Launcher:
    """Starts programs in sandboxes, through pipsqueak-enter, and reaps them."""

    def __init__(self) -> None:
        # By pid: the node, and a file with what the launcher complains of.
        self._launched: dict[int, tuple[str, int]] = {}

    def launch(
        self, sandbox: pb.Sandbox, command: Sequence[str], environment: Mapping[str, str]
    ) -> socket.socket:
        """Starts a command, with paths as the sandbox has them. Returns our end of its control socket."""
        enter = os.path.join(libexec(), LAUNCHER)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        complaint = os.memfd_create("complaint")  # not our stderr, which must not stay open in it (C31)
        descriptors: list[int] = []
        try:
            with theirs, to_gate(sandbox) as gate:
                # Out of the way of 0 to 4, and open in this process alone.
                for fd in (theirs.fileno(), gate.fileno(), complaint):
                    descriptors.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10))
                control_fd, gate_fd, complaint_fd = descriptors
                actions = [
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, complaint_fd, 2),
                    (os.POSIX_SPAWN_DUP2, control_fd, 3),
                    (os.POSIX_SPAWN_DUP2, gate_fd, 4),
                ]
                pid = os.posix_spawn(enter, [enter, *command], environment, file_actions=actions, setsid=True)
        except OSError as error:
            ours.close()
            os.close(complaint)
            message = f"starting {enter}: {error}; it lies beside the driver, or where PIPSQUEAK_LIBEXEC says"
            raise DriverError("unavailable", "driver", message) from None
        except BaseException:
            ours.close()
            os.close(complaint)
            raise
        finally:
            for fd in descriptors:
                os.close(fd)
        self._launched[pid] = sandbox.id, complaint
        return ours

    def reap(self) -> None:
        """Takes the status of each launcher that has ended, and of no other child."""
        for pid, (node, complaint) in list(self._launched.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._launched[pid]
                said = os.pread(complaint, 1000, 0).decode(errors="replace").strip()
                os.close(complaint)
                code = os.waitstatus_to_exitcode(status)
                log.debug("preload", extra={"fields": {"node": node, "ended": code, "said": said}})
