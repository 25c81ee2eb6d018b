"""What people have asked for in the studio: who waits, what runs, what came of it. Knows no page.

Each piece of work is one request to the engine, which reviews, charges, labels and keeps it as it does for the API;
cancelling closes its events, and the engine settles what was made by the runtime's own count. The line lives in this
process's memory: after a restart the gallery has what was made, and nothing waits any more.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, cast

from sqlalchemy import Connection

from spearhead.core.clock import stamp
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.generation import (
    Accepted,
    Delivered,
    Event,
    Failed,
    Held,
    Receipt,
    Refused,
    Released,
    Request,
    Settled,
    Withheld,
)
from spearhead.core.sentence import Said, said
from spearhead.engine import books, outputs
from spearhead.engine.outputs import Output
from spearhead.engine.run import AskerBlocked, Engine
from spearhead.service.studio.people import Person
from spearhead.store.database import StoreUnavailable

log = logging.getLogger("spearhead.studio")
AT_ONCE = 2
"""Pieces of work of one person that run at the same time."""
MOST_WAITING, MOST_KEPT = 200, 60
"""Of one person: pieces that are not over, and pieces in all that are shown."""
MOST_FOLLOWERS = 8
MOST_NEWS = 2000
State = Literal["waiting", "running", "done", "refused", "failed", "cancelled"]
OVER = ("done", "refused", "failed", "cancelled")


@dataclass(slots=True)
class Answer:
    """One answer of a piece of work; `state` is making, lost or that of its output."""

    text: str = ""
    state: str = "making"
    output: str = ""
    mime: str = ""
    finish: str = ""
    seed: int | None = None
    """What it was drawn with, once it is there."""
    parts: int = 0
    """How many pieces of text came so far."""


@dataclass(slots=True)
class Work:
    """One request in the line."""

    request: Request
    created: str
    picture: bool = False
    """Whether it makes pictures, which are shown when they are whole."""
    state: State = "waiting"
    answers: list[Answer] = field(default_factory=list)
    reason: Said = ""
    """Why it was refused or failed: what the error says."""
    receipt: Receipt | None = None
    task: "asyncio.Task[None] | None" = None

    @property
    def id(self) -> str:
        """The request's own number."""
        return self.request.key

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in OVER

    @property
    def held(self) -> bool:
        """Whether it ended and all that came of it waits for a person."""
        return self.state == "done" and bool(self.answers) and all(one.state == "held" for one in self.answers)


@dataclass(frozen=True, slots=True)
class News:
    """Something to show: a piece of work as it is now, or `delta`, piece number `part` of its answer `index`."""

    work: Work
    index: int = 0
    part: int = 0
    delta: str = ""


@dataclass(slots=True)
class _Desk:
    """One person's."""

    work: list[Work] = field(default_factory=list)
    followers: "list[asyncio.Queue[News | None]]" = field(default_factory=list)


class Line:
    """Everybody's work over one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._desks: dict[str, _Desk] = {}
        self._leaving = False

    def add(self, person: Person, requests: Sequence[Request]) -> list[Work]:
        """Put requests into the line and begin; raises InputError when the line would be too long."""
        desk = self._desks.setdefault(person.id, _Desk())
        waiting = sum(not one.over for one in desk.work)
        if waiting + len(requests) > MOST_WAITING:
            raise InputError(said("service.studio.line.full", waiting=waiting, most=MOST_WAITING))
        if self._leaving:
            raise InputError(said("service.studio.line.stopping"))
        pictures = {name: one.manifest.modality == "image" for name, one in self._engine.releases.items()}
        moment = stamp(self._engine.clock())
        added = [Work(request, moment, pictures.get(request.scenario, False)) for request in requests]
        desk.work = [*reversed(added), *desk.work]
        over = [one for one in desk.work if one.over]
        for old in over[max(0, MOST_KEPT - (len(desk.work) - len(over))) :]:
            desk.work.remove(old)
        for one in added:
            self._tell(person, News(one))
        self._begin(person)
        return added

    def of(self, person: Person) -> list[Work]:
        """A person's work, newest first."""
        desk = self._desks.get(person.id)
        return list(desk.work) if desk else []

    def find(self, person: Person, id: str) -> Work | None:
        """One piece of a person's own work."""
        return next((one for one in self.of(person) if one.id == id), None)

    async def look_again(self, person: Person) -> None:
        """See what became of the answers: one may wait no more, or have been edited, taken back or erased since."""
        over = [one for one in self.of(person) if one.over]
        shown = {answer.output: answer.state for one in over for answer in one.answers if answer.output}
        now = await self._engine.desk.read(lambda connection: outputs.states(connection, list(shown)))
        for one in over:
            found = [(answer.state, now.get(answer.output, answer.state)) for answer in one.answers]
            if any(state == "erased" for _, state in found):
                self.forget(one.id)
            elif any(before != state for before, state in found):
                await self._look_back(one)

    def cancel(self, person: Person, id: str = "") -> int:
        """Stop one piece of a person's work, or all of it; what is made is kept. Gives how many were stopped."""
        wanted = [one for one in self.of(person) if not one.over and id in ("", one.id)]
        for one in wanted:
            if one.task is None:
                one.state = "cancelled"
                self._tell(person, News(one))
            else:
                one.task.cancel()
        return len(wanted)

    def clear(self, person: Person) -> None:
        """Show what is over no more; the gallery keeps it."""
        if desk := self._desks.get(person.id):
            desk.work = [one for one in desk.work if not one.over]

    def forget(self, request: str) -> None:
        """Show a request no more, whoever asked it: what it made was erased."""
        for desk in self._desks.values():
            desk.work = [one for one in desk.work if one.id != request]

    def listen(self, person: Person) -> "asyncio.Queue[News | None]":
        """What happens to a person's work from now on; None: the server stops, or the reader was too slow."""
        desk = self._desks.setdefault(person.id, _Desk())
        news: asyncio.Queue[News | None] = asyncio.Queue(MOST_NEWS)
        while len(desk.followers) >= MOST_FOLLOWERS:  # the oldest window makes way
            _end(desk.followers.pop(0))
        desk.followers.append(news)
        if self._leaving:
            _end(news)
        return news

    def deaf(self, person: Person, news: "asyncio.Queue[News | None]") -> None:
        """Tell this listener no more."""
        desk = self._desks[person.id]
        desk.followers = [one for one in desk.followers if one is not news]

    def leave(self) -> None:
        """The server is about to stop: nothing more begins, and nobody is kept waiting for news."""
        self._leaving = True
        for desk in self._desks.values():
            for one in desk.work:
                if one.task is None and not one.over:
                    one.state = "cancelled"
            for follower in desk.followers:
                _end(follower)

    async def aclose(self) -> None:
        """Stop what runs; what it made is kept and charged before this returns."""
        self.leave()
        running = [one.task for desk in self._desks.values() for one in desk.work if one.task and not one.over]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _begin(self, person: Person) -> None:
        desk = self._desks[person.id]
        running = sum(one.task is not None and not one.over for one in desk.work)
        for one in reversed(desk.work):
            if running >= AT_ONCE or self._leaving:
                return
            if one.state == "waiting":
                one.state = "running"
                one.task = asyncio.create_task(self._do(person, one))
                one.task.add_done_callback(partial(self._ended, person, one))
                running += 1
                self._tell(person, News(one))

    async def _do(self, person: Person, work: Work) -> None:
        cut_off = False
        events = cast("AsyncGenerator[Event, None]", self._engine.run(work.request, key=person.id))
        state: State = "done"
        try:
            async with aclosing(events):
                async for event in events:
                    state = self._take(person, work, event) or state
        except asyncio.CancelledError:
            cut_off, state = True, "cancelled"
        except StoreUnavailable:
            state, work.reason = "failed", said("engine.no_store")
        except SpearheadError as error:
            state, work.reason = "failed", error.said
        except Exception:
            log.exception("%s failed", work.id)
            state = "failed"
        if cut_off or state == "failed":
            with contextlib.suppress(asyncio.CancelledError):  # a second cancel stops only the look at what is kept
                await self._look_back(work)
        for answer in work.answers:
            if answer.state == "making":
                answer.state = "lost"
        work.state = state

    def _stop_waiting(self, person: Person) -> None:
        for one in self.of(person):
            if one.task is None and not one.over:
                self.cancel(person, one.id)

    def _ended(self, person: Person, work: Work, task: "asyncio.Task[None]") -> None:
        """Make room for the next; a task that is cancelled before its first step has done nothing, this neither."""
        if not work.over:
            work.state = "cancelled"
        self._tell(person, News(work))
        self._begin(person)

    def _take(self, person: Person, work: Work, event: Event) -> State | None:
        """Note one event; gives the state that the work will end in, when the event says so."""
        answers = work.answers
        after: State | None = None
        match event:
            case Accepted():
                work.answers = [Answer() for _ in range(work.request.count)]
            case Released(index, delta):
                answers[index].text += delta
                answers[index].parts += 1
                self._tell(person, News(work, index, answers[index].parts, delta))
                return None
            case Delivered(index, output, text, finish, _, file, seed):
                answers[index] = Answer(text, "released", output, file.mime, finish, seed)
            case Held(index):
                answers[index] = Answer("", "held", outputs.name(work.id, index))
            case Withheld(index):
                answers[index] = Answer("", "blocked", outputs.name(work.id, index))
            case Refused():
                after = "refused"
            case Failed(reason, code):
                work.reason, after = reason, "failed"
                if code == AskerBlocked.code:  # nothing of theirs goes on, nor begins
                    self._stop_waiting(person)
            case Settled(receipt):
                work.receipt = receipt
                return None
        self._tell(person, News(work))
        return after

    async def _look_back(self, work: Work) -> None:
        """What the records say of a request that ended before its events did."""

        def read(connection: Connection) -> tuple[list[Output], Receipt | None]:
            rows = outputs.of_request(connection, work.id, account=work.request.account)
            return rows, books.receipt(connection, work.id, account=work.request.account)

        try:
            rows, work.receipt = await self._engine.desk.read(read)
        except SpearheadError as error:
            log.warning("%s: what was kept of it is not known now: %s", work.id, error)
            return
        kept, edited = {row.id: row for row in rows}, {row.edits: row for row in rows if row.edits}
        for index, answer in enumerate(work.answers):
            if row := kept.get(outputs.name(work.id, index)):
                while row.id in edited:  # what a person made of it stands in its place
                    row = edited[row.id]
                shown = row.text if row.state == "released" else ""
                work.answers[index] = Answer(shown, row.state, row.id, row.mime, row.finish, row.seed)
            elif answer.state == "making":
                answer.state = "lost"

    def _tell(self, person: Person, news: News) -> None:
        for follower in list(self._desks[person.id].followers):
            try:
                follower.put_nowait(news)
            except asyncio.QueueFull:  # it comes again and is shown everything anew
                self._desks[person.id].followers.remove(follower)
                _end(follower)


def number() -> str:
    """A new request's own."""
    return f"req_{secrets.token_hex(16)}"


def _end(follower: "asyncio.Queue[News | None]") -> None:
    while follower.full():
        follower.get_nowait()
    follower.put_nowait(None)
