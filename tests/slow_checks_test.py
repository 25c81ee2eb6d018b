"""Promises about checks that take long: the event loop goes on meanwhile, and what leaves is what left before."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from spearhead.core import media
from spearhead.core.generation import Event, Held, Released, Request
from spearhead.core.media import Media
from spearhead.core.review import Check, Context, Decision, Direction, Finding, Policy, Rule
from spearhead.engine.loaded import Room
from spearhead.engine.open import opened
from spearhead.engine.run import Engine
from spearhead.ledger import journal, keys
from spearhead.review.reviewer import Reviewer
from spearhead.review.scanner import scan
from spearhead.review.segments import LONGEST, SegmentScanner
from spearhead.review.stream import StreamReview
from spearhead.store import database
from spearhead.store.home import Home
from spearhead.store.tables import outputs


@dataclass(frozen=True, slots=True)
class Waiting:
    """A check that judges a sentence once somebody else has had a turn: on the loop itself it would wait for ever."""

    turn: threading.Event = field(default_factory=threading.Event)
    threads: list[str] = field(default_factory=list)
    name: str = "waiting"
    modality: str = "text"
    reach: int = LONGEST

    def scanner(self) -> SegmentScanner:
        return SegmentScanner(self._judge)

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        return scan(self.scanner(), item.text)

    def _judge(self, sentence: str) -> list[Finding]:
        self.turn.clear()
        if not self.turn.wait(20):
            raise TimeoutError("the event loop stands still while a check looks")
        self.threads.append(threading.current_thread().name)
        at = sentence.find("walk on", 100)
        return [Finding(self.name, "profanity", 0.6, "walks", at, at + 7)] if at >= 0 else []


@dataclass(frozen=True, slots=True)
class Noting:
    """A quick check that notes which thread looks at each prompt."""

    threads: list[str] = field(default_factory=list)
    name: str = "noting"
    modality: str = "text"
    reach: int = 8

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        if context.direction is Direction.PROMPT:
            self.threads.append(threading.current_thread().name)
        return []


POLICY = Policy(("terms",), (Rule("*", Direction.OUTPUT, hold=0.5),))


def ask(account: str, *, tokens: int = 160) -> Request:
    """For an answer of three sentences, as sentences go without a full stop; of more tokens, more of them."""
    return Request("tiny", account, "k", prompt="~", options={"max_tokens": tokens})


def with_check(check: Check) -> Reviewer:
    """A reviewer with a check of the test's own beside those of the package."""
    reviewer = Reviewer(POLICY)
    object.__setattr__(reviewer, "checks", (*reviewer.checks, check))
    return reviewer


@asynccontextmanager
async def tiny(root: Path, make_release: Any, check: Check) -> AsyncIterator[tuple[Engine, sa.Engine, str]]:
    """An engine whose one release is reviewed by `check` too, and an account with credit."""
    home = Home(root, root / "cache")
    make_release(home.releases)
    database.migrate(home.database_url)
    store = database.connect(home.database_url)
    account = keys.create_account(store, "a", currency="USD").id
    journal.credit(store, account, 10**9, key="first")
    async with opened(home, room=Room(threads=1)) as engine:
        engine.loaded("tiny").reviewer = with_check(check)
        yield engine, store, account
    assert journal.check(store) == []
    store.dispose()


async def turns(check: Waiting) -> None:
    """What else the loop has to do."""
    while True:
        check.turn.set()
        await asyncio.sleep(0.001)


def test_a_slow_check_in_a_stream_does_not_stop_the_loop_and_lets_nothing_else_out(
    tmp_path: Path, make_release: Any
) -> None:
    check = Waiting()
    events: list[Event] = []

    async def test() -> None:
        async with tiny(tmp_path, make_release, check) as (engine, _, account):
            loop = asyncio.create_task(turns(check))
            events.extend([event async for event in engine.run(ask(account))])
            loop.cancel()

    asyncio.run(test())
    # The prompt, then an answer of 3 sentences at least, none of them on the loop's own thread.
    assert len(check.threads) >= 4 and threading.main_thread().name not in check.threads
    left = "".join(event.delta for event in events if isinstance(event, Released))
    [held] = [event for event in events if isinstance(event, Held)]
    assert held.verdict.decision is Decision.HOLD
    assert left and "walk on" in left, "what came before the place of the finding has left"
    whole = (" on and onward we walk" * 40)[: len(left)]
    first = held.verdict.findings[0].start
    assert left == whole and first is not None and len(left) == first, "strict: all before it, nothing from it on"


def test_who_leaves_while_a_check_looks_pays_for_what_left_and_it_can_be_traced(
    tmp_path: Path, make_release: Any
) -> None:
    check = Waiting()
    left: list[str] = []

    async def test() -> None:
        async with tiny(tmp_path, make_release, check) as (engine, store, account):
            loop = asyncio.create_task(turns(check))

            async def listen() -> None:
                async for event in engine.run(ask(account, tokens=2000)):
                    if isinstance(event, Released):
                        left.append(event.delta)
                        if not loop.done():
                            loop.cancel()  # the next sentence is looked at until somebody sets the turn again

            listening = asyncio.create_task(listen())
            while not left:
                await asyncio.sleep(0.005)
            while check.turn.is_set():  # until the next look has begun
                await asyncio.sleep(0.005)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            check.turn.set()
            with store.connect() as connection:
                [row] = connection.execute(sa.select(outputs)).all()
            assert (row.state, row.finish) == ("released", "cancelled") and row.text == "".join(left)
            balance = journal.balance(store, account)
            assert balance.reserved == 0 and 10**9 - balance.available > 0

    asyncio.run(test())


def test_many_short_prompts_are_looked_at_beside_the_loop_as_one_long_one_is(tmp_path: Path, make_release: Any) -> None:
    check = Noting()

    async def threads(engine: Engine, account: str, *prompts: str) -> set[str]:
        check.threads.clear()
        request = Request("tiny", account, f"k{len(prompts)}", prompts=prompts, options={"max_tokens": 1})
        assert [event async for event in engine.run(request)] and len(check.threads) == len(prompts)
        return set(check.threads)

    async def test() -> None:
        async with tiny(tmp_path, make_release, check) as (engine, _, account):
            assert await threads(engine, account, "1 " * 80, "2 " * 80) == {threading.main_thread().name}
            assert threading.main_thread().name not in await threads(engine, account, *["1 " * 80] * 16)

    asyncio.run(test())


@pytest.mark.parametrize("size", [1, 3, 50, 1000])
def test_a_piece_that_weighs_nothing_is_not_judged(size: int) -> None:
    judged: list[str] = []

    def judge(sentence: str) -> list[Finding]:
        judged.append(sentence)
        return []

    scanner = SegmentScanner(judge)
    text = (
        "A first sentence of some words. Second! 3.14 is no end of a sentence here, and this goes on " * 6 + "。你好。"
    )
    heavy = 0
    for at in range(0, len(text), size):
        piece, before = text[at : at + size], len(judged)
        weighs = scanner.weighs(piece)
        heavy += weighs
        scanner.feed(piece)
        assert weighs or len(judged) == before
    scanner.finish()
    assert "".join(judged) == text
    assert size > 3 or heavy < len(text) / size / 5, "most pieces of a token's length stay on the loop"


def test_only_policies_with_slow_checks_leave_the_loop() -> None:
    context = Context("s", Direction.PROMPT)
    quick = Reviewer(Policy(("terms", "personal", "profanity", "injection", "approval"), ()))
    assert not quick.heavy(context) and not StreamReview(quick, context).heavy
    slow = Reviewer(Policy(("terms", "harm"), ()))
    assert slow.heavy(context) and StreamReview(slow, context).heavy
    stream = StreamReview(slow, context)
    assert not stream.weighs("a word") and stream.weighs("an end. And")
    assert slow.review(media.text("an end. And"), context).decision is Decision.ALLOW
