"""The billing run: every period that is over gets its invoice, once, whenever and however often it runs.

A clock that is set by hand takes an account through its months in a moment: `Hands` and `rehearsal`. Each invoice is a
transaction of its own, so a run that is killed leaves whole invoices and the next run the rest.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.ledger import invoices, journal, plans
from spearhead.ledger.invoices import Invoice
from spearhead.ledger.limits import window
from spearhead.store.database import reading, writing
from spearhead.store.tables import accounts, grants


def run(store: Engine | Connection, *, account: str | None = None, clock: Clock = now) -> list[Invoice]:
    """Invoice every period that is over, of one account or of all; gives what was not there before.

    A plan has its own periods; an account without one is told each calendar month what it used.
    """
    journal.expire(store, clock=clock)
    with reading(store) as connection:
        names = [account] if account else list(connection.scalars(sa.select(accounts.c.id).order_by(accounts.c.id)))
    made: list[Invoice] = []
    for name in names:
        with reading(store) as connection:
            known = {invoice.number for invoice in invoices.of_account(connection, name)}
        made += [invoice for invoice in _due(store, name, clock=clock) if invoice.number not in known]
    return made


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
                    journal.lock(connection, name)
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


def _due(store: Engine | Connection, account: str, *, clock: Clock) -> Iterator[Invoice]:
    moment = clock()
    subscriptions = plans.of_account(store, account)
    for subscription in subscriptions:
        start = subscription.started
        while (subscription.ended is None or start < subscription.ended) and start <= moment:
            period = plans.period(subscription, start)
            if period.end > moment:
                break
            found = invoices.cut(
                store,
                account,
                starts=period.start,
                ends=period.end,
                once=f"{subscription.id}:{period.number}",
                plan=subscription.plan,
                charge_fee=not period.trial,
                clock=clock,
            )
            if found is not None:
                yield found
            start = period.end
    if any(one.started <= moment and (one.ended is None or moment < one.ended) for one in subscriptions):
        return
    ends, _ = window("month", moment)
    first = invoices.waiting_since(store, account, ends)
    if first is not None:
        starts, _ = window("month", first)
        found = invoices.cut(store, account, starts=starts, ends=ends, once=f"{account}:{stamp(ends)}", clock=clock)
        if found is not None:
            yield found
