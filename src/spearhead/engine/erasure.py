"""Prompts and outputs that are erased: words and bytes go, a tombstone stays, and so do money and audit.

A row that was erased says when; what was counted and charged for it, who decided on it and that it was erased stay on
record, none of which holds a word of it. What waits for a person is decided on first. Knows no page and no verb.
"""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.core.sentence import Said, said
from spearhead.engine import outputs
from spearhead.engine.outputs import Output
from spearhead.provenance import audit
from spearhead.store.blobs import Blobs
from spearhead.store.database import reading, writing
from spearhead.store.tables import idempotency, settings
from spearhead.store.tables import outputs as table

RETENTION = "retention"
EVERYTHING = "*"
"""The scenario of a setting that is about all of them."""
ASKED = said("engine.erased.asked")
"""Why something is erased where nobody says why."""
MOST_DAYS = 36_500
AT_ONCE = 200
"""Outputs that one transaction erases."""


@dataclass(frozen=True, slots=True)
class Erased:
    """How many outputs were erased, and how many wait for a person and were left."""

    outputs: int
    waiting: int = 0


def erase(
    store: Engine | Connection, id: str, *, blobs: Blobs, actor: str, reason: Said = ASKED, clock: Clock = now
) -> Erased:
    """Erase one output, with what it was edited from and into; doing it again changes nothing.

    Raises InputError when there is none, or when a person has still to decide on it.
    """
    with writing(store) as connection:
        output = outputs.find(connection, id)
        if output is None:
            raise InputError(said("engine.output.none", output=id[:80]))
        chain = _chain(connection, output)
        if any(one.state == "held" for one in chain):
            raise InputError(said("engine.output.waits", output=output.id))
        return Erased(_erase(connection, chain, blobs=blobs, actor=actor, reason=reason, clock=clock))


def erase_all(
    store: Engine | Connection,
    *,
    blobs: Blobs,
    actor: str,
    account: str | None = None,
    days: int | None = None,
    reason: Said = ASKED,
    clock: Clock = now,
) -> Erased:
    """Erase every output of an account, every one older than so many days, or both at once."""
    if account is None and days is None:
        raise InputError("Erase what? Name an output, an account, or how many days old.")
    wanted: list[sa.ColumnElement[bool]] = [table.c.erased.is_(None)]
    if account is not None:
        wanted.append(table.c.account == account)
    if days is not None:
        _check_days(days)
        wanted.append(table.c.created < stamp(clock() - timedelta(days=days)))
    done = 0
    while True:
        with writing(store) as connection:
            query = sa.select(table.c.id).where(*wanted, table.c.state != "held").order_by(table.c.id).limit(AT_ONCE)
            ids = list(connection.scalars(query))
            found = [one for id in ids if (one := outputs.find(connection, id)) is not None]
            done += _erase(connection, found, blobs=blobs, actor=actor, reason=reason, clock=clock)
        if len(ids) < AT_ONCE:
            break
    with reading(store) as connection:
        count = sa.select(sa.func.count()).select_from(table).where(*wanted, table.c.state == "held")
        return Erased(done, int(connection.execute(count).scalar_one()))


def keep_for(store: Engine | Connection, days: int | None, *, actor: str, clock: Clock = now) -> None:
    """From now on erase outputs that are older than `days`; None keeps them until they are erased by hand."""
    if days is not None:
        _check_days(days)
    with writing(store) as connection:
        connection.execute(
            settings.insert().values(
                scenario=EVERYTHING,
                kind=RETENTION,
                value=digest.canonical({"days": days}),
                actor=actor,
                created=stamp(clock()),
            )
        )
        detail = {"days": days}
        audit.append(connection, actor=actor, action="retention set", subject=EVERYTHING, detail=detail, clock=clock)


def kept_for(store: Engine | Connection) -> int | None:
    """How many days outputs are kept; None: until they are erased by hand."""
    with reading(store) as connection:
        value = connection.scalar(
            sa.select(settings.c.value)
            .where(settings.c.scenario == EVERYTHING, settings.c.kind == RETENTION)
            .order_by(settings.c.id.desc())
            .limit(1)
        )
    days = json.loads(value)["days"] if value else None
    return None if days is None else int(days)


def sweep(store: Engine | Connection, *, blobs: Blobs, clock: Clock = now) -> int:
    """Erase what is older than it is kept for; gives how many outputs that were."""
    days = kept_for(store)
    if days is None:
        return 0
    return erase_all(
        store, blobs=blobs, actor="retention", days=days, reason=said("engine.erased.kept"), clock=clock
    ).outputs


def forget_replay(connection: Connection, output: Output, *, code: str, message: str) -> None:
    """A repetition of the request under its Idempotency-Key hears that its answer is gone, and is charged nothing."""
    kept = sa.and_(idempotency.c.account == output.account, idempotency.c.headers.contains(output.id, autoescape=True))
    headers = digest.canonical({"content-type": "application/json"})
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    gone = {"status": 410, "headers": headers, "body": digest.canonical({"error": error})}
    connection.execute(idempotency.update().where(kept).values(**gone))


def _erase(
    connection: Connection, found: Iterable[Output], *, blobs: Blobs, actor: str, reason: Said, clock: Clock
) -> int:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON")  # the words are overwritten, not only unlinked
    moment, count = stamp(clock()), 0
    for one in found:
        if one.erased is not None:
            continue
        # Locked and read anew: its file may have been sealed a moment ago. Bytes first: were this cut off here, the row
        # would still lead to what is left, and erasing again would end it.
        blob = connection.scalar(sa.select(table.c.blob).where(table.c.id == one.id).with_for_update())
        if blob is not None:
            blobs.delete(blob, row=one.id)
        words = {"text": "", "prompt": None, "asked": None, "options": "{}", "findings": "[]"}
        connection.execute(table.update().where(table.c.id == one.id).values(**words, blob=None, erased=moment))
        message = "The answer was erased; it is not to be had."
        forget_replay(connection, one, code="output_erased", message=message)
        why = reason if isinstance(reason, str) else dataclasses.asdict(reason)
        subject, detail = one.id, {"reason": why, "account": one.account, "state": one.state}
        audit.append(connection, actor=actor, action="output erased", subject=subject, detail=detail, clock=clock)
        count += 1
    return count


def _chain(connection: Connection, output: Output) -> list[Output]:
    """An answer, what it was edited from, and what was edited from it."""
    chain = [output]
    while (before := chain[0].edits) is not None and (found := outputs.find(connection, before)) is not None:
        chain.insert(0, found)
    while True:
        after = connection.scalar(sa.select(table.c.id).where(table.c.edits == chain[-1].id))
        found = outputs.find(connection, after) if after else None
        if found is None:
            return chain
        chain.append(found)


def _check_days(days: int) -> None:
    if not 0 <= days <= MOST_DAYS:
        raise InputError(f"{days} days: wanted 0 to {MOST_DAYS:,}.")
