"""People who may sign in to the studio: a name, a password, roles, and the account that pays. Knows no browser.

Passwords are kept as argon2id with the library's defaults (RFC 9106, section 4, the profile for little memory: 64 MiB,
three passes). Roles are all there is: none implies another, and there is no default.
"""

import json
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.core.sentence import said
from spearhead.provenance import audit
from spearhead.store.database import reading, writing
from spearhead.store.tables import accounts, sessions
from spearhead.store.tables import people as table

if TYPE_CHECKING:
    from argon2 import PasswordHasher

ROLES = ("creator", "reviewer", "operator", "auditor")
"""Who makes, who decides, who runs the place, and who may look at everything and change nothing."""
LONGEST_NAME = 64
SHORTEST, LONGEST = 12, 200
"""Characters of a password."""


@dataclass(frozen=True, slots=True)
class Person:
    """What may be known of a person: never the password."""

    id: str
    account: str
    name: str
    roles: tuple[str, ...]
    created: str
    blocked: str | None

    def may(self, *roles: str) -> bool:
        """Whether the person has one of these roles."""
        return any(role in self.roles for role in roles)


def add(
    store: Engine | Connection,
    name: str,
    *,
    account: str,
    roles: Sequence[str],
    password: str,
    actor: str,
    clock: Clock = now,
) -> Person:
    """A new person of `account`; raises InputError on a name that is taken, a weak password, an unknown role."""
    name = plain(name)
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable() and " " not in name):
        raise InputError(f"{name[:LONGEST_NAME]!r} is no name to sign in with: wanted 1 to 64 characters, no spaces.")
    person = Person(f"per_{secrets.token_hex(10)}", account, name, _checked(roles), stamp(clock()), None)
    hashed = hash_of(password, name=name)
    with writing(store) as connection:
        if not connection.execute(sa.select(accounts.c.id).where(accounts.c.id == account)).first():
            raise InputError(f"There is no account {account[:64]!r}.")
        if connection.execute(sa.select(table.c.id).where(table.c.name == name)).first():
            raise InputError(f"There is a person {name!r} already: take another name.")
        connection.execute(
            table.insert().values(
                id=person.id,
                account=account,
                name=name,
                roles=digest.canonical(list(person.roles)),
                password=hashed,
                created=person.created,
            )
        )
        _write_down(connection, "person added", person, actor=actor, clock=clock)
    return person


def everyone(store: Engine | Connection) -> list[Person]:
    """All people by name."""
    with reading(store) as connection:
        return [_person(row) for row in connection.execute(sa.select(table).order_by(table.c.name))]


def block(store: Engine | Connection, name: str, *, actor: str, clock: Clock = now) -> Person:
    """Let a person in no more, and end what they are signed in to; blocking again changes nothing."""
    with writing(store) as connection:
        person = named(connection, name)
        if person.blocked is None:
            connection.execute(table.update().where(table.c.id == person.id).values(blocked=stamp(clock())))
            _write_down(connection, "person blocked", person, actor=actor, clock=clock)
        connection.execute(sessions.delete().where(sessions.c.person == person.id))
        return named(connection, name)


def set_password(store: Engine | Connection, name: str, password: str, *, actor: str, clock: Clock = now) -> Person:
    """Give a person another password: a blocked one may come in again, and whoever is signed in must do so anew."""
    hashed = hash_of(password, name=plain(name))
    with writing(store) as connection:
        person = named(connection, name)
        connection.execute(table.update().where(table.c.id == person.id).values(password=hashed, blocked=None))
        connection.execute(sessions.delete().where(sessions.c.person == person.id))
        _write_down(connection, "password set", person, actor=actor, clock=clock)
        return named(connection, name)


def change_password(
    connection: Connection, person: Person, *, was: str, hashed: str, session: str, clock: Clock = now
) -> bool:
    """Give a person the password that they chose themselves, and end every session of theirs but `session` (a hash).

    Nothing is changed, and False given, where they were blocked or got another password than that of `was` meanwhile.
    """
    same = sa.and_(table.c.id == person.id, table.c.password == was, table.c.blocked.is_(None))
    if connection.execute(table.update().where(same).values(password=hashed)).rowcount != 1:
        return False
    connection.execute(sessions.delete().where(sessions.c.person == person.id, sessions.c.hash != session))
    _write_down(connection, "password changed", person, actor=person.id, clock=clock)
    return True


def set_roles(store: Engine | Connection, name: str, roles: Sequence[str], *, actor: str, clock: Clock = now) -> Person:
    """Give a person these roles and no others."""
    checked = _checked(roles)
    with writing(store) as connection:
        person = named(connection, name)
        connection.execute(table.update().where(table.c.id == person.id).values(roles=digest.canonical(list(checked))))
        person = named(connection, name)
        _write_down(connection, "roles set", person, actor=actor, clock=clock)
        return person


def named(store: Engine | Connection, name: str) -> Person:
    """The person of that name; raises InputError when there is none."""
    with reading(store) as connection:
        row = connection.execute(sa.select(table).where(table.c.name == plain(name))).one_or_none()
    if row is None:
        raise InputError(f"There is no person {name[:LONGEST_NAME]!r}: `spearhead people list` shows them.")
    return _person(row)


def by_id(connection: Connection, id: str) -> Person | None:
    """The person with this id."""
    row = connection.execute(sa.select(table).where(table.c.id == id)).one_or_none()
    return None if row is None else _person(row)


def hash_in_store(connection: Connection, name: str) -> tuple[Person, str] | None:
    """A person and the hash of their password."""
    row = connection.execute(sa.select(table).where(table.c.name == plain(name))).one_or_none()
    return None if row is None else (_person(row), str(row.password))


def hash_of(password: str, *, name: str) -> str:
    """The hash to keep of a new password; raises InputError on one that is too easy."""
    words = _words(password)
    if not SHORTEST <= len(words) <= LONGEST:
        raise InputError(said("service.studio.password.length", least=SHORTEST, most=LONGEST, characters=len(words)))
    if len(set(words)) < 5 or plain(words).strip("0123456789") == name:
        raise InputError(said("service.studio.password.easy"))
    return str(_hasher().hash(words))


def right(password: str, hashed: str | None) -> bool:
    """Whether `hashed` is this password's; without a hash it takes as long and says no."""
    from argon2.exceptions import Argon2Error, InvalidHashError

    try:
        return bool(_hasher().verify(hashed or _nobody(), _words(password)[: LONGEST + 1])) and hashed is not None
    except (Argon2Error, InvalidHashError):
        return False


def typed(field: object) -> str:
    """A password as a form sent it, spaces and all; empty when it sent none, or more than can be one."""
    return _words(field) if isinstance(field, str) and len(field) <= 4 * LONGEST else ""


def plain(name: str) -> str:
    """A name as it is compared: width, case and space around it make no difference."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def _words(password: str) -> str:
    """As keyboards of several systems type the same password."""
    return unicodedata.normalize("NFKC", password)


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobody() -> str:
    return str(_hasher().hash(secrets.token_hex(16)))


def _checked(roles: Sequence[str]) -> tuple[str, ...]:
    if not roles or (unknown := sorted(set(roles) - set(ROLES))):
        given = repr(unknown[0][:40]) if roles else "nothing"
        raise InputError(f"{given} is no role: wanted some of {', '.join(ROLES)}.")
    return tuple(role for role in ROLES if role in roles)


def _person(row: "sa.Row[Any]") -> Person:
    return Person(row.id, row.account, row.name, tuple(json.loads(row.roles)), row.created, row.blocked)


def _write_down(connection: Connection, action: str, person: Person, *, actor: str, clock: Clock) -> None:
    detail = {"name": person.name, "account": person.account, "roles": list(person.roles)}
    audit.append(connection, actor=actor, action=action, subject=person.id, detail=detail, clock=clock)
