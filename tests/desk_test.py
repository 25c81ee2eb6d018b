"""Promises of the operator's desk: a key is called what it is, advice can be typed as it stands."""

import argparse
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spearhead import cli
from spearhead.core.errors import InputError
from spearhead.ledger import keys as ledger_keys
from spearhead.pipeline import desk, once
from spearhead.provenance import audit
from spearhead.store.home import Home


def own_use(home: Home) -> None:
    """What `spearhead generate` leaves: an account that answers made at the machine are booked to."""
    ledger_keys.create_account(desk.opened(home), once.OWN, currency="USD")


def ask(*words: str) -> argparse.Namespace:
    return cli.parser().parse_args(["keys", *words])


def test_a_key_whose_time_is_over_is_not_said_to_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home.find(tmp_path)
    desk.keys(home, ask("create", "--days", "1"))
    desk.keys(home, ask("create", "--name", "lasting"))
    states = {key["name"]: key["state"] for key in desk.keys(home, ask("list")).values["keys"]}
    assert states == {"key": "works", "lasting": "works"}
    monkeypatch.setattr(desk, "now", lambda: datetime(2200, 1, 1, tzinfo=UTC))
    states = {key["name"]: key["state"] for key in desk.keys(home, ask("list")).values["keys"]}
    assert states == {"key": "expired", "lasting": "works"}


def test_the_advice_under_a_new_key_gives_credit_to_its_account(tmp_path: Path) -> None:
    home = Home.find(tmp_path)
    for account in ("admin", "the shop"):
        advice = desk.keys(home, ask("create", "--account", account)).lines()[-1]
        _, *words = shlex.split(advice.partition(": ")[2])
        done = desk.keys(home, cli.parser().parse_args(words))
        assert done.lines() == [f"{account}: 5.00 USD available, 0.00 reserved"]


def test_a_credit_that_was_given_before_is_not_written_down_again(tmp_path: Path) -> None:
    home = Home.find(tmp_path)
    desk.keys(home, ask("create", "--account", "shop"))
    for _ in range(2):
        done = desk.keys(home, ask("credit", "--account", "shop", "--amount", "5.00", "--once", "invoice 7"))
        assert done.lines() == ["shop: 5.00 USD available, 0.00 reserved"]
    told = [row.action for row in audit.newest(desk.opened(home), limit=9)]
    assert told.count("credit given") == 1


def test_the_demos_keys_and_credit_are_in_the_audit_log(tmp_path: Path) -> None:
    home = Home.find(tmp_path)
    for _ in range(2):
        desk.demo_key(home, "USD")
    done = [row.action for row in audit.newest(desk.opened(home), limit=9)]
    assert sorted(done) == ["credit given", "key made", "key made"], "the second time gives no credit"


@pytest.mark.parametrize("before", [lambda home: None, lambda home: desk.demo_key(home, "USD"), own_use])
def test_the_first_key_that_is_asked_for_may_do_everything_whatever_ran_before(
    before: Callable[[Home], None], tmp_path: Path
) -> None:
    home = Home.find(tmp_path)
    before(home)
    may = []
    for words in ((), (), ("--account", "shop"), ("--scope", "admin", "--scope", "read")):
        secret = desk.keys(home, ask("create", *words)).values["secret"]
        principal = ledger_keys.authenticate(desk.opened(home), secret)
        assert principal is not None
        may.append(principal.scopes)
    assert may == [("admin",), ("generate", "read"), ("generate", "read"), ("read", "admin")]


def test_an_account_keeps_its_currency_and_says_so(tmp_path: Path) -> None:
    home = Home.find(tmp_path)
    desk.keys(home, ask("create", "--currency", "EUR"))
    desk.keys(home, ask("create"))
    with pytest.raises(InputError, match="the account 'admin' is in EUR, and stays so: not in USD"):
        desk.keys(home, ask("create", "--currency", "USD"))


def test_how_long_a_rotated_key_works_on_is_said_as_it_is(tmp_path: Path) -> None:
    home = Home.find(tmp_path)
    old = desk.keys(home, ask("create", "--days", "2")).values
    told = desk.keys(home, ask("rotate", "--key", old["key"], "--days", "9")).lines()[-1]
    assert told == f"the old key works until {old['expires']}"
