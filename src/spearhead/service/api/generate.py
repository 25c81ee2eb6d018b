"""Requests for answers: from the body to the last byte, for the engine's events as they come.

What was begun is settled by the engine however this ends; here a client that leaves closes the events, nothing more.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from spearhead.core.generation import (
    Accepted,
    Delivered,
    Event,
    Failed,
    Held,
    Refused,
    Released,
    Settled,
    Usage,
    Withheld,
)
from spearhead.core.media import Label
from spearhead.engine import outputs
from spearhead.engine.job import Job, conversations_of
from spearhead.engine.run import AskerBlocked
from spearhead.ledger import idempotency
from spearhead.ledger.keys import Principal
from spearhead.runtimes.failure import OptionRefused, PromptTooLong
from spearhead.service.api import answers, asks, earlier, errors, once, replies, responses
from spearhead.service.api.answers import Choice, Chunks
from spearhead.service.api.asks import Ask
from spearhead.service.api.desk import Desk
from spearhead.service.api.errors import ApiError
from spearhead.service.api.frame import Receive, Send, read_body, unless_gone
from spearhead.service.api.limits import Ticket
from spearhead.service.api.replies import Events

log = logging.getLogger("spearhead.api")
LONG = 20_000
"""Characters of a prompt that is measured off the event loop."""
MOST_RUNNING = 1024
"""Generations under way, those that wait for a slot among them."""
READERS: Mapping[str, Callable[..., Ask]] = {
    "chat": asks.chat,
    "completion": asks.completion,
    "image": asks.image,
    "response": responses.read,
}
ASKED = {"chat": "messages", "completion": "prompt", "image": "prompt", "response": "input"}
"""What each endpoint calls the words that it is asked with."""
IDS = {"chat": "chatcmpl-", "completion": "cmpl-", "image": "img-", "response": "resp_"}
"""How the number of its answers begins."""
SEND_SECONDS = 60.0
"""A client that takes nothing for so long has left."""


@dataclass(slots=True)
class Turn:
    """One request under way: who asks, what for, and what has to be given back at its end."""

    desk: Desk
    who: Principal
    ask: Ask
    job: Job
    ticket: Ticket
    start: float
    once: str | None
    """The client's Idempotency-Key."""
    site: str = ""
    """Where the client reached this server, `https://host`: what addresses in an answer begin with."""
    usage: Usage = Usage()
    sent: list[bytes] = field(default_factory=list)
    """What went out of a stream that is to be kept; its end is left out where it is too large for that."""
    size: int = 0
    """Bytes of that."""
    kept: bool = False
    over: bool = False
    left: bool = False

    @property
    def number(self) -> str:
        """The request's own."""
        return self.ask.request.key

    @property
    def id(self) -> str:
        """As clients see it in the body."""
        return IDS[self.ask.kind] + self.number.removeprefix("req_")

    @property
    def release(self) -> str:
        """Which release answers."""
        return self.job.loaded.manifest.name

    def headers(self) -> dict[str, str]:
        """Those of every answer: limits, release and labels."""
        made = self.job.loaded.manifest
        labels = [
            Label(made.labels["producer"], outputs.name(self.number, index), made.name, "")
            for index in range(self.ask.request.answers)
        ]
        return {**self.desk.gate.headers(self.who.key), **answers.label_headers(labels, release=made.name)}

    def count(self, event: Event) -> None:
        """Take note of what an event says for the figures and the limits."""
        figures, release = self.desk.figures, self.release
        match event:
            case Settled(receipt):
                self.usage = receipt.usage
                figures.units.labels(release, "prompt").inc(receipt.usage.prompt)
                figures.units.labels(release, "completion").inc(receipt.usage.completion)
                figures.charged.labels(receipt.currency).inc(receipt.amount)
                self.over = True
            case Delivered():
                figures.answers.labels(release, "delivered").inc()
            case Held():
                figures.answers.labels(release, "held").inc()
            case Withheld():
                figures.answers.labels(release, "withheld").inc()
            case Failed():
                figures.answers.labels(release, "failed").inc()
                self.over = True

    def leave(self) -> None:
        """Give back what the request held of the limits; once."""
        if self.left:
            return
        self.left = True
        if not self.over:
            self.desk.figures.answers.labels(self.release, "cut_off").inc()
        self.desk.running -= 1
        self.desk.figures.running.set(self.desk.running)
        made = self.job.made
        self.desk.gate.leave(self.ticket, tokens=made.prompt + made.completion)

    async def keep(self, *, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Keep the answer for repetitions of the request; the first one kept stays."""
        if self.once is None or self.kept:
            return
        self.kept = True
        await once.keep(self.desk, self.who, self.once, status=status, headers=headers, body=body)


async def answer(desk: Desk, http: HttpRequest, *, who: Principal, kind: str) -> Response:
    """The response to one generation request."""
    state = http.scope["state"]
    number: str = state["number"]
    if desk.running >= MOST_RUNNING:
        raise ApiError(
            503,
            "Too many requests run here; try again in a moment.",
            kind="server_error",
            code="overloaded",
            headers={"retry-after": "2"},
        )
    raw = asks.read_json(await read_body(http.receive, http.headers))
    key, held = await once.begin(desk, http, who, raw)
    if held is not None:
        return held
    try:
        turn, events = await _accepted(desk, raw, who=who, kind=kind, number=number, once=key, start=state["start"])
    except BaseException:
        await once.abandon(desk, who, key)  # nothing was begun: the key may be used again
        raise
    if turn.ask.link:
        turn.site = str(http.base_url).rstrip("/")
    if turn.ask.stream:
        return Stream(turn, events)
    return await _whole(turn, events, http.receive)


async def _accepted(
    desk: Desk, raw: dict[str, Any], *, who: Principal, kind: str, number: str, once: str | None, start: float
) -> tuple[Turn, AsyncGenerator[Event, None]]:
    """The request after money was held and its prompt passed review; raises what an answer of its own is for."""
    ask = READERS[kind](raw, account=who.account, key=number)
    if ask.follows:
        ask = await earlier.followed(desk.engine, ask, who=who)
    words = sum(len(message["content"]) for messages in conversations_of(ask.request) for message in messages)
    try:
        if words > LONG:  # counting its tokens takes a while: others go on meanwhile
            job = await asyncio.to_thread(desk.engine.prepare, ask.request, key=who.key)
        else:
            job = desk.engine.prepare(ask.request, key=who.key)
    except (PromptTooLong, OptionRefused) as error:
        raise _named(error, kind) from error
    _fitting(kind, job)
    most = job.units + job.most
    job.later = True  # the text leaves in a body, labelled by headers; its file is asked for apart
    job.ahead = True  # the end of an answer is put in words while the disk is waited for
    if once is not None:
        job.once = once
        server = desk.engine.server
        job.renew = partial(idempotency.renew, account=who.account, key=once, server=server, clock=desk.clock)
    ticket = await desk.gate.enter(who, tokens=most)
    events = cast("AsyncGenerator[Event, None]", desk.engine.run(ask.request, job=job))
    try:
        first = await anext(events)
        if isinstance(first, Refused):
            desk.figures.answers.labels(job.loaded.manifest.name, "refused").inc()
            raise ApiError(
                400,
                "The prompt was refused by the scenario's review; nothing was generated and nothing is charged.",
                param=ASKED[kind],
                code="content_filter",
            )
        if isinstance(first, Failed):
            raise _failure(first)
        assert isinstance(first, Accepted)
    except BaseException as error:
        desk.gate.refused(ticket)
        await events.aclose()
        if isinstance(error, Exception):
            answer = _named(error, kind)
            answer.headers = {**desk.gate.headers(who.key), **answer.headers}
            raise answer from error
        raise
    desk.running += 1
    desk.figures.running.set(desk.running)
    return Turn(desk, who, ask, job, ticket, start, once), events


def _named(error: Exception, kind: str) -> ApiError:
    """An error as this endpoint says it: what the engine calls the prompt has another name in most."""
    answer = errors.of(error)
    if answer.param in ("prompt", "messages"):
        number = getattr(error, "number", None)
        answer.param = ASKED[kind] if number is None else f"{ASKED[kind]}[{number}]"
    return answer


def _fitting(kind: str, job: Job) -> None:
    """Raise when the release does not make what this endpoint gives."""
    modality = job.loaded.manifest.modality
    if (kind == "image") != (modality == "image"):
        where = "/v1/images/generations" if modality == "image" else "/v1/chat/completions"
        raise ApiError(
            400,
            f"The model {job.request.scenario!r} makes {modality}: ask it at {where}.",
            param="model",
            code="wrong_endpoint",
        )


async def _whole(turn: Turn, events: AsyncGenerator[Event, None], receive: Receive) -> Response:
    """The answer in one piece; a client that leaves stops the work."""
    try:
        response = await unless_gone(_collect(turn, events), receive)
    except ApiError as error:
        headers = {**turn.headers(), **error.headers, "content-type": "application/json"}
        response = Response(error.body(), status_code=error.status, headers=headers)
    finally:
        turn.leave()
    await turn.keep(status=response.status_code, headers=dict(response.headers), body=bytes(response.body))
    return response


async def _collect(turn: Turn, events: AsyncGenerator[Event, None]) -> Response:
    choices: dict[int, Choice] = {}
    reviews: list[str] = []
    response = Response()
    async with aclosing(events):
        async for event in events:
            turn.count(event)
            match event:
                case Delivered(index, output, text, finish, _, file):
                    choices[index] = Choice(index, text, finish, output, file)
                case Held(index, review):
                    choices[index] = Choice(index, "", "content_filter")
                    reviews.append(review)
                case Withheld(index):
                    choices[index] = Choice(index, "", "content_filter")
                case Settled():
                    response = _written(turn, [choices[index] for index in sorted(choices)], reviews)
                    turn.leave()
                case Failed():
                    raise _failure(event)
    return response


def _written(turn: Turn, choices: list[Choice], reviews: list[str]) -> Response:
    created, kind = int(turn.desk.clock().timestamp()), turn.ask.kind
    if kind == "image":
        body = answers.pictures(created=created, choices=choices, usage=turn.usage, site=turn.site)
    elif kind == "response":
        (only,) = choices
        said = replies.whole(_head(turn, created), text=only.text, finish=only.finish, usage=turn.usage)
        body = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    else:
        body = answers.whole(kind, id=turn.id, created=created, model=turn.release, choices=choices, usage=turn.usage)
    headers = {**turn.headers(), "content-type": "application/json"}
    if reviews:
        headers["x-review-id"] = ",".join(reviews)
    return Response(body, headers=headers)


def _head(turn: Turn, created: int) -> dict[str, Any]:
    """What a response says whatever comes of it."""
    options = turn.job.questions[0].prompt.options
    return replies.head(id=turn.id, created=created, model=turn.release, options=options, echo=turn.ask.echo)


def _writer(turn: Turn) -> Chunks | Events:
    """What puts the answers of a stream into bytes."""
    ask, created = turn.ask, int(turn.desk.clock().timestamp())
    if ask.kind == "response":
        return Events(_head(turn, created))
    count, usage = ask.request.answers, ask.include_usage
    return Chunks(ask.kind, id=turn.id, created=created, model=turn.release, count=count, include_usage=usage)


class Stream(Response):
    """Server-sent events; the first goes out before the first token is made."""

    def __init__(self, turn: Turn, events: AsyncGenerator[Event, None]) -> None:
        self.turn, self.events, self.writer = turn, events, _writer(turn)
        self.status_code, self.background = 200, None
        self.headers_out = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
            "x-accel-buffering": "no",
            **turn.headers(),
        }

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Send everything, or stop when the client has left."""
        turn, error = self.turn, errors.cut_off()
        try:
            await unless_gone(self._send_all(send), receive)
        except ApiError as left:
            error = left
            if error.code == errors.ENDED:  # the client is still there
                body = self.writer.failed(error.envelope())
                await send({"type": "http.response.body", "body": body, "more_body": False})
        finally:
            turn.leave()
            # However it ended, its key is never free to be charged again.
            headers = {"content-type": "application/json", **error.headers}
            await turn.keep(status=error.status, headers=headers, body=error.body())

    async def _end(self, out: Callable[..., Awaitable[None]], data: bytes) -> None:
        """The last bytes, once the whole is kept: a client that repeats its request at once finds it."""
        turn = self.turn
        if turn.once is not None:
            headers = {"content-type": self.headers_out["content-type"], **turn.headers()}
            await turn.keep(status=200, headers=headers, body=b"".join((*turn.sent, data)))
        await out(data, more=False)

    async def _send_all(self, send: Send) -> None:
        turn, kept = self.turn, self.turn.sent if self.turn.once is not None else None
        headers = [(name.encode(), value.encode()) for name, value in self.headers_out.items()]

        async def bare(data: bytes, *, more: bool = True) -> None:
            if kept is not None and turn.size <= idempotency.LARGEST_BODY:
                kept.append(data)
                turn.size += len(data)
            async with asyncio.timeout(SEND_SECONDS):
                await send({"type": "http.response.body", "body": data, "more_body": more})

        async def open() -> None:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if opening := self.writer.opening():
                await bare(opening)

        async def out(data: bytes, *, more: bool = True) -> None:
            await opens
            await bare(data, more=more)

        async with aclosing(self.events) as events:
            opens = asyncio.create_task(open())  # once the model has been asked, which works meanwhile
            try:
                await self._send_events(events, out)
            except TimeoutError:
                raise  # nobody takes the bytes: there is no one to tell
            except Exception as error:
                # A stream that merely ends looks complete to clients, so every failure is said.
                log.error("%s failed in its stream", turn.number, exc_info=error)
                await self._end(out, self.writer.failed(errors.of(error).envelope()))
            finally:
                if not opens.cancel() and not opens.cancelled():
                    opens.exception()  # whoever waited for it has heard of it

    async def _send_events(self, events: AsyncGenerator[Event, None], out: Callable[..., Awaitable[None]]) -> None:
        turn, writer, waiting_for_text, delta = self.turn, self.writer, True, self.writer.delta
        open, end = turn.ask.request.answers, b""
        async for event in events:
            if type(event) is Released:
                if waiting_for_text:
                    waiting_for_text = False
                    turn.desk.figures.first_text.observe(time.perf_counter() - turn.start)
                text = delta(event.index, event.delta)
                if turn.job.written is None:
                    await out(text)
                else:  # the disk does not have the settlement yet
                    end += text
                continue
            turn.count(event)
            match event:
                case Delivered(index, _, _, finish):
                    last = writer.last(index, finish)
                case Held(index, review):
                    last = writer.last(index, "content_filter", review=review)
                case Withheld(index):
                    last = writer.last(index, "content_filter")
                case Settled():
                    end += writer.end(turn.usage)
                    turn.leave()
                    continue
                case Failed():
                    async for rest in events:  # the settlement is still to come
                        turn.count(rest)
                    await self._end(out, writer.failed(_failure(event).envelope()))
                    return
                case _:
                    continue
            if open := open - 1:
                await out(last)
            else:  # the last one leaves together with what follows at once
                end += last
        await self._end(out, end)


def _failure(event: Failed) -> ApiError:
    if event.code == AskerBlocked.code:
        return ApiError(401, str(event.reason), code=errors.wrong_key().code)
    return ApiError(
        503,
        str(event.reason),
        kind="server_error",
        code=event.code,
        headers={"retry-after": "1"},
    )
