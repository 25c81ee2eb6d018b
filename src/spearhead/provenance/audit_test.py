"""The audit log: one changed byte is found, wherever it is."""

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.provenance import audit
from spearhead.store import database, tables

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    database.migrate(url)
    engine = database.connect(url)
    yield engine
    engine.dispose()


def write(store: Engine, count: int) -> None:
    for number in range(count):
        audit.append(
            store, actor="ann", action="approve", subject=f"rev_{number}", detail={"n": number}, clock=lambda: NOW
        )


def tamper(tmp_path: Path, statement: str) -> None:
    """What someone with the file could do: take the guard away, then change a row."""
    with sqlite3.connect(tmp_path / "x.db") as raw:
        for (name,) in raw.execute(
            "SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='audit'"
        ).fetchall():
            raw.execute(f'DROP TRIGGER "{name}"')
        assert raw.execute(statement).rowcount == 1


def test_rows_hold_the_hash_of_the_row_before(store: Engine) -> None:
    assert audit.verify(store) is None and audit.head(store) == audit.Head(0, audit.START)
    write(store, 3)
    assert audit.verify(store) is None
    with database.reading(store) as connection:
        rows = connection.execute(tables.audit.select()).all()
    assert [row.previous for row in rows] == [audit.START, rows[0].hash, rows[1].hash]
    by_hand = {
        "happened": "2026-11-22T02:00:00Z",
        "actor": "ann",
        "action": "approve",
        "subject": "rev_0",
        "detail": '{"n":0}',
        "previous": audit.START,
    }
    assert rows[0].hash == digest.of_value(by_hand)


@pytest.mark.parametrize("column", ["happened", "actor", "action", "subject", "detail", "previous", "hash"])
def test_one_changed_byte_is_found_at_its_row(store: Engine, tmp_path: Path, column: str) -> None:
    write(store, 5)
    tamper(tmp_path, f"UPDATE audit SET {column} = 'x' || substr({column}, 2) WHERE id = 3")
    assert audit.verify(store) == 3


def test_a_row_that_is_gone_is_found_at_the_next(store: Engine, tmp_path: Path) -> None:
    write(store, 5)
    tamper(tmp_path, "DELETE FROM audit WHERE id = 3")
    assert audit.verify(store) == 4


def test_a_log_cut_short_shows_against_a_head_kept_elsewhere(store: Engine, tmp_path: Path) -> None:
    write(store, 5)
    kept = audit.head(store)
    write(store, 1)
    assert audit.verify(store, head=kept) is None
    tamper(tmp_path, "DELETE FROM audit WHERE id = 6")
    assert audit.verify(store, head=kept) is None
    tamper(tmp_path, "DELETE FROM audit WHERE id = 5")
    assert audit.verify(store) is None
    assert audit.verify(store, head=kept) == 5


def test_a_log_written_anew_shows_against_a_head_kept_elsewhere(store: Engine) -> None:
    write(store, 2)
    assert audit.verify(store, head=audit.Head(2, "f" * 64)) == 2


def test_the_database_itself_refuses_changes(store: Engine) -> None:
    write(store, 1)
    with pytest.raises(IntegrityError), database.writing(store) as connection:
        connection.execute(tables.audit.update().values(actor="bob"))


def test_writers_at_once_make_one_chain(engine: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: write(engine, 4), range(8)))
    assert audit.verify(engine) is None and audit.head(engine).rows == 32


def test_a_row_that_does_not_fit_is_refused(store: Engine) -> None:
    with pytest.raises(InputError, match="64 characters"):
        audit.append(store, actor="x" * 65, action="a", subject="s", detail={})


def test_a_signed_head_comes_back_and_any_changed_byte_of_it_is_refused(store: Engine) -> None:
    seed = bytes(range(32))
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    write(store, 3)
    file = audit.signed(audit.head(store), key=seed, clock=lambda: NOW)
    assert audit.read_signed(file, public=raw) == audit.head(store)
    fields = json.loads(file)
    signature = bytes.fromhex(fields.pop("signature"))
    public.verify(signature, digest.canonical(fields).encode())  # by the library itself
    for place in range(0, len(file) - 1, 7):
        changed = bytearray(file)
        changed[place] ^= 1
        with pytest.raises(InputError):
            audit.read_signed(bytes(changed), public=raw)
    for other in (b"", b"[]", b"{" * 5000, file.replace(b"audit head", b"other head")):
        with pytest.raises(InputError, match="no signed head"):
            audit.read_signed(other, public=raw)


def test_the_newest_rows_come_first(store: Engine) -> None:
    write(store, 4)
    assert [row.subject for row in audit.newest(store, limit=2)] == ["rev_3", "rev_2"]
    assert [row.subject for row in audit.newest(store, limit=9, before=3)] == ["rev_1", "rev_0"]
