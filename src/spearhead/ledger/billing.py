"""The billing run: every period that is over gets its invoice, once, whenever and however often it runs.

A clock that is set by hand takes an account through its months in a moment: `Hands` and `rehearsal`. Each invoice is a
transaction of its own, so a run that is killed leaves whole invoices and the next run the rest; of two at once each
gives what it wrote itself.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.ledger import groups, invoices, journal, plans
from spearhead.ledger.invoices import Invoice
from spearhead.ledger.limits import window
from spearhead.store.database import reading, writing
from spearhead.store.tables import accounts, grants

Beside = Callable[[Connection, Invoice], object]
"""Writes what belongs to a new invoice, in the invoice's own transaction."""


def run(
    store: Engine | Connection,
    *,
    account: str | None = None,
    beside: Beside = lambda connection, invoice: None,
    clock: Clock = now,
) -> list[Invoice]:
    """Invoice every period that is over, of one account or of all; gives what was not there before.

    A plan has its own periods; an account without one is told each calendar month what it used.
    """
    journal.expire(store, clock=clock)
    with reading(store) as connection:
        names = [account] if account else list(connection.scalars(sa.select(accounts.c.id).order_by(accounts.c.id)))
    return [made for name in names for made in _due(store, name, beside=beside, clock=clock)]


def rehearsal(store: Engine, *, account: str, until: datetime, clock: Clock = now) -> list[Invoice]:
    """The invoices that `account` would get up to `until` if nothing more were used: worked out and taken back."""
    hands = Hands(clock())
    with store.connect() as connection, connection.begin() as transaction:
        try:
            return list(hands.advance(connection, until, account=account))
        finally:
            transaction.rollback()


class Hands:
    """A clock that stands until it is moved: give it wherever a clock is asked for."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment.astimezone(UTC)

    def __call__(self) -> datetime:
        """The time that it shows."""
        return self._moment

    def set(self, moment: datetime) -> None:
        """Move it forwards; it never goes back, for what was written would then lie in its future."""
        if moment < self._moment:
            raise InputError(f"The clock shows {stamp(self._moment)} and cannot go back to {stamp(moment)}.")
        self._moment = moment.astimezone(UTC)

    def advance(self, store: Engine | Connection, to: datetime, *, account: str | None = None) -> Iterator[Invoice]:
        """Move it to each moment at which something falls due: plans renew, grants run out, invoices are written."""
        while self._moment < to:
            with reading(store) as connection:
                names = [account] if account else list(connection.scalars(sa.select(accounts.c.id)))
                following = min(_next(connection, name, self._moment) for name in names) if names else to
            self.set(min(to, following))
            with writing(store) as connection:
                for name in names:
                    groups.lock(connection, name)
                    if (current := plans.active(connection, name, self._moment)) is not None:
                        plans.refresh(connection, current, clock=self)
            yield from run(store, account=account, clock=self)


def _next(connection: Connection, account: str, moment: datetime) -> datetime:
    """The next moment at which something of this account falls due."""
    _, month = window("month", moment)
    subscription = plans.active(connection, account, moment)
    period = plans.period(subscription, moment).end if subscription else month
    query = sa.select(sa.func.min(grants.c.expires)).where(
        grants.c.account == account, grants.c.expires > stamp(moment)
    )
    expires = connection.scalar(query)
    return min(month, period, datetime.fromisoformat(expires) if expires else month)


def _due(store: Engine | Connection, account: str, *, beside: Beside, clock: Clock) -> Iterator[Invoice]:
    moment, known = clock(), invoices.told(store, account)

    def cut(once: str, **terms: Any) -> Iterator[Invoice]:
        if once in known:
            return
        with writing(store) as connection:
            groups.lock(connection, account)
            if once in invoices.told(connection, account):
                return  # another run was here meanwhile
            if (made := invoices.cut(connection, account, once=once, clock=clock, **terms)) is None:
                return
            beside(connection, made)
        yield made

    subscriptions = plans.of_account(store, account)
    for subscription in subscriptions:
        start = subscription.started
        while (subscription.ended is None or start < subscription.ended) and start <= moment:
            period = plans.period(subscription, start)
            if period.end > moment:
                break
            once = f"{subscription.id}:{period.number}"
            terms = {"plan": subscription.plan, "charge_fee": not period.trial}
            yield from cut(once, starts=period.start, ends=period.end, **terms)
            start = period.end
    if any(one.started <= moment and (one.ended is None or moment < one.ended) for one in subscriptions):
        return
    ends, _ = window("month", moment)
    first = invoices.waiting_since(store, account, ends)
    if first is not None:
        starts, _ = window("month", first)
        yield from cut(f"{account}:{stamp(ends)}", starts=starts, ends=ends)
