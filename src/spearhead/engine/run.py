"""From a request to events: fill the template, hold the money, review, generate, review, store, label, settle.

The only place where review, runtimes, labels and ledger meet. Knows nothing of HTTP.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from spearhead.core import media
from spearhead.core.clock import Clock, stamp
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.generation import (
    Accepted,
    Delivered,
    Event,
    Failed,
    Held,
    Prompt,
    Receipt,
    Refused,
    Released,
    Request,
    Settled,
    Usage,
    Withheld,
    seed_of,
)
from spearhead.core.manifest import PriceTag
from spearhead.core.media import Label, Media
from spearhead.core.review import Context, Decision, Direction, Finding, Verdict
from spearhead.core.sentence import said
from spearhead.engine import books, outputs, pictures
from spearhead.engine.desk import Desk
from spearhead.engine.loaded import Loaded
from spearhead.engine.machine import Machine
from spearhead.engine.outputs import Output
from spearhead.engine.sealing import Sealer
from spearhead.ledger import price
from spearhead.ledger.journal import Reservation
from spearhead.review import queue
from spearhead.review.stream import StreamReview
from spearhead.runtimes.failure import OptionRefused, PromptTooLong
from spearhead.store.database import Busy, StoreUnavailable

log = logging.getLogger("spearhead.engine")
T = TypeVar("T")
LONG = 8_000
"""Characters from which a review leaves the event loop to others."""
MOST_WAITING = 4
"""Files that may wait for their seal; past it an answer waits for its own."""
SEALS_AFTER = 0.001
"""Seconds in which the last bytes of an answer leave before its seal wants the processor."""
PAUSES = (0.2, 1.0, 5.0, 15.0, 60.0)
"""Seconds before each further try of a settlement that the database could not take; the last goes on for ever."""
LAST_PAUSES = (0.0, 0.2, 1.0, 5.0)
"""The same once the engine closes; then it is given up."""
_KEPT = ("seed", "context", "stop")
"""Keys of the generation table that are not sampling options of a runtime."""


class UnknownModel(InputError):
    """No release that is up here has this name."""

    code = "model_not_found"


@dataclass(slots=True)
class _Answer:
    """One answer as it grows."""

    index: int
    stream: StreamReview
    media: Media | None = None
    """The picture; None for a text."""
    pieces: list[str] = field(default_factory=list)
    shown: int = 0
    usage: Usage = Usage()
    finish: str | None = None
    tail: str = ""
    verdict: Verdict | None = None
    row: Output | None = None
    file: Media | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def cut_off(self) -> bool:
        """Whether a part of it has left and no row says so."""
        return self.row is None and self.shown > 0


@dataclass(slots=True)
class Job:
    """A request under way."""

    request: Request
    key: str | None
    loaded: Loaded
    prompt: Prompt
    words: str
    units: int
    most: int
    """Units that one answer can have."""
    reserved: int
    context: Context
    """What a check may know of its answers."""
    price: PriceTag
    """As it was when the request came: the release's own may change meanwhile."""
    reservation: Reservation | None = None
    reserving: "asyncio.Task[None] | None" = None
    answers: dict[int, _Answer] = field(default_factory=dict)
    unsaved: list[_Answer] = field(default_factory=list)
    saving: "asyncio.Task[None] | None" = None
    doubtful: bool = False
    """A write of rows was told to have failed: what a lost connection says of a commit need not be so."""
    began: bool = False
    milliseconds: int = 0
    """Of the whole machine: its share while others ran beside it."""
    later: bool = False
    """The text leaves in a body, without its file: that is sealed once it has left, unless a person must see it."""
    ahead: bool = False
    """The caller wants the last events while the disk is waited for, and lets nothing of them leave before the end."""
    written: "asyncio.Future[None] | None" = None
    """The settlement is in the database; done when it is on the disk too."""

    @property
    def made(self) -> Usage:
        """What the runtime has counted so far; the prompt is counted once however many answers it gets."""
        parts = [answer.usage for answer in self.answers.values()]
        return Usage(
            max((part.prompt for part in parts), default=0),
            sum(part.completion for part in parts),
            max((part.cached for part in parts), default=0),
            self.price.unit,
        )


@dataclass(slots=True)
class Engine:
    """What a request needs: releases that are up, the database, the files, the clock. See `open.py` for one."""

    releases: dict[str, Loaded]
    """By `scenario` and by `scenario@version`."""
    desk: Desk
    sealer: Sealer
    clock: Clock
    failed: dict[str, float] = field(default_factory=dict)
    """Releases that could not be loaded, and the moment (monotonic) from which each is tried again."""
    machine: Machine = field(default_factory=Machine)
    _settling: set["asyncio.Task[Any]"] = field(default_factory=set)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _looking: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, thread_name_prefix="looks"))
    """Checks that take long queue here, and keep nothing else waiting that wants a thread."""

    def loaded(self, model: str) -> Loaded:
        """The release that serves `model`; raises UnknownModel."""
        if (found := self.releases.get(model)) is None:
            there = ", ".join(sorted(self.releases)) or "none"
            raise UnknownModel(f"The model {model[:200]!r} is not served here: there is {there}.")
        return found

    def prepare(self, request: Request, *, key: str | None = None) -> Job:
        """Everything that can be known before money moves; raises InputError on what cannot be answered."""
        loaded = self.loaded(request.scenario)
        if not 1 <= request.count <= books.MOST_ANSWERS:
            raise OptionRefused("n", f"{request.count} answers were asked for: wanted 1 to {books.MOST_ANSWERS}")
        messages = messages_of(request)
        if any("\0" in message["content"] for message in messages):
            raise OptionRefused("prompt", said("engine.prompt.nul"))
        segments = loaded.template.turns(messages)
        defaults = {name: value for name, value in loaded.manifest.generation.items() if name not in _KEPT}
        options = {**defaults, **{name: value for name, value in request.options.items() if name != "stop"}}
        stop = tuple(dict.fromkeys((*filter(None, (loaded.template.stop,)), *request.options.get("stop", ()))))
        seed = request.seed if request.seed is not None else random.SystemRandom().getrandbits(31)
        prompt = Prompt(tuple(segments), count=request.count, options=options, seed=seed, stop=stop)
        words = _words(messages)
        context = _context(loaded, Direction.OUTPUT, source=media.text(words))
        units = loaded.runtime.measure(prompt)
        if loaded.manifest.modality == "image":
            pictures.check(request.options, made=loaded.size)
            own = {name: value for name, value in options.items() if name not in pictures.OURS}
            prompt, most = dataclasses.replace(prompt, options=own), 1
        else:
            most = _room(loaded, request, units=units, options=options)
            prompt = dataclasses.replace(prompt, options={**options, "max_tokens": most})
        reserved = price.most_it_can_cost(loaded.price, prompt_units=units, max_completion=most, count=request.count)
        return Job(request, key, loaded, prompt, words, units, most, reserved, context, loaded.price)

    async def run(self, request: Request, *, key: str | None = None, job: Job | None = None) -> AsyncIterator[Event]:
        """The events of one request; closing the iterator stops the work and settles what was made.

        Where `job.ahead` is set, a Failed may come after Settled: then what ended the answers must not leave.
        Raises InputError on what cannot be answered, NotEnoughCredit, StoreUnavailable: nothing was charged then.
        """
        job = job or self.prepare(request, key=key)
        loaded = job.loaded
        failed: Failed | None = None
        loaded.running += 1
        try:
            await self._reserve(job)
            verdict = await self._look(loaded, media.text(job.words), _context(loaded, Direction.PROMPT))
            if verdict.decision is Decision.BLOCK:
                yield Refused(verdict)
                return
            job.began = True
            answers = job.answers = {
                index: _Answer(index, StreamReview(loaded.reviewer, job.context)) for index in range(request.count)
            }
            quiet = verdict.decision is Decision.HOLD
            left = request.count
            yield Accepted(request.key, loaded.manifest.name, job.reserved)
            share = self.machine.begin()
            try:
                async with aclosing(loaded.runtime.generate(job.prompt)) as drafts:  # type: ignore[type-var]
                    async for draft in drafts:
                        answer = answers[draft.index]
                        answer.usage = draft.usage
                        if draft.finish is not None:
                            answer.media = draft.media
                        # A model may write a NUL; no text that PostgreSQL keeps can hold one, and none is shown.
                        if delta := draft.delta.replace("\0", ""):
                            answer.pieces.append(delta)
                            if (ready := await self._fed(answer.stream, delta)) and not quiet:
                                answer.shown += len(ready)
                                yield Released(draft.index, ready)
                        # What cannot leave need not be written to its end.
                        lost = request.count == 1 and answer.stream.decision is Decision.BLOCK
                        if draft.finish is None and not lost:
                            continue
                        left -= 1
                        answer.finish = draft.finish or "cancelled"
                        await self._judge(job, answer, verdict if quiet else None)
                        job.unsaved.append(answer)
                        if left == 0:
                            break  # the last one is stored together with the settlement
                        await self._save(job)
                        for event in self._said(answer):
                            yield event
            except InputError:
                job.began = False
                raise
            except SpearheadError as error:
                failed = _failed(error)
            finally:
                job.milliseconds = self.machine.end(share)
        finally:
            loaded.running -= 1
            receipt = await self._settle(job)
        if isinstance(receipt, StoreUnavailable):
            yield failed or _failed(receipt)
            return
        if job.later:
            self.keep(asyncio.create_task(self._seal_later(job)))
        ahead = job.ahead and failed is None
        last = (*([failed] if failed else self._said(answer)), Settled(receipt))
        if ahead:
            for event in last:
                yield event
        if (trouble := await _on_disk(job)) is not None:
            yield failed or _failed(trouble)
            return
        if not ahead:
            for event in last:
                yield event

    async def aclose(self) -> None:
        """Wait until every settlement under way is written, or given up where the database stays away."""
        self._closing.set()
        while self._settling:
            await asyncio.gather(*self._settling, return_exceptions=True)
        self._looking.shutdown(wait=False)

    async def settle(self, work: Callable[[Connection], Receipt], *, account: str) -> Receipt | StoreUnavailable:
        """Write a settlement; when the database is away it is asked again in the background, and the trouble given."""
        try:
            return await self.desk.write(work, account=account)
        except StoreUnavailable as error:
            log.warning("a settlement of %s waits for the database: %s", account, error)
            self.keep(asyncio.create_task(self._settle_again(work, account=account)))
            return error

    def keep(self, task: "asyncio.Task[Any]") -> None:
        """Let `aclose` wait for work that goes on whether or not anybody waits for it here."""
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def file(self, output: Output) -> Media:
        """The labelled file of an answer; raises InputError when it was erased."""
        if output.erased is not None:
            raise InputError(f"The output {output.id} was erased.")
        blob = output.blob or await self._keep_file(output, self.label(output))
        if blob is None:
            raise InputError(f"The output {output.id} was erased.")
        return await self.sealer.file(blob, mime=output.mime)

    def label(self, output: Output) -> Label:
        """What the file of an answer says of itself; raises InputError when its release is not up here."""
        manifest = self.loaded(output.release).manifest
        return label(manifest.labels, output)

    async def _look(self, loaded: Loaded, item: Media, context: Context) -> Verdict:
        if len(item.data) > LONG or loaded.reviewer.heavy(context):
            return await self._aside(loaded.reviewer.review, item, context)
        return loaded.reviewer.review(item, context)

    async def _fed(self, stream: StreamReview, delta: str) -> str:
        """What may leave now; the loop goes on while a model judges a sentence of it."""
        return await self._aside(stream.feed, delta) if stream.weighs(delta) else stream.feed(delta)

    async def _aside(self, work: Callable[..., T], *given: Any) -> T:
        """What `work` gives in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._looking, work, *given)

    async def _judge(self, job: Job, answer: _Answer, held: Verdict | None) -> None:
        """The last word on a finished answer, and its row."""
        if answer.media is None:
            stream = answer.stream
            answer.tail, verdict = await self._aside(stream.finish) if stream.heavy else stream.finish()
        else:
            verdict = await self._aside(self._look_at, job, answer, answer.media)
        if held is not None and verdict.decision is not Decision.BLOCK:
            verdict = Verdict(Decision.HOLD, (*_of_prompt(held.findings), *verdict.findings), verdict.policy)
        if verdict.decision is not Decision.ALLOW:
            answer.tail = ""
        answer.shown += len(answer.tail)
        answer.verdict = verdict
        row = self._row(job, answer, verdict, text=answer.text)
        if verdict.decision is not Decision.ALLOW:
            row = dataclasses.replace(row, review=f"rev_{uuid.uuid4().hex}")
        if job.later and answer.media is None and row.review is None and self.sealer.waiting < MOST_WAITING:
            answer.row, answer.file = row, media.text(row.text)
            return
        # Whatever the verdict: what a person approves, now or on appeal, is bound to the very bytes that leave.
        answer.row = await self._sealed(job, answer, row)

    def _look_at(self, job: Job, answer: _Answer, made: Media) -> Verdict:
        """The review of a picture in the very form that it leaves in."""
        seed = seed_of(job.prompt.seed or 0, answer.index)
        facts = {"prompt": job.words, "model": job.loaded.manifest.name, "seed": str(seed)}
        facts |= {name: str(value) for name, value in job.prompt.options.items()}
        facts |= {name: str(value) for name, value in job.request.options.items() if name in pictures.CHANGES}
        answer.media = pictures.deliver(made, job.request.options, facts=facts)
        return job.loaded.reviewer.review(answer.media, job.context)

    async def _seal_later(self, job: Job) -> None:
        """The files of answers whose text has left."""
        await asyncio.sleep(SEALS_AFTER)
        for answer in job.answers.values():
            row = answer.row
            if row is None or row.blob is not None or row.state != "released":
                continue
            try:
                await self._keep_file(row, label(job.loaded.manifest.labels, row))
            except SpearheadError as error:  # it is sealed when somebody asks for it
                log.warning("the answer %s has no labelled file yet: %s", row.id, error)

    async def _keep_file(self, row: Output, written: Label) -> str | None:
        """Seal an answer that has no file yet; gives the file that stands, None when it was erased meanwhile."""
        blob, _ = await self.sealer.make(media.text(row.text), written)
        stands = await self.desk.write(lambda connection: outputs.sealed(connection, row.id, blob), durable=False)
        if stands != blob:
            await asyncio.to_thread(self.sealer.forget, blob)
        return stands

    async def _sealed(self, job: Job, answer: _Answer, row: Output) -> Output:
        piece = answer.media or media.text(row.text)
        blob, answer.file = await self.sealer.make(piece, label(job.loaded.manifest.labels, row))
        return dataclasses.replace(row, blob=blob, mime=answer.file.mime)

    def _row(self, job: Job, answer: _Answer, verdict: Verdict, *, text: str) -> Output:
        request = job.request
        states = {Decision.ALLOW: "released", Decision.HOLD: "held", Decision.BLOCK: "blocked"}
        return Output(
            id=outputs.name(request.key, answer.index),
            request=request.key,
            account=request.account,
            release=job.loaded.manifest.name,
            state=states[verdict.decision],
            text=text,
            finish=answer.finish or "",
            findings=outputs.findings_text(verdict.findings),
            policy=verdict.policy,
            options=outputs.options_text(job.prompt.options),
            seed=None if job.prompt.seed is None else seed_of(job.prompt.seed, answer.index),
            completion_units=answer.usage.completion,
            created=stamp(self.clock()),
            prompt=outputs.prompt_text(messages_of(request)),
            asked=outputs.asked_text(request),
        )

    async def _keep_what_left(self, job: Job) -> None:
        """Rows for answers that were cut off after a part of them had left: every text that left can be traced."""
        for answer in job.answers.values():
            if not answer.cut_off:
                continue
            answer.finish = answer.finish or "cancelled"
            answer.verdict = Verdict(Decision.ALLOW, (), job.loaded.reviewer.digest)
            answer.row = self._row(job, answer, answer.verdict, text=answer.text[: answer.shown])
            try:
                answer.row = await self._sealed(job, answer, answer.row)
            except SpearheadError as error:
                log.warning("the cut-off answer %s has no labelled file: %s", answer.row.id, error)
            job.unsaved.append(answer)

    async def _save(self, job: Job) -> None:
        """Write the rows of finished answers, to the end even when the one who waits is cancelled."""
        job.saving = asyncio.create_task(self._save_or_leave(job))
        self.keep(job.saving)
        await asyncio.shield(job.saving)

    async def _save_or_leave(self, job: Job) -> None:
        """Write the rows of finished answers; what cannot be written now is left to the settlement."""
        answers, job.unsaved = job.unsaved, []
        try:
            await self.desk.write(
                lambda connection: self._write_rows(connection, job, answers), account=job.request.account
            )
        except StoreUnavailable:
            job.unsaved, job.doubtful = [*answers, *job.unsaved], True
            raise

    def _write_rows(self, connection: Connection, job: Job, answers: Iterable[_Answer]) -> None:
        policy = job.loaded.policy
        request = job.request
        there = outputs.of_request(connection, request.key, account=request.account) if job.doubtful else ()
        written = {row.id for row in there}
        for answer in answers:
            row, verdict = answer.row, answer.verdict
            assert row is not None and verdict is not None
            if row.id in written:
                continue
            outputs.insert(connection, row)
            if row.review is None:
                continue
            queue.create(
                connection,
                verdict.decision,
                scenario=job.loaded.manifest.scenario,
                policy=verdict.policy,
                blob=row.blob,
                output=row.id,
                people=policy.people,
                held_hours=policy.held_hours,
                reason=outputs.why(verdict.findings),
                review=row.review,
                clock=self.clock,
            )

    def _said(self, answer: _Answer) -> Iterable[Event]:
        """The events that end an answer, once it is written."""
        row, verdict = answer.row, answer.verdict
        assert row is not None and verdict is not None
        if verdict.decision is Decision.BLOCK:
            yield Withheld(answer.index, verdict, answer.shown)
        elif verdict.decision is Decision.HOLD:
            yield Held(answer.index, row.review or "", verdict)
        else:
            if answer.tail:
                yield Released(answer.index, answer.tail)
            assert answer.file is not None
            yield Delivered(answer.index, row.id, row.text, row.finish, answer.usage, answer.file)

    async def _reserve(self, job: Job) -> None:
        """Hold the money; a power cut that takes it back ends the work as well: see journal.reserve."""
        request = job.request

        def work(connection: Connection) -> Reservation:
            return books.reserve(
                connection,
                request.account,
                Usage(job.units, job.most * request.count, unit=job.price.unit),
                price=job.price,
                request=request.key,
                key=job.key,
                clock=self.clock,
            )

        async def in_turn() -> None:
            job.reservation = await self.desk.write(work, account=request.account, durable=False)

        try:
            job.reservation = self.desk.at_once(work)
        except Busy:
            job.reserving = asyncio.create_task(in_turn())
            self.keep(job.reserving)
            await asyncio.shield(job.reserving)

    async def _settle(self, job: Job) -> Receipt | StoreUnavailable:
        """Write the answers that are not written yet and close the money, in one transaction, once.

        It is done even when the one who waits is cancelled; the disk is waited for by `_on_disk`. A database that is
        away is asked again in the background: what was made stays owed, and only that.
        """
        under_way = any(work is not None and not work.done() for work in (job.reserving, job.saving))
        if under_way or job.reservation is None or any(answer.cut_off for answer in job.answers.values()):
            return await self._in_any_case(self._settle_in_turn(job))
        try:
            receipt = self.desk.at_once(self._settlement(job, job.reservation))
        except StoreUnavailable:
            return await self._in_any_case(self._settle_in_turn(job))
        job.written = await self.desk.flushing()
        return receipt

    async def _settle_in_turn(self, job: Job) -> Receipt | StoreUnavailable:
        # One who leaves while money is being held must not leave it held, nor rows half way.
        for work in (job.reserving, job.saving):
            if work is not None and not work.done():
                await asyncio.wait({work})
        if job.reservation is None:
            return Receipt(job.request.key, Usage(), 0, job.price.currency, True)
        await self._keep_what_left(job)
        receipt = await self.settle(self._settlement(job, job.reservation), account=job.request.account)
        job.doubtful |= isinstance(receipt, StoreUnavailable)  # a disk that failed may have it all the same
        return receipt

    def _settlement(self, job: Job, reservation: Reservation) -> Callable[[Connection], Receipt]:
        answers, bill = tuple(job.unsaved), _bill(job)

        def work(connection: Connection) -> Receipt:
            if not job.began:
                return books.cancel(connection, reservation, request=bill.request, clock=self.clock)
            self._write_rows(connection, job, answers)
            return books.close(connection, reservation, bill, clock=self.clock)

        return work

    async def _settle_again(self, work: Any, *, account: str) -> None:
        """Ask the database until it answers; once the engine closes, a few times more."""
        for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._closing.wait()
            if self._closing.is_set():
                break
            if await self._written(work, account=account):
                return
        for pause in LAST_PAUSES:
            await asyncio.sleep(pause)
            if await self._written(work, account=account):
                return
        log.error("a settlement of %s was given up: nothing is charged, and what it holds is given back later", account)

    async def _written(self, work: Any, *, account: str) -> bool:
        try:
            await self.desk.write(work, account=account)
        except StoreUnavailable:
            return False
        return True

    async def _in_any_case(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` gives; it goes on to its end even when the one who waits is cancelled."""
        task = asyncio.create_task(work)
        self.keep(task)
        return await asyncio.shield(task)


async def _on_disk(job: Job) -> StoreUnavailable | None:
    """Wait until the disk has what was settled; the trouble when it fails."""
    try:
        if job.written is not None:
            await job.written
    except StoreUnavailable as error:
        return error
    return None


def _room(loaded: Loaded, request: Request, *, units: int, options: Mapping[str, Any]) -> int:
    """Tokens that an answer can have; raises PromptTooLong."""
    room = loaded.runtime.context - units
    if room < 1:
        raise PromptTooLong(
            said("engine.prompt.long", tokens=units, scenario=request.scenario, context=loaded.runtime.context)
        )
    if request.options.get("max_tokens", 0) > room:
        raise PromptTooLong(
            said(
                "engine.prompt.no_room",
                tokens=units,
                asked=request.options["max_tokens"],
                scenario=request.scenario,
                context=loaded.runtime.context,
            )
        )
    return min(int(options.get("max_tokens", room)), room)


def label(labels: Mapping[str, Any], output: Output) -> Label:
    """What the file of an answer says of itself."""
    return Label(
        producer=labels["producer"],
        produce_id=output.id,
        release=output.release,
        created=output.created,
        visible=labels.get("visible", True),
        watermark=labels.get("watermark", False),
    )


def _bill(job: Job) -> books.Bill:
    """What was counted, and what of it is owed now and once a person approves.

    The customer pays for what left or was cut short by nobody's review: delivered answers and unfinished ones. The
    prompt is counted once however many answers it got, and is owed with the first answer that is.
    """
    request, made = job.request, job.made
    answers = list(job.answers.values())
    paid = [a for a in answers if a.verdict is None or a.verdict.decision is Decision.ALLOW]
    held = [a for a in answers if a.verdict is not None and a.verdict.decision is Decision.HOLD]

    def units(some: list[_Answer], *, with_prompt: bool) -> Usage:
        made_of_them = sum(answer.usage.completion for answer in some)
        return Usage(made.prompt if with_prompt else 0, made_of_them, unit=job.price.unit)

    return books.Bill(
        request=request.key,
        key=job.key,
        release=job.loaded.manifest.name,
        made=made,
        owed=units(paid, with_prompt=bool(paid)),
        waiting=tuple(
            books.Line(
                books.held_key(request.key, outputs.name(request.key, answer.index)),
                units([answer], with_prompt=not paid and answer is held[0]),
            )
            for answer in held
        ),
        hours=job.loaded.policy.held_hours,
        price=job.price,
        milliseconds=job.milliseconds,
    )


def _of_prompt(findings: Iterable[Finding]) -> list[Finding]:
    """Findings in what was asked, for the row of the answer: their places mean nothing there."""
    return [
        dataclasses.replace(one, reason=said(outputs.IN_PROMPT, reason=one.reason), start=None, end=None)
        for one in findings
    ]


def _failed(error: SpearheadError) -> Failed:
    if isinstance(error, StoreUnavailable):
        return Failed(said("engine.no_store"), "store_unavailable")
    return Failed(error.said, getattr(error, "code", "internal_error"))


def _context(loaded: Loaded, direction: Direction, *, source: Media | None = None) -> Context:
    return Context(loaded.manifest.scenario, direction, loaded.language, source)


def messages_of(request: Request) -> tuple[Mapping[str, str], ...]:
    """What was asked as a conversation."""
    return request.messages or ({"role": "user", "content": request.prompt},)


def _words(messages: Iterable[Mapping[str, str]]) -> str:
    return "\n".join(message["content"] for message in messages)
