"""A driver of version 2 of the protocol, frozen when version 3 came. It pins that a host still serves that version: nothing in this
directory is ever changed to suit a host.

It has a copy of the version's driver.proto and of the loop that its processes ran. Its Python is .deps/grpc, which the Makefile makes.
"""

import asyncio
import datetime
import fcntl
import json
import os
import platform
import signal
import socket
import sys
import threading

import grpc
from google.protobuf import json_format
from google.rpc import status_pb2

pb, driver_pb2_grpc = grpc.protos_and_services("driver.proto")  # the copy beside this file

COOKIE = "4f9c1c1e-a driver is started by its host"
VERSION = 2  # of the protocol
PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
LIBEXEC = os.environ.get("PIPSQUEAK_LIBEXEC") or os.path.join(os.path.dirname(PROGRAM), "libexec")
INTERPRETER, LIBRARY, LOOP = "/usr/bin/python3", "/pipsqueak/libpipsqueak-enter.so", "/pipsqueak/old/loop.py"
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
MAX_PACKET = 128 << 10


class Failure(Exception):
    """An error with the words of core/errors.go."""

    def __init__(self, kind, fault, message, retryable=False, exception=None):
        super().__init__(message)
        self.error = pb.Error(kind=kind, fault=fault, message=message, retryable=retryable, exception=exception)


def log(level, message, **fields):  # [C8]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    print(json.dumps({"@level": level, "@message": message, "@timestamp": now, **fields}), file=sys.stderr, flush=True)


# ---- processes: the zygote loop, from the driver's side -----------------------------------------------------------------------------


class Process:
    """A process, as long as its control socket is open. What it says goes to whoever has the turn."""

    def __init__(self, node, control, forget):
        control.setblocking(False)
        self.node, self.control, self.threads = node, control, 1
        self.turn, self.answers, self.owed = asyncio.Lock(), asyncio.Queue(), 1  # it owes its first word
        self.reader = asyncio.create_task(self.read(forget))

    async def read(self, forget):
        loop, packet = asyncio.get_running_loop(), b"x"
        while packet:
            try:
                packet = await loop.sock_recv(self.control, MAX_PACKET)
            except OSError:
                packet = b""
            if packet and not self.owed:
                log("warn", "lose", node=self.node, err=f"it spoke out of turn: {packet[:200]!r}")  # [Z3]
                break
            self.owed = 0
            self.answers.put_nowait(packet)
        forget(self)
        self.control.close()

    async def ask(self, request, *descriptors):
        """Sends one request and returns its answer [Z3]; None when the process has ended."""
        await self.turn.acquire()
        try:
            if request:
                self.owed = 1
                socket.send_fds(self.control, [json.dumps(request, separators=(",", ":")).encode()], descriptors)
        except OSError:
            self.turn.release()
            return None
        answer = asyncio.ensure_future(self.answers.get())
        answer.add_done_callback(lambda _: self.turn.release())
        # Who gives up [C10] does not leave his answer to the next one [Z14].
        packet = await asyncio.shield(answer)
        if not packet:
            self.answers.put_nowait(b"")  # for the next
            return None
        told = json.loads(packet)
        if error := told.get("error"):
            exception = error.get("exception")
            raise Failure(error["kind"], error["fault"], error["message"], exception=exception and pb.Exception(**exception))
        return told


def to_gate(sandbox):
    """Connects to a sandbox's gate [G1]. The connection is blocking, as who enters through it needs it."""
    gate = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        gate.connect(sandbox.gate)
        gate.send(sandbox.id.encode())
    except OSError as error:
        gate.close()
        raise Failure("unavailable", "worker", f"the gate of {sandbox.id}: {error}") from None
    return gate


def launch(sandbox, command):
    """Starts a program in a sandbox, through pipsqueak-enter. Returns the driver's end of its control socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, to_gate(sandbox) as gate:
        # Out of the way of 3 and 4, and open in this process alone.
        control_fd, gate_fd = (fcntl.fcntl(s.fileno(), fcntl.F_DUPFD_CLOEXEC, 10) for s in (theirs, gate))
        enter = os.path.join(LIBEXEC, "pipsqueak-enter")
        nowhere = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]  # [C31]
        given = [(os.POSIX_SPAWN_DUP2, control_fd, 3), (os.POSIX_SPAWN_DUP2, gate_fd, 4)]
        try:
            os.posix_spawn(enter, [enter, *command], ENVIRONMENT, file_actions=nowhere + given, setsid=True)
        except OSError as error:
            ours.close()
            raise Failure("unavailable", "driver", f"starting {enter}: {error}") from None
        finally:
            os.close(control_fd)
            os.close(gate_fd)
    return ours


# ---- the service: core.Driver ---------------------------------------------------------------------------------------------------------


def description():
    d = pb.Description(language="old", version="0.1.0")
    if os.access(INTERPRETER, os.X_OK):
        runtime = d.runtimes.add(id="old3", version=platform.python_version(), path=INTERPRETER, extensions=[".py"])
        runtime.mounts.add(source=os.path.join(LIBEXEC, os.path.basename(LIBRARY)), target=LIBRARY)
        runtime.mounts.add(source=os.path.join(LIBEXEC, "old"), target=os.path.dirname(LOOP))
        runtime.handlers.add(file="handler.py", handler="handler.handler")
    else:
        d.problems.append(f"{INTERPRETER} is missing; apt install python3")  # [C12]
    return d


class Driver:
    def __init__(self):
        self.processes = {}

    def adopt(self, node, control):
        if node in self.processes:
            control.close()
            raise Failure("conflict", "worker", f"the node {node} is there already")
        process = self.processes[node] = Process(node, control, self.forget)
        return process

    def drop(self, process):
        """Forgets a process and closes its control socket, which its reader sees as its end."""
        self.forget(process)
        if process.control.fileno() >= 0:
            process.control.shutdown(socket.SHUT_RDWR)

    def forget(self, process):
        if self.processes.get(process.node) is process:
            del self.processes[process.node]

    def find(self, node):
        if node not in self.processes:
            raise Failure("unavailable", "worker", f"{node} is no zygote of this driver, or has ended", retryable=True)
        return self.processes[node]

    async def parked(self, process):
        """Waits for the first word of a new process [Z2]."""
        try:
            if await process.ask(None) is None:
                raise Failure("unavailable", "driver", f"the process of {process.node} ended before it stood in its sandbox", retryable=True)
        except BaseException:
            self.drop(process)
            raise

    async def Describe(self, request):
        return description()

    async def Preload(self, request):
        if request.runtime not in [r.id for r in description().runtimes]:
            raise Failure("unsupported", "caller", f"this machine has no runtime {request.runtime}")
        if request.id in self.processes:
            raise Failure("conflict", "worker", f"the node {request.id} is there already")
        command = [INTERPRETER, "-I", "-S", "-B", "-X", "utf8", LOOP, LIBRARY]
        await self.parked(self.adopt(request.id, launch(request.sandbox, command)))
        return pb.Parked()

    async def Fork(self, request):
        parent = self.find(request.parent)
        if parent.threads > 1:
            raise Failure("invalid", "worker", f"fork {request.parent}: it has {parent.threads} threads")  # [C17]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            child = self.adopt(request.id, ours)
            try:
                with to_gate(request.sandbox) as gate:
                    answer = await parent.ask({"op": "fork"}, theirs.fileno(), gate.fileno())
                if answer is None:
                    raise Failure("unavailable", "worker", f"the process of {request.parent} has ended", retryable=True)
            except BaseException:
                self.drop(child)
                raise
        await self.parked(child)
        return pb.Parked()

    async def Import(self, request):
        process = self.find(request.id)
        try:
            report = await process.ask({"op": "import", "packages": list(request.load.packages), "modules": list(request.load.modules)})
            if report is None:
                raise Failure("exit", "handler", f"the process of {request.id} ended while it imported")
        except BaseException:
            self.drop(process)  # [Z10]
            raise
        process.threads = report["threads"]
        modules = {name: int(took * 1e9) for name, took in report["modules"].items()}
        return pb.Report(took=int(report["took"] * 1e9), modules=modules, threads=report["threads"])


# ---- the wire: go-plugin's handshake and gRPC -------------------------------------------------------------------------------------------


class Servicer(driver_pb2_grpc.DriverServicer):
    """Carries Driver's calls and errors over gRPC."""

    def __init__(self, driver):
        for name in ("Describe", "Preload", "Fork", "Import"):
            setattr(self, name, self.carry(getattr(driver, name)))

    @staticmethod
    def carry(call):
        async def carried(request, context):
            try:
                return await call(request)
            except Failure as failure:
                error = failure.error
            except Exception as problem:
                log("error", "fail", err=repr(problem))
                error = pb.Error(kind="internal", fault="driver", message=repr(problem))
            status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=error.message)  # [C24]
            status.details.add().Pack(error)
            await context.abort(grpc.StatusCode.UNKNOWN, error.message, (("grpc-status-details-bin", status.SerializeToString()),))

        return carried


def reap():
    """Takes the status of every launcher that has ended. There are no other children."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def leave_with_host():
    os.read(0, 1)  # the end of stdin [C27]
    os._exit(0)


async def serve():
    threading.Thread(target=leave_with_host, daemon=True).start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, reap)
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
    driver_pb2_grpc.add_DriverServicer_to_server(Servicer(Driver()), server)
    address = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "old")
    server.add_insecure_port("unix:" + address)
    await server.start()
    print(f"1|{VERSION}|unix|{address}|grpc|", flush=True)  # [C4]
    await server.wait_for_termination()


def main():
    if os.environ.get("PIPSQUEAK_DRIVER_COOKIE") == COOKIE:
        asyncio.run(serve())
    elif sys.argv[2:] == ["--describe"]:
        print(json_format.MessageToJson(description(), preserving_proto_field_name=True))
    else:
        sys.exit("pipsqueak-driver-old is a driver of Pipsqueak: `pipsqueak serve` starts it. --describe shows what it finds on this machine.")  # [C1]


main()
