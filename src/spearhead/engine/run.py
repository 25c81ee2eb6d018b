"""From a request to events: fill the template, hold the money, review, generate, review, store, label, settle.

The only place where review, runtimes, labels and ledger meet. Knows nothing of HTTP.
"""

import asyncio
import contextlib
import dataclasses
import functools
import itertools
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, cast

from sqlalchemy import Connection

from spearhead.core import media
from spearhead.core.clock import Clock, stamp
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.generation import (
    Accepted,
    Delivered,
    Draft,
    Event,
    Failed,
    Held,
    Receipt,
    Refused,
    Released,
    Request,
    Settled,
    Usage,
    Withheld,
    seed_of,
)
from spearhead.core.manifest import Manifest
from spearhead.core.media import Label, Media
from spearhead.core.review import Decision, Direction, Finding, Verdict
from spearhead.core.sentence import said
from spearhead.engine import books, outputs, pictures
from spearhead.engine.desk import Desk
from spearhead.engine.job import Answer, Job, bill_of, context_of, prepared
from spearhead.engine.loaded import Loaded
from spearhead.engine.machine import Machine
from spearhead.engine.outputs import Output
from spearhead.engine.sealing import Sealer
from spearhead.engine.spare import Spare
from spearhead.ledger import holds, journal, keys, servers
from spearhead.ledger.holds import Reservation
from spearhead.review import queue
from spearhead.review.stream import StreamReview
from spearhead.runtimes.merged import merged
from spearhead.store.database import Busy, StoreUnavailable

log = logging.getLogger("spearhead.engine")
T = TypeVar("T")
LONG = 1_000
"""Bytes of prompts from which their review leaves the event loop to others: of numbers each takes 0.1 ms."""
RENEWED = timedelta(minutes=5)
"""How long a request runs before what it holds is renewed."""
PAUSES = (0.2, 1.0, 5.0, 15.0, 60.0)
"""Seconds before each further try of a write that the database could not take; the last goes on for ever."""
LAST_PAUSES = (0.0, 0.2, 1.0, 5.0)
"""The same once the engine closes; then it is given up."""


class UnknownModel(InputError):
    """No release that is up here has this name."""

    code = "model_not_found"


class AskerBlocked(SpearheadError):
    """Whoever asked was blocked while the answer was made."""

    code = "asker_blocked"


class TakenForDead(SpearheadError):
    """This server stood still for so long that what it held was given back."""

    code = "server_stood_still"


@dataclass(slots=True)
class Engine:
    """What a request needs: releases that are up, the database, the files, the clock. See `open.py` for one."""

    releases: dict[str, Loaded]
    """By `scenario` and by `scenario@version`."""
    desk: Desk
    sealer: Sealer
    clock: Clock
    archive: Callable[[str], Manifest]
    """The manifest of a release that is not up any more; raises InputError when it is gone."""
    server: str | None = None
    """Under which id others see that it lives (ledger/servers.py); None: what it holds runs out by the clock."""
    failed: dict[str, float] = field(default_factory=dict)
    """Releases that could not be loaded, and the moment (monotonic) from which each is tried again."""
    away: bool = False
    """Whether the database could not be tidied when that was tried last."""
    under_way: set[Job] = field(default_factory=set)
    machine: Machine = field(default_factory=Machine)
    spare: Spare = field(init=False)
    """Labelled files of answers that left in a body: whoever is being answered goes first."""
    _owed: set[Reservation] = field(default_factory=set)
    """What work held whose settlement the database could not take yet."""
    _settling: set["asyncio.Task[Any]"] = field(default_factory=set)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _looking: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, thread_name_prefix="looks"))
    """Checks that take long queue here, and keep nothing else waiting that wants a thread."""

    def __post_init__(self) -> None:
        self.spare = Spare(lambda: self.machine.running > 0)

    def loaded(self, model: str) -> Loaded:
        """The release that serves `model`; raises UnknownModel."""
        if (found := self.releases.get(model)) is None:
            given, there = model[:200], tuple(sorted(self.releases))
            some = said("engine.unknown", given=given, there=there)
            raise UnknownModel(some if there else said("engine.none_up", given=given))
        return found

    def prepare(self, request: Request, *, key: str | None = None) -> Job:
        """Everything that can be known before money moves; raises InputError on what cannot be answered."""
        return prepared(self.loaded(request.scenario), request, key=key)

    async def run(self, request: Request, *, key: str | None = None, job: Job | None = None) -> AsyncIterator[Event]:
        """The events of one request; closing the iterator stops the work and settles what was made.

        Where `job.ahead` is set, a Failed may come after Settled: then what ended the answers must not leave.
        Raises InputError on what cannot be answered, NotEnoughCredit, StoreUnavailable: nothing was charged then.
        """
        job = job or self.prepare(request, key=key)
        loaded = job.loaded
        failed: Failed | None = None
        loaded.running += 1
        self.under_way.add(job)
        try:
            await self._reserve(job)
            verdicts = await self._asked(job)
            if all(verdict.decision is Decision.BLOCK for verdict in verdicts):
                yield Refused(verdicts[0])
                return
            job.began = True
            answers = job.answers = _answers(job, verdicts)
            left = len(answers)
            yield Accepted(request.key, loaded.manifest.name, job.reserved)
            for index in sorted(set(range(request.answers)) - answers.keys()):  # of several prompts one is refused
                yield Withheld(index, verdicts[job.number(index)], 0)
            share = self.machine.begin()
            try:
                async with aclosing(_drafts(job)) as drafts:
                    async for draft in drafts:
                        answer = answers[draft.index]
                        answer.usage = draft.usage
                        if job.ended is not None:
                            raise job.ended
                        if draft.finish is not None:
                            answer.media = draft.media
                        # A model may write a NUL; no text that PostgreSQL keeps can hold one, and none is shown.
                        if delta := draft.delta.replace("\0", ""):
                            answer.pieces.append(delta)
                            if (ready := await self._fed(answer.stream, delta)) and answer.held is None:
                                answer.shown += len(ready)
                                yield Released(draft.index, ready)
                        # What cannot leave need not be written to its end.
                        lost = request.answers == 1 and answer.stream.decision is Decision.BLOCK
                        if draft.finish is None and not lost:
                            continue
                        left -= 1
                        answer.finish = draft.finish or "cancelled"
                        await self._judge(job, answer)
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
            self.under_way.discard(job)
            receipt = await self._settle(job)
        if isinstance(receipt, StoreUnavailable):
            yield failed or _failed(receipt)
            return
        self._seal_later(job)
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

    async def renew(self) -> None:
        """Keep what long requests hold from running out under them, and under a settlement that is still to come."""

        def work(connection: Connection, held: Reservation, besides: Callable[[Connection], object] | None) -> None:
            with contextlib.suppress(InputError):  # it is closed: then it has nothing to run out of
                holds.renew(connection, held.id, seconds=holds.HELD, clock=self.clock)
            if besides is not None:
                besides(connection)

        old = stamp(self.clock() - RENEWED)
        run = [(job.reservation, job.renew) for job in self.under_way if job.reservation is not None]
        for held, besides in (*run, *((held, None) for held in self._owed)):
            if held.created <= old:
                task = functools.partial(work, held=held, besides=besides)
                await self.desk.write(task, account=held.account, durable=False)

    async def end_blocked(self) -> None:
        """End the requests of keys and people that were blocked meanwhile, here or by another process.

        A key that only expired ends what it began: see docs/api.md.
        """
        askers = {job.key for job in self.under_way if job.key is not None}
        if not askers:
            return
        blocked = await self.desk.read(lambda connection: keys.blocked_among(connection, askers))
        for job in self.under_way:
            if job.key in blocked:
                job.ended = AskerBlocked(said("engine.blocked"))

    async def beat(self, watch: servers.Watch) -> list[str]:
        """Show that this server lives, and give back what dead ones held; gives the reservations.

        One that was taken for dead itself goes on under another id, and ends what it was doing.
        """
        own = self.server
        if own is not None and not await self.desk.write(lambda c: servers.beat(c, own), durable=False):
            self.server = await self.desk.write(lambda c: servers.enter(c, clock=self.clock), durable=False)
            log.warning("this server stood still and was taken for dead: it ends the %d that ran", len(self.under_way))
            for job in self.under_way:
                job.ended = TakenForDead(said("engine.stood_still"))
        if silent := await self.desk.read(watch.look):
            for id in await self.desk.write(lambda c: servers.bury(c, silent), durable=False):
                log.warning("the server %s shows no sign of life any more", id)
        given = await asyncio.to_thread(journal.recover, self.desk.database, self.clock)
        for reservation in given:
            log.warning("reservation %s of a server that is no more was given back", reservation)
        return given

    async def aclose(self) -> None:
        """Wait until every settlement under way is written, or given up where the database stays away."""
        self._closing.set()
        while self._settling:
            await asyncio.gather(*self._settling, return_exceptions=True)
        await self.spare.aclose()
        self._looking.shutdown(wait=False)

    async def settle(self, work: Callable[[Connection], Receipt], *, held: Reservation) -> Receipt | StoreUnavailable:
        """Write the settlement of what was held; when the database is away it is asked again in the background, and the
        trouble given.
        """
        try:
            return await self.desk.write(work, account=held.account)
        except StoreUnavailable as error:
            log.warning("a settlement of %s waits for the database: %s", held.account, error)
            self._owed.add(held)
            lost = f"a settlement of {held.account}: nothing is charged, and what it holds is given back later"
            self.later(work, account=held.account, lost=lost).add_done_callback(lambda _: self._owed.discard(held))
            return error

    def later(self, work: Callable[[Connection], object], *, account: str, lost: str) -> "asyncio.Task[None]":
        """Ask the database in the background until it takes a write; what is `lost` where it never does is told."""
        task = asyncio.create_task(self._ask_again(work, account=account, lost=lost))
        self.keep(task)
        return task

    def keep(self, task: "asyncio.Task[Any]") -> None:
        """Let `aclose` wait for work that goes on whether or not anybody waits for it here."""
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def file(self, output: Output) -> Media:
        """The labelled file of an answer; raises InputError when it was erased."""
        if output.erased is not None:
            raise InputError(f"The output {output.id} was erased.")
        blob = output.blob
        if blob is None:  # of a release that is down the label is read from disk and database: not by the loop
            written = await asyncio.to_thread(self.label, output)
            blob = await self._in_any_case(self._keep_file(output, written))
        if blob is None:
            raise InputError(f"The output {output.id} was erased.")
        return await self.sealer.file(blob, mime=output.mime)

    def label(self, output: Output) -> Label:
        """What the file of an answer says of itself; raises InputError when its release is gone."""
        up = self.releases.get(output.release)
        manifest = self.archive(output.release) if up is None else up.manifest
        return label(manifest.labels, output)

    async def _asked(self, job: Job) -> list[Verdict]:
        """The verdict on each prompt; the loop goes on meanwhile where all of them together take long."""
        review, asking = job.loaded.reviewer.review, context_of(job.loaded, Direction.PROMPT)
        items = [media.text(one.words) for one in job.questions]
        aside = sum(len(item.data) for item in items) > LONG or job.loaded.reviewer.heavy(asking)
        return [await self._aside(review, item, asking) if aside else review(item, asking) for item in items]

    async def _fed(self, stream: StreamReview, delta: str) -> str:
        """What may leave now; the loop goes on while a model judges a sentence of it."""
        return await self._aside(stream.feed, delta) if stream.weighs(delta) else stream.feed(delta)

    async def _aside(self, work: Callable[..., T], *given: Any) -> T:
        """What `work` gives in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._looking, work, *given)

    async def _judge(self, job: Job, answer: Answer) -> None:
        """The last word on a finished answer, and its row."""
        held = answer.held
        if answer.media is None:
            stream = answer.stream
            answer.tail, verdict = await self._aside(stream.finish) if stream.heavy else stream.finish()
        else:
            verdict = await self._aside(self._look_at, job, answer, answer.media)
        if held is not None and verdict.decision is not Decision.BLOCK:
            verdict = Verdict(Decision.HOLD, (*_of_prompt(held.findings), *verdict.findings), verdict.policy)
        if verdict.decision is not Decision.ALLOW:
            answer.tail = ""
        answer.verdict = verdict
        row = self._row(job, answer, verdict, text=answer.text)
        if verdict.decision is not Decision.ALLOW:
            row = dataclasses.replace(row, review=f"rev_{uuid.uuid4().hex}")
        if job.later and answer.media is None and row.review is None and not self.spare.full:
            answer.row, answer.file = row, media.text(row.text)
        else:  # whatever the verdict: what a person approves, now or on appeal, is bound to the very bytes that leave
            answer.row = await self._sealed(job, answer, row)
        answer.shown += len(answer.tail)

    def _look_at(self, job: Job, answer: Answer, made: Media) -> Verdict:
        """The review of a picture in the very form that it leaves in."""
        question = answer.question
        seed = seed_of(question.prompt.seed or 0, answer.index % job.request.count)
        facts = {"prompt": question.words, "model": job.loaded.manifest.name, "seed": str(seed)}
        facts |= {name: str(value) for name, value in question.prompt.options.items()}
        facts |= {name: str(value) for name, value in job.request.options.items() if name in pictures.CHANGES}
        answer.media = pictures.deliver(made, job.request.options, facts=facts)
        return job.loaded.reviewer.review(answer.media, question.context)

    def _seal_later(self, job: Job) -> None:
        """Have the files made of answers whose text leaves in a body."""

        async def make(row: Output) -> None:
            try:
                await self._keep_file(row, label(job.loaded.manifest.labels, row))
            except SpearheadError as error:  # it is sealed when somebody asks for it
                log.warning("the answer %s has no labelled file yet: %s", row.id, error)

        for answer in job.answers.values():
            row = answer.row
            if row is not None and row.blob is None and row.state == "released":
                self.spare.put(functools.partial(make, row))

    async def _keep_file(self, row: Output, written: Label) -> str | None:
        """Seal an answer that has no file yet; gives the file that stands, None when it was erased meanwhile."""
        blob, _ = await self.sealer.make(media.text(row.text), written)

        def again(connection: Connection) -> None:
            if outputs.sealed(connection, row.id, blob) != blob:
                self.sealer.forget(blob, row=row.id)

        try:
            stands = await self.desk.write(lambda connection: outputs.sealed(connection, row.id, blob), durable=False)
        except StoreUnavailable:  # a file that no row names is one that no erasure finds
            self.later(again, account=row.account, lost=f"the name of the file {blob} of {row.id}")
            raise
        if stands != blob:
            await asyncio.to_thread(self.sealer.forget, blob, row=row.id)
        return stands

    async def _sealed(self, job: Job, answer: Answer, row: Output) -> Output:
        piece = answer.media or media.text(row.text)
        blob, answer.file = await self.sealer.make(piece, label(job.loaded.manifest.labels, row))
        return dataclasses.replace(row, blob=blob, mime=answer.file.mime)

    def _row(self, job: Job, answer: Answer, verdict: Verdict, *, text: str) -> Output:
        request, prompt = job.request, answer.question.prompt
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
            options=outputs.options_text(prompt.options),
            seed=None if prompt.seed is None else seed_of(prompt.seed, answer.index % request.count),
            completion_units=answer.usage.completion,
            created=stamp(self.clock()),
            prompt=outputs.prompt_text(answer.question.messages),
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

    def _write_rows(self, connection: Connection, job: Job, answers: Iterable[Answer]) -> None:
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

    def _said(self, answer: Answer) -> Iterable[Event]:
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
            yield Delivered(answer.index, row.id, row.text, row.finish, answer.usage, answer.file, row.seed)

    async def _reserve(self, job: Job) -> None:
        """Hold the money; a power cut that takes it back ends the work as well: see holds.reserve."""
        request = job.request

        def work(connection: Connection) -> Reservation:
            return books.reserve(
                connection,
                request.account,
                Usage(job.units, job.most, unit=job.price.unit),
                price=job.price,
                request=request.key,
                key=job.key,
                server=self.server,
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
        receipt = await self.settle(self._settlement(job, job.reservation), held=job.reservation)
        job.doubtful |= isinstance(receipt, StoreUnavailable)  # a disk that failed may have it all the same
        return receipt

    def _settlement(self, job: Job, reservation: Reservation) -> Callable[[Connection], Receipt]:
        answers, bill = tuple(job.unsaved), bill_of(job)

        def work(connection: Connection) -> Receipt:
            if not job.began:
                return books.cancel(connection, reservation, request=bill.request, clock=self.clock)
            self._write_rows(connection, job, answers)
            return books.close(connection, reservation, bill, clock=self.clock)

        return work

    async def _ask_again(self, work: Any, *, account: str, lost: str) -> None:
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
        log.error("given up: %s", lost)

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


def _answers(job: Job, verdicts: Sequence[Verdict]) -> dict[int, Answer]:
    """The answers to be made, by their numbers: those to prompts that review has not refused."""
    found = {}
    for index in range(job.request.answers):
        question, verdict = job.questions[job.number(index)], verdicts[job.number(index)]
        if verdict.decision is not Decision.BLOCK:
            held = verdict if verdict.decision is Decision.HOLD else None
            found[index] = Answer(index, question, StreamReview(job.loaded.reviewer, question.context), held)
    return found


def _drafts(job: Job) -> AsyncGenerator[Draft, None]:
    """What the runtime makes of every prompt that has answers to come, all at once."""
    count, generate = job.request.count, job.loaded.runtime.generate
    firsts = [index for index in job.answers if index % count == 0]
    if len(firsts) == 1 and firsts[0] == 0:
        return cast("AsyncGenerator[Draft, None]", generate(job.questions[0].prompt))
    return merged([_numbered(generate(job.questions[job.number(first)].prompt), first) for first in firsts])


async def _numbered(drafts: AsyncIterator[Draft], first: int) -> AsyncGenerator[Draft, None]:
    """The drafts of one prompt's answers, numbered from `first` on."""
    async with aclosing(cast("AsyncGenerator[Draft, None]", drafts)) as made:
        async for draft in made:
            yield dataclasses.replace(draft, index=first + draft.index)


async def _on_disk(job: Job) -> StoreUnavailable | None:
    """Wait until the disk has what was settled; the trouble when it fails."""
    try:
        if job.written is not None:
            await job.written
    except StoreUnavailable as error:
        return error
    return None


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
