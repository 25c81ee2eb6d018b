"""Keys, plans and people as an operator sees them, and a person's own keys. Changes nothing: the ledger does that.

Knows no browser.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.core.clock import stamp
from spearhead.ledger import keys, limits, plans
from spearhead.ledger.keys import Account, Key
from spearhead.ledger.limits import Limit
from spearhead.ledger.plans import Plan, Subscription
from spearhead.store.tables import keys as table
from spearhead.store.tables import reservations

STATES = ("works", "replaced", "expired", "blocked")


@dataclass(frozen=True, slots=True)
class Shown:
    """A key, how it stands, when it was last used, and its limits with what is used of them."""

    key: Key
    state: str
    used: str | None
    limits: tuple[tuple[Limit, int], ...]


@dataclass(frozen=True, slots=True)
class Payer:
    """An account with its plan and its own limits."""

    account: Account
    subscription: Subscription | None
    limits: tuple[tuple[Limit, int], ...]


def shown(connection: Connection, account: str | None, *, moment: datetime) -> list[Shown]:
    """The keys of an account, or of all: those that work first, the newest first among them."""
    found = keys.of_account(connection, account)
    used = _last_used(connection, account)
    held = _limits(connection, [f"key:{key.id}" for key in found], moment=moment)
    made = [Shown(key, state(key, moment), used.get(key.id), held.get(f"key:{key.id}", ())) for key in found]
    newest = sorted(made, key=lambda one: (one.key.created, one.key.id), reverse=True)
    return sorted(newest, key=lambda one: STATES.index(one.state))


def state(key: Key, moment: datetime) -> str:
    """`works`, `replaced` (it still works until it expires), `expired` or `blocked`."""
    if key.blocked is not None:
        return "blocked"
    if key.expires is not None and key.expires <= stamp(moment):
        return "expired"
    return "replaced" if key.replaced_by is not None else "works"


def payers(connection: Connection, *, moment: datetime) -> list[Payer]:
    """Every account with its plan and limits, oldest first."""
    found = keys.all_accounts(connection)
    held = _limits(connection, [f"account:{one.id}" for one in found], moment=moment)
    return [Payer(one, plans.active(connection, one.id, moment), held.get(f"account:{one.id}", ())) for one in found]


@dataclass(frozen=True, slots=True)
class Shared:
    """A team, its members, and its limits with what is used of them."""

    id: str
    members: tuple[Account, ...]
    limits: tuple[tuple[Limit, int], ...]

    @property
    def currency(self) -> str:
        """What its budgets are in: the members' own, which is one; empty while there are none."""
        return self.members[0].currency if self.members else ""


def teams(connection: Connection, accounts: Iterable[Account], *, moment: datetime) -> list[Shared]:
    """Every team by its name; `accounts` are all that there are."""
    known, found = {one.id: one for one in accounts}, limits.all_teams(connection)
    held = _limits(connection, [f"team:{one.id}" for one in found], moment=moment)
    return [Shared(one.id, tuple(known[id] for id in one.members), held.get(f"team:{one.id}", ())) for one in found]


def offered(connection: Connection, currency: str | None = None) -> list[Plan]:
    """The plans that are offered, in one currency or in all."""
    return [plan for plan in plans.offered(connection) if currency in (None, plan.currency)]


def _last_used(connection: Connection, account: str | None) -> dict[str, str]:
    """When a request of each key was last let in: looked up for each, not found among all that ever were."""
    r = reservations.c
    last = sa.select(sa.func.max(r.created)).where(r.key_id == table.c.id).scalar_subquery()
    query = sa.select(table.c.id, last)
    if account is not None:
        query = query.where(table.c.account == account)
    return {str(key): str(when) for key, when in connection.execute(query).tuples() if when is not None}


def _limits(
    connection: Connection, subjects: list[str], *, moment: datetime
) -> dict[str, tuple[tuple[Limit, int], ...]]:
    found: dict[str, tuple[tuple[Limit, int], ...]] = {}
    for limit, used in limits.left(connection, subjects, clock=lambda: moment):
        found[limit.subject] = (*found.get(limit.subject, ()), (limit, used))
    return found
