"""Promises of a request's money, on every database there is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from spearhead.core.clock import stamp
from spearhead.core.generation import Usage
from spearhead.core.manifest import PriceTag
from spearhead.engine import books, outputs
from spearhead.engine.books import Bill, Line
from spearhead.ledger import grants, holds, invoices, journal, keys, limits, plans, usage
from spearhead.ledger.billing import Hands
from spearhead.ledger.holds import Reservation
from spearhead.ledger.plans import Plan
from spearhead.store import database
from spearhead.store.tables import usage_events

TAG = PriceTag("EUR", 1_000_000, 3_000_000, "token")  # 1 and 3 billionths a token
MOST, MADE = Usage(10, 10), Usage(10, 4)  # 40 billionths, 22


@pytest.fixture
def hands() -> Hands:
    return Hands(datetime(2027, 1, 31, 12, tzinfo=UTC))


def new_account(engine: Engine, hands: Hands) -> str:
    """An account whose budget is counted."""
    account = keys.create_account(engine, "someone", currency="EUR", clock=hands).id
    subject = f"account:{account}"
    limits.set_limit(engine, subject, measure="budget", span="month", most=10**9, actor="test", clock=hands)
    return account


def reserve(engine: Engine, account: str, request: str, *, clock: Hands) -> Reservation:
    with engine.begin() as connection:
        return books.reserve(connection, account, MOST, price=TAG, request=request, key=None, clock=clock)


def close(engine: Engine, held: Reservation, request: str, *, clock: Hands) -> str:
    """End a request whose one answer waits for a person; gives the key of that answer."""
    waiting = books.held_key(request, outputs.name(request, 0))
    with engine.begin() as connection:
        bill = Bill(request, None, "tiny@v1", MADE, Usage(), (Line(waiting, MADE),), 24, TAG)
        books.close(connection, held, bill, clock=clock)
    return waiting


def decide(engine: Engine, account: str, key: str, *, approved: bool, clock: Hands) -> None:
    with engine.begin() as connection:
        books.decided(connection, key=key, approved=approved, account=account, release="tiny@v1", clock=clock)


def problems(engine: Engine) -> list[str]:
    """What does not agree."""
    return [*journal.check(engine), *usage.check(engine), *invoices.check(engine), *limits.check(engine)]


def grant(engine: Engine, account: str, *, clock: Hands) -> None:
    """Credit that ends in an hour."""
    grants.give(engine, account, 1000, key="g", expires=clock() + timedelta(hours=1), clock=clock)


@pytest.mark.parametrize("approved", [True, False])
def test_an_answer_that_waits_is_paid_of_what_its_request_held_though_that_ended_meanwhile(
    engine: Engine, hands: Hands, approved: bool
) -> None:
    account = new_account(engine, hands)
    grant(engine, account, clock=hands)
    held = reserve(engine, account, "r", clock=hands)
    holds.renew(engine, held.id, seconds=3 * 3600, clock=hands)
    hands.set(hands() + timedelta(hours=2))
    journal.sweep(engine, clock=hands)
    key = close(engine, held, "r", clock=hands)
    assert journal.balance(engine, account, clock=hands).reserved == 22
    journal.expire(engine, clock=hands)
    decide(engine, account, key, approved=approved, clock=hands)
    journal.expire(engine, clock=hands)
    with engine.connect() as connection:
        assert journal.total(connection, "earnings", "EUR", kind="settle") == (22 if approved else 0)
        assert journal.total(connection, "breakage", "EUR", kind="expire") == (978 if approved else 1000)
    assert journal.balance(engine, account, clock=hands).reserved == 0
    assert problems(engine) == []


def test_an_answer_that_waits_may_be_owed_as_its_request_was_though_the_plan_ended(
    engine: Engine, hands: Hands
) -> None:
    account = new_account(engine, hands)
    plans.offer(engine, Plan("demand", "EUR", owing=1000), actor="test", clock=hands)
    plans.subscribe(engine, account, "demand", clock=hands)
    plans.end(engine, account, clock=hands)
    hands.set(datetime(2027, 2, 28, 11, 59, 59, tzinfo=UTC))
    held = reserve(engine, account, "r", clock=hands)
    hands.set(datetime(2027, 2, 28, 12, 0, 5, tzinfo=UTC))
    key = close(engine, held, "r", clock=hands)
    decide(engine, account, key, approved=True, clock=hands)
    with engine.connect() as connection:
        assert journal.total(connection, "earnings", "EUR", kind="settle") == 22
    assert problems(engine) == []


def test_an_answer_whose_money_was_given_back_meanwhile_counts_for_no_budget(engine: Engine, hands: Hands) -> None:
    account = new_account(engine, hands)
    grant(engine, account, clock=hands)
    held = reserve(engine, account, "r", clock=hands)
    hands.set(hands() + timedelta(hours=2))
    assert journal.sweep(engine, clock=hands) == [held.id]
    key = close(engine, held, "r", clock=hands)
    decide(engine, account, key, approved=True, clock=hands)
    assert [used for _, used in limits.left(engine, [f"account:{account}"], clock=hands)] == [0]
    assert problems(engine) == []


def test_a_receipt_is_found_by_its_number_as_it_is_written(engine: Engine, hands: Hands) -> None:
    account = new_account(engine, hands)
    grant(engine, account, clock=hands)
    key = close(engine, reserve(engine, account, "req_a", clock=hands), "req_a", clock=hands)
    decide(engine, account, key, approved=True, clock=hands)
    with engine.connect() as connection:
        assert [books.receipt(connection, name, account=account) for name in ("REQ_A", "req-a", "req_", "")] == [
            None
        ] * 4
        found = books.receipt(connection, "req_a", account=account)
    assert found is not None and (found.amount, found.settled) == (22, True)


def test_a_receipt_is_looked_up_among_however_many(steps: Any, hands: Hands) -> None:
    engine, count = steps
    account = new_account(engine, hands)
    grant(engine, account, clock=hands)
    close(engine, reserve(engine, account, "r", clock=hands), "r", clock=hands)

    def read(connection: Connection) -> None:
        assert books.receipt(connection, "r", account=account) is not None

    before = count(read)
    with engine.begin() as connection:
        row: dict[str, Any] = {
            "source": "engine",
            "account": account,
            "release": "tiny@v1",
            "unit": "token",
            "currency": "EUR",
        }
        row |= {"prompt_units": 1, "completion_units": 1, "amount": 0, "happened": "2027-01-31T12:00:00Z"}
        connection.execute(usage_events.insert(), [{**row, "event": f"req_{number}"} for number in range(3000)])
    assert count(read) < before + 10


def test_a_receipt_tells_what_was_given_back(engine: Engine, hands: Hands) -> None:
    account = new_account(engine, hands)
    grant(engine, account, clock=hands)
    key = close(engine, reserve(engine, account, "r", clock=hands), "r", clock=hands)
    decide(engine, account, key, approved=True, clock=hands)
    usage.correct(engine, key, source=books.SOURCE, clock=hands)
    with engine.connect() as connection:
        found = books.receipt(connection, "r", account=account)
    assert found is not None and (found.amount, found.usage) == (0, MADE)
    assert problems(engine) == []


def test_a_request_writes_a_page_for_each_table_and_index_of_its_rows(steps: Any, hands: Hands) -> None:
    engine, _ = steps
    account = keys.create_account(engine, "someone", currency="EUR", clock=hands).id
    key = keys.create(engine, account, name="k", clock=hands).key.id
    journal.credit(engine, account, 10**6, key="gift", clock=hands)
    log = Path(f"{engine.url.database}-wal")
    held: dict[str, Reservation] = {}

    def pages(work: Callable[[Connection], object]) -> int:
        before = log.stat().st_size
        with database.writing(engine, durable=False) as connection:
            work(connection)
        return (log.stat().st_size - before) // 4096

    def ask(request: str) -> tuple[int, int]:
        def hold(connection: Connection) -> None:
            held[request] = books.reserve(
                connection, account, MOST, price=TAG, request=request, key=key, server="srv", clock=hands
            )

        def settle(connection: Connection) -> None:
            row = {"request": request, "account": account, "release": "tiny@v1", "state": "released", "text": "words"}
            rest = {"finish": "stop", "findings": "[]", "policy": "p", "options": "{}", "created": stamp(hands())}
            id = outputs.name(request, 0)
            outputs.insert(connection, outputs.Output(id=id, **row, **rest, seed=None, completion_units=4))
            books.close(connection, held[request], Bill(request, key, "tiny@v1", MADE, MADE, (), 24, TAG), clock=hands)

        return pages(hold), pages(settle)

    # Each of these pages is waited for: think twice before an index makes them more. Now and then one is split.
    assert tuple(map(min, zip(*(ask(f"r{n}") for n in range(8)), strict=True))) == (12, 18)
