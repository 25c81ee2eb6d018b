"""What every request gets whatever its route: a number, a time, bounds, and errors in the one envelope.

A plain ASGI layer, for it sits in the path of every chunk. Knows nothing of generation.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeVar

from spearhead.service.api import errors
from spearhead.service.api.errors import ApiError
from spearhead.service.api.figures import Figures

log = logging.getLogger("spearhead.api")
T = TypeVar("T")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

ANYWHERE = ((b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*"))
"""A page of any site may ask under /v1, as it may ask vLLM or llama.cpp's server. No cookie counts there: a page that
has no key can do what anybody can."""
PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"authorization, *"),  # the star stands for every name but this one
    (b"access-control-max-age", b"7200"),
)
LARGEST_BODY = 4 << 20
BODY_SECONDS = 30.0
PATIENCE = 0.005
"""Seconds of work after which it is looked whether its client has left."""


class Frame:
    """Wraps an ASGI app."""

    def __init__(self, app: App, *, figures: Figures) -> None:
        self._app, self._figures = app, figures

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        number = f"req_{secrets.token_hex(16)}"
        state = scope.setdefault("state", {})
        state["number"], state["start"], state["route"] = number, start, "other"
        status = 0
        page = scope["path"].startswith("/v1/") and any(name == b"origin" for name, _ in scope["headers"])
        bare = scope["method"] == "HEAD"  # what GET says, without its body
        asked = {**scope, "method": "GET"} if bare else scope

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                spent = str(int((time.perf_counter() - start) * 1000)).encode()
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", number.encode()),
                    (b"openai-processing-ms", spent),
                    (b"x-content-type-options", b"nosniff"),
                    *(ANYWHERE if page else ()),
                ]
            if bare and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                await asyncio.sleep(0)  # the loop writes before it goes on here: what is left is not waited for

        try:
            if page and scope["method"] == "OPTIONS":
                await sending({"type": "http.response.start", "status": 204, "headers": list(PREFLIGHT)})
                await sending({"type": "http.response.body"})
            else:
                await self._app(asked, receive, sending)
        except Exception as error:
            answer = errors.of(error)
            if answer.code == "internal_error":
                log.error("%s %r failed: %s", number, scope["path"][:200], type(error).__name__, exc_info=error)
            if status:
                raise  # the answer has begun: the connection must break, so that nobody takes it for whole
            await answer_error(answer, sending)
        finally:
            self._figures.requests.labels(state["route"], str(status)).inc()
            self._figures.seconds.labels(state["route"]).observe(time.perf_counter() - start)


async def answer_error(error: ApiError, send: Send) -> None:
    """Send an error as the whole answer."""
    body = error.body()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode()) for name, value in error.headers.items()),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Receive, headers: "Any", *, most: int = LARGEST_BODY) -> bytes:
    """The body within its bounds of size, `most` bytes, and time."""
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > most:
        raise _too_large(most)
    pieces, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ApiError(400, "The client left before its request was whole.", code="incomplete_body")
                piece = message.get("body", b"")
                size += len(piece)
                if size > most:
                    raise _too_large(most)
                pieces.append(piece)
                if not message.get("more_body", False):
                    return b"".join(pieces)
    except TimeoutError:
        raise ApiError(408, f"The body did not arrive within {BODY_SECONDS:g} s.", code="request_timeout") from None


async def gone(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(work: Coroutine[Any, Any, T], receive: Receive) -> T:
    """What `work` gives; it is cancelled, and the request cut off, when the client leaves before it is done.

    Where the server ends meanwhile that is an error too, which the client can still be told. Who leaves is looked for
    once the work has taken `PATIENCE`: most short answers never come to that.
    """
    here, left = asyncio.current_task(), None
    over = stopped = False

    def stop(left: "asyncio.Task[None]") -> None:
        nonlocal stopped
        if here is not None and not over and not left.cancelled():
            stopped = here.cancel()

    def watch() -> None:
        nonlocal left
        left = asyncio.create_task(gone(receive))
        left.add_done_callback(stop)

    begun = asyncio.get_running_loop().call_later(PATIENCE, watch)
    try:
        return await work
    except asyncio.CancelledError:
        if not stopped or here is None or here.uncancel():
            raise errors.ended() from None
        raise errors.cut_off() from None
    finally:
        over = True
        begun.cancel()
        if left is not None:
            left.cancel()


def _too_large(most: int) -> ApiError:
    return ApiError(
        413,
        f"The body is larger than {most:,} bytes.",
        code="request_too_large",
        headers={"connection": "close"},
    )
