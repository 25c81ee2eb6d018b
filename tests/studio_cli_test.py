"""Promises of `spearhead people` and `spearhead erase`."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from spearhead import cli
from spearhead.engine import erasure
from spearhead.store import database

PASSWORD = "four words that differ"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a verb with `--json` and this on its standard input; gives its exit code and what it said."""

    def verb(*words: str, typed: str = "") -> tuple[int, Any]:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = cli.main([*words, "--home", str(tmp_path), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return verb


def test_the_first_administrator_is_made_by_one_command(run: Any, tmp_path: Path) -> None:
    code, said = run(
        "people", "add", "Ada", "--role", "operator", "--role", "creator", "--password-stdin", typed=f"{PASSWORD}\n"
    )
    assert code == 0
    assert (said["name"], said["roles"]) == ("ada", ["creator", "operator"])
    assert said["secret"].startswith("sk-spear-")
    assert PASSWORD.encode() not in (tmp_path / "spearhead.db").read_bytes()
    assert run("people", "list")[1]["people"][0]["blocked"] is None
    assert run("people", "block", "ADA")[1]["blocked"] is not None
    assert run("people", "password", "ada", "--password-stdin", typed=PASSWORD + "!")[1]["blocked"] is None
    assert run("people", "roles", "ada", "--role", "auditor")[1]["roles"] == ["auditor"]


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        (["add", "ada", "--role", "creator"], PASSWORD, "no terminal to ask"),
        (["add", "ada", "--role", "creator", "--password-stdin"], "short", "12 to 200"),
        (["add", "ada", "--password-stdin"], PASSWORD, "no role"),
        (["add", "--role", "creator"], "", "name the person"),
        (["block", "nobody"], "", "no person"),
        (["roles", "nobody", "--role", "creator"], "", "no person"),
    ],
)
def test_a_mistake_is_one_sentence_and_makes_nobody(run: Any, words: list[str], typed: str, said: str) -> None:
    code, answer = run("people", *words, typed=typed)
    assert code == 2 and said in answer["error"]
    assert run("people", "list")[1]["people"] == []


def test_how_long_outputs_are_kept_is_said_once_and_can_be_taken_back(run: Any, tmp_path: Path) -> None:
    store = database.connect(f"sqlite:///{tmp_path / 'spearhead.db'}")
    assert run("erase", "--keep", "30") == (0, {"keep_days": 30})
    assert erasure.kept_for(store) == 30
    assert run("erase", "--keep", "forever") == (0, {"keep_days": None})
    assert erasure.kept_for(store) is None
    assert run("erase", "--older-than", "0") == (0, {"erased": 0, "waiting": 0})
    for words in ([], ["out_1", "--keep", "3"], ["--keep", "soon"], ["--older-than", "-1"], ["out_1"]):
        assert run("erase", *words)[0] == 2
    store.dispose()
