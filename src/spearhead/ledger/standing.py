"""What an account has, owes and may at one moment: its balance, grants, plan and limits in one look.

Adds nothing up itself and writes nothing.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from spearhead.ledger import grants, invoices, journal, keys, limits, plans
from spearhead.ledger.grants import Grant
from spearhead.ledger.limits import Limit
from spearhead.ledger.plans import Period, Subscription


@dataclass(frozen=True, slots=True)
class Standing:
    """All amounts are billionths of `currency`."""

    account: str
    currency: str
    available: int
    reserved: int
    owed: int
    grants: tuple[tuple[Grant, int], ...]
    """Those that are alive, with what is left of each."""
    subscription: Subscription | None
    period: Period | None
    limits: tuple[tuple[Limit, int], ...]
    """With what is used of each now."""


def of_account(connection: Connection, account: str, *, moment: datetime, key: str | None = None) -> Standing:
    """How `account` stands; the limits are its own, its team's and those of `key`, or of all its keys."""
    held = journal.balance(connection, account, clock=lambda: moment)
    subscription = plans.active(connection, account, moment)
    alive = [
        (grant, rest)
        for grant, rest in grants.of_account(connection, account)
        if rest and (grant.expires is None or datetime.fromisoformat(grant.expires) > moment)
    ]
    subjects = limits.subjects_of(connection, account, key)
    if key is None:
        subjects += [f"key:{one.id}" for one in keys.of_account(connection, account)]
    return Standing(
        account=account,
        currency=held.currency,
        available=held.available,
        reserved=held.reserved,
        owed=invoices.owed(connection, account),
        grants=tuple(alive),
        subscription=subscription,
        period=plans.period(subscription, moment) if subscription else None,
        limits=tuple(limits.left(connection, subjects, clock=lambda: moment)),
    )
