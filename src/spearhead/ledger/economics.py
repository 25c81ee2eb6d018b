"""What an accepted piece of a release really cost and earned: from usage events, journal and review history alone.

The machine's cost is the time that answers took of it at the operator's rate; a moment without work costs nothing.
People's cost is the time from taking an item to deciding on it. Gold is said once as many pieces were accepted as the
scenario names; until then the figures are there and no verdict. The projected verdict is the gate's.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import sentence
from spearhead.core.errors import InputError
from spearhead.core.sentence import Said, Sentence, said
from spearhead.store.database import reading
from spearhead.store.tables import outputs, review_transitions, reviews, usage_events

HOUR, MINUTE = 3_600_000, 60
LONGEST = timedelta(minutes=30)
"""A decision that took longer counts as this much: the item had been left lying."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Amounts in billionths; costs rounded up, income down."""

    release: str
    currency: str
    pieces: int
    accepted: int
    wanted: int
    milliseconds: int
    review_seconds: int
    machine_cost: int
    review_cost: int
    income: int
    """What was charged, and the worth of what plans included."""
    cost_per_accepted: int | None
    income_per_accepted: int | None
    verdict: str | None
    """`gold`, `foam`, or None while too few pieces were accepted."""
    arithmetic: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a release declares for its measured verdict; rates are billionths of its currency."""

    wanted: int
    machine_hour: int
    review_minute: int


def terms(declared: Mapping[str, Any]) -> Terms | None:
    """The terms in a manifest's `economics`; None in a release that was made before they were written down.

    >>> terms({"wanted": 100, "machine_hour": 50_000_000, "review_minute": 0}).wanted
    100
    """
    values = [declared.get(name) for name in ("wanted", "machine_hour", "review_minute")]
    if not all(type(value) is int and value >= 0 for value in values) or not values[0]:
        return None
    return Terms(*(int(value) for value in values if value is not None))


def arithmetic(declared: Mapping[str, Any]) -> tuple[Said, ...]:
    """The sums in a manifest's `economics`; older releases hold them as English text. What is no sentence is left out.

    >>> arithmetic({"arithmetic": ["1 + 1 = 2", 3]})
    ('1 + 1 = 2',)
    """
    lines = declared.get("arithmetic", ())
    found: list[Said] = []
    for line in lines if isinstance(lines, list | tuple) else ():
        with contextlib.suppress(ValueError):
            found.append(sentence.read(line))
    return tuple(found)


def measured(
    store: Engine | Connection, release: str, *, wanted: int, machine_hour: int, review_minute: int, currency: str = ""
) -> Measured:
    """The figures of a release (`scenario@version`); `machine_hour` and `review_minute` are billionths of its currency.

    `wanted` accepted pieces make a verdict. `currency` is what it would be sold in, for one that was not used yet;
    raises InputError where that is not known either.
    """
    if wanted < 1 or machine_hour < 0 or review_minute < 0:
        raise InputError("A verdict wants at least one accepted piece, and rates that are not negative.")
    with reading(store) as connection:
        states = {state: int(count) for state, count in connection.execute(_states, {"release": release}).tuples()}
        money_rows = connection.execute(_money, {"release": release}).all()
        seconds = _review_seconds(connection, release)
    if len(money_rows) > 1:
        coins = tuple(row.currency for row in money_rows)
        raise InputError(said("ledger.cost.currencies", release=release, currencies=coins))
    coin = money_rows[0].currency if money_rows else currency
    if not coin and not states:
        raise InputError(said("ledger.cost.unknown", release=release))
    milliseconds, charged, worth = (int(value) for value in money_rows[0][1:]) if money_rows else (0, 0, 0)
    pieces, accepted = sum(states.values()), states.get("released", 0)
    machine = -(-milliseconds * machine_hour // HOUR)
    people = -(-seconds * review_minute // MINUTE)
    income = charged + worth
    each = -(-(machine + people) // accepted) if accepted else None
    earned = income // accepted if accepted else None
    words = [
        said("ledger.cost.machine", milliseconds=milliseconds, rate=machine_hour, currency=coin, cost=machine),
        said("ledger.cost.people", seconds=seconds, rate=review_minute, currency=coin, cost=people),
        said("ledger.cost.income", charged=charged, worth=worth, income=income),
    ]
    if each is not None and earned is not None:
        words += [
            said("ledger.cost.each", machine=machine, people=people, accepted=accepted, cost=each, currency=coin),
            said("ledger.cost.earned", income=income, accepted=accepted, each=earned, currency=coin),
        ]
    verdict = None
    if accepted >= wanted and each is not None and earned is not None:
        verdict = "gold" if earned >= each else "foam"
    words.append(said("ledger.cost.verdict", accepted=accepted, wanted=wanted, verdict=verdict or "open"))
    return Measured(
        release=release,
        currency=coin,
        pieces=pieces,
        accepted=accepted,
        wanted=wanted,
        milliseconds=milliseconds,
        review_seconds=seconds,
        machine_cost=machine,
        review_cost=people,
        income=income,
        cost_per_accepted=each,
        income_per_accepted=earned,
        verdict=verdict,
        arithmetic=tuple(words),
    )


_states = (
    sa.select(outputs.c.state, sa.func.count())
    .where(outputs.c.release == sa.bindparam("release"))
    .group_by(outputs.c.state)
)
_money = (
    sa.select(
        usage_events.c.currency,
        sa.func.sum(usage_events.c.milliseconds),
        sa.func.sum(usage_events.c.amount),
        sa.func.sum(usage_events.c.covered_worth),
    )
    .where(usage_events.c.release == sa.bindparam("release"))
    .group_by(usage_events.c.currency)
)


def _review_seconds(connection: Connection, release: str) -> int:
    """From each claim to what that person did with it; an item that went back undecided counts too."""
    rows = connection.execute(
        sa.select(review_transitions.c.review, review_transitions.c.to_state, review_transitions.c.happened)
        .join(reviews, reviews.c.id == review_transitions.c.review)
        .join(outputs, outputs.c.id == reviews.c.output)
        .where(outputs.c.release == release)
        .order_by(review_transitions.c.review, review_transitions.c.id)
    )
    total, claimed = timedelta(0), dict[str, datetime]()
    for review, state, happened in rows:
        moment = datetime.fromisoformat(happened)
        if state == "claimed":
            claimed[review] = moment
        elif (since := claimed.pop(review, None)) is not None:
            total += min(max(moment - since, timedelta(0)), LONGEST)
    return int(total.total_seconds())
