"""What the processes that share a database leave to each other of a key's rates: leases, not single requests.

A process that serves a key takes a part of its minute, counts in its own memory while that lasts, and takes more when
it is used up: together they never let more in than the limit. What one has taken and does not use the others lack until
the window ends or it gives it back, so a process may refuse a little early, never late. A lease ends by itself: a
process that was killed holds nothing for long. Windows begin with the first request in any. Knows nothing of prices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.ledger import groups
from spearhead.store.tables import rate_leases as table

_of_key = sa.select(table).where(table.c.key_id == sa.bindparam("wanted"))
_own = (
    table.c.key_id == sa.bindparam("of"),
    table.c.measure == sa.bindparam("by"),
    table.c.process == sa.bindparam("at"),
)
_set = table.update().where(*_own).values(amount=sa.bindparam("to"), expires=sa.bindparam("until"))
_shrink = table.update().where(*_own).values(amount=sa.bindparam("to"))
_renew = (
    table.update()
    .where(table.c.process == sa.bindparam("at"), table.c.measure == sa.bindparam("by"))
    .values(expires=sa.bindparam("until"))
)


@dataclass(frozen=True, slots=True)
class Want:
    """How much a process must have of a measure in all, how much it would like, and how much the key may have.

    `until` (milliseconds since 1970) is when the lease ends if no window runs, or in any case if it `renews`.
    """

    measure: str
    least: int
    most: int
    limit: int
    until: int
    renews: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """What the process has of a measure until it ends; `others` is what all the others have."""

    measure: str
    amount: int
    others: int
    until: int


def take(
    connection: Connection, *, key: str, account: str, process: str, wants: Sequence[Want], moment: int
) -> list[Lease]:
    """A lease for each want, in order; when one cannot have its least, nothing changes and it shows by its amount."""
    groups.lock(connection, account)
    rows = connection.execute(_of_key, {"wanted": key}).all()
    leases = []
    for want in wants:
        late = 2 * want.until - moment  # twice a lease's life from now: written before a clock was set back
        live = [row for row in rows if row.measure == want.measure and moment < row.expires <= late]
        others = sum(row.amount for row in live if row.process != process)
        own = sum(row.amount for row in live if row.process == process)
        until = want.until if want.renews else max((row.expires for row in live), default=want.until)
        there = min(want.most, want.limit - others)
        leases.append(Lease(want.measure, there if there >= want.least else min(own, want.least - 1), others, until))
    if all(lease.amount >= want.least for lease, want in zip(leases, wants, strict=True)):
        known = {row.measure for row in rows if row.process == process}
        for lease in leases:
            here = {"of": key, "by": lease.measure, "at": process, "to": lease.amount, "until": lease.until}
            if lease.measure in known:
                connection.execute(_set, here)
            else:
                values = {"key_id": key, "measure": lease.measure, "process": process}
                connection.execute(table.insert().values(**values, amount=lease.amount, expires=lease.until))
    return leases


def keep(
    connection: Connection, *, process: str, renewed: Sequence[str], until: int, less: Sequence[tuple[str, str, int]]
) -> None:
    """Let the process's leases of the measures in `renewed` end later, and those in `less` (key, measure) be smaller.

    Takes nothing from anybody, so it waits for no account.
    """
    for measure in renewed:
        connection.execute(_renew, {"at": process, "by": measure, "until": until})
    if less:
        connection.execute(_shrink, [{"of": k, "by": m, "at": process, "to": amount} for k, m, amount in less])


def beat(connection: Connection, *, process: str, moment: int) -> None:
    """Write something that nobody reads: whether it can be written is the question."""
    here = {"of": "", "by": "beat", "at": process, "to": 0, "until": moment}
    if not connection.execute(_set, here).rowcount:
        connection.execute(table.insert().values(key_id="", measure="beat", process=process, amount=0, expires=moment))
