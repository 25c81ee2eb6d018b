"""Promises of files without a row: what a kill left goes after its grace, what is being written never does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from spearhead.core import digest
from spearhead.engine import orphans, outputs
from spearhead.engine.orphans import GRACE, LOOKS, Orphans
from spearhead.engine.outputs import Output
from spearhead.ledger import keys
from spearhead.store.blobs import MARKS, Blobs
from spearhead.store.database import StoreUnavailable

KILLED = """
import os, signal, sys
from pathlib import Path
from spearhead.core import files, media
from spearhead.core.media import Label
from spearhead.engine.sealing import Sealer
from spearhead.store.blobs import Blobs

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "half way":
    files.os.replace = die
sealer = Sealer(lambda item, label: item, blobs=Blobs(Path(sys.argv[1])))
sealer._make(media.text("words that nobody is to find"), Label("p", "out_1", "tiny@v1", "2026-11-22T00:00:00Z"))
die()
"""


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def aged(folder: Path, seconds: float = GRACE + 60) -> None:
    """Let every mark be so old."""
    for mark in (folder / MARKS).iterdir():
        os.utime(mark, (time.time() - seconds,) * 2)


def write(engine: Engine, name: str, blob: str | None) -> None:
    """The row of an answer."""
    with engine.begin() as connection:
        account = (
            connection.scalar(sa.text("SELECT id FROM accounts"))
            or keys.create_account(connection, "a", currency="EUR").id
        )
        told = ("released", "text", "stop", "[]", "p", "{}", None, 2, "2026-11-22T00:00:00Z", None, blob)
        outputs.insert(connection, Output(name, "r", account, "s@1", *told))


@pytest.mark.parametrize("when", ["half way", "before its row"])
def test_what_a_kill_left_without_a_row_is_found_and_deleted_after_its_grace(
    engine: Engine, tmp_path: Path, when: str
) -> None:
    place = tmp_path / "blobs"
    died = subprocess.run([sys.executable, "-c", KILLED, str(place), when], check=False)
    assert died.returncode == -signal.SIGKILL
    assert [file for file in files(place) if b"nobody is to find" in file.read_bytes()]
    upkeep = Orphans(Blobs(place))
    assert [upkeep.look(engine) for _ in range(LOOKS + 2)] == [0] * (LOOKS + 2), "not before its time"
    aged(place)
    assert upkeep.look(engine) == 1 and files(place) == []


def test_what_has_its_row_stays_and_is_looked_at_no_more(engine: Engine, tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    sha = blobs.put(b"hello", row="out_1")
    write(engine, "out_1", sha)
    aged(blobs.folder)
    upkeep = Orphans(blobs)
    assert [upkeep.look(engine) for _ in range(LOOKS)] == [0] * LOOKS
    assert list(blobs.marks()) == [] and blobs.get(sha) == b"hello"


def test_a_clock_that_leaps_deletes_nothing_whose_row_is_still_to_come(engine: Engine, tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    sha = blobs.put(b"hello", row="out_1")
    aged(blobs.folder)
    upkeep = Orphans(blobs)
    assert [upkeep.look(engine) for _ in range(LOOKS - 1)] == [0] * (LOOKS - 1)
    write(engine, "out_1", sha)
    assert upkeep.look(engine) == 0 and blobs.get(sha) == b"hello"


def test_looks_before_the_database_was_away_do_not_count(engine: Engine, tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    sha = blobs.put(b"hello", row="out_1")
    aged(blobs.folder)
    upkeep = Orphans(blobs)
    for _ in range(LOOKS - 1):
        upkeep.look(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE outputs RENAME TO away")
    with pytest.raises((StoreUnavailable, sa.exc.DBAPIError)):
        upkeep.look(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO outputs")
    assert upkeep.look(engine) == 0 and blobs.has(sha)


def test_bytes_that_are_kept_again_are_young_again(engine: Engine, tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    sha = blobs.put(b"hello", row="out_1")
    aged(blobs.folder)
    (old,) = blobs.marks()
    assert blobs.put(b"hello", row="out_1") == sha
    assert blobs.clear(old) == 0 and blobs.has(sha)
    upkeep = Orphans(blobs)
    assert [upkeep.look(engine) for _ in range(LOOKS)] == [0] * LOOKS and blobs.has(sha)


def test_the_loser_of_two_files_of_one_answer_goes_and_the_other_stays(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "TOGETHER", 1)
    blobs = Blobs(tmp_path / "blobs")
    first, second = (blobs.put(data, row="out_1") for data in (b"one", b"two"))
    foreign = blobs.folder / MARKS / "README"
    foreign.write_text("not ours")
    write(engine, "out_1", first)
    aged(blobs.folder)
    upkeep = Orphans(blobs)
    assert sum(upkeep.look(engine) for _ in range(LOOKS)) == 1
    assert blobs.has(first) and not blobs.has(second) and foreign.exists()
    assert digest.of_bytes(b"one") == first
