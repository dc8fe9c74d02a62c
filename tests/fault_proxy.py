"""An HTTP proxy on the loopback interface that breaks what passes through it, as it is told while it runs.

It stands between a real client and a real server:

    with FaultProxy(server_port) as proxy:
        client = connect(proxy.url)
        proxy.inject(Answer(503), count=3)           # the next three requests
        proxy.inject(LoseAnswer(), share=0.2)        # and every fifth after them, by the proxy's seed
        ...
        proxy.clear()                                # all passes again, and what was held goes on its way

The rule that was injected first and still applies decides about a request; without one it passes. Faults cut with a
TCP reset, as a server that dies does. `Host` is kept as the client sent it, since signatures cover it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_CHUNK = 65536
_PAUSE_SECONDS = 0.02
_NO_BODY = {"204", "304"}


@dataclass(frozen=True)
class Pass:
    """Nothing is wrong."""


@dataclass(frozen=True)
class Delay:
    """The server's answer is held back for so long, or until the proxy is cleared."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """The proxy answers with this status, and the server never hears of the request."""

    status: int
    body: bytes = b""


@dataclass(frozen=True)
class LoseAnswer:
    """The server does what it is asked for, and the connection is cut before its client knows."""


@dataclass(frozen=True)
class Cut:
    """The connection is cut when the request has come, and the server never hears of it."""


@dataclass(frozen=True)
class Late:
    """The connection is cut at once, and the server gets the request when the proxy is cleared."""


@dataclass(frozen=True)
class CutRequest:
    """The server gets the first so many bytes of the request, head included; then both sides are cut."""

    after_bytes: int


@dataclass(frozen=True)
class CutAnswer:
    """The client gets the first so many bytes of the answer, head included, and then is cut."""

    after_bytes: int


@dataclass(frozen=True)
class Slow:
    """Request and answer pass at this pace each."""

    bytes_per_second: float


@dataclass(frozen=True)
class Strip:
    """The server gets the request without these headers, as one that ignores them."""

    headers: tuple[str, ...]


Fault = Pass | Delay | Answer | LoseAnswer | Cut | Late | CutRequest | CutAnswer | Slow | Strip


@dataclass(frozen=True)
class Request:
    """A request that came, and what was done to it."""

    method: str
    path: str
    fault: Fault = Pass()


@dataclass
class _Rule:
    fault: Fault
    left: float
    share: float
    matches: Callable[[Request], bool]


class FaultProxy:
    """A proxy before `127.0.0.1:target_port` on a port of its own, which it keeps while it refuses connections.

    `host`, where given, takes the place of the `Host` header that clients send.
    """

    def __init__(self, target_port: int, *, seed: int = 0, host: str | None = None) -> None:
        self.target_port = target_port
        self._host = host
        self._random = random.Random(seed)  # noqa: S311 (faults, not secrets)
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._seen: list[Request] = []
        # Bound and never listening: nobody else is given the port, and it refuses while no listener is bound too.
        self._claim = _bound_socket(0)
        self.port: int = self._claim.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._listener: asyncio.Server | None = None
        self._cleared = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._late: list[tuple[bytes, str]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._claim.close()

    def inject(
        self,
        fault: Fault,
        *,
        count: float = float("inf"),
        share: float = 1.0,
        matches: Callable[[Request], bool] = lambda _: True,
    ) -> None:
        """Do this to the next `count` requests that match, or to a share of them drawn by the seed."""
        with self._lock:
            self._rules.append(_Rule(fault, count, share, matches))

    def clear(self) -> None:
        """Let everything pass from now on, held answers too; late requests are done when this returns."""
        with self._lock:
            self._rules.clear()
        self._run(self._release())

    def refuse(self) -> None:
        """Cut all connections and refuse new ones, as if the server were not there."""
        self._run(self._stop_listening())

    def accept(self) -> None:
        """Take connections again after `refuse`."""
        self._run(self._listen())

    def requests(self, *kinds: type[Fault]) -> list[Request]:
        """Return the requests that came until now, in order: all, or those with a fault of these kinds."""
        with self._lock:
            return [request for request in self._seen if not kinds or isinstance(request.fault, kinds)]

    def _run(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _release(self) -> None:
        self._cleared.set()
        self._cleared = asyncio.Event()
        late, self._late = self._late, []
        for request, method in late:
            await self._ask_server(request, method, Pass())

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, sock=_bound_socket(self.port))

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._connections.add(task)
        try:
            while (head := await _read_head(reader)) is not None:
                await self._exchange(head, reader, writer)
                if _header(head, "connection").lower() == "close":
                    break
        except (OSError, EOFError, _Severed, asyncio.CancelledError):
            _reset(writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if _header(head, "expect").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request = head + await _read_body(head, reader)
        method, path, _ = head.decode("latin-1").split(" ", 2)
        cleared = self._cleared  # taken with the decision: a `clear` while the server works counts
        fault = self._decide(Request(method, path))
        match fault:
            case Cut():
                raise _Severed
            case Late():
                self._late.append((self._rewrite(request, len(head)), method))
                raise _Severed
            case CutRequest(after_bytes):
                await self._tell_server(self._rewrite(request, len(head))[:after_bytes])
                raise _Severed
            case Answer(status, body):
                phrase = HTTPStatus(status).phrase
                answer = f"HTTP/1.1 {status} {phrase}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            case Strip(headers):
                head, body = request[: len(head)], request[len(head) :]
                head = _without(head, *headers)
                answer = await self._ask_server(self._rewrite(head + body, len(head)), method, fault)
            case _:
                answer = await self._ask_server(self._rewrite(request, len(head)), method, fault)
        match fault:
            case Delay(seconds):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(cleared.wait(), seconds)
            case LoseAnswer():
                raise _Severed
            case CutAnswer(after_bytes):
                await _send(writer, answer[:after_bytes])
                raise _Severed
        await _send(writer, answer, fault)

    def _decide(self, request: Request) -> Fault:
        with self._lock:
            fault = next((rule.fault for rule in self._rules if self._applies(rule, request)), Pass())
            self._seen.append(Request(request.method, request.path, fault))
            return fault

    def _applies(self, rule: _Rule, request: Request) -> bool:
        applies = rule.left >= 1 and rule.matches(request) and self._random.random() < rule.share
        rule.left -= applies
        return applies

    def _rewrite(self, request: bytes, head_length: int) -> bytes:
        # A connection to the server serves one request, and what the client expected was promised here.
        head = _without(request[:head_length], "connection", "expect")
        extra = b"Connection: close\r\n"
        if self._host is not None:
            head, extra = _without(head, "host"), extra + f"Host: {self._host}\r\n".encode()
        return head[:-2] + extra + b"\r\n" + request[head_length:]

    async def _tell_server(self, content: bytes) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        await _send(writer, content)
        writer.close()

    async def _ask_server(self, request: bytes, method: str, fault: Fault) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        try:
            await _send(writer, request, fault)
            return await _read_answer(reader, method)
        except BaseException:
            _reset(writer)
            raise
        finally:
            writer.close()


class _Severed(Exception):  # noqa: N818 (a fault that was asked for)
    """This connection ends here."""


def _bound_socket(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _send(writer: asyncio.StreamWriter, content: bytes, fault: Fault | None = None) -> None:
    size = _CHUNK
    if isinstance(fault, Slow):
        size = max(1, int(fault.bytes_per_second * _PAUSE_SECONDS))
    for start in range(0, len(content), size):
        writer.write(content[start : start + size])
        await writer.drain()
        if isinstance(fault, Slow):
            await asyncio.sleep(size / fault.bytes_per_second)


async def _read_head(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None


async def _read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    if _header(head, "transfer-encoding").lower() == "chunked":
        return await _read_chunks(reader)
    return await reader.readexactly(int(_header(head, "content-length") or 0))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    content = bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        content += line
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            break
        content += await reader.readexactly(size + 2)
    while line != b"\r\n":  # trailers, up to an empty line
        line = await reader.readuntil(b"\r\n")
        content += line
    return bytes(content)


async def _read_answer(reader: asyncio.StreamReader, method: str) -> bytes:
    """Return the answer framed so that its client's connection stays usable."""
    head = await reader.readuntil(b"\r\n\r\n")
    while head.split(b" ", 2)[1] == b"100":
        head = await reader.readuntil(b"\r\n\r\n")
    kept = _without(head, "connection", "keep-alive")
    if method == "HEAD" or head.split(b" ", 2)[1].decode() in _NO_BODY:
        return kept
    if _header(head, "content-length") or _header(head, "transfer-encoding"):
        return kept + await _read_body(head, reader)
    body = await reader.read()  # the end of the connection is the end of the answer
    return kept[:-2] + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def _header(head: bytes, name: str) -> str:
    found = re.search(rf"\r\n{name}:[ \t]*(.*?)[ \t]*\r\n".encode(), head, re.IGNORECASE)
    return found.group(1).decode("latin-1") if found else ""


def _without(head: bytes, *names: str) -> bytes:
    pattern = rf"\r\n(?:{'|'.join(names)}):[^\r\n]*(?=\r\n)".encode()
    return re.sub(pattern, b"", head, flags=re.IGNORECASE)
