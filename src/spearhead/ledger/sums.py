"""The sum of an account's entries, from its last snapshot on. Knows nothing of what the entries mean."""

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.store.prepared import Prepared
from spearhead.store.tables import journal_entries, journal_snapshots

_snapshot = sa.select(journal_snapshots.c.entry, journal_snapshots.c.amount).where(
    journal_snapshots.c.account == sa.bindparam("name"), journal_snapshots.c.currency == sa.bindparam("currency")
)
_entry, _base = (
    sa.func.coalesce(_snapshot.with_only_columns(column).scalar_subquery(), 0) for column in _snapshot.selected_columns
)
_sum = Prepared(
    sa.select(
        _entry.label("entry"),
        _base.label("base"),
        sa.func.count().label("fresh"),
        sa.func.max(journal_entries.c.id).label("newest"),
        sa.func.sum(journal_entries.c.amount).label("since"),
    ).where(
        journal_entries.c.account == sa.bindparam("name"),
        journal_entries.c.currency == sa.bindparam("currency"),
        journal_entries.c.id > _entry,
    )
)


def of(connection: Connection, name: str, currency: str) -> tuple[int, int, int]:
    """The balance of `name`, its newest entry, and how many entries came since its snapshot."""
    found = _sum.first(connection, {"name": name, "currency": currency})
    return found.base + int(found.since or 0), found.newest or found.entry, found.fresh


def keep(connection: Connection, name: str, currency: str, *, amount: int, entry: int) -> None:
    """Remember a sum. Behind the account's lock only: there its entries' ids are in the order of their commits."""
    here = (journal_snapshots.c.account == name, journal_snapshots.c.currency == currency)
    connection.execute(journal_snapshots.delete().where(*here))
    connection.execute(journal_snapshots.insert().values(account=name, currency=currency, entry=entry, amount=amount))
