"""Grants: money or units with a priority and an end. Voiding one ends it and books back what is left of it.

What is left of a grant is the sum of its entries in the journal. Money that was paid comes from `wash`, what is given
away from `promotion`, units that a plan includes from `included`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.core.sentence import said
from spearhead.ledger import groups, pots, sums
from spearhead.store.database import reading, writing
from spearhead.store.tables import grants as table


@dataclass(frozen=True, slots=True)
class Grant:
    """`amount` is billionths, or units where `currency` is the code of a unit; lower priorities are used first."""

    id: str
    account: str
    currency: str
    amount: int
    priority: int
    promotional: bool
    effective: str
    expires: str | None
    worth: int
    """What was paid for all of it, where it holds units."""
    note: str
    created: str

    @property
    def unit(self) -> str | None:
        """What it holds so many of; None where it holds money."""
        return next((name for name, code in pots.UNITS.items() if code == self.currency), None)

    def so_much(self, left: int) -> dict[str, Any]:
        """`left` of it as the audit log has it: with its currency, or with its unit."""
        return {"left": left, **({"unit": self.unit} if self.unit else {"currency": self.currency})}


def give(
    store: Engine | Connection,
    account: str,
    amount: int,
    *,
    key: str,
    unit: str | None = None,
    priority: int = pots.PLAIN_PRIORITY,
    promotional: bool = False,
    effective: datetime | None = None,
    expires: datetime | None = None,
    worth: int = 0,
    note: str = "",
    clock: Clock = now,
) -> Grant:
    """Give `account` an amount of its currency, or of `unit`; once under its key."""
    moment = clock()
    start = effective or moment
    if type(amount) is not int or not 1 <= amount <= groups.MOST:
        raise InputError(said("ledger.grant", given=str(amount)[:40], most=groups.MOST))
    if not 0 <= priority <= 100:
        raise InputError(f"{priority} is no priority: wanted 0 (used first) to 100.")
    if expires is not None and expires <= start:
        raise InputError(f"A grant that ends at {stamp(expires)} and begins at {stamp(start)} could never be used.")
    if unit is not None and unit not in pots.UNITS:
        raise InputError(said("ledger.plan.unit", given=unit[:40], units=tuple(pots.UNITS)))
    if not 0 <= worth <= groups.MOST or len(note) > 200 or not (note.isprintable() or not note):
        raise InputError(said("ledger.note"))
    with writing(store) as connection:
        own = groups.lock(connection, account)
        scoped = f"grant:{account}:{digest.of_bytes(key.encode())}"
        payload = digest.of_value(["grant", amount, unit, priority, promotional, worth])
        if found := groups.posted(connection, scoped, payload=payload):
            return _one(connection, table.c.group_id == found.id)
        id, currency = f"gr_{digest.of_bytes(scoped.encode())[:24]}", pots.UNITS[unit] if unit else own
        origin = _origin(currency, promotional=promotional)
        lines = [(origin, currency, -amount), (pots.granted(account, id), currency, amount)]
        group = groups.post(connection, "grant", lines, key=scoped, payload=payload, moment=moment)
        values = {
            "id": id,
            "account": account,
            "currency": currency,
            "amount": amount,
            "priority": priority,
            "promotional": int(promotional),
            "effective": stamp(start),
            "expires": stamp(expires) if expires else None,
            "worth": worth,
            "note": note,
            "group_id": group.id,
            "created": group.created,
        }
        connection.execute(table.insert().values(values))
        return _one(connection, table.c.id == id)


def void(store: Engine | Connection, grant: str, *, clock: Clock = now) -> tuple[Grant, int]:
    """End a grant now: book back what is left of it, and give how much that was. What was used of it stays used.

    What work under way gives back of it later runs out: see `journal.expire`.
    """
    moment = clock()
    with writing(store) as connection:
        found = _one(connection, table.c.id == grant)
        groups.lock(connection, found.account)
        pot = pots.granted(found.account, grant)
        rest, newest, _ = sums.of(connection, pot, found.currency)
        if rest:
            origin = _origin(found.currency, promotional=found.promotional)
            lines = [(pot, found.currency, -rest), (origin, found.currency, rest)]
            key, payload = f"void:{grant}:{newest}", digest.of_value(["void", grant, rest])
            groups.post(connection, "void", lines, key=key, payload=payload, moment=moment)
        if found.expires is None or found.expires > stamp(moment):
            connection.execute(table.update().where(table.c.id == grant).values(expires=stamp(moment)))
        return found, rest


def of_account(store: Engine | Connection, account: str) -> list[tuple[Grant, int]]:
    """Every grant that `account` ever had, with what is left of it, oldest first."""
    query = sa.select(table).where(table.c.account == account).order_by(table.c.created, table.c.id)
    with reading(store) as connection:
        found = [_grant(row) for row in connection.execute(query).all()]
        return [(one, sums.of(connection, pots.granted(account, one.id), one.currency)[0]) for one in found]


def _origin(currency: str, *, promotional: bool) -> str:
    if currency in pots.UNITS.values():
        return "included"
    return "promotion" if promotional else "wash"


def _one(connection: Connection, here: "sa.ColumnElement[bool]") -> Grant:
    row = connection.execute(sa.select(table).where(here)).one_or_none()
    if row is None:
        raise InputError("There is no such grant.")
    return _grant(row)


def _grant(row: "sa.Row[tuple[object, ...]]") -> Grant:
    values = {name: row._mapping[name] for name in Grant.__slots__}
    return Grant(**{**values, "promotional": bool(values["promotional"])})
