"""Promises of the limits, of one process and of two over the same database."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from spearhead.engine.desk import Desk
from spearhead.ledger import keys
from spearhead.ledger.keys import Principal
from spearhead.ledger.limits import LimitReached
from spearhead.service.api import errors
from spearhead.service.api import limits as limits_module
from spearhead.service.api.errors import ApiError
from spearhead.service.api.limits import Gate, Limits, Ticket, duration
from spearhead.store import database
from spearhead.store.tables import rate_leases


class Time:
    """Seconds that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A migrated database and what writes to it."""
    url = f"sqlite:///{tmp_path / 'spearhead.db'}"
    database.migrate(url)
    desk = Desk(database.connect(url))
    yield desk
    desk.close()
    desk.database.dispose()


@pytest.fixture
def who(desk: Desk) -> Principal:
    """Who asks."""
    account = keys.create_account(desk.database, "a", currency="EUR").id
    found = keys.authenticate(desk.database, keys.create(desk.database, account, name="k").secret)
    assert found is not None
    return found


async def refusal(gate: Gate, who: Principal, *, tokens: int = 1) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await gate.enter(who, tokens=tokens)
    assert caught.value.status == 429
    return caught.value


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous test."""

    async def within() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(within())


def test_requests_tokens_and_parallel_answers_are_counted_apart(desk: Desk, who: Principal) -> None:
    async def test() -> None:
        time = Time()
        gate = Gate(Limits(requests=2, tokens=100, parallel=1), desk, clock=time)
        first = await gate.enter(who, tokens=60)
        assert (await refusal(gate, who)).kind == "parallel"
        gate.leave(first, tokens=60)
        assert (await refusal(gate, who, tokens=50)).kind == "tokens"  # 60 of 100 are gone
        gate.leave(await gate.enter(who, tokens=40), tokens=40)
        assert (await refusal(gate, who)).kind == "requests"
        time.now += 61
        gate.leave(await gate.enter(who, tokens=100), tokens=0)

    run(test)


def test_what_was_held_and_not_used_may_be_had_in_the_same_minute(desk: Desk, who: Principal) -> None:
    async def test() -> None:
        gate = Gate(Limits(tokens=100), desk, clock=Time())
        ticket = await gate.enter(who, tokens=100)
        gate.leave(ticket, tokens=10)
        assert gate.headers(who.key)["x-ratelimit-remaining-tokens"] == "90"
        await gate.enter(who, tokens=90)

    run(test)


def test_a_refused_request_counts_for_nothing(desk: Desk, who: Principal) -> None:
    async def test() -> None:
        gate = Gate(Limits(requests=1, tokens=10, parallel=1), desk, clock=Time())
        for _ in range(3):
            gate.refused(await gate.enter(who, tokens=10))
            await refusal(gate, who, tokens=11)
        headers = gate.headers(who.key)
        assert headers["x-ratelimit-remaining-requests"] == "1" and headers["x-ratelimit-remaining-tokens"] == "10"

    run(test)


def test_a_refusal_says_when_to_come_again(desk: Desk, who: Principal) -> None:
    async def test() -> None:
        time = Time()
        gate = Gate(Limits(requests=1), desk, clock=time)
        gate.leave(await gate.enter(who, tokens=1), tokens=1)
        time.now = 1059.5
        assert (await refusal(gate, who)).headers["retry-after"] == "1"  # whole seconds, at least one
        time.now = 1012.25
        error = await refusal(gate, who)
        assert error.headers["retry-after"] == "48" and error.headers["x-ratelimit-reset-requests"] == "47.75s"
        time.now = 1060
        await gate.enter(who, tokens=1)

    run(test)


def test_more_than_a_minute_ever_gives_is_not_to_be_tried_again(desk: Desk, who: Principal) -> None:
    async def test() -> None:
        assert (await refusal(Gate(Limits(tokens=10), desk), who, tokens=11)).headers["x-should-retry"] == "false"

    run(test)


def test_a_minute_that_ended_takes_nothing_back_from_the_next(desk: Desk, who: Principal) -> None:
    async def test() -> None:
        time = Time()
        gate = Gate(Limits(tokens=100), desk, clock=time)
        old = await gate.enter(who, tokens=100)
        time.now += 61
        new = await gate.enter(who, tokens=70)
        gate.leave(old, tokens=0)
        assert gate.headers(who.key)["x-ratelimit-remaining-tokens"] == "30"
        gate.leave(new, tokens=70)

    run(test)


def test_two_processes_together_let_in_what_one_would_and_share_its_minute(desk: Desk, who: Principal) -> None:
    async def test() -> None:
        time = Time()
        gates = [Gate(Limits(requests=20, tokens=1000, parallel=9), desk, clock=time) for _ in range(2)]
        let_in: list[tuple[Gate, Ticket]] = []
        for number in range(20):
            gate = gates[number % 2]
            time.now += 0.5
            let_in.append((gate, await gate.enter(who, tokens=50)))
            if len(let_in) == 8:
                one, ticket = let_in.pop(0)
                one.leave(ticket, tokens=50)
        assert {(await refusal(gate, who)).kind for gate in gates} == {"requests"}
        ends = [gate.headers(who.key)["x-ratelimit-reset-requests"] for gate in gates]
        assert ends == ["50.5s", "50.5s"], "the minute that the first of twenty requests began, 9.5 s ago"
        time.now += 51
        for gate in gates:
            await gate.enter(who, tokens=1)

    run(test)


def test_a_request_that_was_refused_in_one_process_leaves_its_place_to_the_other(desk: Desk, who: Principal) -> None:
    async def test() -> None:
        first, second = (Gate(Limits(requests=1, tokens=10, parallel=1), desk, clock=Time()) for _ in range(2))
        ticket = await first.enter(who, tokens=10)
        assert (await refusal(second, who)).kind == "parallel"
        first.refused(ticket)
        first.leave(await first.enter(who, tokens=10), tokens=10)

    run(test)


def test_most_requests_ask_nobody(desk: Desk, who: Principal) -> None:
    async def test() -> None:
        told: list[str] = []
        desk.database.dispose()  # so that it is opened anew, and what is said to it is noted
        sa.event.listen(desk.database, "connect", lambda driver, _: driver.set_trace_callback(told.append))
        gate = Gate(Limits(), desk, clock=Time())
        for _ in range(600):
            gate.leave(await gate.enter(who, tokens=100), tokens=20)
        assert (await refusal(gate, who)).kind == "requests"
        assert 0 < told.count("BEGIN IMMEDIATE") <= 2 + 600 // 19, "a 32nd of the limit at a time"

    run(test)


def test_places_of_a_process_that_died_are_free_after_a_while_and_those_of_one_that_lives_are_not(
    desk: Desk, who: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "BEAT", 0.01)

    async def test() -> None:
        time = Time()
        living, other = (Gate(Limits(parallel=1), desk, clock=time) for _ in range(2))

        def place() -> tuple[int, int]:
            """Of the one that lives: how many it has, and until which second."""
            with desk.database.connect() as connection:
                of_it = rate_leases.c.process == living._process, rate_leases.c.measure == "parallel"
                (row,) = connection.execute(sa.select(rate_leases).where(*of_it)).all()
            return row.amount, row.expires // 1000

        ticket = await living.enter(who, tokens=1)
        for _ in range(4):
            time.now += 20
            while place()[1] < time.now + limits_module.LIFE:  # it renews what runs
                await asyncio.sleep(0.01)
            assert (await refusal(other, who)).kind == "parallel"
        living.leave(ticket, tokens=1)
        while place()[0]:  # it gives back what does not run
            await asyncio.sleep(0.01)
        held = await other.enter(who, tokens=1)
        dead, other = other, Gate(Limits(parallel=1), desk, clock=time)
        assert dead._beat is not None
        dead._beat.cancel()
        assert (await refusal(other, who)).kind == "parallel"
        time.now += 31
        await other.enter(who, tokens=1)
        assert held.key == who.key

    run(test)


def test_leases_that_ended_are_swept(desk: Desk, who: Principal) -> None:
    from spearhead.ledger import limits

    async def test() -> None:
        gate = Gate(Limits(), desk, clock=Time())
        await gate.enter(who, tokens=1)

    run(test)
    limits.purge(desk.database)  # the lease is of a time long ago
    with desk.database.connect() as connection:
        assert connection.execute(sa.select(rate_leases)).all() == []


def test_durations_are_written_as_the_api_writes_them() -> None:
    assert [duration(s) for s in (0, 0.012, 1, 47.75, 60, 360)] == ["0ms", "12ms", "1s", "47.75s", "1m0s", "6m0s"]


@pytest.mark.parametrize("beside", [False, True])
def test_a_clock_that_is_set_back_keeps_nobody_waiting_for_it(desk: Desk, who: Principal, beside: bool) -> None:
    async def test() -> None:
        clock = Time()
        one = Gate(Limits(requests=2, tokens=100, parallel=4), desk, clock=clock)
        two = Gate(Limits(requests=2, tokens=100, parallel=4), desk, clock=clock) if beside else one
        for _ in range(2):
            one.leave(await one.enter(who, tokens=50), tokens=50)
        assert (await refusal(two, who)).headers["retry-after"] == "60"
        clock.now -= 600
        for _ in range(2):
            two.leave(await two.enter(who, tokens=50), tokens=50)
        assert (await refusal(two, who)).headers["retry-after"] == "60"
        clock.now += 60
        await two.enter(who, tokens=50)

    run(test)


@pytest.mark.parametrize(
    ("seconds", "told"), [(1, None), (120, None), (121, "false"), (86_400, "false"), (None, "false")]
)
def test_nobody_tries_again_at_once_for_a_window_that_is_long_closed(seconds: int | None, told: str | None) -> None:
    answer = errors.of(LimitReached("no room", measure="requests", seconds=seconds))
    assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
    assert answer.headers.get("x-should-retry") == told
    assert answer.headers.get("retry-after") == (None if seconds is None else str(seconds))
