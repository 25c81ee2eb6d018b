"""Promises of the engine itself, without a network between."""

import asyncio
import contextlib
import dataclasses
import errno
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from tests.conftest import own_workers, slowly

from spearhead.core import clock as clocks
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.generation import (
    Accepted,
    Delivered,
    Event,
    Failed,
    Held,
    Refused,
    Released,
    Request,
    Settled,
)
from spearhead.core.manifest import PriceTag
from spearhead.engine import erasure, spare
from spearhead.engine import open as open_module
from spearhead.engine import outputs as answers
from spearhead.engine import run as run_module
from spearhead.engine.held import settle_decided
from spearhead.engine.loaded import Room
from spearhead.engine.open import _tidy as tidy
from spearhead.engine.open import choose, follow, opened
from spearhead.engine.outputs import name, of_prompt
from spearhead.engine.run import Engine
from spearhead.ledger import holds, journal, keys
from spearhead.ledger import price as prices
from spearhead.review import queue
from spearhead.service.api.app import front
from spearhead.service.app import create_app
from spearhead.store import database, releases
from spearhead.store.blobs import Blobs
from spearhead.store.database import StoreUnavailable
from spearhead.store.home import Home
from spearhead.store.tables import (
    idempotency,
    outputs,
    reservations,
    review_transitions,
    reviews,
    settings,
    usage_events,
)
from spearhead.store.tables import releases as releases_table

PROMPT, COMPLETION = 200, 800


class Day:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return clocks.now() + self.ahead


@asynccontextmanager
async def tiny(
    root: Path, make_release: Any, *, clock: clocks.Clock = clocks.now, **manifest: Any
) -> AsyncIterator[Any]:
    """An engine over one tiny release and an account with credit."""
    home = Home(root, root / "cache")
    make_release(home.releases, **manifest)
    database.migrate(home.database_url)
    store = database.connect(home.database_url)
    account = keys.create_account(store, "a", currency="USD").id
    journal.credit(store, account, 10**9, key="first")
    async with opened(home, room=Room(threads=1), clock=clock) as engine:
        yield engine, store, account
    assert journal.check(store) == []
    store.dispose()


@pytest.fixture
def unattended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines whose upkeep is done when the test does it, and never by themselves beside it."""

    async def never(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(open_module, "_repeat", never)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous test."""

    async def within() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(within())


def ask(account: str, words: str, *, key: str = "k", **more: Any) -> Request:
    """A request."""
    return Request("tiny", account, key, prompt=words, **more)


async def events(engine: Engine, request: Request) -> list[Event]:
    """Everything that a request comes to."""
    return await all_of(engine.run(request))


async def all_of(running: AsyncIterator[Event]) -> list[Event]:
    """Every event to the last."""
    return [event async for event in running]


def test_events_come_in_their_order_and_the_file_is_labelled(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            got = await events(engine, ask(account, "hello"))
            assert isinstance(got[0], Accepted) and got[0].reserved == 5 * PROMPT + 64 * COMPLETION
            assert isinstance(got[-1], Settled) and got[-1].receipt.amount == 5 * PROMPT + 5 * COMPLETION
            delivered = got[-2]
            assert isinstance(delivered, Delivered)
            said = "".join(event.delta for event in got if isinstance(event, Released))
            assert said == delivered.text == " The quick brown fox."
            assert b"AIGC:" in delivered.file.data and delivered.output.encode() in delivered.file.data

    run(test)


def test_the_file_of_a_text_that_left_is_made_when_nobody_is_answered_any_more(
    tmp_path: Path, make_release: Any
) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):

            def blob() -> str | None:
                with store.connect() as connection:
                    (row,) = answers.of_request(connection, "k", account=account)
                return row.blob

            another = engine.machine.begin()
            job = engine.prepare(ask(account, "hello"))
            job.later = True
            assert [event async for event in engine.run(job.request, job=job)]
            await asyncio.sleep(5 * spare.LOOK)
            assert (blob(), engine.spare.waiting) == (None, 1)
            engine.machine.end(another)
            while engine.spare.waiting:
                await asyncio.sleep(spare.LOOK)
            assert blob() is not None

    run(test)


def test_a_file_that_was_not_made_yet_is_made_though_its_release_is_down(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            engine.machine.begin()
            job = engine.prepare(ask(account, "hello"))
            job.later = True
            assert [event async for event in engine.run(job.request, job=job)]
            with store.connect() as connection:
                (row,) = answers.of_request(connection, "k", account=account)
            assert row.blob is None
            up, archive, threads = dict(engine.releases), engine.archive, []

            def found(name: str) -> Any:
                threads.append(threading.current_thread())
                return archive(name)

            engine.archive = found
            engine.releases.clear()
            assert b"AIGC:" in (await engine.file(row)).data
            assert threads and threading.main_thread() not in threads, "the loop goes on meanwhile"
            engine.releases.update(up)

    run(test)


def test_a_file_made_while_the_database_was_away_is_found_by_an_erasure(
    tmp_path: Path, make_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "PAUSES", (0.01, 0.02))

    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            another = engine.machine.begin()
            job = engine.prepare(ask(account, "hello"))
            job.later = True
            assert [event async for event in engine.run(job.request, job=job)]
            with store.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE outputs RENAME TO away")
            engine.machine.end(another)
            while engine.spare.waiting:
                await asyncio.sleep(spare.LOOK)
            with store.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE away RENAME TO outputs")
            with store.connect() as connection:
                (row,) = answers.of_request(connection, "k", account=account)
            assert b"AIGC:" in (await engine.file(row)).data
            await engine.aclose()
            blobs = Home(tmp_path, tmp_path / "cache").blobs
            erasure.erase(store, row.id, blobs=Blobs(blobs), actor="op")
            assert [path for path in blobs.rglob("*") if path.is_file()] == []

    run(test)


HOLDS_PROMPTS = {
    "checks": ["personal"],
    "rules": [
        {"category": "*", "direction": "prompt", "hold": 0.5, "block": None},
        {"category": "*", "direction": "output", "hold": 0.9, "block": None},
    ],
}


def test_an_answer_whose_file_cannot_be_made_is_owed_for_what_left_of_it(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release, policy=HOLDS_PROMPTS) as (engine, store, account):
            blobs = Home(tmp_path, tmp_path / "cache").blobs
            shutil.rmtree(blobs, ignore_errors=True)
            blobs.write_text("in the way")
            held = await events(engine, ask(account, "I am ada@example.org ok", key="held"))
            assert [type(event) for event in held] == [Accepted, Failed, Settled]
            assert isinstance(held[-1], Settled) and (held[-1].receipt.amount, held[-1].receipt.settled) == (0, True)
            got = await events(engine, ask(account, "hello"))
            said = "".join(event.delta for event in got if isinstance(event, Released))
            assert isinstance(got[-2], Failed) and " The quick brown fox.".startswith(said) and said
            with store.connect() as connection:
                (row,) = answers.of_request(connection, "k", account=account)
                assert (row.text, answers.of_request(connection, "held", account=account)) == (said, [])
            left = journal.balance(store, account)
            assert (left.available, left.reserved) == (10**9 - 5 * PROMPT - 5 * COMPLETION, 0)

    run(test)


def test_the_same_request_twice_is_refused_and_charged_once(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            await events(engine, ask(account, "hello"))
            with pytest.raises(InputError, match="answered before"):
                await events(engine, ask(account, "hello"))
            assert journal.balance(store, account).available == 10**9 - 5 * PROMPT - 5 * COMPLETION

    run(test)


def test_a_refused_prompt_leaves_no_trace_in_the_books(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            got = await events(engine, ask(account, "zzforbidden"))
            assert [type(event) for event in got] == [Refused]
            with store.connect() as connection:
                assert connection.execute(sa.select(usage_events)).all() == []
                assert connection.execute(sa.select(outputs)).all() == []
            assert journal.balance(store, account).available == 10**9

    run(test)


def test_a_cancelled_request_is_settled_though_the_caller_is_cancelled_again_and_again(
    tmp_path: Path, make_release: Any
) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            begun = asyncio.Event()

            async def read() -> None:
                async for event in engine.run(ask(account, "~", options={"max_tokens": 4000})):
                    if isinstance(event, Released):
                        begun.set()

            with slowly():
                task = asyncio.create_task(read())
                await begun.wait()
                while not task.done():
                    task.cancel()
                    await asyncio.sleep(0)
            await engine.aclose()
            balance = journal.balance(store, account)
            assert balance.reserved == 0 and PROMPT < 10**9 - balance.available < PROMPT + 4000 * COMPLETION

    run(test)


def test_one_who_leaves_while_money_is_being_held_leaves_nothing_held(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):

            async def leave_soon(kind: str) -> list[asyncio.Task[list[Event]]]:
                tasks = []
                for number in range(20):
                    tasks.append(asyncio.create_task(events(engine, ask(account, "hello", key=f"{kind}{number}"))))
                    for _ in range(number % 4 + 1):
                        await asyncio.sleep(0)
                    tasks[-1].cancel()
                return tasks

            with database.writing(store):  # whoever wants money held waits for as long
                tasks = await leave_soon("in line")
                await asyncio.sleep(0.1)
                assert not any(task.done() for task in tasks)
            await asyncio.gather(*tasks, return_exceptions=True)
            assert journal.balance(store, account).available == 10**9, "nothing was made of any"
            tasks = await leave_soon("at once")
            await asyncio.gather(*tasks, return_exceptions=True)
            await engine.aclose()
            assert journal.balance(store, account).reserved == 0, "of some a word may have been made"

    run(test)


def test_a_database_that_is_away_at_the_end_gets_the_settlement_later(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            got: list[Event] = []
            async for event in engine.run(ask(account, "hello")):
                got.append(event)
                if isinstance(event, Accepted):
                    with store.begin() as connection:
                        connection.exec_driver_sql("ALTER TABLE usage_events RENAME TO away")
            assert isinstance(got[-1], Failed) and got[-1].code == "store_unavailable"
            assert not any(isinstance(event, Delivered) for event in got)
            with store.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE away RENAME TO usage_events")
            await engine.aclose()
            assert 10**9 - journal.balance(store, account).available == 5 * PROMPT + 5 * COMPLETION

    run(test)


def test_nobody_decides_in_time_so_it_is_rejected_and_free(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        day = Day()
        async with tiny(tmp_path, make_release, clock=day) as (engine, store, account):
            got = await events(engine, ask(account, "#"))
            assert isinstance(got[-2], Held) and isinstance(got[-1], Settled) and not got[-1].receipt.settled
            day.ahead = timedelta(hours=23, minutes=59)
            journal.sweep(store, day)
            await settle_decided(engine)
            assert journal.balance(store, account).reserved == PROMPT + 8 * COMPLETION
            day.ahead = timedelta(hours=24, minutes=1)
            await settle_decided(engine)
            assert journal.balance(store, account).available == 10**9
            with store.connect() as connection:
                assert connection.scalars(sa.select(outputs.c.state)).all() == ["rejected"]

    run(test)


def test_a_price_that_changes_counts_for_requests_that_start_later(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            prices.set_price(store, "tiny", PriceTag("USD", 10**9, 0, "token"), actor="test")
            while engine.loaded("tiny").price.prompt != 10**9:
                await asyncio.sleep(0.05)
            got = await events(engine, ask(account, "hello"))
            assert isinstance(got[-1], Settled) and got[-1].receipt.amount == 5 * 1000

    run(test)


def test_a_live_price_that_is_no_price_is_never_taken_and_keeps_no_other_release_from_its_own(
    tmp_path: Path, make_release: Any
) -> None:
    async def test() -> None:
        make_release(tmp_path / "releases", scenario="other")
        async with tiny(tmp_path, make_release) as (engine, store, account):
            before = engine.loaded("tiny").price
            wrong = '{"completion":1,"currency":"USD","prompt":-1,"unit":"token"}'
            row = {"scenario": "tiny", "kind": "price", "value": wrong, "actor": "hand", "created": "2026"}
            with store.begin() as connection:
                connection.execute(settings.insert().values(row))
            for price in range(1, 4):  # whichever is looked at first
                prices.set_price(store, "other", PriceTag("USD", price, 0, "token"), actor="test")
                while engine.loaded("other").price.prompt != price:
                    await asyncio.sleep(0.05)
            assert engine.loaded("tiny").price == before
        with pytest.raises(SpearheadError, match="live price in the database cannot be read: The prompt price -1"):
            async with opened(Home(tmp_path, tmp_path / "cache"), room=Room(threads=1)):
                pass

    run(test)


def test_a_prompt_that_policy_holds_holds_its_answer(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release, policy=HOLDS_PROMPTS) as (engine, store, account):
            got = await events(engine, ask(account, "I am ada@example.org ok"))
            assert not any(isinstance(event, Released | Delivered) for event in got)
            assert isinstance(got[-2], Held)
            (finding,) = got[-2].verdict.findings
            assert str(finding.reason).startswith("in the prompt: ") and of_prompt(finding)
            assert finding.start is None, "its places are not the answer's"

    run(test)


def test_a_runtime_that_refuses_an_option_costs_nothing(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            with pytest.raises(InputError, match="no_such"):
                await events(engine, ask(account, "hello", options={"no_such": 1}))
            assert journal.balance(store, account).available == 10**9

    run(test)


def test_nothing_is_served_that_needs_another_runtime(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        with pytest.raises(InputError, match="runtime 'tensorrt', which this server does not have"):
            async with tiny(tmp_path, make_release, runtime="tensorrt"):
                raise AssertionError("it opened")

    run(test)


def test_several_answers_pay_for_their_prompt_once(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            request = dataclasses.replace(ask(account, "hello"), count=3)
            got = await events(engine, request)
            assert {event.index for event in got if isinstance(event, Delivered)} == {0, 1, 2}
            assert isinstance(got[-1], Settled) and got[-1].receipt.amount == 5 * PROMPT + 15 * COMPLETION

    run(test)


@pytest.mark.usefixtures("unattended")
def test_a_withdrawn_record_ends_a_running_release_whose_policy_says_so(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        home = Home(tmp_path, tmp_path / "cache")
        async with tiny(tmp_path, make_release) as (engine, store, account):
            release = releases.register(store, releases.live(home, store, "tiny"))
            with database.writing(store) as connection:
                connection.execute(sa.update(releases_table).values(affected=json.dumps(["a" * 64])))
            for policy, answers in (("serve", True), ("stop", False)):
                told = {**release.manifest.policy, "withdrawn": policy}
                changed = dataclasses.replace(release.manifest, policy=told)
                (release.folder / "manifest.json").write_text(changed.to_json())
                leaving: set[asyncio.Task[None]] = set()
                await follow(home, engine, leaving, models=(), room=Room(threads=1))
                await asyncio.gather(*leaving)
                assert ("tiny" in engine.releases) is answers
            with pytest.raises(InputError):
                await events(engine, ask(account, "hello", key="late"))
            with pytest.raises(releases.Stopped, match="tiny@v1 learnt from withdrawn records"):
                choose(home, models=("tiny@v1",))

    run(test)


@pytest.mark.usefixtures("unattended")
def test_a_newer_release_takes_over_while_the_old_one_ends_its_answers(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            old = engine.loaded("tiny").runtime
            long = engine.run(ask(account, "~", key="long", options={"max_tokens": 400}))
            assert isinstance(await anext(long), Accepted)
            make_release(tmp_path / "releases", version="v2", created="2026-11-23T00:00:00Z")
            leaving: set[asyncio.Task[None]] = set()
            await follow(Home(tmp_path, tmp_path / "cache"), engine, leaving, models=("tiny",), room=Room(threads=1))
            got = await events(engine, ask(account, "hello", key="new"))
            assert isinstance(got[0], Accepted) and got[0].release == "tiny@v2"
            with pytest.raises(InputError):
                engine.loaded("tiny@v1")
            assert old.ready, "an answer still comes from it"
            rest = [event async for event in long]
            assert isinstance(rest[-2], Delivered) and rest[-2].finish == "length"
            await asyncio.gather(*leaving)
            assert not old.ready

    run(test)


def test_the_largest_seed_has_one_after_it(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            got = await events(engine, ask(account, "hello", count=2, seed=2**63 - 1))
            assert sum(isinstance(event, Delivered) for event in got) == 2
            assert isinstance(got[-1], Settled) and got[-1].receipt.amount == 5 * PROMPT + 10 * COMPLETION
            with store.connect() as connection:
                assert connection.scalars(sa.select(outputs.c.seed).order_by(outputs.c.seed)).all() == [0, 2**63 - 1]

    run(test)


@pytest.mark.parametrize("words", ["hello", "#"])
def test_a_database_that_is_away_between_two_answers_gets_both_rows_later(
    tmp_path: Path, make_release: Any, words: str
) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            got: list[Event] = []
            async for event in engine.run(ask(account, words, count=2)):
                got.append(event)
                if isinstance(event, Accepted):
                    with store.begin() as connection:
                        connection.exec_driver_sql("ALTER TABLE outputs RENAME TO away")
            assert isinstance(got[-1], Failed) and got[-1].code == "store_unavailable"
            with store.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE away RENAME TO outputs")
            await engine.aclose()
            left = {event.index for event in got if isinstance(event, Released)}
            with store.connect() as connection:
                rows = connection.execute(sa.select(outputs)).all()
                held = connection.execute(sa.select(reservations).where(reservations.c.state == "open")).all()
                assert left and {row.id for row in rows} >= {name("k", index) for index in left}
                assert len(connection.execute(sa.select(reviews)).all()) == len(held) == (words == "#")

    run(test)


@pytest.mark.usefixtures("unattended")
def test_a_release_that_cannot_be_loaded_keeps_no_other_from_coming_up(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        home = Home(tmp_path, tmp_path / "cache")
        async with tiny(tmp_path, make_release) as (engine, store, account):
            running = len(own_workers())
            make_release(home.releases, scenario="good")
            for scenario, version in (("bad", "v1"), ("tiny", "v2")):
                place = make_release(home.releases, scenario=scenario, version=version, created="2026-11-23T00:00:00Z")
                (place / "parts" / "model.gguf").write_bytes(b"GGUF and nonsense")
            leaving: set[asyncio.Task[None]] = set()
            for _ in range(3):
                await follow(home, engine, leaving, models=(), room=Room(threads=1))
            assert set(engine.releases) == {"tiny", "tiny@v1", "good", "good@v1"} and not leaving
            assert len(own_workers()) == running + 1
            assert isinstance((await events(engine, ask(account, "hello")))[-2], Delivered)
            with database.writing(store) as connection:
                releases.register(connection, engine.loaded("tiny").release)
                connection.execute(sa.update(releases_table).values(affected=json.dumps(["a" * 64])))
            stopped = dataclasses.replace(
                engine.loaded("tiny").manifest, policy={**engine.loaded("tiny").manifest.policy, "withdrawn": "stop"}
            )
            (home.releases / "tiny" / "v1" / "manifest.json").write_text(stopped.to_json())
            await follow(home, engine, leaving, models=(), room=Room(threads=1))
            assert set(engine.releases) == {"good", "good@v1"}, (
                "what may serve no more does not stay for want of another"
            )
            await asyncio.gather(*leaving)

    run(test)


def test_the_end_of_an_answer_leaves_when_the_disk_has_its_charge(
    tmp_path: Path, make_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole answer and a stream, over a disk that a test holds back, and over one that fails."""
    gate, waits, broken = threading.Event(), threading.Event(), threading.Event()

    def flush(log: int) -> None:
        waits.set()
        assert gate.wait(30)
        if broken.is_set():
            raise OSError(errno.EIO, "broken")
        os.fdatasync(log)

    async def test() -> None:
        home = Home(tmp_path, tmp_path / "cache")
        async with tiny(tmp_path, make_release) as (engine, store, account):
            monkeypatch.setattr(database, "_flush_file", flush)
            key = keys.create(store, account, name="k").secret
            app = front(create_app(engine, home=home))
            for stream in (False, True):
                for fails in (False, True):
                    gate.clear()
                    waits.clear()
                    (broken.set if fails else broken.clear)()
                    sent: list[dict[str, Any]] = []
                    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
                    asked = asyncio.create_task(asgi(app, key, body, sent))
                    assert await asyncio.to_thread(waits.wait, 30)
                    await asyncio.sleep(0.1)
                    early = b"".join(message.get("body", b"") for message in sent)
                    assert not asked.done() and b"fox." not in early and b"[DONE]" not in early
                    gate.set()
                    await asked
                    whole = b"".join(message.get("body", b"") for message in sent)
                    assert sent[0]["status"] == (503 if fails and not stream else 200)
                    assert (b"fox." in whole) is not fails and (b"store_unavailable" in whole) is fails
            gate.set()

    run(test)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("parts/model.gguf", "parts/model.gguf has been changed"),
        ("parts/tokenizer.json", "parts/tokenizer.json has been changed"),
        ("manifest.json", "signed with another key"),
        ("manifest.sig", "nobody signed"),
    ],
)
def test_what_was_changed_since_it_was_released_is_not_served(
    tmp_path: Path, make_release: Any, file: str, said: str
) -> None:
    async def test() -> None:
        home = Home(tmp_path, tmp_path / "cache")
        place = make_release(home.releases) / file
        data = place.read_bytes()
        if file == "manifest.sig":
            place.unlink()
        elif file == "parts/model.gguf":  # one weight, so that it loads and answers
            at = data.rindex(b"\0\0\0\x40")
            place.write_bytes(data[:at] + b"\0\0\0\x3f" + data[at + 4 :])
        else:
            place.write_bytes(data.replace(b"Tiny", b"tiny") if file == "manifest.json" else data.replace(b"Q", b"q"))
            assert place.read_bytes() != data
        before = len(own_workers())
        with pytest.raises(InputError, match=f"tiny@v1 is not served: .*{said}"):
            async with opened(home, room=Room(threads=1)):
                raise AssertionError("it opened")
        assert len(own_workers()) == before

    run(test)


@pytest.mark.parametrize("stays_away", [False, True])
def test_a_settlement_is_asked_for_until_it_is_written_and_never_given_up_in_silence(
    tmp_path: Path,
    make_release: Any,
    stays_away: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(run_module, "PAUSES", (0.01, 0.02))
    monkeypatch.setattr(run_module, "LAST_PAUSES", (0.0, 0.01))

    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            got: list[Event] = []
            async for event in engine.run(ask(account, "hello")):
                got.append(event)
                if isinstance(event, Accepted):
                    with store.begin() as connection:
                        connection.exec_driver_sql("ALTER TABLE usage_events RENAME TO away")
            assert isinstance(got[-1], Failed)
            await asyncio.sleep(0.5)  # far longer than all the pauses that are written down
            assert not any(record.levelname == "ERROR" for record in caplog.records)
            if stays_away:
                await engine.aclose()
            with store.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE away RENAME TO usage_events")
            while not stays_away and journal.balance(store, account).reserved:
                await asyncio.sleep(0.1)
            assert (journal.balance(store, account).reserved > 0) is stays_away
            said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
            assert [account in one and "given up" in one for one in said] == [True] * stays_away

    run(test)


def test_what_is_owed_does_not_run_out_while_the_database_is_away(
    tmp_path: Path, make_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "PAUSES", (0.01, 0.02))

    async def test() -> None:
        day = Day()
        async with tiny(tmp_path, make_release, clock=day) as (engine, store, account):
            async for event in engine.run(ask(account, "hello")):
                if isinstance(event, Accepted):
                    with store.begin() as connection:
                        connection.exec_driver_sql("ALTER TABLE usage_events RENAME TO away")
            for _ in range(3):
                day.ahead += timedelta(minutes=50)
                with contextlib.suppress(StoreUnavailable):  # it may share a transaction with the settlement
                    await tidy(engine)
            assert journal.balance(store, account).reserved > 0
            with store.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE away RENAME TO usage_events")
            while journal.balance(store, account).reserved:
                await asyncio.sleep(0.05)
            assert journal.balance(store, account).available == 10**9 - 5 * PROMPT - 5 * COMPLETION

    run(test)


def test_a_decision_whose_line_comes_to_be_seen_after_a_later_one_is_carried_out(
    tmp_path: Path, make_release: Any
) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            first, second = [(await events(engine, ask(account, "#", key=key)))[-2] for key in "ab"]
            assert isinstance(first, Held) and isinstance(second, Held)
            for held in (first, second):
                queue.claim(store, reviewer="ada", review=held.review)
            with (
                store.begin() as connection
            ):  # as when two people decide at once in PostgreSQL, which counts lines early
                before = connection.scalar(sa.select(sa.func.max(review_transitions.c.id)))
                line = {"review": second.review, "from_state": "claimed", "to_state": "claimed", "actor": "ada"}
                rest = {"id": before + 9, "reason": "", "policy": "", "happened": "2026-11-22T00:00:00Z"}
                connection.execute(review_transitions.insert().values(**line, **rest))
            queue.reject(store, second.review, reviewer="ada", reason="no")
            await settle_decided(engine)
            with store.begin() as connection:
                connection.execute(sa.update(reviews).where(reviews.c.id == first.review).values(state="rejected"))
                line = {"review": first.review, "from_state": "claimed", "to_state": "rejected", "actor": "ada"}
                connection.execute(review_transitions.insert().values(**line, **{**rest, "id": before + 1}))
            await settle_decided(engine)
            assert journal.balance(store, account).available == 10**9
            with store.connect() as connection:
                assert connection.scalars(sa.select(outputs.c.state)).all() == ["rejected"] * 2

    run(test)


def test_a_clock_that_is_set_forward_lets_no_repetition_run_beside_the_first(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with slowly_taken(tmp_path, make_release) as it:
            it.day.ahead += timedelta(minutes=16)  # as after a laptop was shut
            again = await it.ask()
            await it.end()
            assert again[0]["status"] == 409 and it.balance().available == ONCE

    run(test)


def test_what_a_long_answer_holds_does_not_run_out_under_it(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        async with slowly_taken(tmp_path, make_release) as it:
            for _ in range(12):
                it.day.ahead += timedelta(minutes=14)
                await tidy(it.engine)
            again, reserved = await it.ask(), it.balance().reserved
            await it.end()
            assert again[0]["status"] == 409 and reserved > 0 and it.balance().available == ONCE
            assert dict((await it.ask())[0]["headers"])[b"idempotent-replayed"] == b"true"

    run(test)


def test_a_key_that_is_blocked_ends_what_runs_for_it_and_pays_for_what_was_made(
    tmp_path: Path, make_release: Any
) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            bad, good = (keys.create(store, account, name=name).key.id for name in ("bad", "good"))
            other = ask(account, "~", key="beside", options={"max_tokens": 400})
            beside = asyncio.create_task(all_of(engine.run(other, key=good)))
            got: list[Event] = []
            with slowly():
                async for event in engine.run(ask(account, "~", options={"max_tokens": 4000}), key=bad):
                    got.append(event)
                    if len(got) == 10:
                        keys.block(store, bad)
                        await engine.end_blocked()
            failed, settled = got[10:]
            assert isinstance(failed, Failed) and failed.code == "asker_blocked" and isinstance(settled, Settled)
            receipt = settled.receipt
            assert 9 <= receipt.usage.completion < 4000 and receipt.settled
            assert receipt.amount == PROMPT + receipt.usage.completion * COMPLETION
            with store.connect() as connection:
                (row,) = answers.of_request(connection, "k", account=account)
            said = "".join(event.delta for event in got if isinstance(event, Released))
            assert (row.text, row.finish, row.state) == (said, "cancelled", "released")
            assert [type(event) for event in (await beside)[-2:]] == [Delivered, Settled], "another key's goes on"
            assert journal.balance(store, account).reserved == 0

    run(test)


@pytest.mark.parametrize("stream", [True, False])
def test_the_client_of_a_key_that_is_blocked_meanwhile_is_told(tmp_path: Path, make_release: Any, stream: bool) -> None:
    async def test() -> None:
        async with tiny(tmp_path, make_release) as (engine, store, account):
            made = keys.create(store, account, name="k")
            app, slow = front(create_app(engine, home=Home(tmp_path, tmp_path / "cache"))), asyncio.Event()
            body = {"model": "tiny", "messages": [{"role": "user", "content": "~"}], "max_tokens": 4000}
            sent: list[dict[str, Any]] = []
            asked = asgi(app, made.secret, {**body, "stream": stream}, sent, slow=slow if stream else None)
            with slowly():
                under_way = asyncio.create_task(asked)
                while not engine.under_way:
                    await asyncio.sleep(0.001)
                (job,) = engine.under_way
                keys.block(store, made.key.id)
                if stream:  # its client takes nothing meanwhile: the upkeep has the time to see it
                    while job.ended is None:
                        await asyncio.sleep(0.01)
                    slow.set()
                else:
                    await engine.end_blocked()
                await under_way
            whole = b"".join(message.get("body", b"") for message in sent)
            assert sent[0]["status"] == (200 if stream else 401) and b"[DONE]" not in whole
            error = json.loads(whole.rpartition(b"data: ")[2])["error"]
            assert (error["code"], error["type"]) == ("invalid_api_key", "invalid_request_error")
            assert "was blocked" in error["message"] and "charged" in error["message"]
            assert 0 < 10**9 - journal.balance(store, account).available < PROMPT + 4000 * COMPLETION

    run(test)


def test_a_key_that_expires_ends_what_it_began_and_begins_nothing_more(tmp_path: Path, make_release: Any) -> None:
    async def test() -> None:
        day = Day()
        async with tiny(tmp_path, make_release, clock=day) as (engine, store, account):
            made = keys.create(store, account, name="k", expires=clocks.now() + timedelta(hours=1), clock=day)
            old = keys.create(store, account, name="old", clock=day)
            keys.rotate(store, old.key.id, grace=timedelta(hours=1), clock=day)
            app = front(create_app(engine, home=Home(tmp_path, tmp_path / "cache")))
            body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "stream": True}
            for secret in (made.secret, old.secret):
                slow, sent, before = asyncio.Event(), list[dict[str, Any]](), journal.balance(store, account).available
                under_way = asyncio.create_task(asgi(app, secret, body, sent, slow=slow))
                while not engine.under_way:
                    await asyncio.sleep(0.001)
                day.ahead += timedelta(hours=2)
                await engine.end_blocked()
                slow.set()
                await under_way
                whole = b"".join(message.get("body", b"") for message in sent)
                assert whole.endswith(b"data: [DONE]\n\n") and b'"finish_reason":"stop"' in whole
                assert before - journal.balance(store, account).available == 5 * PROMPT + 5 * COMPLETION
                while sent[0]["status"] != 401:  # for a second a key is remembered to work
                    sent.clear()
                    await asgi(app, secret, body, sent)
                    await asyncio.sleep(0.1)
                day.ahead -= timedelta(hours=2)

    run(test)


@pytest.mark.usefixtures("unattended")
def test_after_the_database_was_away_other_servers_renew_theirs_before_anything_is_given_back(
    tmp_path: Path, make_release: Any
) -> None:
    async def test() -> None:
        day = Day()
        async with tiny(tmp_path, make_release, clock=day) as (engine, store, account):
            holds.reserve(store, account, 5, currency="USD", key="of another server", clock=day)
            with store.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE reservations RENAME TO away")
            with pytest.raises(StoreUnavailable):
                await tidy(engine)
            day.ahead += timedelta(hours=2)
            with store.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE away RENAME TO reservations")
            left = []
            for _ in range(2):
                await tidy(engine)
                left.append(journal.balance(store, account).reserved)
            assert left == [5, 0]

    run(test)


def test_an_answer_that_could_not_be_kept_for_repetitions_is_not_charged_again(
    tmp_path: Path, make_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "PAUSES", (0.01, 0.02))

    async def test() -> None:
        async with slowly_taken(tmp_path, make_release) as it:
            with it.store.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE idempotency RENAME TO away")
            sent = await it.end()
            with it.store.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE away RENAME TO idempotency")

            def state() -> str:
                with it.store.connect() as connection:
                    return str(connection.scalar(sa.select(idempotency.c.state)))

            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    while state() == "running":
                        await asyncio.sleep(0.05)
            it.day.ahead += timedelta(minutes=16)
            again = await it.ask()
            assert b"".join(part.get("body", b"") for part in again) == b"".join(part.get("body", b"") for part in sent)
            assert it.balance().available == ONCE

    run(test)


ONCE = 10**9 - 5 * PROMPT - 5 * COMPLETION
"""What is left of an account's credit when what `slowly_taken` asks was charged once."""


@asynccontextmanager
async def slowly_taken(root: Path, make_release: Any) -> AsyncIterator[Any]:
    """A stream under an Idempotency-Key whose client takes nothing before `end`; `ask` is the same request again."""
    day, slow = Day(), asyncio.Event()
    async with tiny(root, make_release, clock=day) as (engine, store, account):
        key = keys.create(store, account, name="k").secret
        app = front(create_app(engine, home=Home(root, root / "cache")))
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "stream": True}

        async def ask(slow: asyncio.Event | None = None) -> list[dict[str, Any]]:
            sent: list[dict[str, Any]] = []
            await asgi(app, key, body, sent, once="the same", slow=slow)
            return sent

        first = asyncio.create_task(ask(slow))

        async def end() -> list[dict[str, Any]]:
            slow.set()
            return await first

        while not engine.under_way:
            await asyncio.sleep(0.01)
        try:
            yield SimpleNamespace(
                engine=engine, store=store, day=day, ask=ask, end=end, balance=lambda: journal.balance(store, account)
            )
        finally:
            await end()


async def asgi(
    app: Any,
    key: str,
    body: dict[str, Any],
    sent: list[dict[str, Any]],
    *,
    once: str = "",
    slow: asyncio.Event | None = None,
) -> None:
    """One request to an app in this process; what it sends is in `sent` as it comes, and is taken after `slow`."""
    payload = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if payload:
            return payload.pop()
        await asyncio.Event().wait()
        raise AssertionError

    headers = [(b"authorization", f"Bearer {key}".encode())]
    if once:
        headers.append((b"idempotency-key", once.encode()))

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if slow is not None:
            await slow.wait()

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [
            (b"authorization", f"Bearer {key}".encode()),
            *([(b"idempotency-key", once.encode())] * bool(once)),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)
