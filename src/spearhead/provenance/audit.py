"""The audit log: each row holds the hash of the one before, so that a changed byte shows. Knows no meaning of rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.provenance import signing
from spearhead.store.database import reading, writing
from spearhead.store.tables import audit

START = "0" * 64
"""What the first row has in the place of a row before."""


LARGEST_HEAD = 4096
"""Bytes of a signed head."""
_WHAT = "spearhead audit head"
"""Signed along, so that no other signature of the same key passes for a head's."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the log."""

    id: int
    happened: str
    actor: str
    action: str
    subject: str
    detail: str
    """JSON."""


@dataclass(frozen=True, slots=True)
class Head:
    """How far the log had come: sign it and keep it elsewhere, and a log cut short shows too."""

    rows: int
    hash: str


def append(
    store: Engine | Connection,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    clock: Clock = now,
) -> str:
    """Write down who did what to what; gives the row's hash. `detail` is JSON and holds no secret."""
    if len(actor) > 64 or len(action) > 64 or len(subject) > 200:
        raise InputError("an audit row takes 64 characters of actor and action and 200 of subject")
    row = {
        "happened": stamp(clock()),
        "actor": actor,
        "action": action,
        "subject": subject,
        "detail": digest.canonical(dict(detail)),
    }
    with writing(store) as connection:
        if connection.dialect.name == "postgresql":  # two appends at once would both follow the same row
            connection.execute(sa.text("LOCK TABLE audit IN EXCLUSIVE MODE"))
        last = connection.execute(sa.select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)).scalar()
        row["previous"] = START if last is None else str(last)
        own = digest.of_value(row)
        connection.execute(audit.insert().values(**row, hash=own))
    return own


def verify(store: Engine | Connection, *, head: Head | None = None) -> int | None:
    """The id of the first row that is not as it was written, or that follows a missing one; None when all hold.

    With a `head` that was kept, a log that lacks rows it had then is broken too: at the row that should be there.
    """
    previous, number = START, 0
    names = ("happened", "actor", "action", "subject", "detail", "previous")
    with reading(store) as connection:
        for count, row in enumerate(connection.execute(sa.select(audit).order_by(audit.c.id)), 1):
            number = int(row.id)
            fields = {name: getattr(row, name) for name in names}
            if row.previous != previous or digest.of_value(fields) != row.hash:
                return number
            if head and count == head.rows and row.hash != head.hash:
                return number
            previous = row.hash
        total = connection.execute(sa.select(sa.func.count()).select_from(audit)).scalar_one()
    return number + 1 if head and total < head.rows else None


def head(store: Engine | Connection) -> Head:
    """How far the log has come."""
    with reading(store) as connection:
        count = int(connection.execute(sa.select(sa.func.count()).select_from(audit)).scalar_one())
        last = connection.execute(sa.select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)).scalar()
    return Head(count, START if last is None else str(last))


def signed(head: Head, *, key: bytes, clock: Clock = now) -> bytes:
    """A head as a file to keep elsewhere, signed with the installation's Ed25519 seed."""
    fields = {"what": _WHAT, "signed": stamp(clock()), **asdict(head)}
    signature = signing.sign_bytes(digest.canonical(fields).encode(), key=key).hex()
    return digest.canonical({**fields, "signature": signature}).encode() + b"\n"


def read_signed(data: bytes, *, public: bytes) -> Head:
    """The head in a file of `signed`; raises InputError on another file, and on one that `public` did not sign."""
    try:
        fields: dict[str, Any] = json.loads(data) if len(data) <= LARGEST_HEAD else {}
        signature = bytes.fromhex(fields.pop("signature"))
        head, what = Head(fields["rows"], fields["hash"]), fields["what"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError("this is no signed head of an audit log: `spearhead audit sign` writes one") from error
    if type(head.rows) is not int or type(head.hash) is not str or what != _WHAT:
        raise InputError("this is no signed head of an audit log: `spearhead audit sign` writes one")
    if not signing.verify_bytes(digest.canonical(fields).encode(), signature, public=public):
        raise InputError("the head was changed after it was signed, or another installation signed it")
    return head


def problems(store: Engine | Connection, heads: Sequence[tuple[Path, Head]] = ()) -> list[tuple[int, Path | None]]:
    """Rows that are not as they were written, each with the head that says so; None: the row's own hash does."""
    broken = verify(store)
    found: list[tuple[int, Path | None]] = [] if broken is None else [(broken, None)]
    for path, head in heads:
        if (row := verify(store, head=head)) is not None and row != broken:
            found.append((row, path))
    return found


def kept(folder: Path, *more: Path, public: bytes) -> list[tuple[Path, Head]]:
    """The signed heads in `folder`, and those of the files `more`; raises InputError naming one that is none."""
    found = []
    for path in (*sorted(folder.glob("head-*.json")), *more):
        try:
            found.append((path, read_signed(path.read_bytes()[: LARGEST_HEAD + 1], public=public)))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    return found


def newest(store: Engine | Connection, *, limit: int, before: int | None = None) -> list[Row]:
    """The rows written last, newest first; with `before`, those under that id."""
    wanted = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(audit.c.id < before)
    with reading(store) as connection:
        return [Row(*(getattr(row, name) for name in Row.__slots__)) for row in connection.execute(wanted)]
