"""What a person's decision does to an answer and its money. Knows nothing of how people decide.

Looks at the queue now and then, so that it makes no difference who moved an item, or whether a server was up.
"""

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.core.clock import Clock, stamp
from spearhead.engine import books, outputs
from spearhead.engine.desk import lock
from spearhead.review import queue
from spearhead.store.tables import outputs as table
from spearhead.store.tables import reviews

if TYPE_CHECKING:
    from spearhead.engine.run import Engine


async def settle_decided(engine: "Engine") -> int:
    """Carry out every decision that was taken since the last look, and reject what nobody decided in time.

    Gives how many answers changed their state.
    """

    def look(connection: Connection) -> bool:
        return _has_late(connection, clock=engine.clock) or bool(_undone(connection))

    if not await engine.desk.read(look):
        return 0
    return await engine.desk.write(lambda connection: carry_out(connection, clock=engine.clock))


def carry_out(connection: Connection, *, clock: Clock) -> int:
    """Carry out every decision that the queue holds and the answers do not show yet; gives how many there were.

    What is left to do is told by the states alone. A line of the queue's history may come to be seen after a later one.
    Several servers may do it at once: one after the other they do, and who comes second finds nothing left.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7370656173)"))
    queue.expire(connection, clock=clock)
    found = [outputs.find(connection, id) for id in _undone(connection)]
    lock(connection, sorted({output.account for output in found if output is not None}))
    for output in found:
        assert output is not None and output.review is not None
        item = queue.find(connection, output.review)
        assert item is not None
        if item.state == "approved":
            # Approved were the bytes that the row names: a row's blob never changes.
            queue.release(connection, item.id, clock=clock)
        outputs.move(connection, output.id, to={"approved": "released"}.get(item.state, item.state))
        books.decided(
            connection,
            key=books.held_key(output.request, outputs.first(connection, output).id),
            approved=item.state == "approved",
            account=output.account,
            release=output.release,
            clock=clock,
        )
    return len(found)


def _undone(connection: Connection) -> list[str]:
    """Answers whose review has moved on without them."""
    moved = (
        sa.select(table.c.id)
        .join(reviews, reviews.c.output == table.c.id)
        .where(
            reviews.c.state.in_(("approved", "withdrawn")),
            table.c.state != "edited",  # another answer is in its place, and is decided on its own
            sa.or_(reviews.c.state == "approved", table.c.state == "released"),
        )
    )
    rejected = (
        sa.select(table.c.id)
        .join(reviews, reviews.c.id == table.c.review)
        .where(
            table.c.state == sa.literal_column("'held'"),  # in words, as the index of the held ones has it
            reviews.c.state == "rejected",
        )
    )
    query = sa.union(moved, rejected)
    return list(connection.scalars(query))


def _has_late(connection: Connection, *, clock: Clock) -> bool:
    """Whether something in the queue has run out of time."""
    moment = stamp(clock())
    query = sa.select(reviews.c.id).where(
        sa.or_(
            sa.and_(reviews.c.state.in_(queue.WAITING), reviews.c.expires <= moment),
            sa.and_(reviews.c.state == "claimed", reviews.c.lease <= moment),
        )
    )
    return connection.execute(query.limit(1)).first() is not None
