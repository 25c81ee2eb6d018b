"""What a request does to the ledger, each in the caller's one transaction. Knows nothing of runtimes or review.

A request holds the most it can cost. Its end charges what is owed and moves what waits for a person into a hold of
its own; the person's decision charges that or gives it back.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.core.clock import Clock
from spearhead.core.errors import InputError
from spearhead.core.generation import Receipt, Usage
from spearhead.engine import outputs
from spearhead.ledger import journal, usage
from spearhead.ledger.journal import NotEnoughCredit, Reservation
from spearhead.store.tables import journal_groups, reservations, usage_events

SOURCE = "engine"
MOST_ANSWERS = 16
"""To one request."""
SPARE_SECONDS = 3600
"""How long a hold outlives the time that a person has to decide, so that the sweep never comes first."""


@dataclass(frozen=True, slots=True)
class Line:
    """An amount under a key of its own."""

    key: str
    amount: int


@dataclass(frozen=True, slots=True)
class Bill:
    """How a request ended: all that was made, what is owed for it now, and what waits for a person."""

    request: str
    key: str | None
    release: str
    made: Usage
    owed: int
    waiting: tuple[Line, ...]
    hours: int


def held_key(request: str, output: str) -> str:
    """The key of an answer that waits."""
    return f"{request}/{output}"


def reserve(
    connection: Connection, account: str, amount: int, *, currency: str, request: str, clock: Clock
) -> Reservation:
    """Hold the most that a request can cost; a request that is over already raises InputError."""
    made = journal.reserve(connection, account, amount, currency=currency, key=request, clock=clock)
    if made.state != "open":
        raise InputError(f"The request {request!r} was answered before: give a new one a key of its own.")
    return made


def cancel(connection: Connection, reservation: Reservation, *, request: str, clock: Clock) -> Receipt:
    """Give everything back: nothing was made."""
    journal.release(connection, reservation.id, clock=clock)
    return Receipt(request, Usage(), 0, reservation.currency, True)


def close(connection: Connection, reservation: Reservation, bill: Bill, *, clock: Clock) -> Receipt:
    """Charge what is owed, record what was made, and hold what waits: all of it or nothing."""
    receipt = usage.settle_and_record(
        connection,
        reservation.id,
        bill.made,
        amount=bill.owed,
        source=SOURCE,
        event=bill.request,
        key=bill.key,
        release=bill.release,
        clock=clock,
    )
    for line in bill.waiting:
        try:
            journal.reserve(
                connection,
                reservation.account,
                line.amount,
                currency=reservation.currency,
                key=line.key,
                seconds=bill.hours * 3600 + SPARE_SECONDS,
                clock=clock,
            )
        except NotEnoughCredit:
            # Only when the request's own hold had been swept before: then the answer is ours to give.
            continue
    settled = not bill.waiting
    return Receipt(receipt.request, receipt.usage, receipt.amount, receipt.currency, settled)


def decided(
    connection: Connection,
    *,
    key: str,
    approved: bool,
    account: str,
    release: str,
    clock: Clock,
) -> None:
    """Charge the hold of an answer that a person approved, or give it back; doing it again changes nothing."""
    found = connection.execute(_holds(account, [key])).one_or_none()
    if found is None:
        return
    if not approved:
        journal.release(connection, found.id, clock=clock)
        return
    usage.settle_and_record(
        connection,
        found.id,
        Usage(),  # its units are in the request's own event
        amount=found.amount,
        source=SOURCE,
        event=key,
        key=None,
        release=release,
        clock=clock,
    )


def receipt(connection: Connection, request: str, *, account: str) -> Receipt | None:
    """What a request came to so far, or None when this account has no such request."""
    event = usage_events.c.event
    rows = connection.execute(
        sa.select(usage_events).where(
            usage_events.c.source == SOURCE,
            usage_events.c.account == account,
            sa.or_(event == request, event.startswith(f"{request}/", autoescape=True)),
        )
    ).all()
    if not rows:
        return None
    first = next(row for row in rows if row.event == request)
    return Receipt(
        request,
        Usage(first.prompt_units, first.completion_units, unit=first.unit),
        sum(row.amount for row in rows),
        first.currency,
        not _waits(connection, request, account=account),
    )


def _waits(connection: Connection, request: str, *, account: str) -> bool:
    keys = [held_key(request, outputs.name(request, index)) for index in range(MOST_ANSWERS)]
    return connection.execute(_holds(account, keys)).first() is not None


def _holds(account: str, keys: list[str]) -> "sa.Select[tuple[str, int]]":
    """Open reservations by the keys that they were made under; the journal puts verb and account before a key."""
    return (
        sa.select(reservations.c.id, reservations.c.amount)
        .join(journal_groups, journal_groups.c.id == reservations.c.group_id)
        .where(
            reservations.c.state == "open",
            journal_groups.c.key.in_([f"reserve:{account}:{key}" for key in keys]),
        )
    )
