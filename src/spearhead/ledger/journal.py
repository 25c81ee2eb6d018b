"""Double entry in integer billionths: what an account may spend, what is held for it, what was earned.

Groups of entries are immutable and sum to zero. Every write is once-only under its key: the same key with the same
payload gives the same result again, with another payload it raises KeyReused. Balances are projections of the entries.
Knows nothing of prices, units, requests or plans.

Account `a` has the two sides `a:available` and `a:reserved`; `wash` is the world's money, `earnings` is ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest, money
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError, SpearheadError
from spearhead.store.database import reading, writing
from spearhead.store.tables import (
    accounts,
    journal_entries,
    journal_groups,
    journal_snapshots,
    reservations,
)

MOST = 10**17
"""The largest amount of one write: a hundred million of the currency. 92 such still fit a 64-bit sum."""
SNAPSHOT_EVERY = 512
"""An account's entries are summed anew from its last snapshot; past this many a new snapshot is kept."""


# Statements of the hot path are built once: building them anew took half the time of a write.
_account = sa.select(accounts.c.currency).where(accounts.c.id == sa.bindparam("account"))
_account_locked = _account.with_for_update(key_share=True)
_group_by_key = sa.select(journal_groups).where(journal_groups.c.key == sa.bindparam("wanted"))
_insert_group = journal_groups.insert().returning(journal_groups.c.id)
_insert_entries = journal_entries.insert()
_insert_reservation = reservations.insert()
_reservation_by_id = sa.select(reservations).where(reservations.c.id == sa.bindparam("wanted"))
_reservation_by_group = sa.select(reservations).where(reservations.c.group_id == sa.bindparam("wanted"))
_close_reservation = reservations.update().where(reservations.c.id == sa.bindparam("wanted"))
_snapshot = sa.select(journal_snapshots.c.entry, journal_snapshots.c.amount).where(
    journal_snapshots.c.account == sa.bindparam("name"), journal_snapshots.c.currency == sa.bindparam("currency")
)
_since_snapshot = sa.select(
    sa.func.count(), sa.func.max(journal_entries.c.id), sa.func.sum(journal_entries.c.amount)
).where(
    journal_entries.c.account == sa.bindparam("name"),
    journal_entries.c.currency == sa.bindparam("currency"),
    journal_entries.c.id > sa.bindparam("start"),
)


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


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a reservation ended: `asked` was the price of the work, `charged` is what the account paid.

    `charged` is less than `asked` when the reservation was smaller, and nothing when it had been released before.
    """

    reservation: str
    account: str
    currency: str
    asked: int
    charged: int


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
        if found := _group(connection, scoped, payload=payload):
            return found
        lines = {"wash": -amount, _available(account): amount}
        return _post(
            connection, "credit", lines, currency=currency, key=scoped, payload=payload, moment=moment, booked=booked
        )


def reserve(
    store: Engine | Connection,
    account: str,
    amount: int,
    *,
    currency: str,
    key: str,
    seconds: int = 3600,
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
        payload = digest.of_value(["reserve", account, amount, currency])
        scoped = _scoped("reserve", account, key)
        if found := _group(connection, scoped, payload=payload):
            return _reservation(connection, found.id)
        available, newest, fresh = _sum(connection, _available(account), currency)
        if available < amount:
            raise NotEnoughCredit(
                f"The account {account} has {money.show(max(available, 0))} {currency} available, and this may cost "
                f"up to {money.show(amount)} {currency}: add credit, or ask for less."
            )
        if fresh >= SNAPSHOT_EVERY:
            _keep_snapshot(connection, _available(account), currency, amount=available, entry=newest)
            held, newest, _ = _sum(connection, _reserved(account), currency)
            _keep_snapshot(connection, _reserved(account), currency, amount=held, entry=newest)
        moment = clock()
        lines = {_available(account): -amount, _reserved(account): amount}
        group = _post(connection, "reserve", lines, currency=currency, key=scoped, payload=payload, moment=moment)
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
        )
        connection.execute(
            _insert_reservation,
            {
                "id": reservation.id,
                "group_id": group.id,
                "account": account,
                "currency": currency,
                "amount": amount,
                "state": "open",
                "created": reservation.created,
                "expires": reservation.expires,
            },
        )
        return reservation


def settle(store: Engine | Connection, reservation: str, amount: int, *, clock: Clock = now) -> Settlement:
    """Charge `amount` for the work and give the rest of the reservation back.

    Never more than was reserved: the account agreed to that much and no more, and the money beyond it may be promised
    elsewhere. A reservation that was released before (by hand or by the sweep) charges nothing. Both show in the
    difference between `asked` and `charged`. Settling again with the same amount gives the same result.
    """
    _check_amount(amount, least=0)
    with writing(store) as connection:
        found = _locked(connection, reservation)
        key, payload = f"close:{reservation}", digest.of_value(["settle", amount])
        charged = 0 if found.state == "released" else min(amount, found.amount)
        done = Settlement(
            reservation=reservation, account=found.account, currency=found.currency, asked=amount, charged=charged
        )
        if found.state == "released":
            return done
        if found.state == "settled":
            _group(connection, key, payload=payload)  # raises when it was settled with another amount
            return done
        lines = {
            _reserved(found.account): -found.amount,
            "earnings": charged,
            _available(found.account): found.amount - charged,
        }
        _post(connection, "settle", lines, currency=found.currency, key=key, payload=payload, moment=clock())
        _close(connection, found, state="settled", settled=charged)
        return done


def release(store: Engine | Connection, reservation: str, *, clock: Clock = now) -> bool:
    """Give the whole reservation back; False when it was released before. A settled one raises KeyReused."""
    with writing(store) as connection:
        found = _locked(connection, reservation)
        key, payload = f"close:{reservation}", digest.of_value(["release"])
        if found.state != "open":
            _group(connection, key, payload=payload)
            return False
        lines = {_reserved(found.account): -found.amount, _available(found.account): found.amount}
        _post(connection, "release", lines, currency=found.currency, key=key, payload=payload, moment=clock())
        _close(connection, found, state="released", settled=None)
        return True


def renew(store: Engine | Connection, reservation: str, *, seconds: int, clock: Clock = now) -> None:
    """Keep an open reservation from the sweep for `seconds` from now; a closed one raises InputError."""
    with writing(store) as connection:
        if _locked(connection, reservation).state != "open":
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
        lines = _lines(connection, undo)
        currency = lock(connection, next(n for n in lines[group] if ":" in n).rsplit(":", 1)[0])
        made = []
        for number in undo:
            payload = digest.of_value(["reverse", number])
            scoped = _scoped("reverse", str(number), key)
            if found := _group(connection, scoped, payload=payload):
                made.append(found)
                continue
            if connection.execute(sa.select(journal_groups.c.id).where(journal_groups.c.reverses == number)).first():
                raise KeyReused(f"Group {number} was reversed before, under another key.")
            opposite = {account: -amount for account, amount in lines[number].items()}
            made.append(
                _post(
                    connection,
                    "reverse",
                    opposite,
                    currency=currency,
                    key=scoped,
                    payload=payload,
                    moment=clock(),
                    reverses=number,
                )
            )
        return tuple(made)


def sweep(store: Engine, clock: Clock = now) -> list[str]:
    """Release every open reservation past its time and return their ids: what a crash left behind goes back."""
    with reading(store) as connection:
        late = connection.scalars(
            sa.select(reservations.c.id)
            .where(reservations.c.state == "open", reservations.c.expires < stamp(clock()))
            .order_by(reservations.c.expires)
        ).all()
    swept = []
    for reservation in late:  # one short transaction each: requests go on in between
        with writing(store) as connection:
            found = _locked(connection, reservation)
            if found.state == "open" and found.expires < stamp(clock()):
                release(connection, reservation, clock=clock)
                swept.append(reservation)
    return swept


def balance(store: Engine | Connection, account: str, *, as_of: datetime | None = None) -> Balance:
    """What `account` has now, or had of what was booked up to `as_of`."""
    with reading(store) as connection:
        currency = _currency(connection, account)
        if as_of is None:
            sums = [_sum(connection, name, currency)[0] for name in (_available(account), _reserved(account))]
        else:
            sums = [_sum_as_of(connection, name, as_of) for name in (_available(account), _reserved(account))]
        return Balance(account=account, currency=currency, available=sums[0], reserved=sums[1])


def reservation(store: Engine | Connection, id: str) -> Reservation:
    """The reservation named `id`; raises InputError when there is none."""
    with reading(store) as connection:
        return _reservation(connection, id)


def under(store: Engine | Connection, account: str, key: str) -> Reservation | None:
    """The reservation that `account` made under `key`, whatever became of it."""
    with reading(store) as connection:
        row = connection.execute(_group_by_key, {"wanted": _scoped("reserve", account, key)}).one_or_none()
        return None if row is None else _reservation(connection, row.id)


def entries(store: Engine | Connection, account: str, *, after: int = 0, limit: int = 100) -> list[Entry]:
    """Entries of `account` in order, at most `limit` of them in groups later than group `after`.

    All entries of a group come together, so that `entries(..., after=got[-1].group)` is the next page.
    """
    names = (_available(account), _reserved(account))
    picked = (
        sa.select(journal_entries.c.group_id)
        .where(journal_entries.c.account.in_(names), journal_entries.c.group_id > after)
        .group_by(journal_entries.c.group_id)
        .order_by(journal_entries.c.group_id)
        .limit(max(1, limit // 2))
    )
    with reading(store) as connection:
        rows = connection.execute(
            sa.select(journal_entries, journal_groups.c.kind, journal_groups.c.booked)
            .join(journal_groups, journal_groups.c.id == journal_entries.c.group_id)
            .where(journal_entries.c.account.in_(names), journal_entries.c.group_id.in_(picked))
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
            (_reserved(row[0]), row[1]): int(row[2])
            for row in connection.execute(
                sa.select(reservations.c.account, reservations.c.currency, sa.func.sum(reservations.c.amount))
                .where(reservations.c.state == "open")
                .group_by(reservations.c.account, reservations.c.currency)
            )
        }
        for name in sorted(held.keys() | promised.keys()):
            if held.get(name, 0) != promised.get(name, 0):
                problems.append(
                    f"{name[0]} holds {held.get(name, 0)} {name[1]}, and its open reservations {promised.get(name, 0)}."
                )
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
    if (currency := connection.scalar(_account_locked, {"account": account})) is None:
        raise InputError(f"There is no account {account!r}.")
    return str(currency)


def _currency(connection: Connection, account: str) -> str:
    if (currency := connection.scalar(_account, {"account": account})) is None:
        raise InputError(f"There is no account {account!r}.")
    return str(currency)


def _available(account: str) -> str:
    return f"{account}:available"


def _reserved(account: str) -> str:
    return f"{account}:reserved"


def _check_amount(amount: int, *, least: int) -> None:
    if type(amount) is not int or not least <= amount <= MOST:
        raise InputError(f"{amount!r} is not an amount: wanted a whole number of billionths from {least} to {MOST}.")


def _scoped(kind: str, owner: str, key: str) -> str:
    """The caller's key made its own: two accounts that pick the same key do not meet."""
    if not (0 < len(key) <= 1000 and key.isprintable()):
        raise InputError(f"A key has 1 to 1000 printable characters; this one has {len(key)}.")
    scoped = f"{kind}:{owner}:{key}"
    return scoped if len(scoped) <= 200 else f"{kind}:{owner}:sha256:{digest.of_bytes(key.encode())}"


def _group(connection: Connection, key: str, *, payload: str) -> Group | None:
    """The group written under `key`, if any; raises KeyReused when it was written with another payload."""
    row = connection.execute(_group_by_key, {"wanted": key}).one_or_none()
    if row is None:
        return None
    if row.payload != payload:
        raise KeyReused(f"The key {key!r} was used for another write: take a new key for a new one.")
    return Group(id=row.id, kind=row.kind, booked=row.booked, created=row.created, reverses=row.reverses)


def _post(
    connection: Connection,
    kind: str,
    lines: Mapping[str, int],
    *,
    currency: str,
    key: str,
    payload: str,
    moment: datetime,
    booked: datetime | None = None,
    reverses: int | None = None,
) -> Group:
    """Write one group: the only place that writes entries, and it refuses what does not sum to zero."""
    if sum(lines.values()):
        raise SpearheadError(f"A {kind} that does not sum to zero was not booked: {dict(lines)}.")
    created = stamp(moment)
    values = {
        "key": key,
        "kind": kind,
        "reverses": reverses,
        "payload": payload,
        "booked": stamp(booked) if booked else created,
        "created": created,
    }
    id = connection.execute(_insert_group, values).scalar_one()
    connection.execute(
        _insert_entries,
        [{"group_id": id, "account": name, "currency": currency, "amount": n} for name, n in lines.items()],
    )
    return Group(id=id, kind=kind, booked=str(values["booked"]), created=created, reverses=reverses)


def _sum(connection: Connection, name: str, currency: str) -> tuple[int, int, int]:
    """The balance of `name`, its newest entry, and how many entries came since its snapshot."""
    last = connection.execute(_snapshot, {"name": name, "currency": currency}).first()
    start, base = (last.entry, last.amount) if last else (0, 0)
    fresh, newest, since = connection.execute(
        _since_snapshot, {"name": name, "currency": currency, "start": start}
    ).one()
    return base + int(since or 0), newest or start, fresh


def _keep_snapshot(connection: Connection, name: str, currency: str, *, amount: int, entry: int) -> None:
    """Remember a sum. Behind the account's lock only: there its entries' ids are in the order of their commits."""
    here = (journal_snapshots.c.account == name, journal_snapshots.c.currency == currency)
    connection.execute(journal_snapshots.delete().where(*here))
    connection.execute(journal_snapshots.insert().values(account=name, currency=currency, entry=entry, amount=amount))


def _sum_as_of(connection: Connection, name: str, moment: datetime) -> int:
    total = connection.scalar(
        sa.select(sa.func.sum(journal_entries.c.amount))
        .join(journal_groups, journal_groups.c.id == journal_entries.c.group_id)
        .where(journal_entries.c.account == name, journal_groups.c.booked <= stamp(moment))
    )
    return int(total or 0)


def _lines(connection: Connection, groups: Sequence[int]) -> dict[int, dict[str, int]]:
    lines: dict[int, dict[str, int]] = {group: {} for group in groups}
    query = sa.select(journal_entries).where(journal_entries.c.group_id.in_(groups)).order_by(journal_entries.c.id)
    for row in connection.execute(query):
        lines[row.group_id][row.account] = row.amount
    return lines


def _reservation(connection: Connection, id: str | int) -> Reservation:
    """The reservation of that id, or the one that the group of that number made."""
    query = _reservation_by_id if isinstance(id, str) else _reservation_by_group
    row = connection.execute(query, {"wanted": id}).one_or_none()
    if row is None:
        raise InputError(f"There is no reservation {id!r}.")
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
    )


def _locked(connection: Connection, id: str) -> Reservation:
    """The reservation as it is once its account's lock is held; every write locks in this one order."""
    if connection.dialect.name != "sqlite":
        lock(connection, _reservation(connection, id).account)
    return _reservation(connection, id)


def _close(connection: Connection, found: Reservation, *, state: str, settled: int | None) -> None:
    connection.execute(reservations.update().where(reservations.c.id == found.id).values(state=state, settled=settled))
