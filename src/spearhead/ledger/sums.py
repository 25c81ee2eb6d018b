"""The sum of an account's entries, from its last snapshot on. Knows nothing of what the entries mean."""

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.store.prepared import Prepared
from spearhead.store.tables import journal_entries, journal_snapshots

_snapshot = Prepared(
    sa.select(journal_snapshots.c.entry, journal_snapshots.c.amount).where(
        journal_snapshots.c.account == sa.bindparam("name"), journal_snapshots.c.currency == sa.bindparam("currency")
    )
)
_since_snapshot = Prepared(
    sa.select(sa.func.count(), sa.func.max(journal_entries.c.id), sa.func.sum(journal_entries.c.amount)).where(
        journal_entries.c.account == sa.bindparam("name"),
        journal_entries.c.currency == sa.bindparam("currency"),
        journal_entries.c.id > sa.bindparam("start"),
    )
)


def of(connection: Connection, name: str, currency: str) -> tuple[int, int, int]:
    """The balance of `name`, its newest entry, and how many entries came since its snapshot."""
    last = _snapshot.first(connection, {"name": name, "currency": currency})
    start, base = (last.entry, last.amount) if last else (0, 0)
    fresh, newest, since = _since_snapshot.first(connection, {"name": name, "currency": currency, "start": start})
    return base + int(since or 0), newest or start, fresh


def keep(connection: Connection, name: str, currency: str, *, amount: int, entry: int) -> None:
    """Remember a sum. Behind the account's lock only: there its entries' ids are in the order of their commits."""
    here = (journal_snapshots.c.account == name, journal_snapshots.c.currency == currency)
    connection.execute(journal_snapshots.delete().where(*here))
    connection.execute(journal_snapshots.insert().values(account=name, currency=currency, entry=entry, amount=amount))
