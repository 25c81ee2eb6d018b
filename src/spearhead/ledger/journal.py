"""Double entry in integer billionths: what an account may spend, what is held for it, what was earned.

Groups of entries are immutable and sum to zero. Every write is once-only under its key: the same key with the same
payload gives the same result again, with another payload it raises KeyReused. Balances are projections of the entries.
Knows nothing of plans or of what things cost; which pot is used first is said in pots.py.

Account `a` has its pots (`a:available` and others, see pots.py) and `a:reserved`; `wash` is the world's money,
`earnings` is ours. Units that a plan includes are entries too, in a currency of their own.
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
from spearhead.ledger import limits, pots, sums
from spearhead.store.database import reading, writing
from spearhead.store.prepared import Prepared, insertion
from spearhead.store.tables import (
    accounts,
    grants,
    journal_entries,
    journal_groups,
    journal_snapshots,
    reservations,
)

MOST = 10**17
"""The largest amount of one write: a hundred million of the currency. 92 such still fit a 64-bit sum."""
SNAPSHOT_EVERY = 128
"""An account's entries are summed anew from its last snapshot; past this many a new snapshot is kept."""

_account = Prepared(sa.select(accounts.c.currency).where(accounts.c.id == sa.bindparam("account")))
_account_locked = Prepared(
    sa.select(accounts.c.currency).where(accounts.c.id == sa.bindparam("account")).with_for_update(key_share=True)
)
_group_by_key = Prepared(sa.select(journal_groups).where(journal_groups.c.key == sa.bindparam("wanted")))
_insert_group = Prepared(insertion(journal_groups).returning(journal_groups.c.id))
_insert_entries = Prepared(insertion(journal_entries))
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
    )
    .join(journal_entries, journal_entries.c.group_id == reservations.c.group_id)
    .where(reservations.c.id == sa.bindparam("wanted"))
    .order_by(journal_entries.c.id)
)
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


class NotEnoughCredit(SpearheadError):
    """The account has less available than was to be reserved (an API answers 429 `insufficient_quota`)."""


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
class Group:
    """An immutable group of entries that sum to zero."""

    id: int
    kind: str
    booked: str
    created: str
    reverses: int | None


@dataclass(frozen=True, slots=True)
class Balance:
    """What `account` may spend and what is held for work under way, in billionths of `currency`."""

    account: str
    currency: str
    available: int
    reserved: int


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
    _check_amount(amount, least=1)
    moment = clock()
    if booked is not None and booked > moment:
        raise InputError(f"A credit cannot be booked in the future: {stamp(booked)} is after {stamp(moment)}.")
    with writing(store) as connection:
        currency = lock(connection, account)
        payload = digest.of_value(["credit", account, amount])
        scoped = _scoped("credit", account, key)
        if found := posted(connection, scoped, payload=payload):
            return found
        lines = [("wash", currency, -amount), (pots.available(account), currency, amount)]
        return post(connection, "credit", lines, key=scoped, payload=payload, moment=moment, booked=booked)


def reserve(
    store: Engine | Connection,
    account: str,
    amount: int,
    *,
    currency: str,
    key: str,
    seconds: int = 3600,
    beside: Beside = Beside(),
    clock: Clock = now,
) -> Reservation:
    """Hold `amount` for work that costs at most that; raises NotEnoughCredit and holds nothing when there is less.

    Reading the balance and holding the money are one transaction behind the account's lock, so that any number of
    threads and processes together never hold more than there is. `sweep` gives it back `seconds` from now. It is not
    flushed to the disk by itself: a power cut that takes it back also ends the work, and nobody was charged.
    """
    _check_amount(amount, least=0)
    with writing(store, durable=False) as connection:
        if (own := lock(connection, account)) != currency:
            raise InputError(f"The account {account} holds {own}, and the price is in {currency}.")
        if found := posted(connection, _scoped("reserve", account, key), payload=_reserved(account, amount, currency)):
            return _reservation(connection, found.id)
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
    _check_amount(amount, least=0)
    payload, scoped = _reserved(account, amount, currency), _scoped("reserve", account, key)
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
    group = post(connection, "reserve", lines, key=scoped, payload=payload, moment=moment)
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
    _insert_reservation.run(
        connection,
        {
            "id": reservation.id,
            "group_id": group.id,
            "account": account,
            "currency": currency,
            "amount": amount,
            "state": "open",
            "settled": None,
            "created": reservation.created,
            "expires": reservation.expires,
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
        },
    )
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
    _check_amount(amount, least=0)
    _check_amount(units, least=0)
    with writing(store) as connection:
        found, origin = _locked(connection, reservation)
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
            posted(connection, key, payload=payload)  # raises when it was settled with another amount
            return done
        lines: list[Line] = [(reserved, found.currency, -found.amount), ("earnings", found.currency, charged)]
        if found.beside.unit is not None and found.beside.units:
            used = sum(part for _, currency, part in taken if currency == found.beside.unit)
            lines += [(reserved, found.beside.unit, -found.beside.units), ("earnings", found.beside.unit, used)]
        lines += [
            (name, currency, part - used) for (name, currency, part), (*_, used) in zip(drawn, taken, strict=True)
        ]
        post(connection, "settle", lines, key=key, payload=payload, moment=clock())
        _close(connection, found, state="settled", settled=charged, tokens=tokens)
        return done


def release(store: Engine | Connection, reservation: str, *, clock: Clock = now) -> bool:
    """Give the whole reservation back; False when it was released before. A settled one raises KeyReused."""
    with writing(store) as connection:
        found, origin = _locked(connection, reservation)
        key, payload = f"close:{reservation}", digest.of_value(["release"])
        if found.state != "open":
            posted(connection, key, payload=payload)
            return False
        lines = [(name, currency, -amount) for name, currency, amount in origin]
        post(connection, "release", lines, key=key, payload=payload, moment=clock())
        _close(connection, found, state="released", settled=None, tokens=0)
        return True


def renew(store: Engine | Connection, reservation: str, *, seconds: int, clock: Clock = now) -> None:
    """Keep an open reservation from the sweep for `seconds` from now; a closed one raises InputError."""
    with writing(store) as connection:
        if _locked(connection, reservation)[0].state != "open":
            raise InputError(f"The reservation {reservation} is closed and cannot be renewed.")
        expires = stamp(clock() + timedelta(seconds=seconds))
        connection.execute(reservations.update().where(reservations.c.id == reservation).values(expires=expires))


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
            held = _reservation(connection, origin.key.removeprefix("close:"))
            undo.append(held.group)
        lines = {number: _group_lines(connection, number) for number in undo}
        lock(connection, next(name for name, *_ in lines[group] if ":" in name).split(":", 1)[0])
        made = []
        for number in undo:
            payload = digest.of_value(["reverse", number])
            scoped = _scoped("reverse", str(number), key)
            if found := posted(connection, scoped, payload=payload):
                made.append(found)
                continue
            if connection.execute(sa.select(journal_groups.c.id).where(journal_groups.c.reverses == number)).first():
                raise KeyReused(f"Group {number} was reversed before, under another key.")
            opposite = [(name, currency, -amount) for name, currency, amount in lines[number]]
            _open_again(connection, [name for name, *_ in opposite])
            made.append(
                post(
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


def sweep(store: Engine, clock: Clock = now) -> list[str]:
    """Release every open reservation past its time and return their ids: what a crash left behind goes back.

    Its own short transaction for each. Grants that have run out are closed after that, and old counters forgotten.
    """
    with reading(store) as connection:
        late = connection.scalars(
            sa.select(reservations.c.id)
            .where(reservations.c.state == "open", reservations.c.expires < stamp(clock()))
            .order_by(reservations.c.expires)
        ).all()
    swept = []
    for reservation in late:  # one short transaction each: requests go on in between
        with writing(store) as connection:
            found, _ = _locked(connection, reservation)
            if found.state == "open" and found.expires < stamp(clock()):
                release(connection, reservation, clock=clock)
                swept.append(reservation)
    expire(store, clock=clock)
    limits.purge(store, clock=clock)
    return swept


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
            lock(connection, row.account)
            pot = pots.granted(row.account, row.id)
            rest, newest, _ = sums.of(connection, pot, row.currency)
            if rest:
                lines = [(pot, row.currency, -rest), ("breakage", row.currency, rest)]
                key, payload = f"expire:{row.id}:{newest}", digest.of_value(["expire", row.id, rest])
                post(connection, "expire", lines, key=key, payload=payload, moment=clock())
            waiting = sa.select(reservations.c.id).where(
                reservations.c.account == row.account,
                reservations.c.state == "open",
                reservations.c.created <= row.expires,  # in the very second in which it was voided
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
        currency = _currency(connection, account)
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


def reservation(store: Engine | Connection, id: str) -> Reservation:
    """The reservation named `id`; raises InputError when there is none."""
    with reading(store) as connection:
        return _reservation(connection, id)


def under(store: Engine | Connection, account: str, key: str) -> Reservation | None:
    """The reservation that `account` made under `key`, whatever became of it."""
    with reading(store) as connection:
        row = _group_by_key.first(connection, {"wanted": _scoped("reserve", account, key)})
        return None if row is None else _reservation(connection, row.id)


def lines(store: Engine | Connection, group: int) -> list[Line]:
    """The entries of a group."""
    with reading(store) as connection:
        return _group_lines(connection, group)


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


def open_under(store: Engine | Connection, account: str, keys: Sequence[str]) -> list[Reservation]:
    """Those reservations that `account` made under `keys` which are open, oldest first."""
    scoped = [_scoped("reserve", account, key) for key in keys]
    query = (
        sa.select(reservations.c.id)
        .join(journal_groups, journal_groups.c.id == reservations.c.group_id)
        .where(reservations.c.state == "open", journal_groups.c.key.in_(scoped))
        .order_by(journal_groups.c.id)
    )
    with reading(store) as connection:
        return [_reservation(connection, id) for id in connection.scalars(query).all()]


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
        promised = {
            (pots.reserved(row[0]), row[1]): int(row[2])
            for column, sum in (
                (reservations.c.currency, reservations.c.amount),
                (reservations.c.unit, reservations.c.units),
            )
            for row in connection.execute(
                sa.select(reservations.c.account, column, sa.func.sum(sum))
                .where(reservations.c.state == "open", column.is_not(None))
                .group_by(reservations.c.account, column)
            )
        }
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
        half = connection.scalars(
            sa.select(reservations.c.id).where((reservations.c.state == "open") == sa.exists(closed))
        )
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


def lock(connection: Connection, account: str) -> str:
    """Hold every other writer of `account` off until this transaction ends, and return the account's currency."""
    # SQLite holds the whole database by now (BEGIN IMMEDIATE) and leaves FOR UPDATE out.
    if (currency := _account_locked.scalar(connection, {"account": account})) is None:
        raise InputError(f"There is no account {account!r}.")
    return str(currency)


def _currency(connection: Connection, account: str) -> str:
    if (currency := _account.scalar(connection, {"account": account})) is None:
        raise InputError(f"There is no account {account!r}.")
    return str(currency)


def _check_amount(amount: int, *, least: int) -> None:
    if type(amount) is not int or not least <= amount <= MOST:
        raise InputError(f"{amount!r} is not an amount: wanted a whole number of billionths from {least} to {MOST}.")


def _reserved(account: str, amount: int, currency: str) -> str:
    """What a reservation's key stands for."""
    return digest.of_value(["reserve", account, amount, currency])


def _scoped(kind: str, owner: str, key: str) -> str:
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


def _group_lines(connection: Connection, group: int) -> list[Line]:
    return [(row.account, row.currency, row.amount) for row in _lines_of.all(connection, {"wanted": group})]


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


def _open_again(connection: Connection, names: Sequence[str]) -> None:
    """Grants that something comes back to are looked at again when grants run out."""
    ids = [name.rsplit(":", 1)[1] for name in names if ":grant:" in name]
    if ids:
        connection.execute(grants.update().where(grants.c.id.in_(ids)).values(closed=None))


def _reservation(connection: Connection, id: str | int) -> Reservation:
    """The reservation of that id, or the one that the group of that number made."""
    query = _reservation_by_id if isinstance(id, str) else _reservation_by_group
    row = query.first(connection, {"wanted": id})
    if row is None:
        raise InputError(f"There is no reservation {id!r}.")
    return _read(row)


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
        ),
    )


def _locked(connection: Connection, id: str) -> tuple[Reservation, list[Line]]:
    """The reservation as it is once its account's lock is held, and the lines of its group; every write locks in this
    one order.
    """
    if connection.dialect.name != "sqlite":
        lock(connection, _reservation(connection, id).account)
    rows = _held.all(connection, {"wanted": id})
    if not rows:
        raise InputError(f"There is no reservation {id!r}.")
    return _read(rows[0]), [(row.pot, row.coin, row.part) for row in rows]


def _close(connection: Connection, found: Reservation, *, state: str, settled: int | None, tokens: int | None) -> None:
    kept = found.beside.tokens if tokens is None else tokens
    values = {"wanted": found.id, "to_state": state, "to_settled": settled, "to_tokens": kept}
    _close_reservation.run(connection, values)
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
