"""Promises about usage."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from spearhead.core.errors import InputError
from spearhead.core.generation import Receipt, Usage
from spearhead.ledger import holds, journal, keys, usage
from spearhead.ledger.groups import KeyReused

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def held(engine: Engine, *, amount: int = 600) -> tuple[str, str]:
    """An account with 1000, and a reservation of it."""
    account = keys.create_account(engine, "Ada", currency="EUR").id
    journal.credit(engine, account, 1_000, key="first")
    return account, holds.reserve(engine, account, amount, currency="EUR", key="r").id


def settle(engine: Engine, reservation: str, *, made: Usage, amount: int) -> Receipt:
    """One request's end."""
    return usage.settle_and_record(
        engine, reservation, made, amount=amount, source="api", event="req_1", key="key_1", release="s@1"
    )


def test_a_request_is_settled_and_recorded_once_however_often_it_is_told(engine: Engine) -> None:
    account, reservation = held(engine)
    made = Usage(prompt=12, completion=30, cached=4)
    receipt = settle(engine, reservation, made=made, amount=250)
    assert receipt == Receipt(request="req_1", usage=made, amount=250, currency="EUR", settled=True)
    assert settle(engine, reservation, made=made, amount=250) == receipt
    assert usage.report(engine) == [usage.Line(account, "s@1", "token", "EUR", 1, 12, 30, 250)]
    assert journal.balance(engine, account).available == 750


def test_an_explicit_zero_stays_zero(engine: Engine) -> None:
    account, reservation = held(engine)
    settle(engine, reservation, made=Usage(), amount=0)
    assert usage.report(engine)[0] == usage.Line(account, "s@1", "token", "EUR", 1, 0, 0, 0)
    assert journal.balance(engine, account).available == 1_000


def test_what_is_recorded_is_what_was_charged_even_past_the_reservation(engine: Engine) -> None:
    account, reservation = held(engine, amount=100)
    assert settle(engine, reservation, made=Usage(prompt=1, completion=1), amount=101).amount == 100
    assert usage.report(engine)[0].amount == 100
    assert journal.balance(engine, account).available == 900


def test_work_that_ends_after_its_reservation_was_swept_is_recorded_and_free(engine: Engine) -> None:
    account, reservation = held(engine)
    holds.release(engine, reservation)
    assert settle(engine, reservation, made=Usage(prompt=1, completion=9), amount=50).amount == 0
    assert usage.report(engine)[0] == usage.Line(account, "s@1", "token", "EUR", 1, 1, 9, 0)


def test_a_settlement_whose_usage_cannot_be_recorded_does_not_happen(engine: Engine) -> None:
    account, reservation = held(engine)
    settle(engine, reservation, made=Usage(prompt=1), amount=5)
    other = holds.reserve(engine, account, 100, currency="EUR", key="another").id
    with pytest.raises(KeyReused, match="req_1"):
        settle(engine, other, made=Usage(prompt=2), amount=7)
    assert holds.of(engine, other).state == "open"
    assert journal.balance(engine, account) == journal.Balance(account, "EUR", available=895, reserved=100)


def test_the_same_event_of_another_source_is_another_event(engine: Engine) -> None:
    account, _ = held(engine)
    for source in ("api", "studio"):
        assert usage.record(
            engine,
            Usage(prompt=1),
            source=source,
            event="1",
            account=account,
            key=None,
            release="s@1",
            amount=2,
            currency="EUR",
        )
    assert usage.report(engine)[0].requests == 2


def test_a_report_takes_its_first_moment_in_and_leaves_its_last_out(engine: Engine) -> None:
    account, _ = held(engine)
    for hour in range(4):
        usage.record(
            engine,
            Usage(prompt=10**hour),
            source="api",
            event=str(hour),
            account=account,
            key=None,
            release=f"s@{hour % 2}",
            amount=1,
            currency="EUR",
            clock=lambda hour=hour: NOON + timedelta(hours=hour),  # type: ignore[misc]
        )
    lines = usage.report(engine, since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=3))
    assert [(line.release, line.prompt_units) for line in lines] == [("s@0", 100), ("s@1", 10)]
    assert [line.prompt_units for line in usage.report(engine, release="s@0")] == [101]
    assert usage.report(engine, account="nobody") == []


def test_negative_units_and_unbounded_names_are_refused(engine: Engine) -> None:
    account, reservation = held(engine)
    with pytest.raises(InputError, match="not negative"):
        settle(engine, reservation, made=Usage(prompt=-1), amount=0)
    with pytest.raises(InputError, match="1 to 64 printable"):
        usage.record(
            engine,
            Usage(),
            source="s" * 65,
            event="1",
            account=account,
            key=None,
            release="s@1",
            amount=0,
            currency="EUR",
        )
    assert holds.of(engine, reservation).state == "open"


@pytest.mark.parametrize("table", ["usage_events", "journal_entries", "journal_groups"])
def test_what_was_booked_cannot_be_changed_or_removed(engine: Engine, table: str) -> None:
    _, reservation = held(engine)
    settle(engine, reservation, made=Usage(prompt=1), amount=5)
    for statement in (f"UPDATE {table} SET id = id + 100", f"DELETE FROM {table}"):
        with pytest.raises(sa.exc.IntegrityError, match="append-only"), engine.begin() as connection:
            connection.execute(sa.text(statement))
