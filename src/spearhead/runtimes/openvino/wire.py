"""As much of llama.cpp's HTTP as our client speaks, on a Unix socket: a request a connection, JSON or an event stream.

Knows no model. Only the process that started us reaches the socket; what it sends is bounded all the same.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any, cast

from spearhead.runtimes.openvino.answers import Asked, Desk, Event, Refused

MOST_HEAD, MOST_BODY = 64 << 10, 64 << 20
IDLE = 0.3
"""Seconds without a request after which the first steps are taken for nobody."""
TIDY = 64
"""Steps after which memory that is held for nothing is given back: it takes two milliseconds."""


class Exchange(asyncio.Protocol):
    """One request and its answer."""

    def __init__(self, desk: Desk, wake: Callable[[], None]) -> None:
        self._desk, self._wake = desk, wake
        self._raw = bytearray()
        self._length = -1
        self._target = ""
        self._asked: Asked | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._raw += data
        if self._length < 0 and not self._head():
            return
        if self._length >= 0 and len(self._raw) >= self._length:
            body, self._length = bytes(self._raw[: self._length]), -1
            self._raw.clear()
            self._serve(body)

    def eof_received(self) -> bool:
        return False  # half a connection cancels the request: ours closes, and with it everything

    def connection_lost(self, exc: Exception | None) -> None:
        if self._asked is not None:
            self._desk.leave(self._asked)
            self._asked = None
        self._transport = None

    def _head(self) -> bool:
        end = self._raw.find(b"\r\n\r\n")
        if end < 0:
            if len(self._raw) > MOST_HEAD:
                self._refuse(400, "the head is too long")
            return False
        first, *lines = bytes(self._raw[:end]).decode("latin-1").split("\r\n")
        del self._raw[: end + 4]
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = fields.get("content-length", "0")
        if not length.isdigit() or int(length) > MOST_BODY:
            self._refuse(400, "the body is too long")
            return False
        self._length, self._target = int(length), " ".join(first.split(" ")[:2])
        return True

    def _serve(self, body: bytes) -> None:
        if self._target == "POST /completion":
            try:
                asked = json.loads(body)
                if not isinstance(asked, dict):
                    raise ValueError("wanted an object")
                self._asked = self._desk.ask(asked, self._tell)
            except (ValueError, RecursionError, Refused) as error:
                self._refuse(400, str(error))
                return
            if self._asked.stream:
                self._write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            self._wake()
        elif self._target == "GET /slots":
            busy = len(self._desk.asked)
            slots = [{"id": at, "is_processing": at < busy} for at in range(max(busy, 1))]
            self._whole(200, [{**slot, "n_ctx": self._desk.context} for slot in slots])
        elif self._target == "GET /v1/models":
            self._whole(200, {"data": [{"meta": {"n_ctx_train": self._desk.batch.form.context}}]})
        else:
            self._refuse(404, "there is nothing here")

    def _tell(self, event: Event) -> None:
        """Send an event of the running request, and close after the last."""
        asked = self._asked
        if asked is None or not asked.stream:
            self._asked = None
            self._whole(200, event)
            return
        line = b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
        self._write(b"%x\r\n%s\r\n" % (len(line), line))
        if event["stop"]:
            self._asked = None
            self._write(b"0\r\n\r\n")
            self._close()

    def _refuse(self, status: int, message: str) -> None:
        self._whole(status, {"error": {"code": status, "type": "invalid_request_error", "message": message}})

    def _whole(self, status: int, value: Any) -> None:
        payload = json.dumps(value, separators=(",", ":")).encode()
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        self._write(head.encode() + payload)
        self._close()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def serve(desk: Desk, path: str, ready: Callable[[], None]) -> None:
    """Listen on `path`, say `ready`, then answer for ever."""
    work = asyncio.Event()
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: Exchange(desk, work.set), path, backlog=512)
    ready()
    async with server:
        with contextlib.suppress(TimeoutError):  # whoever waits for us asks two things first, and is busy then
            await asyncio.wait_for(work.wait(), IDLE)
        desk.warm()
        steps = 0
        while True:
            await work.wait()
            while desk.asked:
                desk.step()
                steps += 1
                if steps % TIDY == 0:
                    desk.batch.settle()
                await asyncio.sleep(0)  # who came or left meanwhile is seen before the next step
            work.clear()
