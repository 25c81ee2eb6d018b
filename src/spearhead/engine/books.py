"""What a request does to the ledger, each in the caller's one transaction. Knows nothing of runtimes or review.

A request holds the most it can cost. Its end charges what is owed and moves what waits for a person into a hold of
its own; the person's decision charges that or gives it back.
"""

import contextlib
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.core.clock import Clock
from spearhead.core.errors import InputError
from spearhead.core.generation import Receipt, Usage
from spearhead.core.manifest import PriceTag
from spearhead.engine import outputs
from spearhead.ledger import holds, plans, usage
from spearhead.ledger.holds import NotEnoughCredit, Reservation
from spearhead.store.tables import usage_events

SOURCE = "engine"
MOST_ANSWERS = 16
"""To one prompt."""
MOST_TOGETHER = 64
"""To all prompts of one request."""
SPARE_SECONDS = 3600
"""How long a hold outlives the time that a person has to decide, so that the sweep never comes first."""


@dataclass(frozen=True, slots=True)
class Line:
    """Units under a key of their own."""

    key: str
    units: Usage


@dataclass(frozen=True, slots=True)
class Bill:
    """How a request ended: all that was made, what is owed for it now, and what waits for a person."""

    request: str
    key: str | None
    release: str
    made: Usage
    owed: Usage
    waiting: tuple[Line, ...]
    hours: int
    price: PriceTag
    milliseconds: int = 0
    """Of the whole machine."""


def held_key(request: str, output: str) -> str:
    """The key of an answer that waits."""
    return f"{request}/{output}"


def reserve(
    connection: Connection,
    account: str,
    most: Usage,
    *,
    price: PriceTag,
    request: str,
    key: str | None,
    server: str | None = None,
    clock: Clock,
) -> Reservation:
    """Hold the most that a request can take, within its plan and limits; one that is over already raises InputError."""
    made = plans.hold(
        connection,
        account,
        tag=price,
        prompt=most.prompt,
        completion=most.completion,
        request=request,
        key=key,
        server=server,
        clock=clock,
    )
    if made.state != "open":
        raise InputError(f"The request {request!r} was answered before: give a new one a key of its own.")
    return made


def cancel(connection: Connection, reservation: Reservation, *, request: str, clock: Clock) -> Receipt:
    """Give everything back: nothing was made, and it counts for no limit."""
    holds.release(connection, reservation.id, clock=clock)
    return Receipt(request, Usage(), 0, reservation.currency, True)


def close(connection: Connection, reservation: Reservation, bill: Bill, *, clock: Clock) -> Receipt:
    """Charge what is owed, record what was made, and hold what waits: all of it or nothing."""
    receipt = plans.close(
        connection,
        reservation,
        made=bill.made,
        owed=bill.owed,
        source=SOURCE,
        event=bill.request,
        key=bill.key,
        release=bill.release,
        milliseconds=bill.milliseconds,
        clock=clock,
    )
    for line in bill.waiting:
        # Where the sweep gave the request's own hold back before, the money may be gone: then the answer is a gift.
        with contextlib.suppress(NotEnoughCredit), connection.begin_nested():
            plans.hold(
                connection,
                reservation.account,
                tag=bill.price,
                prompt=line.units.prompt,
                completion=line.units.completion,
                request=line.key,
                key=bill.key,
                seconds=bill.hours * 3600 + SPARE_SECONDS,
                within=reservation,
                clock=clock,
            )
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
    for found in holds.open_under(connection, account, [key]):
        if not approved:
            holds.release(connection, found.id, clock=clock)
            continue
        beside = found.beside
        unit = plans.unit_of(beside.unit)
        plans.close(
            connection,
            found,
            made=Usage(unit=unit),  # its units are in the request's own event
            owed=Usage(beside.prompt_units, beside.completion_units, unit=unit),
            source=SOURCE,
            event=key,
            key=beside.key,
            release=release,
            clock=clock,
        )


def receipt(connection: Connection, request: str, *, account: str) -> Receipt | None:
    """What a request came to so far, less what was given back; None when this account has no such request."""
    t = usage_events.c
    events = [request, *_waiting_keys(request)]
    there = connection.execute(sa.select(usage_events).where(t.source == SOURCE, t.event.in_(events))).all()
    # Not asked of the database: SQLite would look through all that the account ever did.
    rows = [row for row in there if row.account == account]
    first = next((row for row in rows if row.event == request), None)
    if first is None:
        return None
    undone = connection.scalars(
        sa.select(t.amount).where(t.source == usage.CORRECTION, t.event.in_([str(row.id) for row in rows]))
    )
    return Receipt(
        request,
        Usage(first.prompt_units, first.completion_units, unit=first.unit),
        sum(row.amount for row in rows) + sum(undone),
        first.currency,
        not _waits(connection, request, account=account),
    )


def _waits(connection: Connection, request: str, *, account: str) -> bool:
    return bool(holds.open_under(connection, account, _waiting_keys(request)))


def _waiting_keys(request: str) -> list[str]:
    """Those that answers to a request can wait under."""
    return [held_key(request, outputs.name(request, index)) for index in range(MOST_TOGETHER)]
