"""The studio's door: passwords tried and changed, sessions opened and ended, and how often one may try. Knows no page.

A session is 256 random bits that only the browser has; the store keeps their hash. It ends by itself after `IDLE`
without a request and after `LIFE` in any case.
"""

import asyncio
import hashlib
import secrets
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.core.clock import Clock, stamp
from spearhead.core.errors import InputError
from spearhead.core.sentence import said
from spearhead.engine.desk import Desk
from spearhead.service.studio import people
from spearhead.service.studio.people import Person
from spearhead.service.tries import Tries, whole
from spearhead.store.tables import people as people_table
from spearhead.store.tables import sessions

IDLE, LIFE = timedelta(hours=2), timedelta(hours=12)
LOOK_AGAIN = timedelta(minutes=1)
"""How old the note of a session's last request may be."""
WINDOW = 900.0
"""Seconds in which tries are counted."""
MOST = {"person": 8, "address": 40, "name": 100}
"""Failed tries: of one name from one address, of one address, of one name from everywhere."""


class TooOften(Exception):
    """Too many tries failed; `seconds` until the next is looked at."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many tries: wait {seconds} s")
        self.seconds = seconds


class Door:
    """Lets people in over a database."""

    def __init__(self, desk: Desk, *, clock: Clock, tries: Tries | None = None) -> None:
        self._desk, self._clock, self._tries = desk, clock, tries or Tries(seconds=WINDOW)
        self._one = asyncio.Semaphore(1)  # one password at a time: each takes 64 MiB and a processor

    async def enter(self, name: str, password: str, *, address: str, old: str = "") -> str | None:
        """The secret of a new session; None for an unknown name, a wrong password and a blocked person alike.

        Ends the session `old`. Raises TooOften, and looks at no password then.
        """
        found = await self._known(name, password, address=address)
        if found is None:
            return None
        secret, person = secrets.token_urlsafe(32), found[0].id
        await self._desk.write(lambda connection: self._open(connection, secret, person=person, old=old))
        return secret

    async def change(self, person: Person, old: str, new: str, *, address: str, secret: str) -> bool:
        """Give a person another password if they know theirs, and end their sessions but that of `secret`.

        A wrong one counts as a try to sign in does, and nothing is changed. Raises TooOften, and InputError on a new
        password that is too easy or none.
        """
        found = await self._known(person.name, old, address=address)
        if found is None:
            return False
        if new == old:
            raise InputError(said("service.studio.password.same"))
        async with self._one:
            hashed = await asyncio.to_thread(people.hash_of, new, name=person.name)

        def work(connection: Connection) -> bool:
            return people.change_password(
                connection, found[0], was=found[1], hashed=hashed, session=_hash(secret), clock=self._clock
            )

        return await self._desk.write(work)

    async def _known(self, name: str, password: str, *, address: str) -> tuple[Person, str] | None:
        """The person of that name, if the password is theirs and they are not blocked, and its hash."""
        name, address = people.plain(name[: people.LONGEST_NAME + 1]), whole(address)
        subjects = {"person": f"{name}\n{address}", "address": address, "name": name}
        wait = max(self._tries.left(f"{kind}:{subject}", most=MOST[kind]) for kind, subject in subjects.items())
        if wait > 0:
            raise TooOften(int(wait) + 1)
        for kind, subject in subjects.items():  # before the first wait, so that tries at once count as well
            self._tries.count(f"{kind}:{subject}")
        found = await self._desk.read(lambda connection: people.hash_in_store(connection, name))
        async with self._one:
            good = await asyncio.to_thread(people.right, password, found[1] if found else None)
        if found is None or not good or found[0].blocked:
            return None
        self._tries.forgive(f"address:{address}")  # an office may come in through one
        self._tries.forget(f"person:{subjects['person']}")
        self._tries.forget(f"name:{name}")
        return found

    async def whose(self, secret: str) -> Person | None:
        """Who is signed in with this secret; notes that they were here."""
        if not 40 <= len(secret) <= 64:
            return None
        name, moment = _hash(secret), self._clock()
        found = await self._desk.read(lambda connection: _look(connection, name, moment=moment))
        if found is None:
            return None
        person, seen = found
        if moment - seen > LOOK_AGAIN:
            at = stamp(moment)
            await self._desk.write(
                lambda connection: connection.execute(sessions.update().where(sessions.c.hash == name).values(seen=at))
            )
        return person

    async def still(self, secret: str) -> bool:
        """Whether a session holds; looking is no sign that anybody is there."""
        name, moment = _hash(secret), self._clock()
        return await self._desk.read(lambda connection: _look(connection, name, moment=moment)) is not None

    async def leave(self, secret: str) -> None:
        """End a session."""
        name = _hash(secret)
        await self._desk.write(lambda connection: connection.execute(sessions.delete().where(sessions.c.hash == name)))

    def _open(self, connection: Connection, secret: str, *, person: str, old: str) -> None:
        moment = self._clock()
        connection.execute(
            sessions.delete().where(sa.or_(sessions.c.hash == _hash(old), sessions.c.expires <= stamp(moment)))
        )
        connection.execute(
            sessions.insert().values(
                hash=_hash(secret),
                person=person,
                created=stamp(moment),
                seen=stamp(moment),
                expires=stamp(moment + LIFE),
            )
        )


def _look(connection: Connection, name: str, *, moment: datetime) -> tuple[Person, datetime] | None:
    row = connection.execute(
        sa.select(sessions.c.person, sessions.c.seen)
        .join(people_table, people_table.c.id == sessions.c.person)
        .where(
            sessions.c.hash == name,
            sessions.c.expires > stamp(moment),
            sessions.c.seen > stamp(moment - IDLE),
            people_table.c.blocked.is_(None),
        )
    ).one_or_none()
    if row is None or (person := people.by_id(connection, row.person)) is None:
        return None
    return person, datetime.fromisoformat(row.seen)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
