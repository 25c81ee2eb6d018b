"""Immutable groups of entries that sum to zero, each written once under its key. The only place that writes entries.

Knows nothing of what a group stands for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import stamp
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.sentence import said
from spearhead.store.database import reading
from spearhead.store.prepared import Prepared, insertion
from spearhead.store.tables import accounts, journal_entries, journal_groups

MOST = 10**17
"""The largest amount of one write: a hundred million of the currency. 92 such still fit a 64-bit sum."""

_account = Prepared(sa.select(accounts.c.currency).where(accounts.c.id == sa.bindparam("account")))
_account_locked = Prepared(
    sa.select(accounts.c.currency).where(accounts.c.id == sa.bindparam("account")).with_for_update(key_share=True)
)
_group_by_key = Prepared(sa.select(journal_groups).where(journal_groups.c.key == sa.bindparam("wanted")))
_insert_group = Prepared(insertion(journal_groups).returning(journal_groups.c.id))
_insert_entries = Prepared(insertion(journal_entries))
_lines_of = Prepared(
    sa.select(journal_entries.c.account, journal_entries.c.currency, journal_entries.c.amount)
    .where(journal_entries.c.group_id == sa.bindparam("wanted"))
    .order_by(journal_entries.c.id)
)

Line = tuple[str, str, int]
"""Account, currency and amount of an entry."""


class KeyReused(SpearheadError):
    """A key that stands for one write was given with another (an API answers 422)."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Group:
    """An immutable group of entries that sum to zero."""

    id: int
    kind: str
    booked: str
    created: str
    reverses: int | None


def lock(connection: Connection, account: str) -> str:
    """Hold every other writer of `account` off until this transaction ends, and return the account's currency."""
    # SQLite holds the whole database by now (BEGIN IMMEDIATE) and leaves FOR UPDATE out.
    if (currency := _account_locked.scalar(connection, {"account": account})) is None:
        raise InputError(said("ledger.no_account", account=account))
    return str(currency)


def currency_of(connection: Connection, account: str) -> str:
    """The account's currency; raises InputError when there is no such account."""
    if (currency := _account.scalar(connection, {"account": account})) is None:
        raise InputError(said("ledger.no_account", account=account))
    return str(currency)


def check_amount(amount: int, *, least: int) -> None:
    """Raises InputError on what is no amount of one write."""
    if type(amount) is not int or not least <= amount <= MOST:
        raise InputError(said("ledger.amount", given=repr(amount), least=least, most=MOST))


def scoped(kind: str, owner: str, key: str) -> str:
    """The caller's key made its own: two accounts that pick the same key do not meet."""
    if not (0 < len(key) <= 1000 and key.isprintable()):
        raise InputError(f"A key has 1 to 1000 printable characters; this one has {len(key)}.")
    scoped = f"{kind}:{owner}:{key}"
    return scoped if len(scoped) <= 200 else f"{kind}:{owner}:sha256:{digest.of_bytes(key.encode())}"


def posted(connection: Connection, key: str, *, payload: str) -> Group | None:
    """The group written under `key`, if any; raises KeyReused when it was written with another payload."""
    row = _group_by_key.first(connection, {"wanted": key})
    if row is None:
        return None
    if row.payload != payload:
        raise KeyReused(f"The key {key!r} was used for another write: take a new key for a new one.")
    return Group(id=row.id, kind=row.kind, booked=row.booked, created=row.created, reverses=row.reverses)


def post(
    connection: Connection,
    kind: str,
    lines: Sequence[Line],
    *,
    key: str,
    payload: str,
    moment: datetime,
    booked: datetime | None = None,
    reverses: int | None = None,
) -> Group:
    """Write one group: the only place that writes entries, and it refuses what does not sum to zero.

    For this folder's own files, behind the lock of the account that the lines name.
    """
    totals: dict[str, int] = {}
    for _, currency, amount in lines:
        totals[currency] = totals.get(currency, 0) + amount
    if any(totals.values()):
        raise SpearheadError(f"A {kind} that does not sum to zero was not booked: {list(lines)}.")
    created = stamp(moment)
    values = {
        "key": key,
        "kind": kind,
        "reverses": reverses,
        "payload": payload,
        "booked": stamp(booked) if booked else created,
        "created": created,
    }
    id = _insert_group.scalar(connection, values)
    _insert_entries.each(
        connection,
        [{"group_id": id, "account": name, "currency": currency, "amount": n} for name, currency, n in lines],
    )
    return Group(id=id, kind=kind, booked=str(values["booked"]), created=created, reverses=reverses)


def lines(store: Engine | Connection, group: int) -> list[Line]:
    """The entries of a group."""
    with reading(store) as connection:
        return [(row.account, row.currency, row.amount) for row in _lines_of.all(connection, {"wanted": group})]
