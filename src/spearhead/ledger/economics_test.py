"""Promises of the measured verdict: the arithmetic, worked by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from spearhead.core.errors import InputError
from spearhead.core.generation import Usage
from spearhead.ledger import economics, keys, usage
from spearhead.store.tables import outputs, review_transitions, reviews

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)
CENT = 10**7


@pytest.fixture
def account(engine: Engine) -> str:
    return keys.create_account(engine, "Ada", currency="EUR").id


def piece(
    engine: Engine, account: str, number: int, *, state: str, seconds: int = 0, amount: int = 0, ms: int = 0
) -> None:
    """A piece that was made in `ms`, charged `amount`, and on which a person took `seconds`."""
    usage_row = {"source": "t", "event": str(number), "account": account, "key": None, "release": "s@1"}
    charge = usage.Charge(milliseconds=ms, covered_worth=1 * CENT if amount else 0)
    usage.record(engine, Usage(1, 1), **usage_row, amount=amount, currency="EUR", charge=charge)  # type: ignore[arg-type]
    row: dict[str, Any] = dict.fromkeys(("mime", "finish", "findings", "policy", "options", "request"), "")
    row |= {"id": str(number), "account": account, "release": "s@1", "state": state, "completion_units": 1}
    with engine.begin() as connection:
        connection.execute(outputs.insert().values(**row, created="c"))
        if not seconds:
            return
        names = {"id": f"r{number}", "output": str(number), "scenario": "s", "state": state, "version": 1}
        connection.execute(reviews.insert().values(**names, policy="", people=1, created="c", expires="e"))
        for before, after, moment in (
            ("needs_human", "claimed", NOON),
            ("claimed", "approved", NOON + timedelta(seconds=seconds)),
            ("approved", "released", NOON + timedelta(days=2)),  # nobody's time
        ):
            connection.execute(
                review_transitions.insert().values(
                    review=f"r{number}",
                    from_state=before,
                    to_state=after,
                    actor="a",
                    reason="",
                    policy="",
                    happened=moment.isoformat(),
                )
            )


def test_cost_is_measured_time_at_the_rate_and_the_minutes_of_people(engine: Engine, account: str) -> None:
    piece(engine, account, 1, state="released", ms=90_000, amount=10 * CENT, seconds=30)
    piece(engine, account, 2, state="released", ms=30_000, amount=10 * CENT)
    piece(engine, account, 3, state="rejected", ms=60_000, seconds=60)  # costs, and earns nothing
    rates: dict[str, Any] = {"machine_hour": 60 * CENT, "review_minute": 20 * CENT}
    found = economics.measured(engine, "s@1", wanted=2, **rates)
    # 180 s of an hour at 0.60 are 0.03; 90 s of people at 0.20 a minute are 0.30; 0.33 for two pieces.
    assert (found.milliseconds, found.machine_cost, found.review_seconds, found.review_cost) == (
        180_000,
        3 * CENT,
        90,
        30 * CENT,
    )
    assert (found.pieces, found.accepted, found.cost_per_accepted) == (3, 2, 165 * CENT // 10)
    assert (found.income, found.income_per_accepted) == (22 * CENT, 11 * CENT)  # two cents of it from a plan's fee
    assert found.verdict == "foam" and "2 of 2 accepted pieces: foam (measured)" in map(str, found.arithmetic)
    assert economics.measured(engine, "s@1", wanted=2, machine_hour=60 * CENT, review_minute=0).verdict == "gold"
    assert economics.measured(engine, "s@1", wanted=3, **rates).verdict is None


def test_an_item_that_was_left_lying_counts_as_half_an_hour(engine: Engine, account: str) -> None:
    piece(engine, account, 1, state="released", seconds=86_400)
    assert economics.measured(engine, "s@1", wanted=1, machine_hour=0, review_minute=0).review_seconds == 1800


def test_a_verdict_needs_a_piece_and_one_currency(engine: Engine, account: str) -> None:
    with pytest.raises(InputError):
        economics.measured(engine, "s@1", wanted=0, machine_hour=0, review_minute=0)
    yen = keys.create_account(engine, "Kei", currency="JPY").id
    for number, (payer, currency) in enumerate(((account, "EUR"), (yen, "JPY"))):
        names = {"source": "t", "event": str(number), "account": payer, "key": None, "release": "s@1"}
        usage.record(engine, Usage(), **names, amount=1, currency=currency)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="several currencies"):
        economics.measured(engine, "s@1", wanted=1, machine_hour=0, review_minute=0)


def test_terms_are_all_there_or_none_are() -> None:
    whole = {"wanted": 3, "machine_hour": 60 * CENT, "review_minute": 0, "arithmetic": ["1 + 1 = 2"]}
    assert economics.terms(whole) == economics.Terms(3, 60 * CENT, 0)
    for name, value in (("wanted", 0), ("wanted", True), ("machine_hour", -1), ("review_minute", "0")):
        assert economics.terms({**whole, name: value}) is None
    assert economics.terms({}) is None
