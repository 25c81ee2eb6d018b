"""Promises about a disk that takes no more: one line, exit code 1, nothing half-written, and what was there stays."""

import contextlib
import io
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from spearhead import cli
from spearhead.data.config import DataConfig, Source
from spearhead.data.dataset import Dataset
from spearhead.data.prepare import prepare
from spearhead.pipeline.show import drive
from spearhead.store.home import Home


@contextlib.contextmanager
def full_disk(after: int) -> Iterator[None]:
    """No file may grow past so many bytes: Python ignores the signal, and the write fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_verb_says_so_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with contextlib.redirect_stderr(io.StringIO()) as said, full_disk(2_000):
        code = cli.main(["new", "dates", "--into", str(tmp_path / "scenarios")])
    assert code == 1
    assert said.getvalue().startswith("spearhead: ") and said.getvalue().count("\n") == 1
    assert not list((tmp_path / "scenarios").iterdir())


def test_data_that_do_not_fit_leave_no_half_folder_and_spare_what_was_there(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", tmp_path / "cache")

    def prepared(rows: int) -> Dataset:
        lines = "".join(f"ask {n * 7919} of {n},say {n * 104729} to {n}\n" for n in range(rows))
        (tmp_path / "pairs.csv").write_text("input,output\n" + lines)
        source = Source("files", "CC0-1.0", "nobody", path="pairs.csv")
        what = DataConfig((source,), validation=0.2, test=0.2, near=1.0, checks=())
        return drive(prepare(what, home=home, folder=tmp_path, checks=(), sells=False, withdrawn=()), quiet=True)

    before = prepared(20)
    with full_disk(10_000), pytest.raises(OSError, match="File too large"):
        prepared(120)
    assert [path for path in home.data.iterdir() if path.name != "candidates"] == [before.folder]
    assert Dataset.open(before.folder).counts() == before.counts()
    assert prepared(120).counts()["train"] > 60, "once there is room, the same command goes on"
