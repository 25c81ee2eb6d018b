"""The audit log: each row holds the hash of the one before, so that a changed byte shows. Knows no meaning of rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.store.database import reading, writing
from spearhead.store.tables import audit

START = "0" * 64
"""What the first row has in the place of a row before."""


@dataclass(frozen=True, slots=True)
class Head:
    """How far the log had come: sign it and keep it elsewhere, and a log cut short shows too."""

    rows: int
    hash: str


def append(
    store: Engine | Connection,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    clock: Clock = now,
) -> str:
    """Write down who did what to what; gives the row's hash. `detail` is JSON and holds no secret."""
    if len(actor) > 64 or len(action) > 64 or len(subject) > 200:
        raise InputError("an audit row takes 64 characters of actor and action and 200 of subject")
    row = {
        "happened": stamp(clock()),
        "actor": actor,
        "action": action,
        "subject": subject,
        "detail": digest.canonical(dict(detail)),
    }
    with writing(store) as connection:
        if connection.dialect.name == "postgresql":  # two appends at once would both follow the same row
            connection.execute(sa.text("LOCK TABLE audit IN EXCLUSIVE MODE"))
        last = connection.execute(sa.select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)).scalar()
        row["previous"] = START if last is None else str(last)
        own = digest.of_value(row)
        connection.execute(audit.insert().values(**row, hash=own))
    return own


def verify(store: Engine | Connection, *, head: Head | None = None) -> int | None:
    """The id of the first row that is not as it was written, or that follows a missing one; None when all hold.

    With a `head` that was kept, a log that lacks rows it had then is broken too: at the row that should be there.
    """
    previous, number = START, 0
    names = ("happened", "actor", "action", "subject", "detail", "previous")
    with reading(store) as connection:
        for count, row in enumerate(connection.execute(sa.select(audit).order_by(audit.c.id)), 1):
            number = int(row.id)
            fields = {name: getattr(row, name) for name in names}
            if row.previous != previous or digest.of_value(fields) != row.hash:
                return number
            if head and count == head.rows and row.hash != head.hash:
                return number
            previous = row.hash
        total = connection.execute(sa.select(sa.func.count()).select_from(audit)).scalar_one()
    return number + 1 if head and total < head.rows else None


def head(store: Engine | Connection) -> Head:
    """How far the log has come."""
    with reading(store) as connection:
        count = int(connection.execute(sa.select(sa.func.count()).select_from(audit)).scalar_one())
        last = connection.execute(sa.select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)).scalar()
    return Head(count, START if last is None else str(last))
