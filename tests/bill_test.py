"""Promises of `spearhead bill`: an operator's month, from a plan to a paid invoice, with nothing but commands."""

import json
from pathlib import Path
from typing import Any

import pytest

from spearhead import cli
from spearhead.core.generation import Usage
from spearhead.core.manifest import PriceTag
from spearhead.ledger import plans
from spearhead.ledger.billing import Hands
from spearhead.pipeline import bill as verb
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


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path / "home", capsys)


def use(root: Path, account: str, hands: Hands, *, request: str, units: int) -> None:
    """What a server does when a request ends."""
    tag, made = PriceTag("EUR", 10**12, 10**12, "token"), Usage(units, 0)
    engine = database.connect(Home(root, root).database_url)
    with engine.begin() as connection:
        held = plans.hold(
            connection, account, tag=tag, prompt=units, completion=0, request=request, key=None, clock=hands
        )
        plans.close(
            connection, held, made=made, owed=made, source="engine", event=request, key=None, release="s@1", clock=hands
        )
    engine.dispose()


def at(desk: Desk, hands: Hands, *words: str) -> Any:
    """A command at the time that the clock shows."""
    options = cli.parser().parse_args(["bill", *words, "--home", str(desk.root)])
    return verb.bill(Home.find(options.home), options, clock=hands).as_dict()


def test_a_plan_is_offered_used_invoiced_printed_and_paid(desk: Desk) -> None:
    account = desk("keys", "create", "--account", "Ada", "--currency", "EUR")["account"]
    terms = ("fee=20.00", "included=1000", "owing=50.00", "tax=190000")
    desk("bill", "offer", "pro", "--currency", "EUR", *(word for term in terms for word in ("--set", term)))
    assert desk("bill", "plans")["plans"][0]["included"] == 1000
    from datetime import UTC, datetime

    hands = Hands(datetime(2027, 1, 1, tzinfo=UTC))
    at(desk, hands, "subscribe", "pro", "--account", "Ada")
    rehearsed = at(desk, hands, "rehearse", "--account", "Ada", "--until", "2027-03-02")["invoices"]
    assert [one["due"] for one in rehearsed] == ["23.80", "23.80"] and desk("bill", "list")["invoices"] == []
    use(desk.root, account, hands, request="r1", units=1500)
    hands.set(datetime(2027, 2, 1, tzinfo=UTC))
    (made,) = at(desk, hands, "run")["invoices"]
    assert made["due"] == "24.40"  # 20.00 and 0.50, with 19 %: 24.395
    for name, begins in (("a.pdf", b"%PDF"), ("a.csv", "\ufeff账单号,账户".encode()), ("a.json", b'{"account"')):
        desk("bill", "show", made["number"], "--out", str(desk.root / name), "--language", "zh")
        assert (desk.root / name).read_bytes().startswith(begins)
    assert desk("bill", "show", made["number"])["subtotal"] == 500_000_000
    assert desk("bill", "pay", "--account", "Ada", "--amount", "20.00", "--once", "bank 7")["owed"] == "4.40"
    assert desk("bill", "pay", "--account", "Ada", "--amount", "20.00", "--once", "bank 7")["owed"] == "4.40"
    assert at(desk, hands, "correct", "r1")["corrected"] is True
    assert desk("bill", "check")["problems"] == []
    changed = at(desk, hands, "change", "pro", "--account", "Ada")
    assert changed["plan"] == "pro" and changed["begins"].startswith("2027-03-01")
    assert at(desk, hands, "end", "--account", "Ada")["ends"].startswith("2027-03-01")


def test_grants_limits_and_teams_are_set_and_shown(desk: Desk) -> None:
    account = desk("keys", "create", "--account", "Ada", "--currency", "EUR")["account"]
    made = desk("bill", "grant", "welcome", "--account", "Ada", "--amount", "5.00", "--days", "30", "--promotional")
    assert desk("bill", "grants", "--account", "Ada")["grants"][0]["left"] == 5 * 10**9
    desk("bill", "team", "press")
    desk("bill", "team", "press", "--account", "Ada")
    desk("bill", "limit", "--account", "Ada", "--measure", "parallel", "--most", "3")
    found = desk("bill", "limit", "--subject", "team:press", "--measure", "budget", "--span", "day", "--most", "2.50")
    assert [(one["subject"], one["most"], one["used"]) for one in found["limits"]] == [
        (f"account:{account}", 3, 0),
        ("team:press", 2_500_000_000, 0),
    ]
    desk("bill", "limit", "--subject", "team:press", "--span", "day")
    assert len(desk("bill", "limits")["limits"]) == 1
    assert desk("bill", "teams")["teams"] == [{"id": "press", "members": [account]}]
    assert desk("bill", "team", "press", "--account", "Ada", "--leave")["left"] == "Ada"
    assert desk("bill", "teams")["teams"] == [{"id": "press", "members": []}]
    assert "no member" in desk("bill", "team", "press", "--account", "Ada", "--leave", code=2)["error"]
    assert desk("bill", "void", made["id"])["returned"] == 5 * 10**9
    assert desk("keys", "balance", "--account", "Ada")["available"] == "0.00"


@pytest.mark.parametrize(
    "words",
    [
        ("pay", "--account", "Ada", "--amount", "1.00"),  # nothing is owed
        ("subscribe", "pro", "--account", "Ada"),
        ("change", "pro", "--account", "Ada"),
        ("offer", "Pro Plan"),
        ("offer", "pro", "--set", "prize=1"),
        ("offer", "pro", "--set", "fee=1.0000000001"),
        ("limit", "--most", "1"),
        ("limit", "--account", "nobody", "--most", "1"),
        ("show", "INV-1"),
        ("rehearse", "--account", "Ada", "--until", "soon"),
        ("grant", "--account", "Ada"),
        ("correct", "r1"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(desk: Desk, words: tuple[str, ...]) -> None:
    desk("keys", "create", "--account", "Ada", "--currency", "EUR")
    assert "error" in desk("bill", *words, code=2)
    assert desk("bill", "check")["problems"] == []


def test_a_verdict_waits_for_its_pieces(desk: Desk, make_release: Any) -> None:
    make_release(desk.root / "releases")
    found = desk("bill", "verdict", "tiny@v1", "--pieces", "5")
    assert found["verdict"] is None and found["accepted"] == 0


def test_a_verdict_before_any_use_is_in_what_the_release_is_sold_in(desk: Desk, make_release: Any) -> None:
    make_release(desk.root / "releases")
    found = desk("bill", "verdict", "tiny@v1")
    assert found["currency"] == "USD" and "0.05 USD an hour" in found["arithmetic"][0]
    desk("bill", "price", "tiny", "--currency", "EUR", "--set", "prompt=0.10", "--set", "completion=0.20")
    assert desk("bill", "verdict", "tiny@v1")["currency"] == "EUR"
    for name in ("tiny", "tiny@v2", "other@v1"):
        assert "no release" in desk("bill", "verdict", name, code=2)["error"]
