"""Promises to one who is new here: a slip is met with the word that was meant, and every verb names the next."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from spearhead import cli
from spearhead.core.clock import now
from spearhead.core.errors import InputError
from spearhead.provenance import audit
from spearhead.scenario import scaffold
from spearhead.service.serve import bind


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.main(words)
    told = capsys.readouterr()
    return code, told.err if code else told.out


@pytest.mark.parametrize(
    ("words", "meant"),
    [(("rnu", "x"), "'rnu' is unknown; did you mean 'run'?"), (("keys", "crate"), "did you mean 'create'?")],
)
def test_a_misspelt_verb_is_told_what_was_meant(
    words: tuple[str, ...], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = said(capsys, *words)
    assert code == 2 and meant in line and "choose from" not in line


def test_a_verb_like_no_other_is_told_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, line = said(capsys, "zzz")
    assert code == 2 and "'zzz' is unknown; wanted one of new, check, data" in line


def test_a_scenario_named_without_its_folder_is_found_for_you(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "`spearhead new NAME`" in said(capsys, "check", "dates")[1]
    scaffold.new("dates", into=Path("scenarios"))
    code, line = said(capsys, "check", "dates")
    assert code == 2 and "did you mean scenarios/dates?" in line


def test_check_and_data_name_the_next_command_with_the_same_preset_and_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scaffold.new("dates", into=tmp_path / "my scenarios")
    asked = [str(folder), "--preset", "quick", "--set", "training.steps=5"]
    for verb, following in (("check", "data"), ("data", "run")):
        code, told = said(capsys, verb, *asked, "--home", str(tmp_path / "home"))
        assert code == 0
        assert shlex.split(told.splitlines()[-1]) == ["next:", "spearhead", following, *asked]


def test_a_table_with_names_of_columns_alone_makes_no_scenario(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "my.csv"
    table.write_text("input,output\n\n", encoding="utf-8")
    code, line = said(capsys, "new", "mine", "--into", str(tmp_path), "--data", str(table), "--licence", "CC0-1.0")
    assert code == 2 and "no row below them" in line and not (tmp_path / "mine").exists()


def test_a_promotion_without_a_version_says_what_is_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = said(capsys, "release", "dates", "--action", "promote", "--home", str(tmp_path))
    assert code == 2 and "which version? wanted SCENARIO@VERSION; there are: none of it" in line


def test_the_audit_log_shows_money_and_lists_as_people_write_them(served: Any) -> None:
    detail = {"amount": 5_250_000_000, "currency": "USD", "scopes": ["generate", "read"]}
    audit.append(served.engine, actor="command line", action="credit given", subject="acct_x", detail=detail, clock=now)
    page = served.guest(served.account(), "auditor").get("/audit").text
    assert "amount 5.25<" in page and "scopes generate, read<" in page


@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
def test_a_port_that_cannot_be_is_refused_and_no_other_takes_its_place(port: int) -> None:
    with pytest.raises(InputError, match=f"--port {port}: wanted 1 to 65535"):
        bind("127.0.0.1", port)
