"""The program around a driver: go-plugin's handshake, gRPC, logs, the end (PROTOCOL.md, Without Go)."""

import asyncio
import datetime
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable
from typing import Any, TypeVar

import grpc
from google.protobuf import json_format
from google.rpc import status_pb2

from .driver import Driver, Language
from .errors import DriverError, tell
from .wire import driver_pb2 as pb
from .wire import driver_pb2_grpc

COOKIE = "4f9c1c1e-a driver is started by its host"
PROTOCOL = 3  # version of PROTOCOL.md that this package speaks

log = logging.getLogger(__name__)

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]


def serve(language: Language) -> None:
    """Runs the program of a driver: serves the language when a host has started it, until the host ends.

    Started by anybody else it says what it is and exits with 1, but for --describe and --version (C1).
    """
    program = os.path.basename(sys.argv[0])
    if os.environ.get("PIPSQUEAK_DRIVER_COOKIE") == COOKIE:
        asyncio.run(_serve(language))
    elif sys.argv[1:] == ["--version"]:
        print(f"{program} {language.describe().version}, protocol {PROTOCOL}")
    elif sys.argv[1:] == ["--describe"]:
        print(json_format.MessageToJson(language.describe(), preserving_proto_field_name=True))
    else:
        started = f"{program} is a driver of Pipsqueak: `pipsqueak serve` starts it."
        sys.exit(f"{started} --describe shows what it finds on this machine.")


async def _serve(language: Language) -> None:
    wire = os.dup(1)  # stdout is the handshake's alone (C4): what is printed goes to stderr, as a log
    os.dup2(2, 1)
    _log_to_host()
    threading.Thread(target=_leave_with_host, daemon=True).start()
    driver = Driver(language)
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, driver.launcher.reap)
    unbounded = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.aio.server(options=unbounded)
    driver_pb2_grpc.add_DriverServicer_to_server(_Servicer(driver), server)
    address = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "driver")
    server.add_insecure_port("unix:" + address)
    await server.start()
    os.write(wire, f"1|{PROTOCOL}|unix|{address}|grpc|\n".encode())
    await server.wait_for_termination()


def _leave_with_host() -> None:
    os.read(0, 1)  # nothing ever comes but the end of stdin (C27)
    os._exit(0)


class _Servicer(driver_pb2_grpc.DriverServicer):
    """Carries the calls of a Driver over gRPC."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def Describe(self, request: pb.DescribeRequest, context: Context) -> pb.Description:
        return await _carry(self._driver.Describe(request), context)

    async def Preload(self, request: pb.PreloadRequest, context: Context) -> pb.Parked:
        return await _carry(self._driver.Preload(request), context)

    async def Fork(self, request: pb.ForkRequest, context: Context) -> pb.Parked:
        return await _carry(self._driver.Fork(request), context)

    async def Import(self, request: pb.ImportRequest, context: Context) -> pb.Report:
        return await _carry(self._driver.Import(request), context)


async def _carry(call: Awaitable[T], context: Context) -> T:
    """Ends a call that fails with the status and the detail that the host understands (C24)."""
    try:
        return await call
    except Exception as problem:
        if not isinstance(problem, DriverError):
            log.error("fail", exc_info=True)
        error = tell(problem)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=error.message)
    status.details.add().Pack(error)
    await context.abort(
        grpc.StatusCode.UNKNOWN, error.message, (("grpc-status-details-bin", status.SerializeToString()),)
    )
    raise AssertionError("abort raises")


class _HostFormatter(logging.Formatter):
    """Writes a record as the host reads it: hclog's JSON (C8), with what extra={"fields": {…}} has."""

    levels = {"WARNING": "warn", "CRITICAL": "error"}

    def format(self, record: logging.LogRecord) -> str:
        now = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        line = {
            "@level": self.levels.get(record.levelname, record.levelname.lower()),
            "@message": record.getMessage(),
            "@timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["err"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _log_to_host() -> None:
    """Has all of logging go to the host, which chooses by level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_HostFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger(__package__).setLevel(logging.DEBUG)
