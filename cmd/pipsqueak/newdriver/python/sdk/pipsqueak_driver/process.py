"""The zygote loop from the driver's side: a process, and what it is asked (PROTOCOL.md, Zygote loop)."""

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format

from .errors import DriverError
from .wire import driver_pb2 as pb

log = logging.getLogger(__name__)

MAX_PACKET = 128 << 10  # bytes of one message

Answer = dict[str, Any]


class Process:
    """A process of the language, as long as its control socket is open.

    It owes one answer at a time: who asks has the turn until the answer comes, also when nobody waits for
    it any more (Z14), so that it is never taken for the answer to the next question.
    """

    def __init__(self, node: str, control: socket.socket, ended: Callable[["Process"], None]) -> None:
        control.setblocking(False)
        self.node = node
        self.threads = 1  # as of its last report
        self.sees = False  # it can be asked to look
        self._control = control
        self._ended = ended
        self._over = False
        self._owing = True  # its first word
        self._turn = asyncio.Lock()
        self._answers: asyncio.Queue[Answer | DriverError | None] = asyncio.Queue()  # None is its end
        self._reader = asyncio.create_task(self._read())

    def close(self) -> None:
        """Closes the control socket. Core ends the process."""
        if not self._over:
            self._control.shutdown(socket.SHUT_RDWR)  # which its reader sees as its end

    async def parked(self) -> None:
        """Waits for the first word, which says that the process stands in its sandbox (Z2)."""
        await self._turn.acquire()
        parked = await self._answer("parked")
        if parked is None:
            message = f"the process of {self.node} ended before it stood in its sandbox"
            raise DriverError("unavailable", "driver", message, retryable=True)
        self.sees = bool(parked.get("sees"))

    async def fork(self, control: socket.socket, gate: socket.socket) -> None:
        """Has the zygote fork a child, which gets the two sockets as its own (Z4)."""
        if await self._ask({"op": "fork"}, "forked", control.fileno(), gate.fileno()) is None:
            raise DriverError(
                "unavailable", "worker", f"the process of {self.node} has ended", retryable=True
            )

    async def load(self, load: pb.Load) -> Answer:
        """Has the zygote import modules (Z8) and returns its report, as PROTOCOL.md has it.

        With load.watch the report also has the variables and files that the library sees the imported code look
        at (Z16): all, if it sees none.
        """
        request: Answer = {"op": "import", "packages": list(load.packages), "modules": list(load.modules)}
        seen: Answer = {"reads": ["*"], "asks": ["./"]} if load.watch else {}
        if load.watch:
            request["watch"] = True
        if load.draw:
            request["draw"] = list(load.draw)
        if load.watch and self.sees:
            await self._import({"op": "look"}, "sees")
        report = await self._import(request, "threads")
        self.threads = report["threads"]
        if load.watch and self.sees:
            seen = await self._import({"op": "looked"}, "sees")
        for key in ("reads", "asks"):
            report[key] = sorted({*report.get(key, []), *seen.get(key, [])})
        return report

    async def _import(self, request: Answer, key: str) -> Answer:
        answer = await self._ask(request, key)
        if answer is None:
            message = f"the process of {self.node} ended while it imported; what it printed is in the logs"
            raise DriverError("exit", "handler", message)
        return answer

    async def _ask(self, request: Answer, key: str, *descriptors: int) -> Answer | None:
        packet = json.dumps(request, separators=(",", ":")).encode()  # a fork is these very bytes (Z15)
        if len(packet) > MAX_PACKET:
            message = f"what {self.node} is to import takes {len(packet)} bytes to say, over {MAX_PACKET}"
            raise DriverError("too_large", "caller", message)
        await self._turn.acquire()
        try:
            self._owing = True
            socket.send_fds(self._control, [packet], descriptors)
        except OSError:
            self._turn.release()
            return None
        return await self._answer(key)

    async def _answer(self, key: str) -> Answer | None:
        """Waits for the answer of who has the turn, in which the key is true. None when it has ended."""
        coming = asyncio.ensure_future(self._answers.get())
        coming.add_done_callback(lambda _: self._turn.release())
        answer = await asyncio.shield(coming)
        if answer is None:
            self._answers.put_nowait(None)  # for who comes next
            return None
        if isinstance(answer, DriverError):
            raise answer
        if not answer.get(key):
            self.close()
            message = f"the process of {self.node} said {str(answer)[:200]} where it should have said {key}"
            raise DriverError("internal", "driver", message)
        return answer

    async def _read(self) -> None:
        """Hands out what the process says until it ends, is an instance (Z11) or breaks the protocol (Z3)."""
        loop = asyncio.get_running_loop()
        try:
            while packet := await loop.sock_recv(self._control, MAX_PACKET + 1):
                if not self._owing:
                    raise ValueError(f"it spoke out of turn: {packet[:200]!r}")
                self._owing = False
                self._answers.put_nowait(self._understand(packet))
        except OSError:
            pass  # a reset: it has ended (Z12)
        except (ValueError, json_format.ParseError) as problem:
            log.warning("lose", extra={"fields": {"node": self.node, "err": str(problem)}})
            message = f"the process of {self.node} cannot be understood: {problem}"
            self._answers.put_nowait(DriverError("internal", "driver", message))
        finally:
            self._over = True
            self._answers.put_nowait(None)
            self._control.close()
            self._ended(self)

    @staticmethod
    def _understand(packet: bytes) -> Answer | DriverError:
        if len(packet) > MAX_PACKET:
            raise ValueError(f"a packet of over {MAX_PACKET} bytes")
        answer = json.loads(packet)
        if not isinstance(answer, dict):
            raise ValueError(f"a packet that is no object: {packet[:200]!r}")
        if error := answer.get("error"):
            if exception := error.get("exception"):
                error["exception"] = nested(exception)
            return DriverError.of(json_format.ParseDict(error, pb.Error(), ignore_unknown_fields=True))
        return answer


def nested(exception: dict[str, Any]) -> dict[str, Any]:
    """An exception as driver.proto has it: each of its causes is a relation and an exception, in one object in a packet."""
    causes = [{"relation": cause.get("relation"), "exception": nested(cause)} for cause in exception.get("causes", [])]
    return exception | {"causes": causes}
