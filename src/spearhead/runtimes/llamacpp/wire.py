"""HTTP over a Unix socket, as much of it as llama.cpp's server speaks: a request a connection, JSON or an event stream.

Knows nothing of models. Written as a bare protocol because it runs once a token: the usual client costs several times
the time. Closing our half of the connection is how a request is cancelled; the server closes the other half once it
has put the cancellation in its queue.
"""

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

LIMIT = 64 << 20
"""Most bytes of an answer that wait to be read; the whole vocabulary's probabilities are about 5 MB."""


class Unreachable(Exception):
    """Nobody listens: the request was not sent."""


class Disconnected(Exception):
    """The other side went away before its answer was whole."""


class Rejected(Exception):
    """The server answered with an error; `status` and `kind` are its own."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


class Exchange(asyncio.Protocol):
    """One request and its answer as it comes in: `async for` gives each JSON value of the answer."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._body = bytearray()
        self._values: deque[Any] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._error: Exception | None = None
        self._done = False
        self._in_body = False
        self._chunked = False
        self._events = False
        self._status = 0
        self._left = 0
        self.closed = asyncio.get_running_loop().create_future()
        """Done when the connection is."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        if self._done:
            return
        self._raw += data
        try:
            if self._in_body or self._head():
                self._take_body()
        except (ValueError, KeyError, RecursionError) as error:
            self._finish(Disconnected(f"its answer cannot be read: {error}"))
        if len(self._raw) + len(self._body) > LIMIT:
            self._finish(Disconnected("its answer is too large"))
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done:
            self._finish(Disconnected("it closed the connection"))
        self._wake()
        if not self.closed.done():
            self.closed.set_result(None)

    @property
    def done(self) -> bool:
        """Whether the answer is whole or has failed."""
        return self._done

    def waiting(self) -> Any | None:
        """The next JSON value if it is here already."""
        return self._values.popleft() if self._values else None

    async def hang_up(self) -> None:
        """Cancel the request and wait until the server knows it, at most a few seconds."""
        assert self._transport is not None
        try:
            if not self._done and not self.closed.done():
                self._transport.write_eof()
                await asyncio.wait({self.closed}, timeout=10)
        finally:
            self._transport.abort()

    def close(self) -> None:
        """Close the connection at once."""
        assert self._transport is not None
        self._transport.abort()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        """The next JSON value; raises Disconnected or Rejected after those that came before it."""
        while not self._values:
            if self._done:
                if self._error:
                    raise self._error
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._values.popleft()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done() and (self._values or self._done):
            self._waiter.set_result(None)

    def _finish(self, error: Exception | None = None) -> None:
        if not self._done:
            self._done, self._error = True, error

    def _head(self) -> bool:
        end = self._raw.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = bytes(self._raw[:end]).decode("latin-1").split("\r\n")
        del self._raw[: end + 4]
        self._status = int(first.split(" ", 2)[1])
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        self._events = fields.get("content-type", "").startswith("text/event-stream")
        self._left = -1 if self._chunked else int(fields["content-length"])
        self._in_body = True
        return True

    def _take_body(self) -> None:
        if not self._chunked:
            self._body += self._raw
            self._raw.clear()
            if len(self._body) >= self._left:
                self._whole()
            return
        raw, at = self._raw, 0
        while True:
            line = raw.find(b"\r\n", at)
            if line < 0:
                break
            size = int(raw[at:line], 16)
            if len(raw) < line + 2 + size + 2:
                break
            if size == 0:
                self._whole()
                return
            self._body += raw[line + 2 : line + 2 + size]
            at = line + 2 + size + 2
        del raw[:at]
        if self._events and self._status == 200:
            self._take_events()

    def _take_events(self) -> None:
        body = self._body
        while (end := body.find(b"\n\n")) >= 0:
            event = body[:end].decode()
            del body[: end + 2]
            name, _, payload = event.partition(":")
            if name == "data" and payload.strip() != "[DONE]":
                value = json.loads(payload)
                if "error" in value:
                    self._finish(_rejected(200, value))
                    return
                self._values.append(value)
            elif name == "error":
                self._finish(_rejected(200, {"error": json.loads(payload)}))
                return

    def _whole(self) -> None:
        if self._status != 200:
            self._finish(_rejected(self._status, json.loads(bytes(self._body) or b"{}")))
            return
        if self._events:
            self._take_events()
        else:
            self._values.append(json.loads(bytes(self._body)))
        self._finish()


def _rejected(status: int, value: Any) -> Rejected:
    error = value.get("error", {}) if isinstance(value, dict) else {}
    error = error if isinstance(error, dict) else {"message": str(error)}
    return Rejected(int(error.get("code", status)), str(error.get("type", "")), str(error.get("message", "no reason")))


def request(method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
    """The whole of a request."""
    payload = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: runtime\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


async def begin(place: str, data: bytes) -> Exchange:
    """An exchange whose request is on its way to the socket at `place`; raises Unreachable where it cannot be.

    It is sent before anything here is made ready for the answer, and before others have their turn: the other side
    works meanwhile.
    """
    line = socket.socket(socket.AF_UNIX)
    try:
        line.setblocking(False)
        line.connect(place)  # of a Unix socket it is done at once or not at all
        sent = line.send(data)
        transport, exchange = await asyncio.get_running_loop().create_unix_connection(Exchange, sock=line)
    except OSError as error:
        line.close()
        raise Unreachable(str(error)) from error
    except BaseException:
        line.close()
        raise
    if sent < len(data):
        transport.write(data[sent:])
    return exchange


async def ask(place: str, method: str, path: str) -> Any:
    """The one JSON value that answers a request."""
    exchange = await begin(place, request(method, path))
    try:
        async for value in exchange:
            return value
        raise Disconnected("it gave an empty answer")
    finally:
        exchange.close()
