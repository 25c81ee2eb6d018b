"""Promises of erasure."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from spearhead.core.clock import stamp
from spearhead.core.errors import InputError
from spearhead.engine import erasure, outputs
from spearhead.engine.outputs import Output
from spearhead.ledger import idempotency, keys
from spearhead.provenance import audit
from spearhead.store import database, tables
from spearhead.store.blobs import Blobs

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> sa.Engine:
    url = f"sqlite:///{tmp_path / 'spearhead.db'}"
    database.migrate(url)
    return database.connect(url)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def keep(store: sa.Engine, blobs: Blobs, id: str, *, account: str, days: int = 0, **changes: str | None) -> Output:
    row = Output(
        id=id,
        request=f"req-{id}",
        account=account,
        release="tiny@v1",
        state="released",
        text=f"secret words of {id}",
        finish="stop",
        findings='[{"reason":"said something"}]',
        policy="p",
        options='{"stop":["secret end"]}',
        seed=1,
        completion_units=5,
        created=stamp(NOW - timedelta(days=days)),
        blob=blobs.put(f"file of {id}".encode()),
        prompt='[{"role":"user","content":"secret prompt"}]',
        asked="{}",
    )
    row = Output(**{**{name: getattr(row, name) for name in Output.__slots__}, **changes})
    with database.writing(store) as connection:
        outputs.insert(connection, row)
    return row


def account(store: sa.Engine, name: str = "someone") -> str:
    return keys.create_account(store, name, currency="USD").id


def test_erasing_leaves_a_tombstone_and_no_word_or_byte(store: sa.Engine, blobs: Blobs, tmp_path: Path) -> None:
    row = keep(store, blobs, "out_1", account=account(store))
    assert erasure.erase(store, "out_1", blobs=blobs, actor="ada", clock=lambda: NOW).outputs == 1
    assert erasure.erase(store, "out_1", blobs=blobs, actor="ada", clock=lambda: NOW).outputs == 0
    with database.reading(store) as connection:
        left = outputs.find(connection, "out_1")
        log = connection.execute(sa.select(tables.audit)).one()
    assert left is not None and left.erased == stamp(NOW)
    assert (left.text, left.prompt, left.asked, left.blob) == ("", None, None, None)
    assert (left.options, left.findings) == ("{}", "[]")
    assert (left.state, left.completion_units, left.request) == ("released", 5, row.request)
    assert (log.actor, log.action, log.subject) == ("ada", "output erased", "out_1")
    assert "secret" not in log.detail and audit.verify(store) is None
    assert row.blob is not None and not blobs.has(row.blob)
    with database.writing(store) as connection:  # the page that held the words goes from the log into the file
        pass
    store.dispose()
    assert b"secret" not in (tmp_path / "spearhead.db").read_bytes()


def test_a_repeated_request_whose_answer_was_erased_hears_so_and_runs_no_more(store: sa.Engine, blobs: Blobs) -> None:
    whose = account(store)
    keep(store, blobs, "out_1", account=whose)
    idempotency.begin(store, whose, "mine", payload={})
    headers = {"x-spearhead-output": "out_0,out_1"}
    idempotency.finish(store, whose, "mine", status=200, headers=headers, body="secret words of out_1")
    erasure.erase(store, "out_1", blobs=blobs, actor="ada")
    again = idempotency.begin(store, whose, "mine", payload={})
    assert isinstance(again, idempotency.Replay)
    assert again.status == 410 and "secret" not in again.body


def test_what_waits_for_a_person_is_not_erased(store: sa.Engine, blobs: Blobs) -> None:
    whose = account(store)
    row = keep(store, blobs, "out_1", account=whose, state="held")
    with pytest.raises(InputError, match="waits for a person"):
        erasure.erase(store, "out_1", blobs=blobs, actor="ada")
    assert erasure.erase_all(store, blobs=blobs, actor="ada", account=whose) == erasure.Erased(0, waiting=1)
    assert row.blob is not None and blobs.has(row.blob)


def test_an_edited_answer_goes_with_what_it_was_made_of(store: sa.Engine, blobs: Blobs) -> None:
    whose = account(store)
    keep(store, blobs, "out_1", account=whose, state="edited")
    keep(store, blobs, "out_2", account=whose, state="edited", edits="out_1")
    keep(store, blobs, "out_3", account=whose, edits="out_2")
    assert erasure.erase(store, "out_2", blobs=blobs, actor="ada").outputs == 3


def test_retention_erases_what_is_older_and_nothing_else(store: sa.Engine, blobs: Blobs) -> None:
    whose = account(store)
    for days in (1, 29, 31, 400):
        keep(store, blobs, f"out_{days}", account=whose, days=days)
    assert erasure.sweep(store, blobs=blobs, clock=lambda: NOW) == 0  # nobody has said how long
    erasure.keep_for(store, 30, actor="ada")
    assert erasure.kept_for(store) == 30
    assert erasure.sweep(store, blobs=blobs, clock=lambda: NOW) == 2
    with database.reading(store) as connection:
        left = connection.scalars(sa.select(tables.outputs.c.id).where(tables.outputs.c.erased.is_(None)))
        assert sorted(left) == ["out_1", "out_29"]
    erasure.keep_for(store, None, actor="ada")
    assert erasure.sweep(store, blobs=blobs, clock=lambda: NOW + timedelta(days=900)) == 0


def test_erasing_one_account_leaves_the_others(store: sa.Engine, blobs: Blobs) -> None:
    one, other = account(store, "one"), account(store, "other")
    keep(store, blobs, "out_1", account=one)
    kept = keep(store, blobs, "out_2", account=other)
    assert erasure.erase_all(store, blobs=blobs, actor="ada", account=one).outputs == 1
    assert kept.blob is not None and blobs.has(kept.blob)
    with pytest.raises(InputError, match="Erase what"):
        erasure.erase_all(store, blobs=blobs, actor="ada")
