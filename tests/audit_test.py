"""Promises of the audit log as an operator meets it: commands write into it, and a command finds one changed byte."""

import dataclasses
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import write_tiny_release

from spearhead import cli
from spearhead.provenance import signing
from spearhead.review import live, policy
from spearhead.store import database
from spearhead.store.home import Home


class Desk:
    """The command line over one installation."""

    def __init__(self, root: Path, shown: pytest.CaptureFixture[str]) -> None:
        self.root, self._shown = root, shown

    def __call__(self, *words: str, code: int = 0) -> Any:
        """One command with --json; its answer."""
        assert cli.main([*words, "--home", str(self.root), "--json"]) == code
        return json.loads(self._shown.readouterr().out)

    def tamper(self, statement: str) -> None:
        """What someone with the file could do."""
        with sqlite3.connect(self.root / "spearhead.db") as raw:
            guards = "SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='audit'"
            for (name,) in raw.execute(guards).fetchall():
                raw.execute(f'DROP TRIGGER "{name}"')
            assert raw.execute(statement).rowcount == 1


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path / "home", capsys)


def people(desk: Desk, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setattr("sys.stdin", io.StringIO("four words that differ\n"))
        desk("people", "add", name, "--role", "auditor", "--password-stdin")


def test_the_command_finds_one_changed_byte_and_a_log_cut_short(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    people(desk, monkeypatch, "ada", "bob")
    assert desk("audit", "verify")["problems"] == []
    elsewhere = tmp_path / "head.json"
    head = desk("audit", "sign", "--out", str(elsewhere))
    assert desk("audit", "sign")["hash"] == head["hash"], "and one that is kept here"
    assert desk("audit", "verify", str(elsewhere)) == {"rows": head["rows"], "heads": 2, "problems": []}
    assert desk("audit", "show", "--last", "1")["rows"][0]["action"] == "person added"
    desk.tamper("UPDATE audit SET detail = replace(detail, 'auditor', 'auditos') WHERE id = 2")
    assert desk("audit", "verify", code=1)["problems"][0]["row"] == 2
    assert "broken at row 2" in desk("audit", "sign", code=2)["error"]
    desk.tamper("UPDATE audit SET detail = replace(detail, 'auditos', 'auditor') WHERE id = 2")
    assert desk("audit", "verify")["problems"] == []
    desk.tamper(f"DELETE FROM audit WHERE id = {head['rows']}")
    assert [one["row"] for one in desk("audit", "verify", str(elsewhere), code=1)["problems"]] == [head["rows"]] * 2


def test_what_a_command_changes_is_written_down_and_what_it_refuses_is_not(desk: Desk) -> None:
    made = desk("keys", "create", "--account", "Ada", "--currency", "EUR")
    rotated = desk("keys", "rotate", "--key", made["key"])["key"]
    desk("keys", "block", "--key", rotated)
    desk("keys", "credit", "--account", "Ada", "--amount", "2.00", "--once", "bank 7")
    desk("bill", "offer", "pro", "--currency", "EUR", "--set", "fee=20.00", "--set", "owing=50.00")
    desk("bill", "subscribe", "pro", "--account", "Ada")
    grant = desk("bill", "grant", "--account", "Ada", "--amount", "5.00")["id"]
    desk("bill", "void", grant)
    desk("bill", "limit", "--account", "Ada", "--most", "9.00")
    desk("bill", "team", "writers")
    desk("bill", "team", "writers", "--account", "Ada")
    desk("bill", "end", "--account", "Ada")
    desk("bill", "price", "multilingual-e5-small", "--currency", "EUR", "--set", "prompt=0.10")
    desk("erase", "--keep", "30")
    desk("keys", "block", "--key", "key_0", code=2)
    desk("bill", "pay", "--account", "Ada", "--amount", "900.00", code=2)
    for looks in ("limits", "plans", "list", "check"):
        desk("bill", looks)
    desk("keys", "balance", "--account", "Ada")
    rows = desk("audit", "show", "--last", "99")["rows"][::-1]
    assert [row["action"] for row in rows] == [
        *("key made", "key rotated", "key blocked", "credit given", "plan offered", "plan begun", "credit given"),
        *("credit voided", "limit set", "team made", "member joined", "plan ended", "price set", "retention set"),
    ]
    assert {row["actor"] for row in rows} == {"command line"}
    assert rows[1]["subject"] == made["key"] and json.loads(rows[1]["detail"]) == {"days": 1, "to": rotated}
    assert json.loads(rows[3]["detail"])["amount"] == 2 * 10**9 and rows[7]["subject"] == grant
    assert made["secret"] not in str(rows)
    assert desk("audit", "verify")["problems"] == []


def test_a_live_policy_is_set_by_command_and_is_the_one_that_servers_read(desk: Desk, tmp_path: Path) -> None:
    write_tiny_release(desk.root / "releases")
    assert desk("policy", "tiny")["policies"] == []
    desk("policy", "tiny", "--template", "education")
    own = tmp_path / "own.toml"
    own.write_text('[review]\ntemplate = "general"\npeople = 2\n')
    shown = desk("policy", "tiny", "--file", str(own))["policies"]
    assert [one["policy"]["people"] for one in shown] == [2, 1]
    store = database.connect(f"sqlite:///{desk.root / 'spearhead.db'}")
    with database.reading(store) as connection:
        found = live.newest(connection, "tiny")
    store.dispose()
    assert found == dataclasses.replace(policy.named("general"), people=2)
    own.write_text('checks = ["nsfw"]\nrules = []\n')
    assert "looks at text" in desk("policy", "tiny", "--file", str(own), code=2)["error"]
    assert "There is no release" in desk("policy", "none", "--template", "film", code=2)["error"]
    assert [row["action"] for row in desk("audit", "show")["rows"]] == ["policy set"] * 2


def test_signing_keys_are_made_shown_and_replaced_by_command(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "there are no keys" in desk("signing", "show", code=2)["error"]
    made = desk("signing", "make")
    assert made["own"] and len(made["certificates"]) == 2 and desk("signing", "show") == made
    with monkeypatch.context() as named:
        named.setenv("SPEARHEAD_TIME_STAMPS", "http://127.0.0.1:9/")
        assert (made["time_stamps"], desk("signing", "show")["time_stamps"]) == (None, "http://127.0.0.1:9/")
    theirs = signing.ensure(Home(tmp_path / "authority", tmp_path))
    (tmp_path / "chain.pem").write_bytes(theirs.chain)
    (tmp_path / "key.pem").write_bytes(theirs.c2pa)
    given = ("signing", "install", "--chain", str(tmp_path / "chain.pem"), "--key", str(tmp_path / "key.pem"))
    done = desk(*given)
    assert not done["own"] and done["certificates"] != made["certificates"]
    assert done["release_key"] == made["release_key"], "releases that are signed stay right"
    assert desk("audit", "show")["rows"][0]["action"] == "signing chain installed"
    assert "PRIVATE" not in json.dumps(done)
