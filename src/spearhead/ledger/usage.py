"""What was used: one event for each logical request, recorded once, and reports over them.

The identity of an event comes from the request, never from a delivery or a retry, so that recording again changes
nothing. Units are those that the runtime counted. Knows nothing of how the amount was made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.core.generation import Receipt, Usage
from spearhead.core.manifest import PriceTag
from spearhead.ledger import groups, holds, journal, pots, price
from spearhead.ledger.groups import KeyReused
from spearhead.store.database import reading, writing
from spearhead.store.prepared import Prepared, insertion
from spearhead.store.tables import grants, reservations
from spearhead.store.tables import usage_events as table


@dataclass(frozen=True, slots=True)
class Line:
    """What one account used of one release; `amount` in billionths."""

    account: str
    release: str
    unit: str
    currency: str
    requests: int
    prompt_units: int
    completion_units: int
    amount: int


@dataclass(frozen=True, slots=True)
class Charge:
    """How the amount of an event came about; see plans.py."""

    reservation: str | None = None
    charged_prompt: int = 0
    """Of the units, those that were to be paid: what review refuses is not."""
    charged_completion: int = 0
    covered: int = 0
    """Of those, the ones that the plan includes."""
    covered_worth: int = 0
    """What was paid for them with the plan's fee."""
    on_account: int = 0
    """Of the amount, what an invoice asks for; the rest was paid before."""
    prompt_price: int | None = None
    completion_price: int | None = None
    milliseconds: int = 0
    """Of the whole machine."""


CORRECTION = "correction"
"""The source of events that undo others."""
_same = Prepared(
    sa.select(table).where(table.c.source == sa.bindparam("source"), table.c.event == sa.bindparam("event"))
)
_insert = Prepared(insertion(table))
_granted = Prepared(sa.select(grants.c.worth, grants.c.amount).where(grants.c.id == sa.bindparam("id")))


def record(
    store: Engine | Connection,
    usage: Usage,
    *,
    source: str,
    event: str,
    account: str,
    key: str | None,
    release: str,
    amount: int,
    currency: str,
    charge: Charge = Charge(),
    clock: Clock = now,
) -> bool:
    """Record an event; False when the same was recorded before. Another event of that name raises KeyReused."""
    fits = 0 < len(source) <= 64 and 0 < len(event) <= 200 and 0 < len(release) <= 200
    if not (fits and (source + event + release).isprintable()):
        raise InputError(
            "A usage event needs a source of 1 to 64 printable characters, an event and a release of 1 to 200."
        )
    if min(usage.prompt, usage.completion, amount) < 0:
        raise InputError(f"Units and amounts are not negative: {usage.prompt}, {usage.completion}, {amount}.")
    values = {
        "source": source,
        "event": event,
        "account": account,
        "key_id": key,
        "release": release,
        "prompt_units": usage.prompt,
        "completion_units": usage.completion,
        "unit": usage.unit,
        "amount": amount,
        "currency": currency,
        **{name: getattr(charge, name) for name in Charge.__slots__},
    }
    with writing(store) as connection:
        if connection is not store:  # else the caller holds it
            groups.lock(connection, account)
        if found := _same.first(connection, {"source": source, "event": event}):
            if any(getattr(found, name) != value for name, value in values.items()):
                raise KeyReused(f"The usage event {event!r} of {source!r} was recorded before with other contents.")
            return False
        _insert.run(connection, {**values, "happened": stamp(clock())})
        return True


def settle_and_record(
    store: Engine | Connection,
    reservation: str,
    usage: Usage,
    *,
    amount: int,
    source: str,
    event: str,
    key: str | None,
    release: str,
    units: int = 0,
    owed: Usage | None = None,
    milliseconds: int = 0,
    clock: Clock = now,
) -> Receipt:
    """Settle `reservation` at `amount` and record `usage` in one transaction: both happen, or neither.

    `usage` is all that was made; `owed` what of it is charged (all of it, where it is left out), `units` what of that
    the plan includes, `amount` the price of the rest; `milliseconds` of the whole machine went into it. The
    receipt and the event hold what was really charged (see `holds.settle`). Doing it again gives the same receipt.
    """
    with writing(store) as connection:
        paid = usage if owed is None else owed
        settlement = holds.settle(
            connection, reservation, amount, units=units, tokens=usage.prompt + usage.completion, clock=clock
        )
        beside = settlement.beside
        charge = Charge(
            reservation=reservation,
            charged_prompt=paid.prompt,
            charged_completion=paid.completion,
            covered=sum(part for _, coin, part in settlement.taken if coin == beside.unit),
            covered_worth=_worth(connection, settlement),
            on_account=sum(part for name, _, part in settlement.taken if name == pots.line(settlement.account)),
            prompt_price=beside.prompt_price,
            completion_price=beside.completion_price,
            milliseconds=milliseconds,
        )
        record(
            connection,
            usage,
            source=source,
            event=event,
            account=settlement.account,
            key=key,
            release=release,
            amount=settlement.charged,
            currency=settlement.currency,
            charge=charge,
            clock=clock,
        )
        return Receipt(
            request=event, usage=usage, amount=settlement.charged, currency=settlement.currency, settled=True
        )


def correct(store: Engine | Connection, event: str, *, source: str, clock: Clock = now) -> bool:
    """Undo what an event charged: its settlement is reversed and an event opposite to it recorded; False when it was
    undone before.

    The event stays. An invoice that it is on stays as well; the next one shows the correction.
    """
    with writing(store) as connection:
        row = _same.first(connection, {"source": source, "event": event})
        if row is None or source == CORRECTION or row.reservation is None:
            raise InputError(f"There is no usage event {event[:80]!r} of {source[:40]!r} that could be corrected.")
        groups.lock(connection, row.account)
        name = {"source": CORRECTION, "event": str(row.id)}
        if _same.first(connection, name):
            return False
        group = journal.settlement_of(connection, row.reservation)
        if group is not None:
            journal.reverse(connection, group, key=f"correct:{row.id}", clock=clock)
        counts = [  # all but the machine's time, which was spent all the same
            *("prompt_units", "completion_units", "amount", "charged_prompt", "charged_completion"),
            *("covered", "covered_worth", "on_account"),
        ]
        same = ("account", "key_id", "release", "unit", "currency", "reservation", "prompt_price", "completion_price")
        values = {column: getattr(row, column) for column in same}
        values |= {column: -getattr(row, column) for column in counts}
        _insert.run(connection, {**name, **values, "milliseconds": 0, "happened": stamp(clock())})
        return True


def check(store: Engine | Connection) -> list[str]:
    """Every event that does not say what was settled for it, or not what its units cost; a sentence each."""
    problems = []
    query = (
        sa.select(table, reservations.c.state, reservations.c.settled, reservations.c.amount.label("held"))
        .join(reservations, reservations.c.id == table.c.reservation)
        .where(table.c.source != CORRECTION)
        .order_by(table.c.id)
    )
    with reading(store) as connection:
        for row in connection.execute(query):
            charged = row.settled if row.state == "settled" else 0
            if row.amount != charged:
                problems.append(f"The event {row.event} says {row.amount}, and its reservation was charged {charged}.")
            if row.prompt_price is None or row.completion_price is None or row.state != "settled":
                continue
            tag = PriceTag(row.currency, row.prompt_price, row.completion_price, row.unit)
            cost = price.rest(tag, prompt=row.charged_prompt, completion=row.charged_completion, covered=row.covered)
            if row.amount != min(cost, row.held):
                problems.append(f"The event {row.event} says {row.amount}, and its units cost {cost}.")
    return problems


def _worth(connection: Connection, settlement: holds.Settlement) -> int:
    """What was paid for the included units that went into it, rounded down."""
    total = 0
    for name, currency, part in settlement.taken:
        if currency != settlement.currency:
            row = _granted.first(connection, {"id": name.rsplit(":", 1)[1]})
            total += row.worth * part // row.amount
    return total


def report(
    store: Engine | Connection,
    *,
    account: str | None = None,
    release: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Line]:
    """Totals by account and release, of events from `since` up to but without `until`."""
    t = table.c
    query = sa.select(
        t.account,
        t.release,
        t.unit,
        t.currency,
        sa.func.sum(sa.case((t.source == CORRECTION, 0), else_=1)),
        sa.func.sum(t.prompt_units),
        sa.func.sum(t.completion_units),
        sa.func.sum(t.amount),
    ).group_by(t.account, t.release, t.unit, t.currency)
    if account is not None:
        query = query.where(t.account == account)
    if release is not None:
        query = query.where(t.release == release)
    if since is not None:
        query = query.where(t.happened >= stamp(since))
    if until is not None:
        query = query.where(t.happened < stamp(until))
    with reading(store) as connection:
        rows = connection.execute(query.order_by(t.account, t.release, t.unit, t.currency)).all()
    return [
        Line(
            account=row[0],
            release=row[1],
            unit=row[2],
            currency=row[3],
            requests=int(row[4]),
            prompt_units=int(row[5]),
            completion_units=int(row[6]),
            amount=int(row[7]),
        )
        for row in rows
    ]


WIDTHS = {"1m": 60, "1h": 3600, "1d": 86400}
"""Seconds of a bucket."""
GROUPS = ("project_id", "user_id", "api_key_id", "model", "currency")
_CUT = {"1m": 16, "1h": 13, "1d": 10}


@dataclass(frozen=True, slots=True)
class Part:
    """What was used in one bucket by one group; what was not grouped by is None."""

    start: datetime
    unit: str
    project_id: str | None
    """The team."""
    user_id: str | None
    """The account."""
    api_key_id: str | None
    model: str | None
    """The release."""
    currency: str | None
    requests: int
    prompt_units: int
    completion_units: int
    amount: int


def buckets(
    store: Engine | Connection,
    *,
    start: datetime,
    end: datetime,
    width: str,
    group_by: Sequence[str] = (),
    only: Mapping[str, Sequence[str]] | None = None,
    scenario: str | None = None,
    without: str | None = None,
) -> list[Part]:
    """Use from `start` up to but without `end` in buckets of `width`, apart for each value of what is grouped by.

    `only` keeps events with these values, `scenario` those of its releases, `without` all but those of that one's.
    Unlike currencies do not add: group by `currency` to read amounts.
    """
    t = table.c
    columns = {
        "project_id": reservations.c.team,
        "user_id": t.account,
        "api_key_id": t.key_id,
        "model": t.release,
        "currency": t.currency,
    }
    if unknown := sorted({*group_by, *(only or {})} - columns.keys()):
        raise InputError(f"{unknown[0]!r} is nothing to group by: wanted {', '.join(columns)}.")
    when = sa.func.substr(t.happened, 1, _CUT[width])
    by = [columns[name] for name in GROUPS if name in group_by]
    asked = sa.case((t.source == CORRECTION, 0), else_=sa.func.coalesce(reservations.c.requests, 1))
    sums = [sa.func.sum(value) for value in (asked, t.prompt_units, t.completion_units, t.amount)]
    query = (
        sa.select(when, t.unit, *by, *sums)
        .join_from(table, reservations, reservations.c.id == t.reservation, isouter=True)
        .where(t.happened >= stamp(start), t.happened < stamp(end))
        .group_by(when, t.unit, *by)
        .order_by(when, t.unit, *by)
    )
    for name, values in (only or {}).items():
        query = query.where(columns[name].in_(list(values)))
    if scenario is not None:
        query = query.where(t.release.startswith(f"{scenario}@", autoescape=True))
    if without is not None:
        query = query.where(~t.release.startswith(f"{without}@", autoescape=True))
    named = [name for name in GROUPS if name in group_by]
    with reading(store) as connection:
        rows = connection.execute(query).all()
    parts = []
    for moment, unit, *rest in rows:
        texts: dict[str, str | None] = {**dict.fromkeys(GROUPS), **dict(zip(named, rest, strict=False))}
        begun = datetime.fromisoformat(moment + "2000-01-01T00:00:00"[len(moment) :] + "Z")
        asked_for, prompt, completion, amount = (int(value) for value in rest[len(named) :])
        parts.append(
            Part(
                start=begun,
                unit=unit,
                project_id=texts["project_id"],
                user_id=texts["user_id"],
                api_key_id=texts["api_key_id"],
                model=texts["model"],
                currency=texts["currency"],
                requests=asked_for,
                prompt_units=prompt,
                completion_units=completion,
                amount=amount,
            )
        )
    return parts
