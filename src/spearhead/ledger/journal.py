"""Double entry in integer billionths: what an account may spend, what is held for it, what was earned.

Groups of entries are immutable and sum to zero (groups.py). Every write is once-only under its key: the same key with
the same payload gives the same result again, with another payload it raises KeyReused. Balances are projections of the
entries. Money for work under way is held and settled in holds.py; which pot is used first is said in pots.py.

Account `a` has its pots (`a:available` and others, see pots.py) and `a:reserved`; `wash` is the world's money,
`earnings` is ours. Units that a plan includes are entries too, in a currency of their own.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.ledger import groups, holds, limits, pots, servers, sums
from spearhead.ledger.groups import Group
from spearhead.store.database import reading, writing
from spearhead.store.tables import OPEN, grants, journal_entries, journal_groups, journal_snapshots, reservations


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a group; a negative amount leaves the account."""

    group: int
    kind: str
    account: str
    currency: str
    amount: int
    booked: str


@dataclass(frozen=True, slots=True)
class Balance:
    """What `account` may spend and what is held for work under way, in billionths of `currency`."""

    account: str
    currency: str
    available: int
    reserved: int


def credit(
    store: Engine | Connection,
    account: str,
    amount: int,
    *,
    key: str,
    booked: datetime | None = None,
    clock: Clock = now,
) -> Group:
    """Give `account` an amount of its currency to spend; `booked` may lie in the past, never in the future."""
    groups.check_amount(amount, least=1)
    moment = clock()
    if booked is not None and booked > moment:
        raise InputError(f"A credit cannot be booked in the future: {stamp(booked)} is after {stamp(moment)}.")
    with writing(store) as connection:
        currency = groups.lock(connection, account)
        payload = digest.of_value(["credit", account, amount])
        scoped = groups.scoped("credit", account, key)
        if found := groups.posted(connection, scoped, payload=payload):
            return found
        lines = [("wash", currency, -amount), (pots.available(account), currency, amount)]
        return groups.post(connection, "credit", lines, key=scoped, payload=payload, moment=moment, booked=booked)


def reverse(store: Engine | Connection, group: int, *, key: str, clock: Clock = now) -> tuple[Group, ...]:
    """Undo a credit or a settlement by entries opposite to its own; the entries themselves stay.

    A settlement is undone with the reservation that it closed, so that the whole charge is available again. Undoing a
    credit that was spent leaves the account below zero: it can reserve nothing until new credit covers that.
    """
    with writing(store) as connection:
        origin = connection.execute(sa.select(journal_groups).where(journal_groups.c.id == group)).one_or_none()
        if origin is None:
            raise InputError(f"There is no journal group {group} to reverse.")
        if origin.kind not in ("credit", "settle"):
            raise InputError(f"Group {group} is a {origin.kind}: only credits and settlements are reversed.")
        undo = [group]
        if origin.kind == "settle":
            held = holds.of(connection, origin.key.removeprefix("close:"))
            undo.append(held.group)
        lines = {number: groups.lines(connection, number) for number in undo}
        groups.lock(connection, next(name for name, *_ in lines[group] if ":" in name).split(":", 1)[0])
        made = []
        for number in undo:
            payload = digest.of_value(["reverse", number])
            scoped = groups.scoped("reverse", str(number), key)
            if found := groups.posted(connection, scoped, payload=payload):
                made.append(found)
                continue
            if connection.execute(sa.select(journal_groups.c.id).where(journal_groups.c.reverses == number)).first():
                raise groups.KeyReused(f"Group {number} was reversed before, under another key.")
            opposite = [(name, currency, -amount) for name, currency, amount in lines[number]]
            _open_again(connection, [name for name, *_ in opposite])
            made.append(
                groups.post(
                    connection,
                    "reverse",
                    opposite,
                    key=scoped,
                    payload=payload,
                    moment=clock(),
                    reverses=number,
                )
            )
        return tuple(made)


def sweep(store: Engine, clock: Clock = now, *, server: str | None = None) -> list[str]:
    """Release every open reservation past its time and return their ids: what nobody ended goes back.

    What another server than this one works for stays, whatever this one's clock says: that one ends it, or `recover`
    does. Grants that have run out are closed after that, and old counters forgotten.
    """
    own = reservations.c.server.is_(None)
    swept = _released(
        store,
        lambda: sa.and_(
            reservations.c.expires < stamp(clock()),
            own if server is None else sa.or_(own, reservations.c.server == server),
        ),
        clock=clock,
    )
    expire(store, clock=clock)
    limits.purge(store, clock=clock)
    return swept


def recover(store: Engine, clock: Clock = now) -> list[str]:
    """Release every open reservation of a server that is no more and return their ids."""
    return _released(store, lambda: servers.dead(reservations.c.server), clock=clock)


def _released(store: Engine, which: Callable[[], sa.ColumnElement[bool]], *, clock: Clock) -> list[str]:
    """Release the open reservations that this is true of, each in a short transaction of its own; gives their ids."""
    with reading(store) as connection:
        query = sa.select(reservations.c.id).where(OPEN, which()).order_by(reservations.c.expires)
        found = connection.scalars(query).all()
    released = []
    for reservation in found:  # requests go on in between
        with writing(store) as connection:
            holds.locked(connection, reservation)  # its work may have settled or renewed it meanwhile
            still = sa.select(reservations.c.id).where(reservations.c.id == reservation, OPEN, which())
            if connection.scalar(still) is not None:
                holds.release(connection, reservation, clock=clock)
                released.append(reservation)
    return released


def expire(store: Engine | Connection, *, clock: Clock = now) -> int:
    """Book what is left of every grant past its end as `breakage`; the number of grants closed.

    What an open reservation took of a grant before its end stays with that work; what comes back of it later runs out
    the next time.
    """
    late = sa.select(grants).where(grants.c.closed.is_(None), grants.c.expires <= stamp(clock())).order_by(grants.c.id)
    with reading(store) as connection:
        found = connection.execute(late).all()
    closed = 0
    for row in found:
        with writing(store) as connection:
            groups.lock(connection, row.account)
            pot = pots.granted(row.account, row.id)
            rest, newest, _ = sums.of(connection, pot, row.currency)
            if rest:
                lines = [(pot, row.currency, -rest), ("breakage", row.currency, rest)]
                key, payload = f"expire:{row.id}:{newest}", digest.of_value(["expire", row.id, rest])
                groups.post(connection, "expire", lines, key=key, payload=payload, moment=clock())
            waiting = (
                sa.select(reservations.c.id)
                .join(journal_entries, journal_entries.c.group_id == reservations.c.group_id)
                .where(
                    reservations.c.account == row.account,
                    OPEN,
                    journal_entries.c.account == pot,
                )
            )
            if connection.execute(waiting.limit(1)).first() is None:
                connection.execute(grants.update().where(grants.c.id == row.id).values(closed=stamp(clock())))
                closed += 1
    return closed


def balance(store: Engine | Connection, account: str, *, as_of: datetime | None = None, clock: Clock = now) -> Balance:
    """What `account` has now, or had of what was booked up to `as_of`: plain credit and every grant that is alive.

    What it may owe besides is a plan's affair and not counted.
    """
    with reading(store) as connection:
        currency = groups.currency_of(connection, account)
        if as_of is None:
            here = pots.of(connection, account, currency, moment=clock())
            available, reserved = (
                sum(pot.left for pot in here),
                sums.of(connection, pots.reserved(account), currency)[0],
            )
        else:
            names = pots.at(connection, account, currency, moment=as_of)
            available = sum(_sum_as_of(connection, name, currency, as_of) for name in names)
            reserved = _sum_as_of(connection, pots.reserved(account), currency, as_of)
        return Balance(account=account, currency=currency, available=available, reserved=reserved)


def total(store: Engine | Connection, name: str, currency: str, *, kind: str) -> int:
    """The sum of the entries of a journal account in groups of one kind."""
    query = (
        sa.select(sa.func.sum(journal_entries.c.amount))
        .join(journal_groups, journal_groups.c.id == journal_entries.c.group_id)
        .where(
            journal_entries.c.account == name,
            journal_entries.c.currency == currency,
            journal_groups.c.kind == kind,
        )
    )
    with reading(store) as connection:
        return int(connection.scalar(query) or 0)


def settlement_of(store: Engine | Connection, reservation: str) -> int | None:
    """The number of the group that settled `reservation`."""
    query = sa.select(journal_groups.c.id).where(
        journal_groups.c.key == f"close:{reservation}", journal_groups.c.kind == "settle"
    )
    with reading(store) as connection:
        return connection.scalar(query)


def entries(store: Engine | Connection, account: str, *, after: int = 0, limit: int = 100) -> list[Entry]:
    """Entries of `account` in order, at most `limit` of them in groups later than group `after`.

    All entries of a group come together, so that `entries(..., after=got[-1].group)` is the next page.
    """
    own = sa.and_(journal_entries.c.account >= f"{account}:", journal_entries.c.account < f"{account};")
    picked = (
        sa.select(journal_entries.c.group_id)
        .where(own, journal_entries.c.group_id > after)
        .group_by(journal_entries.c.group_id)
        .order_by(journal_entries.c.group_id)
        .limit(max(1, limit // 2))
    )
    with reading(store) as connection:
        rows = connection.execute(
            sa.select(journal_entries, journal_groups.c.kind, journal_groups.c.booked)
            .join(journal_groups, journal_groups.c.id == journal_entries.c.group_id)
            .where(own, journal_entries.c.group_id.in_(picked))
            .order_by(journal_entries.c.id)
        )
        return [
            Entry(
                group=row.group_id,
                kind=row.kind,
                account=row.account,
                currency=row.currency,
                amount=row.amount,
                booked=row.booked,
            )
            for row in rows
        ]


def check(store: Engine | Connection) -> list[str]:
    """Every broken promise of the journal, a sentence each; an empty list is a sound journal."""
    problems = []
    amount = journal_entries.c.amount
    with reading(store) as connection:
        unequal = connection.execute(
            sa.select(journal_entries.c.group_id, journal_entries.c.currency, sa.func.sum(amount))
            .group_by(journal_entries.c.group_id, journal_entries.c.currency)
            .having(sa.func.sum(amount) != 0)
        )
        problems += [f"Group {group} does not sum to zero: {total} {currency}." for group, currency, total in unequal]
        held = {
            (row[0], row[1]): int(row[2])
            for row in connection.execute(
                sa.select(journal_entries.c.account, journal_entries.c.currency, sa.func.sum(amount))
                .where(journal_entries.c.account.like("%:reserved"))
                .group_by(journal_entries.c.account, journal_entries.c.currency)
            )
        }
        promised, r = Counter[tuple[str, str]](), reservations.c
        for row in connection.execute(sa.select(r.account, r.currency, r.amount, r.unit, r.units).where(OPEN)):
            promised[pots.reserved(row.account), row.currency] += row.amount
            if row.unit is not None:
                promised[pots.reserved(row.account), row.unit] += row.units
        for name in sorted(held.keys() | promised.keys()):
            if held.get(name, 0) != promised.get(name, 0):
                problems.append(
                    f"{name[0]} holds {held.get(name, 0)} {name[1]}, and its open reservations {promised.get(name, 0)}."
                )
        spent = connection.execute(
            sa.select(journal_entries.c.account, sa.func.sum(amount))
            .where(journal_entries.c.account.like("%:grant:%"))
            .group_by(journal_entries.c.account)
            .having(sa.func.sum(amount) < 0)
        )
        problems += [f"{name} is overdrawn by {-total}." for name, total in spent]
        closed = sa.select(journal_groups.c.id).where(journal_groups.c.key == sa.literal("close:") + reservations.c.id)
        half = connection.scalars(sa.select(reservations.c.id).where(sa.exists(closed) == OPEN))
        problems += [f"Reservation {name} is half closed: its state and its group disagree." for name in half]
        for row in connection.execute(sa.select(journal_snapshots)):
            real = connection.scalar(
                sa.select(sa.func.coalesce(sa.func.sum(amount), 0)).where(
                    journal_entries.c.account == row.account,
                    journal_entries.c.currency == row.currency,
                    journal_entries.c.id <= row.entry,
                )
            )
            if int(real or 0) != row.amount:
                problems.append(f"The snapshot of {row.account} is {row.amount}, and its entries sum to {real}.")
    return problems


def _sum_as_of(connection: Connection, name: str, currency: str, moment: datetime) -> int:
    total = connection.scalar(
        sa.select(sa.func.sum(journal_entries.c.amount))
        .join(journal_groups, journal_groups.c.id == journal_entries.c.group_id)
        .where(
            journal_entries.c.account == name,
            journal_entries.c.currency == currency,
            journal_groups.c.booked <= stamp(moment),
        )
    )
    return int(total or 0)


def _open_again(connection: Connection, names: Sequence[str]) -> None:
    """Grants that something comes back to are looked at again when grants run out."""
    ids = [name.rsplit(":", 1)[1] for name in names if ":grant:" in name]
    if ids:
        connection.execute(grants.update().where(grants.c.id.in_(ids)).values(closed=None))
