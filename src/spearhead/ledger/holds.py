"""Money held for work under way: reserved before it begins, charged or given back when it ends.

Reading the balance and holding the money are one transaction behind the account's lock. Knows nothing of what work
costs; what a plan or a limit adds to a reservation is decided in plans.py and limits.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.sentence import said
from spearhead.ledger import groups, limits, pots, sums
from spearhead.ledger.groups import Line
from spearhead.store.database import reading, writing
from spearhead.store.prepared import Prepared, insertion
from spearhead.store.tables import journal_entries, journal_groups, reservations

SNAPSHOT_EVERY = 128
"""An account's entries are summed anew from its last snapshot; past this many a new snapshot is kept."""

_insert_reservation = Prepared(insertion(reservations))
_close_reservation = Prepared(
    reservations.update()
    .where(reservations.c.id == sa.bindparam("wanted"))
    .values(state=sa.bindparam("to_state"), settled=sa.bindparam("to_settled"), tokens=sa.bindparam("to_tokens"))
)
_reservation_by_id = Prepared(sa.select(reservations).where(reservations.c.id == sa.bindparam("wanted")))
_reservation_by_group = Prepared(sa.select(reservations).where(reservations.c.group_id == sa.bindparam("wanted")))
_held = Prepared(
    sa.select(
        reservations,
        journal_entries.c.account.label("pot"),
        journal_entries.c.currency.label("coin"),
        journal_entries.c.amount.label("part"),
        limits.there_are(key=reservations.c.key_id, account=reservations.c.account, team=reservations.c.team).label(
            "limited"
        ),
    )
    .join(journal_entries, journal_entries.c.group_id == reservations.c.group_id)
    .where(reservations.c.id == sa.bindparam("wanted"))
    .order_by(journal_entries.c.id)
)


HELD = 3600
"""Seconds until the sweep gives back what nobody renewed or closed; what a dead server held it gives back at once."""


class NotEnoughCredit(SpearheadError):
    """The account has less available than was to be reserved (an API answers 429 `insufficient_quota`)."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money held for one piece of work; `state` is open, settled or released; `settled` is what was charged."""

    id: str
    group: int
    account: str
    currency: str
    amount: int
    state: str
    settled: int | None
    created: str
    expires: str
    beside: "Beside"


@dataclass(frozen=True, slots=True)
class Beside:
    """What else a reservation takes and remembers; see plans.py and limits.py, which decide on it."""

    owing: int = 0
    """How much the account may owe in all; not remembered."""
    unit: str | None = None
    """The journal's code of the units that are held beside the money."""
    units: int = 0
    prompt_price: int | None = None
    completion_price: int | None = None
    prompt_units: int = 0
    completion_units: int = 0
    key: str | None = None
    team: str | None = None
    requests: int = 0
    tokens: int = 0
    server: str | None = None
    """Whose work it is for: while that one lives nobody else gives it back."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a reservation ended: `asked` was the price of the work, `charged` is what the account paid.

    `charged` is less than `asked` when the reservation was smaller, and nothing when it had been released before.
    `taken` says from which pots, in money and in units.
    """

    reservation: str
    account: str
    currency: str
    asked: int
    charged: int
    taken: tuple[Line, ...] = ()
    beside: Beside = Beside()


def reserve(
    store: Engine | Connection,
    account: str,
    amount: int,
    *,
    currency: str,
    key: str,
    seconds: int = HELD,
    beside: Beside = Beside(),
    clock: Clock = now,
) -> Reservation:
    """Hold `amount` for work that costs at most that; raises NotEnoughCredit and holds nothing when there is less.

    Reading the balance and holding the money are one transaction behind the account's lock, so that any number of
    threads and processes together never hold more than there is. `sweep` gives it back `seconds` from now. It is not
    flushed to the disk by itself: a power cut that takes it back also ends the work, and nobody was charged.
    """
    groups.check_amount(amount, least=0)
    with writing(store, durable=False) as connection:
        if (own := groups.lock(connection, account)) != currency:
            raise InputError(said("ledger.holds", account=account, own=own, currency=currency))
        payload, scoped = _reserved(account, amount, currency), groups.scoped("reserve", account, key)
        if found := groups.posted(connection, scoped, payload=payload):
            return of(connection, found.id)
        return hold(
            connection, account, amount, currency=currency, key=key, seconds=seconds, beside=beside, moment=clock()
        )


def hold(
    connection: Connection,
    account: str,
    amount: int,
    *,
    currency: str,
    key: str,
    seconds: int,
    beside: Beside,
    moment: datetime,
    live: Sequence[Any] | None = None,
) -> Reservation:
    """As `reserve`, under a key that is new, behind the account's lock: for this folder's own files.

    `live` are the account's grants that may be used now, where they have been read.
    """
    groups.check_amount(amount, least=0)
    payload, scoped = _reserved(account, amount, currency), groups.scoped("reserve", account, key)
    if live is None:
        live = pots.live(connection, account, moment=moment)
    here = pots.of(connection, account, currency, moment=moment, owing=beside.owing, live=live)
    drawn, short = pots.draw(here, amount)
    if short:
        there = max(0, amount - short)
        raise NotEnoughCredit(said("ledger.credit", account=account, there=there, cost=amount, currency=currency))
    _keep_snapshots(connection, account, currency, here)
    lines: list[Line] = [(name, currency, -part) for name, part in drawn]
    lines.append((pots.reserved(account), currency, amount))
    if beside.unit is not None and beside.units:
        here = pots.of(connection, account, beside.unit, moment=moment, live=live)
        _keep_snapshots(connection, account, beside.unit, here)
        drawn, short = pots.draw(here, beside.units)
        if short:
            raise NotEnoughCredit(f"The account {account} has {short} {beside.unit} less than were to be held.")
        lines += [(name, beside.unit, -part) for name, part in drawn]
        lines.append((pots.reserved(account), beside.unit, beside.units))
    group = groups.post(connection, "reserve", lines, key=scoped, payload=payload, moment=moment)
    reservation = Reservation(
        id="rsv_" + digest.of_bytes(scoped.encode())[:40],
        group=group.id,
        account=account,
        currency=currency,
        amount=amount,
        state="open",
        settled=None,
        created=group.created,
        expires=stamp(moment + timedelta(seconds=seconds)),
        beside=replace(beside, owing=0),
    )
    _insert_reservation.run(connection, _row(reservation))
    return reservation


def settle(
    store: Engine | Connection,
    reservation: str,
    amount: int,
    *,
    units: int = 0,
    tokens: int | None = None,
    clock: Clock = now,
) -> Settlement:
    """Charge `amount` for the work and give the rest of the reservation back.

    Never more than was reserved: the account agreed to that much and no more, and the money beyond it may be promised
    elsewhere. A reservation that was released before (by hand or by the sweep) charges nothing. Both show in the
    difference between `asked` and `charged`. Settling again with the same amount gives the same result. `units` are
    taken of those held beside the money; `tokens` is what the work took of its limits.
    """
    groups.check_amount(amount, least=0)
    groups.check_amount(units, least=0)
    with writing(store) as connection:
        found, origin, limited = locked(connection, reservation)
        key, payload = f"close:{reservation}", digest.of_value(["settle", amount, *([units] if units else [])])
        charged = 0 if found.state == "released" else min(amount, found.amount)
        reserved = pots.reserved(found.account)
        drawn = [(name, coin, -part) for name, coin, part in origin if name != reserved]  # in the order of use
        taken = [] if found.state == "released" else _use(drawn, found, money=charged, units=units)
        done = Settlement(
            reservation=reservation,
            account=found.account,
            currency=found.currency,
            asked=amount,
            charged=charged,
            taken=tuple(line for line in taken if line[2]),
            beside=replace(found.beside, tokens=0),
        )
        if found.state == "released":
            return done
        if found.state == "settled":
            groups.posted(connection, key, payload=payload)  # raises when it was settled with another amount
            return done
        lines: list[Line] = [(reserved, found.currency, -found.amount), ("earnings", found.currency, charged)]
        if found.beside.unit is not None and found.beside.units:
            used = sum(part for _, currency, part in taken if currency == found.beside.unit)
            lines += [(reserved, found.beside.unit, -found.beside.units), ("earnings", found.beside.unit, used)]
        lines += [
            (name, currency, part - used) for (name, currency, part), (*_, used) in zip(drawn, taken, strict=True)
        ]
        groups.post(connection, "settle", lines, key=key, payload=payload, moment=clock())
        _close(connection, found, state="settled", settled=charged, tokens=tokens, limited=limited)
        return done


def release(store: Engine | Connection, reservation: str, *, clock: Clock = now) -> bool:
    """Give the whole reservation back; False when it was released before. A settled one raises KeyReused."""
    with writing(store) as connection:
        found, origin, limited = locked(connection, reservation)
        key, payload = f"close:{reservation}", digest.of_value(["release"])
        if found.state != "open":
            groups.posted(connection, key, payload=payload)
            return False
        lines = [(name, currency, -amount) for name, currency, amount in origin]
        groups.post(connection, "release", lines, key=key, payload=payload, moment=clock())
        _close(connection, found, state="released", settled=None, tokens=0, limited=limited)
        return True


def renew(store: Engine | Connection, reservation: str, *, seconds: int, clock: Clock = now) -> None:
    """Keep an open reservation from the sweep for `seconds` from now; a closed one raises InputError."""
    with writing(store) as connection:
        if locked(connection, reservation)[0].state != "open":
            raise InputError(f"The reservation {reservation} is closed and cannot be renewed.")
        expires = stamp(clock() + timedelta(seconds=seconds))
        connection.execute(reservations.update().where(reservations.c.id == reservation).values(expires=expires))


def of(store: Engine | Connection, id: str | int) -> Reservation:
    """The reservation of that id, or the one that the group of that number made; raises InputError without one."""
    query = _reservation_by_id if isinstance(id, str) else _reservation_by_group
    with reading(store) as connection:
        if (row := query.first(connection, {"wanted": id})) is None:
            raise InputError(f"There is no reservation {id!r}.")
    return _read(row)


def open_under(store: Engine | Connection, account: str, keys: Sequence[str]) -> list[Reservation]:
    """Those reservations that `account` made under `keys` which are open, oldest first."""
    scoped = [groups.scoped("reserve", account, key) for key in keys]
    query = (
        sa.select(reservations.c.id)
        .join(journal_groups, journal_groups.c.id == reservations.c.group_id)
        .where(reservations.c.state == "open", journal_groups.c.key.in_(scoped))
        .order_by(journal_groups.c.id)
    )
    with reading(store) as connection:
        return [of(connection, id) for id in connection.scalars(query).all()]


def _reserved(account: str, amount: int, currency: str) -> str:
    """What a reservation's key stands for."""
    return digest.of_value(["reserve", account, amount, currency])


def _use(drawn: Sequence[Line], found: Reservation, *, money: int, units: int) -> list[Line]:
    """How much of each drawn part is used up: the first drawn first."""
    left = {found.currency: money, found.beside.unit: min(units, found.beside.units)}
    taken = []
    for name, currency, part in drawn:
        used = min(left[currency], part)
        left[currency] -= used
        taken.append((name, currency, used))
    return taken


def _keep_snapshots(connection: Connection, account: str, currency: str, here: Sequence[pots.Pot]) -> None:
    """New snapshots of what has grown; a line's own sum is not what its pot says is left."""
    grown = [pot.name for pot in here if pot.fresh >= SNAPSHOT_EVERY]
    for name in [*grown, pots.reserved(account)] if grown else []:
        amount, newest, _ = sums.of(connection, name, currency)
        sums.keep(connection, name, currency, amount=amount, entry=newest)


def _row(made: Reservation) -> dict[str, Any]:
    """The way back from `_read`."""
    beside = made.beside
    return {
        "id": made.id,
        "group_id": made.group,
        "account": made.account,
        "currency": made.currency,
        "amount": made.amount,
        "state": made.state,
        "settled": made.settled,
        "created": made.created,
        "expires": made.expires,
        "units": beside.units,
        "unit": beside.unit,
        "prompt_price": beside.prompt_price,
        "completion_price": beside.completion_price,
        "prompt_units": beside.prompt_units,
        "completion_units": beside.completion_units,
        "key_id": beside.key,
        "team": beside.team,
        "requests": beside.requests,
        "tokens": beside.tokens,
        "server": beside.server,
    }


def _read(row: Any) -> Reservation:
    return Reservation(
        id=row.id,
        group=row.group_id,
        account=row.account,
        currency=row.currency,
        amount=row.amount,
        state=row.state,
        settled=row.settled,
        created=row.created,
        expires=row.expires,
        beside=Beside(
            unit=row.unit,
            units=row.units,
            prompt_price=row.prompt_price,
            completion_price=row.completion_price,
            prompt_units=row.prompt_units,
            completion_units=row.completion_units,
            key=row.key_id,
            team=row.team,
            requests=row.requests,
            tokens=row.tokens,
            server=row.server,
        ),
    )


def locked(connection: Connection, id: str) -> tuple[Reservation, list[Line], bool]:
    """The reservation as it is once its account's lock is held, the lines of its group, and whether limits may count
    it; every write locks in this one order.
    """
    if connection.dialect.name != "sqlite":
        groups.lock(connection, of(connection, id).account)
    rows = _held.all(connection, {"wanted": id})
    if not rows:
        raise InputError(f"There is no reservation {id!r}.")
    return _read(rows[0]), [(row.pot, row.coin, row.part) for row in rows], bool(rows[0].limited)


def _close(
    connection: Connection, found: Reservation, *, state: str, settled: int | None, tokens: int | None, limited: bool
) -> None:
    kept = found.beside.tokens if tokens is None else tokens
    values = {"wanted": found.id, "to_state": state, "to_settled": settled, "to_tokens": kept}
    _close_reservation.run(connection, values)
    if not limited:
        return
    limits.leave(
        connection,
        account=found.account,
        key=found.beside.key,
        team=found.beside.team,
        created=found.created,
        requests=-found.beside.requests if state == "released" else 0,
        tokens=kept - found.beside.tokens,
        budget=(settled or 0) - found.amount,
    )
