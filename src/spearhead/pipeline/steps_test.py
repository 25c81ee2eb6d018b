"""Promises of a step."""

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from spearhead.core.generation import Progress
from spearhead.pipeline.show import drive
from spearhead.pipeline.steps import step


def counting(log: list[str], *, fails: bool = False) -> Any:
    def work(folder: Path) -> Generator[Progress, None, Mapping[str, Any]]:
        log.append("ran")
        yield Progress("counting", 1, 2)
        (folder / "part").write_text("kept")
        if fails:
            raise RuntimeError("cut off")
        return {"n": len(log)}

    return work


def test_a_finished_step_is_not_done_again(tmp_path: Path) -> None:
    log: list[str] = []
    first = drive(step(tmp_path, "s", {"a": 1}, counting(log), data="d"), quiet=True)
    second = drive(step(tmp_path, "s", {"a": 1}, counting(log), data="d"), quiet=True)
    assert log == ["ran"]
    assert first.fresh and not second.fresh and second.result == {"n": 1} and first.folder == second.folder


def test_other_inputs_are_another_step(tmp_path: Path) -> None:
    log: list[str] = []
    drive(step(tmp_path, "s", {"a": 1}, counting(log), data="d"), quiet=True)
    drive(step(tmp_path, "s", {"a": 2}, counting(log), data="d"), quiet=True)
    assert len(log) == 2


def test_a_cut_off_step_goes_on_in_its_own_folder(tmp_path: Path) -> None:
    log: list[str] = []
    with pytest.raises(RuntimeError):
        drive(step(tmp_path, "s", {}, counting(log, fails=True), data="d"), quiet=True)
    done = drive(step(tmp_path, "s", {}, counting(log), data="d"), quiet=True)
    assert (done.folder / "part").read_text() == "kept" and len(log) == 2
