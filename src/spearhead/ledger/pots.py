"""Where an account's money and included units lie, and in which order they are used.

Plain credit lies in `<account>:available`. A grant has a pot of its own, a priority and an end. What a plan lets the
account owe comes last, from `<account>:line`, which falls below zero. Reads only: the journal writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.core.clock import stamp
from spearhead.ledger import sums
from spearhead.store.prepared import Prepared
from spearhead.store.tables import grants

PLAIN_PRIORITY = 50
"""Of credit without a priority of its own."""
_FOREVER = "9999"
UNITS = {"token": "XTK", "picture": "XPC", "second": "XSE", "character": "XCH", "frame": "XFR"}
"""What a plan may include, and the code of each in the journal: X begins no currency of a country (ISO 4217)."""

ALIVE = (
    grants.c.account == sa.bindparam("account"),
    grants.c.closed.is_(None),
    grants.c.effective <= sa.bindparam("moment"),
    sa.or_(grants.c.expires.is_(None), grants.c.expires > sa.bindparam("moment")),
)
"""Of an account's grants those that may be used at a moment."""
_live = Prepared(sa.select(grants).where(*ALIVE).order_by(grants.c.id))


@dataclass(frozen=True, slots=True)
class Pot:
    """A journal account that something may be drawn from, and what is left in it (below zero after a charge-back)."""

    name: str
    left: int
    fresh: int
    """Entries since the last snapshot."""


def available(account: str) -> str:
    """Plain credit."""
    return f"{account}:available"


def reserved(account: str) -> str:
    """Held for work under way."""
    return f"{account}:reserved"


def granted(account: str, grant: str) -> str:
    """What one grant still holds."""
    return f"{account}:grant:{grant}"


def line(account: str) -> str:
    """What was used on account and is on no invoice yet; below zero."""
    return f"{account}:line"


def receivable(account: str) -> str:
    """What invoices ask for and nobody paid yet; below zero."""
    return f"{account}:receivable"


def live(connection: Connection, account: str, *, moment: datetime) -> Sequence[Any]:
    """The grants of `account` that may be used at `moment`."""
    return _live.all(connection, {"account": account, "moment": stamp(moment)})


def of(
    connection: Connection,
    account: str,
    currency: str,
    *,
    moment: datetime,
    owing: int = 0,
    live: Sequence[Any] | None = None,
) -> list[Pot]:
    """The pots of `account` in the order of use: priority, then end, then promotional before paid, then age.

    `owing` is how much it may owe in all, invoices that nobody paid among it; `live` its grants, where they were read.
    """
    rows = _live.all(connection, {"account": account, "moment": stamp(moment)}) if live is None else live
    ranked: list[tuple[tuple[int, str, int, str, str], str]] = [
        ((row.priority, row.expires or _FOREVER, 1 - row.promotional, row.created, row.id), granted(account, row.id))
        for row in rows
        if row.currency == currency
    ]
    units = currency in UNITS.values()
    if not units:
        ranked.append(((PLAIN_PRIORITY, _FOREVER, 1, "", ""), available(account)))
    found = [_pot(connection, name, currency) for _, name in sorted(ranked)]
    if owing and not units:
        used, billed = _pot(connection, line(account), currency), _pot(connection, receivable(account), currency)
        found.append(Pot(line(account), max(0, owing + used.left + billed.left), used.fresh))
    return found


def at(connection: Connection, account: str, currency: str, *, moment: datetime) -> list[str]:
    """The pots that `account` had at a moment of the past, those that were emptied and closed since among them."""
    wanted = sa.select(grants.c.id).where(
        grants.c.account == account,
        grants.c.currency == currency,
        grants.c.effective <= stamp(moment),
        sa.or_(grants.c.expires.is_(None), grants.c.expires > stamp(moment)),
        sa.or_(grants.c.closed.is_(None), grants.c.closed > stamp(moment)),
    )
    return [available(account), *(granted(account, row.id) for row in connection.execute(wanted.order_by(grants.c.id)))]


def draw(pots: Sequence[Pot], amount: int) -> tuple[list[tuple[str, int]], int]:
    """How much of `amount` comes from which pot, in order, and how much is missing.

    A pot below zero is a debt: the others make it good before anything is to be had.
    """
    short = max(0, amount - sum(pot.left for pot in pots))
    taken, rest = [], amount - short
    for pot in pots:
        part = min(rest, max(0, pot.left))
        if part:
            taken.append((pot.name, part))
        rest -= part
    return taken or [(pot.name, 0) for pot in pots[-1:]], short


def _pot(connection: Connection, name: str, currency: str) -> Pot:
    amount, _, fresh = sums.of(connection, name, currency)
    return Pot(name, amount, fresh)
