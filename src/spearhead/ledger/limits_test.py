"""Promises of limits and budgets, on every database there is."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core.clock import stamp
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.generation import Usage
from spearhead.core.manifest import PriceTag
from spearhead.ledger import holds, journal, keys, limits, plans
from spearhead.ledger.billing import Hands
from spearhead.ledger.holds import Reservation
from spearhead.ledger.limits import BudgetSpent, LimitReached
from spearhead.store import database
from spearhead.store.tables import journal_groups, limit_windows, reservations

NOON = datetime(2027, 1, 31, 12, 0, tzinfo=UTC)
TAG = PriceTag("EUR", 1_000_000, 1_000_000, "token")


@pytest.fixture
def hands() -> Hands:
    return Hands(NOON)


@pytest.fixture
def account(engine: Engine, hands: Hands) -> str:
    return funded(engine, hands)


def funded(engine: Engine, hands: Hands) -> str:
    account = keys.create_account(engine, "Ada", currency="EUR", clock=hands).id
    journal.credit(engine, account, 10**9, key="first", clock=hands)
    return account


def at_most(engine: Engine, subject: str, measure: str, span: str, most: int | None) -> None:
    limits.set_limit(engine, subject, measure=measure, span=span, most=most, actor="test")


def enter(
    engine: Engine, account: str, request: str, hands: Hands, *, key: str | None = None, most: int = 9
) -> Reservation:
    with engine.begin() as connection:
        return plans.hold(
            connection, account, tag=TAG, prompt=1, completion=most, request=request, key=key, clock=hands
        )


def finish(store: Engine | Connection, held: Reservation, request: str, hands: Hands, *, made: int) -> None:
    with database.writing(store) as connection:
        units = Usage(1, made)
        plans.close(
            connection, held, made=units, owed=units, source="e", event=request, key=None, release="s@1", clock=hands
        )


def used(engine: Engine, subject: str) -> dict[str, int]:
    return {limit.measure: count for limit, count in limits.left(engine, [subject], clock=lambda: NOON)}


def sound(engine: Engine) -> bool:
    assert journal.check(engine) + limits.check(engine) == []
    return True


def test_measures_have_windows_of_their_own(engine: Engine, hands: Hands, account: str) -> None:
    name = f"account:{account}"
    at_most(engine, name, "requests", "minute", 2)
    at_most(engine, name, "tokens", "hour", 25)
    for request in "ab":
        finish(engine, enter(engine, account, request, hands), request, hands, made=9)
    with pytest.raises(LimitReached) as caught:
        enter(engine, account, "c", hands)
    assert (caught.value.measure, caught.value.seconds) == ("requests", 60)
    hands.set(NOON + timedelta(minutes=1))  # the minute is over, the hour is not
    with pytest.raises(LimitReached) as caught:
        enter(engine, account, "c", hands)
    assert caught.value.measure == "tokens"
    assert enter(engine, account, "c", hands, most=4).beside.tokens == 5
    hands.set(NOON + timedelta(hours=1))
    enter(engine, account, "d", hands)
    assert sound(engine)


def test_a_refused_request_consumes_nothing(engine: Engine, hands: Hands, account: str) -> None:
    name = f"account:{account}"
    at_most(engine, name, "requests", "minute", 9)
    at_most(engine, name, "tokens", "minute", 30)
    with pytest.raises(LimitReached, match="ask for less") as caught:
        enter(engine, account, "long", hands, most=30)
    assert caught.value.seconds is None  # it would never fit: no use in coming again
    at_most(engine, name, "budget", "day", 10)
    with pytest.raises(BudgetSpent):
        enter(engine, account, "dear", hands, most=10)
    assert used(engine, name) == {"requests": 0, "tokens": 0, "budget": 0}
    held = enter(engine, account, "blocked by review", hands)
    assert used(engine, name) == {"requests": 1, "tokens": 10, "budget": 10}
    holds.release(engine, held.id, clock=hands)
    assert used(engine, name) == {"requests": 0, "tokens": 0, "budget": 0} and sound(engine)


def test_what_was_not_made_may_be_had_by_others(engine: Engine, hands: Hands, account: str) -> None:
    name = f"account:{account}"
    at_most(engine, name, "tokens", "minute", 12)
    at_most(engine, name, "budget", "month", 12)
    finish(engine, enter(engine, account, "a", hands), "a", hands, made=1)
    assert used(engine, name) == {"tokens": 2, "budget": 2}
    assert enter(engine, account, "b", hands).amount == 10 and sound(engine)


def test_key_account_and_team_are_limited_each_for_itself(engine: Engine, hands: Hands, account: str) -> None:
    other = funded(engine, hands)
    team = limits.create_team(engine, "press")
    for member in (account, other):
        limits.join(engine, team, member)
    key = keys.create(engine, account, name="k", clock=hands).key.id
    at_most(engine, f"key:{key}", "requests", "day", 1)
    at_most(engine, f"account:{account}", "requests", "day", 2)
    at_most(engine, "team:press", "budget", "day", 30)
    enter(engine, account, "a", hands, key=key)
    with pytest.raises(LimitReached, match="key:"):
        enter(engine, account, "b", hands, key=key)
    enter(engine, account, "c", hands)
    with pytest.raises(LimitReached, match="account:"):
        enter(engine, account, "d", hands)
    enter(engine, other, "e", hands)
    with pytest.raises(BudgetSpent, match="team:press"):
        enter(engine, other, "f", hands)
    assert sound(engine)


def test_only_so_many_run_at_once_and_a_crash_does_not_stay_in_the_way(
    engine: Engine, hands: Hands, account: str
) -> None:
    at_most(engine, f"account:{account}", "parallel", "", 2)
    first = enter(engine, account, "a", hands)
    enter(engine, account, "b", hands)
    with pytest.raises(LimitReached) as caught:
        enter(engine, account, "c", hands)
    assert (caught.value.measure, caught.value.seconds) == ("parallel", 1)
    finish(engine, first, "a", hands, made=1)
    enter(engine, account, "c", hands)
    hands.set(NOON + timedelta(hours=2))
    assert len(journal.sweep(engine, hands)) == 2
    enter(engine, account, "d", hands)


@pytest.mark.parametrize(
    ("measure", "span", "most"), [("requests", "day", 3), ("parallel", "", 3), ("budget", "day", 35)]
)
def test_of_64_at_once_three_come_in(
    engine: Engine, hands: Hands, account: str, measure: str, span: str, most: int
) -> None:
    """From two members of one team, so that no account's own lock is enough."""
    other = funded(engine, hands)
    team = limits.create_team(engine, "press")
    for member in (account, other):
        limits.join(engine, team, member)
    at_most(engine, "team:press", measure, span, most)
    start = threading.Barrier(64)

    def one(number: int) -> bool:
        start.wait()
        try:
            return bool(enter(engine, (account, other)[number % 2], str(number), hands).id)
        except SpearheadError:
            return False

    with ThreadPoolExecutor(64) as pool:
        assert sum(pool.map(one, range(64))) == 3
    assert sound(engine)


def test_counters_are_a_cache_that_may_be_lost(engine: Engine, hands: Hands, account: str) -> None:
    name = f"account:{account}"
    for measure in ("requests", "tokens", "budget"):
        at_most(engine, name, measure, "day", 1000)
    for request in "abc":
        finish(engine, enter(engine, account, request, hands), request, hands, made=2)
    enter(engine, account, "open", hands)
    before = used(engine, name)
    with engine.begin() as connection:
        assert connection.execute(limit_windows.delete()).rowcount == 3
    enter(engine, account, "next", hands, most=0)
    assert before == {"requests": 4, "tokens": 19, "budget": 19}
    assert used(engine, name) == {"requests": 5, "tokens": 20, "budget": 20} and sound(engine)


def test_a_limit_holds_from_when_it_is_set_for_what_was_done_before_it_too(
    engine: Engine, hands: Hands, account: str
) -> None:
    name = f"account:{account}"
    enter(engine, account, "a", hands)
    at_most(engine, name, "requests", "day", 1)
    with pytest.raises(LimitReached):
        enter(engine, account, "b", hands)
    at_most(engine, name, "requests", "day", None)
    enter(engine, account, "b", hands)
    assert limits.of(engine) == []


def test_a_team_counts_in_one_currency(engine: Engine, account: str) -> None:
    team = limits.create_team(engine, "press")
    limits.join(engine, team, account)
    yen = keys.create_account(engine, "Kei", currency="JPY").id
    with pytest.raises(InputError, match="counts in EUR"):
        limits.join(engine, team, yen)


@pytest.mark.parametrize(
    ("subject", "measure", "span", "most"),
    [
        ("Ada", "requests", "day", 1),
        ("account:nobody", "requests", "day", 1),
        ("account:{}", "calls", "day", 1),
        ("account:{}", "requests", "week", 1),
        ("account:{}", "parallel", "day", 1),
        ("account:{}", "requests", "day", -1),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(
    engine: Engine, account: str, subject: str, measure: str, span: str, most: int
) -> None:
    with pytest.raises(InputError):
        at_most(engine, subject.format(account), measure, span, most)


@pytest.mark.parametrize("measure", ["tokens", "budget", "requests"])
def test_a_limit_that_was_lifted_and_is_set_again_knows_what_was_used_meanwhile(
    engine: Engine, hands: Hands, account: str, measure: str
) -> None:
    name = f"account:{account}"
    at_most(engine, name, measure, "month", 1000)
    finish(engine, enter(engine, account, "before", hands), "before", hands, made=9)
    at_most(engine, name, measure, "month", None)
    for request in "abc":
        finish(engine, enter(engine, account, request, hands), request, hands, made=9)
    most = 4 if measure == "requests" else 45
    at_most(engine, name, measure, "month", most)
    with pytest.raises(SpearheadError, match=f"account:{account}"):
        enter(engine, account, "too much", hands)
    assert sound(engine)


def test_a_settlement_does_not_take_longer_when_many_windows_are_over(
    engine: Engine, hands: Hands, account: str
) -> None:
    name = f"account:{account}"
    at_most(engine, name, "tokens", "minute", 1000)

    def looked_at(request: str) -> int:
        """Of SQLite: hundreds of its machine's steps; of PostgreSQL: rows of the windows."""
        held = enter(engine, account, request, hands)
        rows = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'limit_windows'"
        taken: list[int] = []
        with engine.connect() as connection:
            driver: Any = connection.connection.dbapi_connection
            if sqlite := connection.dialect.name == "sqlite":
                driver.set_progress_handler(lambda: taken.append(1), 100)
            finish(connection, held, request, hands, made=1)
            if sqlite:
                driver.set_progress_handler(None, 0)
            return len(taken) if sqlite else int(connection.exec_driver_sql(rows).scalar_one())

    first = looked_at("a")
    over = {"subject": name, "measure": "tokens", "span": "minute", "used": 1}
    with engine.begin() as connection:
        rows = [{**over, "start": stamp(NOON - timedelta(minutes=ago))} for ago in range(1, 10_000)]
        connection.execute(limit_windows.insert(), rows)
    assert first > 0 and looked_at("b") < first + 10


def test_counters_of_windows_that_are_long_over_are_forgotten_and_the_others_not_looked_at(
    steps: Any, hands: Hands
) -> None:
    engine, count = steps
    row = {"subject": "account:a", "measure": "requests", "used": 1}
    old = [("minute", 4), ("day", 4), ("month", 63)]
    kept = [("minute", 1), ("day", 1), ("month", 40), ("month", 1)]
    with engine.begin() as connection:
        rows = [{**row, "span": span, "start": stamp(NOON - timedelta(days=days))} for span, days in old + kept]
        connection.execute(limit_windows.insert(), rows)
    assert limits.purge(engine, clock=hands) == len(old)
    before = count(lambda connection: limits.purge(connection, clock=hands))
    with engine.begin() as connection:
        rows = [{**row, "span": "minute", "start": stamp(NOON - timedelta(minutes=one))} for one in range(1, 1000)]
        connection.execute(limit_windows.insert(), rows)
        assert connection.scalar(sa.select(sa.func.count()).select_from(limit_windows)) == len(kept) + 999
    assert count(lambda connection: limits.purge(connection, clock=hands)) < before + 10


def test_what_runs_is_not_looked_for_among_all_that_ever_ran(steps: Any, hands: Hands) -> None:
    engine, count = steps
    account = funded(engine, hands)
    at_most(engine, f"account:{account}", "parallel", "", 2)
    enter(engine, account, "runs", hands)

    def look(connection: Connection) -> None:
        assert [used for _, used in limits.left(connection, [f"account:{account}"], clock=hands)] == [1]

    before = count(look)
    group = {"kind": "reserve", "payload": "", "booked": stamp(NOON), "created": stamp(NOON)}
    row = {"account": account, "currency": "EUR", "amount": 0, "state": "settled", "settled": 0, "requests": 1}
    row |= {"created": stamp(NOON), "expires": stamp(NOON)}
    with engine.begin() as connection:
        numbers = range(100, 1100)
        connection.execute(journal_groups.insert(), [{**group, "id": one, "key": f"k{one}"} for one in numbers])
        connection.execute(reservations.insert(), [{**row, "id": f"r{one}", "group_id": one} for one in numbers])
    assert count(look) < before + 10
