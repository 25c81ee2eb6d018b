"""What was used: one event for each logical request, recorded once, and reports over them.

The identity of an event comes from the request, never from a delivery or a retry, so that recording again changes
nothing. Units are those that the runtime counted. Knows nothing of how the amount was made.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.core.generation import Receipt, Usage
from spearhead.ledger import journal
from spearhead.ledger.journal import KeyReused
from spearhead.store.database import reading, writing
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


_same = sa.select(table).where(table.c.source == sa.bindparam("source"), table.c.event == sa.bindparam("event"))
_insert = table.insert()


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
    }
    with writing(store) as connection:
        journal.lock(connection, account)
        if found := connection.execute(_same, {"source": source, "event": event}).one_or_none():
            if any(found._mapping[name] != value for name, value in values.items()):
                raise KeyReused(f"The usage event {event!r} of {source!r} was recorded before with other contents.")
            return False
        connection.execute(_insert, {**values, "happened": stamp(clock())})
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
    clock: Clock = now,
) -> Receipt:
    """Settle `reservation` at `amount` and record `usage` in one transaction: both happen, or neither.

    `usage` is all that was made; `amount` is the price of what is charged, less when review refused a part. The
    receipt and the event hold what was really charged (see `journal.settle`). Doing it again gives the same receipt.
    """
    with writing(store) as connection:
        settlement = journal.settle(connection, reservation, amount, clock=clock)
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
            clock=clock,
        )
        return Receipt(
            request=event, usage=usage, amount=settlement.charged, currency=settlement.currency, settled=True
        )


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
        sa.func.count(),
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
