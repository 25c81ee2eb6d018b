"""Which servers work over this database, by their signs of life: each counts its own beats, the others see it count.

What a request holds carries the id of its server, so that what a dead one held is given back within a minute. No clock
of another machine is read. A server whose beat stood still for SILENT looks in a row counts as dead and its row goes;
one that was only paused finds that out with its next beat, and comes back under another id. Knows no money.
"""

import secrets
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.core.clock import Clock, now, stamp
from spearhead.store.tables import servers as table

BEAT = 5.0
"""Seconds between two beats of a server, and between its looks at the others."""
SILENT = 8
"""Looks in a row that see no beat: those of a server that lives, however busy, are not missed for so long."""


def enter(connection: Connection, *, clock: Clock = now) -> str:
    """Write a new server down; gives its id, which no server had before."""
    id = f"srv_{secrets.token_hex(12)}"
    connection.execute(table.insert().values(id=id, beat=0, started=stamp(clock())))
    return id


def beat(connection: Connection, id: str) -> bool:
    """A sign of life; False when the others took this server for dead."""
    return bool(connection.execute(table.update().where(table.c.id == id).values(beat=table.c.beat + 1)).rowcount)


def leave(connection: Connection, id: str) -> None:
    """Take a server out that ends, or is dead: what it still holds is nobody's from now on."""
    connection.execute(table.delete().where(table.c.id == id))


def bury(connection: Connection, silent: Sequence[tuple[str, int]]) -> list[str]:
    """Take out every server of `silent` whose beat is still the one that was seen; gives their ids."""
    gone = []
    for id, seen in silent:
        if connection.execute(table.delete().where(table.c.id == id, table.c.beat == seen)).rowcount:
            gone.append(id)
    return gone


def another(column: "sa.ColumnElement[str | None]", *, than: str | None) -> "sa.ColumnElement[bool]":
    """Whether `column` names a server that lives and is another `than` this one."""
    return sa.and_(column.is_not(None), column != than if than else sa.true(), column.in_(sa.select(table.c.id)))


def dead(column: "sa.ColumnElement[str | None]") -> "sa.ColumnElement[bool]":
    """Whether `column` names a server that is no more."""
    return sa.and_(column.is_not(None), column.not_in(sa.select(table.c.id)))


class Watch:
    """What one server saw of the others.

    Looks are counted and not seconds: one that was paused, or could not reach the database, saw nothing meanwhile. Look
    once after each beat of one's own that was written, for where nobody can write nobody beats.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int]] = {}  # by id: the beat, and how many looks saw it after the first

    def look(self, connection: Connection) -> list[tuple[str, int]]:
        """The servers that have been silent for too long, each with its last beat."""
        rows = connection.execute(sa.select(table.c.id, table.c.beat)).tuples().all()
        before = self._seen
        self._seen = {id: (beat, before[id][1] + 1 if before.get(id, (-1,))[0] == beat else 0) for id, beat in rows}
        return [(id, beat) for id, (beat, looks) in self._seen.items() if looks >= SILENT]
