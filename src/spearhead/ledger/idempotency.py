"""The Idempotency-Key of a request: the first run's answer is kept for a day and given again. Knows nothing of HTTP.

A run that was begun either finishes with an answer, success or failure, or is abandoned because its request was never
valid. One whose server died is free to be taken up again, and so is one of no other server when its lease ends.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError, SpearheadError
from spearhead.ledger import groups, servers
from spearhead.ledger.groups import KeyReused
from spearhead.store.database import writing
from spearhead.store.tables import idempotency as table

KEPT = timedelta(hours=24)
LEASE = timedelta(minutes=15)
LONGEST_KEY = 255
LARGEST_BODY = 4 * 1024 * 1024


class StillRunning(SpearheadError):
    """The first request under this key has no answer yet (an API answers 409)."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """This run is the one to do; `again` when an earlier run under the key died without an answer."""

    again: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """The stored answer of the first run."""

    status: int
    headers: dict[str, str]
    body: str


def begin(
    store: Engine | Connection,
    account: str,
    key: str,
    *,
    payload: Any,
    lease: timedelta = LEASE,
    server: str | None = None,
    clock: Clock = now,
) -> Fresh | Replay:
    """Take `key` for the request with this JSON payload, which `server` is to run, or give the answer that it had.

    Raises StillRunning while the first run is under way and KeyReused when the payload is another.
    """
    _check_key(key)
    try:
        moment, sum = clock(), digest.of_value(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError("The request cannot be compared with a later one, for it is not plain JSON.") from error
    here = (table.c.account == account, table.c.key == key)
    with writing(store) as connection:
        groups.lock(connection, account)
        column = table.c.server
        ends = sa.case((servers.dead(column), "dead"), (servers.another(column, than=server), "another"))
        found = connection.execute(sa.select(table, ends.label("whose")).where(*here)).one_or_none()
        values = {"payload": sum, "state": "running", "server": server}
        values |= {"created": stamp(moment), "expires": stamp(moment + lease)}
        if found is None:
            connection.execute(table.insert().values(account=account, key=key, **values))
            return Fresh(again=False)
        over = found.expires <= stamp(moment)
        if found.state == "done" and over:  # its day is over: the key is as good as new
            connection.execute(table.update().where(*here).values(**values, status=None, headers=None, body=None))
            return Fresh(again=False)
        if found.payload != sum:
            raise KeyReused(f"The idempotency key {key!r} was used for another request: take a new key for a new one.")
        if found.state == "done":
            return Replay(status=found.status, headers=json.loads(found.headers), body=found.body)
        if found.whose == "another" or (not over and found.whose != "dead"):
            raise still_running(key)
        connection.execute(table.update().where(*here).values(**values))
        return Fresh(again=True)


def renew(
    store: Engine | Connection,
    account: str,
    key: str,
    *,
    lease: timedelta = LEASE,
    server: str | None = None,
    clock: Clock = now,
) -> None:
    """Let the lease of a run that is under way end later; one that is over, or another server's, stays as it is."""
    query = table.update().where(*_running(account, key, server=server))
    with writing(store) as connection:
        connection.execute(query.values(expires=stamp(clock() + lease)))


def finish(
    store: Engine | Connection,
    account: str,
    key: str,
    *,
    status: int,
    headers: Mapping[str, str],
    body: str,
    server: str | None = None,
    clock: Clock = now,
) -> None:
    """Keep the answer of the run under `key` for a day, be it a success or a failure after work began.

    Raises InputError where nothing runs under it, or another server took it up since.
    """
    if len(body) > LARGEST_BODY:
        raise InputError(f"An answer of {len(body)} characters is not kept: at most {LARGEST_BODY}.")
    values = {
        "state": "done",
        "status": status,
        "headers": digest.canonical(dict(headers)),
        "body": body,
        "expires": stamp(clock() + KEPT),
    }
    query = table.update().where(*_running(account, key, server=server))
    with writing(store) as connection:
        if connection.execute(query.values(**values)).rowcount != 1:
            raise InputError(f"No request runs under the idempotency key {key!r}.")


def abandon(store: Engine | Connection, account: str, key: str, *, server: str | None = None) -> None:
    """Forget a run that never began its work, such as a request that was not valid; its key may be used again."""
    query = table.delete().where(*_running(account, key, server=server))
    with writing(store) as connection:
        connection.execute(query)


def purge(store: Engine | Connection, *, server: str | None = None, clock: Clock = now) -> int:
    """Forget answers older than a day and runs whose lease ended a day ago; the number forgotten.

    Runs of `server`, this one, whose lease ended are nobody's from now on; those of others that live stay.
    """
    moment = clock()
    done = sa.and_(table.c.state == "done", table.c.expires <= stamp(moment))
    late = sa.and_(table.c.state == "running", table.c.expires <= stamp(moment))
    theirs = servers.another(table.c.server, than=server)
    dead = sa.and_(table.c.state == "running", table.c.expires <= stamp(moment - KEPT), sa.not_(theirs))
    with writing(store) as connection:
        if server is not None:
            connection.execute(table.update().where(late, table.c.server == server).values(server=None))
        return connection.execute(table.delete().where(sa.or_(done, dead))).rowcount


def still_running(key: str) -> StillRunning:
    """What a repetition is told while the first run goes on."""
    return StillRunning(f"The first request under the idempotency key {key!r} still runs: ask again later.")


def _running(account: str, key: str, *, server: str | None) -> "tuple[sa.ColumnElement[bool], ...]":
    """The run under a key, but for one that another server does."""
    here = (table.c.account == account, table.c.key == key, table.c.state == "running")
    return (*here, sa.not_(servers.another(table.c.server, than=server)))


def _check_key(key: str) -> None:
    if not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise InputError(f"An idempotency key has 1 to {LONGEST_KEY} printable characters; this one has {len(key)}.")
