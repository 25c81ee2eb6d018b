"""A search finds the better values, cuts the poor short, survives being killed and says what mattered."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import write_pairs
from tests.road_test import SCENARIO

from spearhead.core.errors import InputError
from spearhead.pipeline import search
from spearhead.pipeline.show import drive
from spearhead.store.home import Home

QUICK = ("training.steps=12", "training.validate_every=3", "training.batch=8")
OVER = ("training.learning_rate=1e-6..1e-2", "training.batch=4|8")


@pytest.fixture(scope="module")
def nod(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario with a tiny model of its own, small enough for a dozen trainings."""
    from spearhead.models.pretrained import tiny

    rows = [f"{a}{b}{c}" for a in "bcdfghkl" for b in "mnprst" for c in "vw"]
    folder = write_pairs(tmp_path_factory.mktemp("scenario") / "nod", SCENARIO, rows)
    tiny.write(folder / "base", layers=1)
    return folder


def test_the_better_learning_rate_is_found_and_what_mattered_is_said(nod: Path, tmp_path: Path) -> None:
    home = Home(root=tmp_path / "home", cache=tmp_path / "cache")
    over = [search.field(one) for one in OVER]
    found = drive(search.search(nod, home=home, over=over, trials=8, changes=QUICK), quiet=True)
    losses = {row["values"]["training.learning_rate"]: row["loss"] for row in found.values["trials"] if row["loss"]}
    assert found.values["best"]["loss"] == min(losses.values()) < max(losses.values())
    assert found.values["best"]["values"]["training.learning_rate"] > 1e-4
    assert found.values["importance"]["training.learning_rate"] > found.values["importance"]["training.batch"]
    assert Path(found.values["plot"]).read_bytes().startswith(b"\x89PNG")
    cut = [row for row in found.values["trials"] if row["state"] == "PRUNED"]
    assert found.values["states"]["PRUNED"] == len(cut) >= 1, "a trial that was worse than the others' middle was cut"
    assert all(row["number"] >= search.STARTUP and row["values"]["training.learning_rate"] < 1e-4 for row in cut)
    ends: dict[bool, list[int]] = {}
    for folder in home.runs.rglob("train-*"):
        steps = [json.loads(line)["step"] for line in (folder / "curve.jsonl").read_text("utf-8").splitlines()]
        ends[(folder / "done.json").is_file()] = [*ends.get((folder / "done.json").is_file(), []), steps[-1]]
    assert set(ends[True]) == {12} and len(ends[False]) == len(cut) and max(ends[False]) < 12, "it took fewer steps"
    again = drive(search.search(nod, home=home, over=over, trials=8, changes=QUICK), quiet=True)
    assert again.values == found.values, "a finished search is not done again"


def test_a_killed_search_goes_on_with_the_trial_it_was_cut_off_in(nod: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "spearhead.cli", "search", str(nod), "--trials", "2", "--json"]
    command += ["--home", str(tmp_path / "home"), *(f"--over={one}" for one in OVER)]
    command += [f"--set={one}" for one in (*QUICK, "training.steps=60", "training.save_every=2")]
    runs = tmp_path / "home" / "runs"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        limit = time.monotonic() + 90
        while not list(runs.rglob("checkpoint/step-*")):
            assert first.poll() is None and time.monotonic() < limit
            time.sleep(0.02)
        os.kill(first.pid, signal.SIGKILL)
    cut = next(runs.rglob("checkpoint/step-*")).parents[1]
    assert not (cut / "done.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    values = json.loads(done.stdout)
    assert (cut / "done.json").is_file(), "the trial that was cut off came to its end in its own folder"
    states = [row["state"] for row in values["trials"]]
    assert states.count("FAIL") == 1 and len(states) == 3
    rates = [row["values"]["training.learning_rate"] for row in values["trials"] if row["state"] != "FAIL"]
    assert len(set(rates)) == len(rates) == 2, "what was drawn before the kill is not drawn again"


@pytest.mark.parametrize("text", ["", "x", "a=", "a=1..", "a=2..1", "a=1..x", "a={}|1", "a=inf..1"])
def test_a_field_that_cannot_be_read_is_answered_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match="--over"):
        search.field(text)


def test_an_unknown_key_is_said_before_anything_is_trained(nod: Path, tmp_path: Path) -> None:
    home = Home(root=tmp_path / "home", cache=tmp_path / "cache")
    with pytest.raises(InputError, match="learning_rat"):
        drive(
            search.search(nod, home=home, over=[search.field("training.learning_rat=1e-3..1e-2")], trials=2), quiet=True
        )
    assert not home.runs.exists() or not list(home.runs.rglob("study.db"))


def test_what_does_not_change_the_result_is_nothing_to_search(nod: Path, tmp_path: Path) -> None:
    home = Home(root=tmp_path / "home", cache=tmp_path / "cache")
    with pytest.raises(InputError, match="training.precision: it says how training is done"):
        drive(search.search(nod, home=home, over=[search.field("training.precision=fp32|bf16")], trials=2), quiet=True)
