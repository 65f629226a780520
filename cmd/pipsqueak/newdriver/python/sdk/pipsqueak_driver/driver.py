"""The calls of the service (PROTOCOL.md, Calls), for any language."""

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .errors import DriverError
from .process import Process
from .sandbox import EVERYWHERE, LIBRARY_PATH, Launcher, to_gate
from .wire import driver_pb2 as pb


@dataclass(frozen=True)
class Language:
    """What a driver knows of its language.

    describe returns what this machine has. What is missing is no error: it goes into problems, with what to
    do. It may take seconds, and is called in a thread of its own.

    command returns the command that starts the loop of a runtime, one of those that describe has told of,
    with paths as a sandbox has them.

    environment is what a zygote's environment has besides what all have (EVERYWHERE), which it may replace.
    """

    describe: Callable[[], pb.Description]
    command: Callable[[str], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)


class Driver:
    """The four calls of the service Driver. Each takes and returns the messages of driver.proto."""

    def __init__(self, language: Language) -> None:
        self.launcher = Launcher()
        self._language = language
        self._described: pb.Description | None = None
        self._processes: dict[str, Process] = {}

    async def Describe(self, request: pb.DescribeRequest) -> pb.Description:
        self._described = await asyncio.to_thread(self._language.describe)
        return self._described

    async def Preload(self, request: pb.PreloadRequest) -> pb.Parked:
        described = self._described or await self.Describe(pb.DescribeRequest())
        if request.runtime not in [runtime.id for runtime in described.runtimes]:
            raise DriverError("unsupported", "caller", f"this machine has no runtime {request.runtime}")
        self._refuse(request.id)  # before anybody goes to the gate, which lets one in only
        environment = EVERYWHERE | {"LD_PRELOAD": LIBRARY_PATH} | dict(self._language.environment)
        command = self._language.command(request.runtime)
        process = self._adopt(request.id, self.launcher.launch(request.sandbox, command, environment))
        try:
            await process.parked()
        except BaseException:  # who gives the call up cancels it
            self._forget(process)
            raise
        return pb.Parked()

    async def Fork(self, request: pb.ForkRequest) -> pb.Parked:
        parent = self._find(request.parent)
        if parent.threads > 1:
            message = f"fork {request.parent}: it has {parent.threads} threads"
            raise DriverError("invalid", "worker", message)
        self._refuse(request.id)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        child = self._adopt(request.id, ours)
        try:
            # The child has its own of both when the parent has answered (Z5).
            with theirs, to_gate(request.sandbox) as gate:
                await parent.fork(theirs, gate)
            await child.parked()
        except BaseException:
            self._forget(child)
            raise
        return pb.Parked()

    async def Import(self, request: pb.ImportRequest) -> pb.Report:
        process = self._find(request.id)
        try:
            report = await process.load(request.load)
            return pb.Report(
                took=nanoseconds(report["took"]),
                modules={name: nanoseconds(took) for name, took in report["modules"].items()},
                threads=report["threads"],
                reads=report["reads"],
                asks=report["asks"],
                drawn=report.get("drawn", {}),
            )
        except BaseException:
            self._forget(process)  # it is never used again (Z10)
            raise

    def _find(self, node: str) -> Process:
        if node not in self._processes:
            message = f"{node} is no zygote of this driver, or has ended"
            raise DriverError("unavailable", "worker", message, retryable=True)
        return self._processes[node]

    def _refuse(self, node: str) -> None:
        if node in self._processes:
            raise DriverError("conflict", "worker", f"the node {node} is there already")

    def _adopt(self, node: str, control: socket.socket) -> Process:
        process = self._processes[node] = Process(node, control, self._ended)
        return process

    def _forget(self, process: Process) -> None:
        self._ended(process)
        process.close()

    def _ended(self, process: Process) -> None:
        if self._processes.get(process.node) is process:
            del self._processes[process.node]


def nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
