"""What a person's decision does to an answer and its money. Knows nothing of how people decide.

Looks at the queue now and then, so that it makes no difference who moved an item, or whether a server was up.
"""

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.core.clock import Clock, stamp
from spearhead.engine import books, outputs
from spearhead.review import queue
from spearhead.store.tables import outputs as table
from spearhead.store.tables import review_transitions, reviews

if TYPE_CHECKING:
    from spearhead.engine.run import Engine


async def settle_decided(engine: "Engine") -> int:
    """Carry out every decision that was taken since the last look, and reject what nobody decided in time.

    Gives how many answers changed their state.
    """
    after = engine.decided

    def look(connection: Connection) -> tuple[bool, int]:
        return _has_late(connection, clock=engine.clock), _last(connection)

    late, last = await engine.desk.read(look)
    if not late and last == after:
        return 0
    done, last = await engine.desk.write(lambda connection: carry_out(connection, after=after, clock=engine.clock))
    engine.decided = last
    return done


def carry_out(connection: Connection, *, after: int = 0, clock: Clock) -> tuple[int, int]:
    """Carry out the decisions that the queue wrote down later than line `after`.

    Gives how many answers changed their state, and the last line that was looked at. Doing it again changes nothing.
    """
    queue.expire(connection, clock=clock)
    last = _last(connection)
    ids = _undone(connection, after=after)
    for id in ids:
        output = outputs.find(connection, id)
        assert output is not None and output.review is not None
        item = queue.find(connection, output.review)
        assert item is not None
        if item.state == "approved":
            # Approved were the bytes that the row names: a row's blob never changes.
            queue.release(connection, item.id, clock=clock)
        outputs.move(connection, id, to={"approved": "released"}.get(item.state, item.state))
        books.decided(
            connection,
            key=books.held_key(output.request, outputs.first(connection, output).id),
            approved=item.state == "approved",
            account=output.account,
            release=output.release,
            clock=clock,
        )
    return len(ids), last


def _undone(connection: Connection, *, after: int) -> list[str]:
    """Answers whose review has moved on without them."""
    moved = sa.select(review_transitions.c.review).where(
        review_transitions.c.id > after, review_transitions.c.to_state.in_(("approved", "rejected", "withdrawn"))
    )
    query = (
        sa.select(table.c.id)
        .join(reviews, reviews.c.output == table.c.id)
        .where(
            reviews.c.id.in_(moved),
            table.c.state != "edited",  # another answer is in its place, and is decided on its own
            sa.or_(
                reviews.c.state == "approved",
                sa.and_(reviews.c.state == "rejected", table.c.state == "held"),
                sa.and_(reviews.c.state == "withdrawn", table.c.state == "released"),
            ),
        )
    )
    return list(connection.scalars(query))


def _last(connection: Connection) -> int:
    return int(connection.scalar(sa.select(sa.func.max(review_transitions.c.id))) or 0)


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
