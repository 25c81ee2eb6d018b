"""Promises of `spearhead people` and `spearhead erase`."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from spearhead import cli
from spearhead.engine import erasure
from spearhead.store import database, tables

PASSWORD = "four words that differ"


class Terminal(io.StringIO):
    """Words that somebody types at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a verb with `--json` and this on its standard input; gives its exit code and what it said."""

    def verb(*words: str, typed: str = "", terminal: bool = False) -> tuple[int, Any]:
        monkeypatch.setattr("sys.stdin", Terminal(typed) if terminal else io.StringIO(typed))
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
        (
            ["add", "ada", "--role", "creator"],
            PASSWORD,
            "as in `spearhead people add ada --role creator --password-stdin < password.txt`",
        ),
        (["password", "ada b"], PASSWORD, "as in `spearhead people password 'ada b' --password-stdin < "),
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
    assert run("erase", "--older-than", "1") == (0, {"erased": 0, "waiting": 0})
    for words in ([], ["out_1", "--keep", "3"], ["--keep", "soon"], ["--older-than", "-1"], ["out_1"]):
        assert run("erase", *words)[0] == 2
    store.dispose()


def outputs_left(root: Path) -> int:
    store = database.connect(f"sqlite:///{root / 'spearhead.db'}")
    with store.connect() as connection:
        left = connection.execute(sa.select(sa.func.count()).where(tables.outputs.c.erased.is_(None))).scalar_one()
    store.dispose()
    return int(left)


def one_output(root: Path, account: str) -> None:
    row: dict[str, Any] = dict.fromkeys(("mime", "finish", "findings", "policy", "options", "request", "text"), "")
    row |= {"id": "out_1", "account": account, "release": "s@1", "state": "released", "completion_units": 1}
    store = database.connect(f"sqlite:///{root / 'spearhead.db'}")
    with store.begin() as connection:
        connection.execute(tables.outputs.insert().values(**row, created="2026-11-22T00:00:00Z"))
    store.dispose()


@pytest.mark.parametrize("words", [["--older-than", "0"], ["--keep", "0"]])
def test_what_leaves_no_output_is_asked_about_first(run: Any, tmp_path: Path, words: list[str]) -> None:
    one_output(tmp_path, run("keys", "create", "--account", "ada")[1]["account"])
    code, said = run("erase", *words, typed="yes\n")
    assert code == 2 and "say --yes" in said["error"], "nobody is asked where there is no terminal"
    for typed in ("no\n", "\n", "", "y\n"):
        code, said = run("erase", *words, typed=typed, terminal=True)
        assert code == 2 and "nothing was changed" in said["error"]
    assert outputs_left(tmp_path) == 1
    store = database.connect(f"sqlite:///{tmp_path / 'spearhead.db'}")
    assert erasure.kept_for(store) is None
    assert run("erase", *words, typed="Yes\n", terminal=True)[0] == 0
    assert run("erase", *words, "--yes")[0] == 0
    assert erasure.kept_for(store) == (0 if "--keep" in words else None)
    store.dispose()
    assert outputs_left(tmp_path) == (1 if "--keep" in words else 0), "a running server sees to what is kept no more"


def test_a_limit_of_age_an_account_or_a_single_output_is_not_asked_about(run: Any, tmp_path: Path) -> None:
    account = run("keys", "create", "--account", "ada")[1]["account"]
    run("keys", "create", "--account", "eve")
    one_output(tmp_path, account)
    assert run("erase", "--account", "ada", "--older-than", "36000")[1] == {"erased": 0, "waiting": 0}
    assert run("erase", "--account", "eve")[1] == {"erased": 0, "waiting": 0}
    assert run("erase", "out_1")[1] == {"erased": 1, "waiting": 0}
    assert run("erase", "--account", "ada", "--older-than", "0")[1] == {"erased": 0, "waiting": 0}
