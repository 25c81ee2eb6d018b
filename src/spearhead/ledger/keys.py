"""Accounts and the keys that act for them. A key is shown once and kept as a hash; knows nothing of HTTP.

A key is 256 random bits, so one round of SHA-256 keeps it as safe as a slow hash would: there is nothing to guess.
"""

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.core.sentence import said
from spearhead.ledger import limits
from spearhead.store.database import reading, writing
from spearhead.store.tables import accounts, people
from spearhead.store.tables import keys as table

PREFIX = "sk-spear-"
SCOPES = ("generate", "read", "admin")
"""What may be given; an older key may have `review` as well, which opened nothing: people decide, in the studio."""
USUAL = ("generate", "read")
"""What a key may do unless another scope is named."""
ROLES = ("admin", "user")


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays; all its money is in one currency."""

    id: str
    name: str
    role: str
    currency: str
    created: str


@dataclass(frozen=True, slots=True)
class Key:
    """What may be shown of a key: never the key."""

    id: str
    account: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created: str
    expires: str | None
    blocked: str | None
    replaced_by: str | None


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key and, this once, its secret."""

    key: Key
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: an account through one of its keys."""

    account: str
    role: str
    currency: str
    key: str
    scopes: tuple[str, ...]

    def may(self, scope: str) -> bool:
        """Whether the key allows `scope`; `admin` allows everything."""
        return scope in self.scopes or "admin" in self.scopes


def create_account(
    store: Engine | Connection, name: str, *, currency: str, role: str = "user", clock: Clock = now
) -> Account:
    """A new account without credit."""
    if role not in ROLES:
        raise InputError(f"{role!r} is not a role: wanted {' or '.join(ROLES)}.")
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()):
        raise InputError(said("ledger.currency", given=currency))
    account = Account(
        id=f"acct_{secrets.token_hex(10)}",
        name=_checked_name(name),
        role=role,
        currency=currency,
        created=stamp(clock()),
    )
    with writing(store) as connection:
        connection.execute(
            accounts.insert().values(
                id=account.id, name=account.name, role=role, currency=currency, created=account.created
            )
        )
    return account


def first_admin(
    store: Engine | Connection,
    *,
    name: str = "admin",
    currency: str,
    key: str = "first",
    expires: datetime | None = None,
    clock: Clock = now,
) -> Issued:
    """The first account and its `key`, which may do everything; refused when an administrator exists."""
    with writing(store) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("LOCK TABLE accounts IN EXCLUSIVE MODE"))
        if connection.execute(sa.select(accounts.c.id).where(accounts.c.role == "admin")).first():
            raise InputError("There is an administrator already: create further keys with their key.")
        account = create_account(connection, name, currency=currency, role="admin", clock=clock)
        return create(connection, account.id, name=key, scopes=("admin",), expires=expires, clock=clock)


def payer(
    store: Engine | Connection,
    name: str,
    *,
    currency: str | None,
    key: str = "first",
    expires: datetime | None = None,
    clock: Clock = now,
) -> tuple[Account, Issued | None]:
    """The account of that name or id, made when there is none, in US dollars unless another `currency` is named.

    While nobody is an administrator, the account that is made is the administrator's: with it comes its first `key`.
    Raises InputError when the account has another currency than was named.
    """
    with writing(store) as connection:
        known = all_accounts(connection)
        for account in known:
            if name in (account.name, account.id):
                if currency not in (None, account.currency):
                    raise InputError(f"the account {name!r} is in {account.currency}, and stays so: not in {currency}")
                return account, None
        coin = currency or "USD"
        if any(account.role == "admin" for account in known):
            return create_account(connection, name, currency=coin, clock=clock), None
        issued = first_admin(connection, name=name, currency=coin, key=key, expires=expires, clock=clock)
        return next(one for one in all_accounts(connection) if one.id == issued.key.account), issued


def create(
    store: Engine | Connection,
    account: str,
    *,
    name: str,
    scopes: tuple[str, ...] = USUAL,
    expires: datetime | None = None,
    clock: Clock = now,
) -> Issued:
    """A new key of `account`. Its secret is in the answer and nowhere else: it cannot be shown again."""
    if not scopes or (unknown := sorted(set(scopes) - set(SCOPES))):
        if not scopes:
            raise InputError(said("ledger.key.no_scope", scopes=SCOPES))
        raise InputError(said("ledger.key.scope", given=unknown[0], scopes=SCOPES))
    moment = clock()
    if expires is not None and expires <= moment:
        raise InputError(f"A key that expires at {stamp(expires)} would never work: it is {stamp(moment)}.")
    secret = PREFIX + secrets.token_urlsafe(32)
    key = Key(
        id=f"key_{secrets.token_hex(10)}",
        account=account,
        name=_checked_name(name),
        prefix=secret[: len(PREFIX) + 4],
        scopes=tuple(sorted(set(scopes), key=SCOPES.index)),
        created=stamp(moment),
        expires=stamp(expires) if expires else None,
        blocked=None,
        replaced_by=None,
    )
    with writing(store) as connection:
        if not connection.execute(sa.select(accounts.c.id).where(accounts.c.id == account)).first():
            raise InputError(said("ledger.no_account", account=account))
        connection.execute(
            table.insert().values(
                id=key.id,
                account=account,
                name=key.name,
                prefix=key.prefix,
                hash=_hash(secret),
                scopes=digest.canonical(list(key.scopes)),
                created=key.created,
                expires=key.expires,
            )
        )
    return Issued(key=key, secret=secret)


def authenticate(store: Engine | Connection, secret: str, *, clock: Clock = now) -> Principal | None:
    """Who `secret` speaks for; None when it is unknown, expired or blocked, for one answer to all three.

    A database that cannot answer raises StoreUnavailable: that is never a wrong key.
    """
    if not (secret.startswith(PREFIX) and len(secret) < 200 and secret.isascii()):
        return None
    wanted = _hash(secret)
    with reading(store) as connection:
        row = connection.execute(
            sa.select(table, accounts.c.role, accounts.c.currency)
            .join(accounts, accounts.c.id == table.c.account)
            .where(table.c.hash == wanted)
        ).one_or_none()
    # The index compares digests, which tell nothing of the key; the last word is a comparison of constant time.
    if row is None or not hmac.compare_digest(row.hash, wanted):
        return None
    if row.blocked is not None or (row.expires is not None and row.expires <= stamp(clock())):
        return None
    return Principal(
        account=row.account, role=row.role, currency=row.currency, key=row.id, scopes=tuple(json.loads(row.scopes))
    )


def rotate(store: Engine | Connection, key: str, *, grace: timedelta, clock: Clock = now) -> Issued:
    """A new key like `key`, which itself stops working after `grace`; a key that expires lives as long again.

    Limits and budgets that hold for `key` hold for the new one as well; each counts its own requests.
    """
    moment = clock()
    if grace < timedelta(0):
        raise InputError("The time of grace is not negative: wanted 0 or more.")
    with writing(store) as connection:
        old = _key(connection, key)
        if old.blocked or old.replaced_by or (old.expires and old.expires <= stamp(moment)):
            raise InputError(said("ledger.key.over", key=key))
        life = _moment(old.expires) - _moment(old.created) if old.expires else None
        issued = create(
            connection,
            old.account,
            name=old.name,
            scopes=tuple(scope for scope in old.scopes if scope in SCOPES),
            expires=moment + life if life else None,
            clock=clock,
        )
        limits.follow(connection, f"key:{key}", f"key:{issued.key.id}", clock=clock)
        end = stamp(moment + grace)
        connection.execute(
            table.update()
            .where(table.c.id == key)
            .values(replaced_by=issued.key.id, expires=min(end, old.expires) if old.expires else end)
        )
        return issued


def block(store: Engine | Connection, key: str, *, clock: Clock = now) -> Key:
    """Stop `key` now and for good; blocking it again changes nothing."""
    with writing(store) as connection:
        if _key(connection, key).blocked is None:
            connection.execute(table.update().where(table.c.id == key).values(blocked=stamp(clock())))
        return _key(connection, key)


def blocked_among(store: Engine | Connection, askers: Collection[str]) -> set[str]:
    """Which of `askers`, keys and people by their ids, are blocked."""
    with reading(store) as connection:
        return {
            str(id)
            for one in (table, people)
            for id in connection.scalars(sa.select(one.c.id).where(one.c.id.in_(askers), one.c.blocked.is_not(None)))
        }


def of_account(store: Engine | Connection, account: str | None = None) -> list[Key]:
    """The keys of `account`, or of everybody, oldest first."""
    query = sa.select(table).order_by(table.c.created, table.c.id)
    with reading(store) as connection:
        rows = connection.execute(query.where(table.c.account == account) if account else query)
        return [_shown(row) for row in rows]


def all_accounts(store: Engine | Connection) -> list[Account]:
    """Every account, oldest first."""
    with reading(store) as connection:
        rows = connection.execute(sa.select(accounts).order_by(accounts.c.created, accounts.c.id))
        return [
            Account(id=row.id, name=row.name, role=row.role, currency=row.currency, created=row.created) for row in rows
        ]


class Doorkeeper:
    """Remembers for a moment whom a key speaks for, so that a busy server does not ask the database every time.

    A key blocked elsewhere stops within `seconds`; `forget` stops it at once in this process. Only keys that work are
    remembered, under their hash, and nothing is answered from memory once that moment is over.
    """

    def __init__(self, engine: Engine, *, seconds: float = 1.0, most: int = 4096, clock: Clock = now) -> None:
        self._engine = engine
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        self._forgotten = 0
        self._lock = threading.Lock()

    def remembered(self, secret: str) -> Principal | None:
        """Who it speaks for if that is remembered; asks nobody, so it may be called in an event loop."""
        if len(secret) >= 200:
            return None
        with self._lock:
            seen = self._known.get(_hash(secret))
        return seen[1] if seen and time.monotonic() < seen[0] else None

    def authenticate(self, secret: str) -> Principal | None:
        """As `authenticate`."""
        if len(secret) >= 200:
            return None
        if (known := self.remembered(secret)) is not None:
            return known
        name, moment = _hash(secret), time.monotonic()
        with self._lock:
            forgotten = self._forgotten
        principal = authenticate(self._engine, secret, clock=self._clock)
        with self._lock:
            self._known.pop(name, None)
            if principal and forgotten == self._forgotten:  # else the answer may be older than the call to forget
                self._known[name] = (moment + self._seconds, principal)
                if len(self._known) > self._most:
                    self._known.popitem(last=False)
        return principal

    def forget(self) -> None:
        """Ask the database anew for every key: call it after a key was blocked or rotated."""
        with self._lock:
            self._forgotten += 1
            self._known.clear()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _checked_name(name: str) -> str:
    if not (0 < len(name.strip()) <= 200 and name.isprintable()):
        raise InputError(said("ledger.key.name", given=name[:40]))
    return name.strip()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _key(connection: Connection, id: str) -> Key:
    row = connection.execute(sa.select(table).where(table.c.id == id)).one_or_none()
    if row is None:
        raise InputError(f"There is no key {id!r}: `spearhead keys list` shows them.")
    return _shown(row)


def _shown(row: "sa.Row[*tuple[object, ...]]") -> Key:
    values = row._mapping
    return Key(
        id=values["id"],
        account=values["account"],
        name=values["name"],
        prefix=values["prefix"],
        scopes=tuple(json.loads(values["scopes"])),
        created=values["created"],
        expires=values["expires"],
        blocked=values["blocked"],
        replaced_by=values["replaced_by"],
    )
