"""Promises of pages over a long history: what they read does not grow with it. Counted in steps of SQLite's machine."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core.review import Decision
from spearhead.ledger import keys as ledger_keys
from spearhead.review import queue
from spearhead.service.studio import keys, reviews, shelf
from spearhead.service.studio.shelf import Wanted
from spearhead.store import tables

NOON = datetime(2027, 1, 31, 12, tzinfo=UTC)
MANY = 4000


def clock() -> datetime:
    return NOON


def outputs(connection: Connection, account: str, *, count: int) -> None:
    """So many that left, of two releases."""
    row: dict[str, Any] = {"request": "r", "account": account, "state": "released", "text": "t", "mime": "text/plain"}
    row |= {"finish": "stop", "findings": "[]", "policy": "p", "options": "{}", "completion_units": 1}
    there = int(connection.scalar(sa.select(sa.func.count()).select_from(tables.outputs)) or 0)
    some = [
        {**row, "id": f"out_{there + n}", "release": f"s{n % 2}@v1", "created": f"2026-12-01T{n % 24:02}:00:00Z"}
        for n in range(count)
    ]
    connection.execute(tables.outputs.insert(), some)


def history(connection: Connection, *, count: int, reviewer: str) -> None:
    """So many answers that this person decided on, the first half approved, and three that wait."""
    there = int(connection.scalar(sa.select(sa.func.count()).select_from(tables.reviews)) or 0)
    account = connection.scalar(sa.select(tables.accounts.c.id))
    outputs(connection, str(account), count=count)
    of = list(connection.scalars(sa.select(tables.outputs.c.id).order_by(tables.outputs.c.id.desc()).limit(count)))
    row: dict[str, Any] = {"version": 3, "policy": "p", "people": 1, "scenario": "s"}
    row |= {"created": "2026-12-01T00:00:00Z", "expires": "2028-01-01T00:00:00Z"}
    states = ["approved" if n * 2 < count else "rejected" for n in range(count)]
    some = [{**row, "id": f"rev_{there + n}", "output": of[n], "state": states[n]} for n in range(count)]
    connection.execute(tables.reviews.insert(), some)
    line: dict[str, Any] = {"actor": reviewer, "reason": "", "policy": "p", "happened": "2026-12-01T00:00:00Z"}
    steps = [("received", "needs_human"), ("needs_human", "claimed")]
    lines = [
        {**line, "review": f"rev_{there + n}", "from_state": before, "to_state": after}
        for n in range(count)
        for before, after in (*steps, ("claimed", states[n]))
    ]
    connection.execute(tables.review_transitions.insert(), lines)


def grows(steps: Any, more: Callable[[Connection], object], work: Callable[[Connection], object]) -> int:
    """By how many steps `work` grows as `more` is added."""
    engine, count = steps
    before = count(work)
    with engine.begin() as connection:
        more(connection)
    return int(count(work) - before)


@pytest.fixture
def account(steps: Any) -> str:
    return ledger_keys.create_account(steps[0], "a", currency="EUR").id


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(state="blocked"), Wanted(state="erased"), Wanted(scenario="s1")])
def test_a_page_of_the_gallery_reads_that_page(steps: Any, account: str, wanted: Wanted) -> None:
    with steps[0].begin() as connection:
        outputs(connection, account, count=100)

    def work(connection: Connection) -> None:
        shelf.search(connection, account, wanted)

    # What has one time is put in order: 24 times of a thousandth of all.
    assert grows(steps, lambda connection: outputs(connection, account, count=MANY), work) < MANY / 25


def test_the_scenarios_of_a_gallery_are_found_from_one_to_the_next(steps: Any, account: str) -> None:
    other = ledger_keys.create_account(steps[0], "b", currency="EUR").id
    with steps[0].begin() as connection:
        outputs(connection, account, count=10)

    def work(connection: Connection) -> None:
        assert shelf.scenarios(connection, account) == ["s0", "s1"]
        assert shelf.scenarios(connection, other) == []

    assert grows(steps, lambda connection: outputs(connection, account, count=MANY), work) < 10


def test_when_a_key_was_used_last_is_looked_up(steps: Any, account: str) -> None:
    engine: Engine = steps[0]
    used, new = (ledger_keys.create(engine, account, name=name).key.id for name in ("used", "new"))
    there = 0

    def ask(connection: Connection, count: int) -> None:
        nonlocal there
        group: dict[str, Any] = {"kind": "reserve", "payload": "p", "booked": "b", "created": "c"}
        row: dict[str, Any] = {"account": account, "currency": "EUR", "amount": 1, "state": "settled", "expires": "e"}
        row |= {"key_id": used, "units": 0, "prompt_units": 0, "completion_units": 0, "requests": 1, "tokens": 2}
        numbers = range(there, there + count)
        there += count
        connection.execute(tables.journal_groups.insert(), [{**group, "id": n + 1, "key": f"k{n}"} for n in numbers])
        made = [{**row, "id": f"r{n}", "group_id": n + 1, "created": f"2027-01-01T00:{n:06}Z"} for n in numbers]
        connection.execute(tables.reservations.insert(), made)

    def work(connection: Connection) -> None:
        found = {one.key.id: one.used for one in keys.shown(connection, None, moment=NOON)}
        assert found == {used: f"2027-01-01T00:{there - 1:06}Z", new: None}

    with engine.begin() as connection:
        ask(connection, 10)
    assert grows(steps, lambda connection: ask(connection, MANY), work) < 10


@pytest.mark.parametrize("scenario", [None, "s"])
def test_what_was_decided_is_read_from_the_newest_line_back(steps: Any, account: str, scenario: str | None) -> None:
    with steps[0].begin() as connection:
        history(connection, count=200, reviewer="ann")

    def work(connection: Connection) -> None:
        rows, more = reviews.listed(connection, "decided", reviewer="ann", scenario=scenario, clock=clock)
        there = int(connection.scalar(sa.select(sa.func.count()).select_from(tables.reviews)) or 0)
        assert more and [row.id for row in rows] == [f"rev_{there - 1 - n}" for n in range(len(rows))]

    # Counting the rows is the test's own.
    assert grows(steps, lambda connection: history(connection, count=MANY, reviewer="ann"), work) < MANY / 20


def test_a_claim_does_not_read_what_the_reviewer_ever_decided(steps: Any, account: str) -> None:
    for _ in range(3):
        queue.create(steps[0], Decision.HOLD, scenario="s", policy="p", blob="a" * 64, clock=clock)

    def work(connection: Connection) -> None:
        point = connection.begin_nested()
        assert queue.claim(connection, reviewer="ann", clock=clock) is not None
        point.rollback()

    assert grows(steps, lambda connection: history(connection, count=MANY, reviewer="ann"), work) < 20
