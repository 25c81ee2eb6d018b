"""The gate: no bar is lowered, no right assumed, no price invented."""

import json
import math

import pytest

from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import BarMissed, InputError
from spearhead.core.manifest import Credit, Measured, PriceTag
from spearhead.ledger import economics
from spearhead.models.pretrained.config import Base, Config
from spearhead.release import gate
from spearhead.release.bars import Bar

RIGHTS = ("train", "share", "sell")
CREDIT = Credit("CC0-1.0", "nobody", "pypi:x==1", 3, RIGHTS)
PRICE = PriceTag("EUR", 1_000_000_000, 2_000_000_000, "token")
BLEU = Measured(
    "bleu", 60.9, (58.0, 63.0), "higher", "bleu|x", baselines={"copy": 50.4, "base": 61.0}, p_values={"copy": 0.01}
)


def test_each_thing_a_bar_asks_is_a_row_and_its_edge_counts() -> None:
    bar = Bar("bleu", minimum=60.9, maximum=60.9, beats=("copy",), p=0.05, cases=200)
    rows = gate.judge([bar], [BLEU], 200)
    assert [(str(row.wanted), row.passed) for row in rows] == [
        ("at least 60.9", True),
        ("at most 60.9", True),
        ("better than copy (p < 0.05)", True),
        ("on at least 200 cases", True),
    ]
    gate.require(rows)
    assert [row.passed for row in gate.judge([bar], [BLEU], 199)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("score", "bar", "got"),
    [
        (BLEU, Bar("bleu", minimum=61), "60.9"),
        (BLEU, Bar("bleu", maximum=60), "60.9"),
        (BLEU, Bar("bleu", beats=("copy",), p=0.01), "60.9 against 50.4, p = 0.01"),
        (BLEU, Bar("bleu", beats=("base",)), "base was not measured"),
        (BLEU, Bar("bleu", beats=("nearest",)), "nearest was not measured"),
        (BLEU, Bar("bleu"), "the bar asks for nothing"),
        (BLEU, Bar("chrf", minimum=0), "not measured"),
        (Measured("bleu", math.nan, None, "higher", "s"), Bar("bleu", minimum=0), "nan"),
        (Measured("bleu", math.inf, None, "higher", "s"), Bar("bleu", minimum=0), "inf"),
        (
            Measured("ter", 70.0, None, "lower", "s", {"copy": 60.0}, {"copy": 0.001}),
            Bar("ter", beats=("copy",)),
            "70 against 60, p = 0.001",
        ),
        (
            Measured("bleu", 50.0, None, "higher", "s", {"copy": 60.0}, {"copy": 0.001}),
            Bar("bleu", beats=("copy",)),
            "50 against 60, p = 0.001",
        ),
    ],
)
def test_a_bar_is_missed_and_says_what_was_got(score: Measured, bar: Bar, got: str) -> None:
    (row,) = gate.judge([bar], [score], 500)
    assert not row.passed
    assert str(row.got) == got
    with pytest.raises(BarMissed, match="1 of 1 bars missed"):
        gate.require([row])


def test_without_a_bar_nothing_passes() -> None:
    with pytest.raises(BarMissed, match="at least one"):
        gate.require([])


@pytest.mark.parametrize("method", ["prefix", "prompt", "bottleneck"])
def test_methods_that_no_runtime_serves_are_refused_by_name(method: str) -> None:
    family = Catalogue("spearhead.models", "FAMILY")["pretrained"]
    base = Base(licence="CC0-1.0", credit="")
    why = family.unservable(Config(base=base, method=method))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"model.method '{method}'"):
        gate.permit(unservable=why, credits=[CREDIT], rights=RIGHTS, price=PRICE)
    assert family.unservable(Config(base=base, method="adalora")) == ""
    gate.permit(unservable="", credits=[CREDIT], rights=RIGHTS, price=PRICE)


@pytest.mark.parametrize(
    ("credits", "price", "reason"),
    [
        ([], PRICE, "at least one"),
        ([Credit("NOASSERTION", "", "web", 1, RIGHTS)], PRICE, "is unclear"),
        ([CREDIT, Credit("", "", "web", 1, RIGHTS)], PRICE, "is unclear"),
        ([Credit("CC-BY-NC-4.0", "a", "web", 1, ("train", "share"))], PRICE, "does not allow to sell"),
        ([CREDIT], None, "there is no price"),
    ],
)
def test_an_unclear_licence_or_a_missing_price_refuses_the_release(
    credits: list[Credit], price: PriceTag | None, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        gate.permit(unservable="", credits=credits, rights=RIGHTS, price=price)


def test_the_cost_of_an_accepted_piece_is_what_a_hand_would_reckon() -> None:
    # 100 pieces in 50 s at 0.36 an hour: 0.005. A tenth looked at for half a minute at 0.30: 10 x 0.15 = 1.50.
    # 80 accepted: 1.505 / 80 = 0.0188125. Income: 8000 at 1 and 4000 at 2 a million: 0.016 / 80 = 0.0002.
    found = gate.economics(
        pieces=100,
        accepted=80,
        milliseconds=50_000,
        prompt_units=8000,
        completion_units=4000,
        machine_hour=360_000_000,
        review_minute=300_000_000,
        review_share=0.1,
        review_minutes=0.5,
        price=PRICE,
    )
    assert found["machine_cost"] == 5_000_000
    assert found["review_cost"] == 1_500_000_000
    assert found["cost_per_accepted"] == 18_812_500
    assert found["income_per_accepted"] == 200_000
    lines = [str(line) for line in economics.arithmetic(json.loads(json.dumps(found)))]
    assert lines == [
        "machine: 50000 ms x 0.36 EUR an hour / 3600000 = 0.005",
        "people: 100 pieces x 0.1 looked at x 30 s x 0.30 EUR a minute / 60 = 1.50",
        "income: 8000 x 1.00 + 4000 x 2.00 EUR a million tokens = 0.016",
        "cost of an accepted piece: (0.005 + 1.50) / 80 = 0.0188125 EUR",
        "income of an accepted piece: 0.016 / 80 = 0.0002 EUR",
    ]
    assert all(isinstance(value, int | str | list) for value in found.values())
    with pytest.raises(InputError, match="no more is accepted"):
        gate.economics(
            pieces=1, accepted=2, milliseconds=1, prompt_units=1, completion_units=1, machine_hour=1,
            review_minute=1, review_share=0, review_minutes=0, price=PRICE,
        )  # fmt: skip


def test_a_baseline_that_is_ahead_and_that_no_bar_asks_about_is_told_beside_the_verdict() -> None:
    rivals = {"copy": 50.0, "ngram": 62.0, "nearest": 62.0, "base": 40.0}
    odds = {"copy": 0.001, "ngram": 0.001, "nearest": 0.3, "base": 0.001}
    bleu = Measured("bleu", 61.0, None, "higher", "s", rivals, odds)
    ter = Measured("ter", 30.0, None, "lower", "s", {"ngram": 28.0}, {"ngram": 0.001})
    word, reasons = gate.verdict(BEATEN, [CREDIT], RIGHTS, PAYS, measured=[bleu, ter])
    assert word == "gold"
    said = [str(reason) for reason in reasons[3:]]
    assert said == ["no bar asks about the baseline ngram, which is ahead in bleu (62 against 61)"]
    _, without = gate.verdict(BEATEN, [CREDIT], RIGHTS, PAYS, measured=[bleu, ter], ceilings=("ngram",))
    assert len(without) == 3
    asked = gate.judge([Bar("bleu", beats=("copy", "ngram"))], [bleu], 500)
    assert len(gate.verdict(asked, [CREDIT], RIGHTS, PAYS, measured=[bleu])[1]) == 3


BEATEN = gate.judge([Bar("bleu", beats=("copy",))], [BLEU], 500)
PAYS = {"cost_per_accepted": 5, "income_per_accepted": 5, "currency": "EUR"}


def test_gold_needs_baselines_beaten_rights_clean_and_costs_covered() -> None:
    word, reasons = gate.verdict(BEATEN, [CREDIT], RIGHTS, PAYS)
    assert word == "gold"
    assert len(reasons) == 3
    assert [str(reason) for reason in reasons] == [
        "it reaches all 1 bars, 1 of them against trivial baselines",
        "all of its licences (1) allow what is asked of them",
        "an accepted piece costs 0.000000005 EUR and earns 0.000000005 EUR (projected)",
    ]
    bound_only = gate.judge([Bar("bleu", minimum=3)], [BLEU], 500)
    missed = gate.judge([Bar("bleu", beats=("copy",), p=0.001)], [BLEU], 500)
    nc = Credit("CC-BY-NC-4.0", "a", "web", 1, ("train",))
    for results, credits, money, reason in [
        (bound_only, [CREDIT], PAYS, "no bar compares"),
        (
            missed,
            [CREDIT],
            PAYS,
            "it misses bleu: wanted better than copy (p < 0.001), got 60.9 against 50.4, p = 0.01",
        ),
        ([], [CREDIT], PAYS, "no bar compares"),
        (BEATEN, [CREDIT, nc], PAYS, "the rights of 'web' are not clean"),
        (BEATEN, [], PAYS, "nothing says what it was made from"),
        (BEATEN, [CREDIT], PAYS | {"cost_per_accepted": 6}, "costs 0.000000006 EUR and earns 0.000000005 EUR"),
        (BEATEN, [CREDIT], PAYS | {"cost_per_accepted": None}, "no piece was accepted"),
    ]:
        word, reasons = gate.verdict(results, credits, RIGHTS, money)
        assert word == "foam"
        assert any(reason in str(line) for line in reasons), reasons
