"""Promises of the usage page's figures, worked by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from spearhead.ledger.usage import Part
from spearhead.service.studio import usage

START = datetime(2026, 11, 20, tzinfo=UTC)


def part(day: int, model: str, amount: int, *, currency: str = "USD", unit: str = "token") -> Part:
    return Part(START + timedelta(days=day), unit, None, None, None, model, currency, 1, 10, 5, amount)


def test_releases_of_a_scenario_are_one_and_units_and_currencies_stay_apart() -> None:
    parts = [
        part(0, "a@1", 3),
        part(1, "a@2", 4),
        part(1, "b@1", 50),
        part(1, "a@2", 9, unit="picture"),
        part(1, "a@2", 7, currency="EUR"),
    ]
    found = usage.sums(parts, by="scenario")
    assert [(one.name, one.unit, one.currency, one.requests, one.units, one.amount) for one in found] == [
        ("b", "token", "USD", 1, 15, 50),
        ("a", "picture", "USD", 1, 15, 9),
        ("a", "token", "USD", 2, 30, 7),
        ("a", "token", "EUR", 1, 15, 7),
    ]
    assert usage.sums([part(0, "a@1", 1)], by="key")[0].name == "", "no key was used"


def test_a_bar_is_as_high_as_its_share_of_the_highest_day() -> None:
    parts = [part(0, "a@1", 30), part(2, "a@1", 45), part(2, "b@1", 15), part(1, "a@1", -20)]
    (chart,) = usage.charts(parts, by="scenario", start=START, days=4)
    assert (chart.names, chart.top, chart.total) == (("a", "b"), 60, 70)
    assert [(day.date, day.amounts, day.total) for day in chart.days] == [
        ("2026-11-20", (30, 0), 30),
        ("2026-11-21", (-20, 0), -20),
        ("2026-11-22", (45, 15), 60),
        ("2026-11-23", (0, 0), 0),
    ]
    (first,) = chart.days[0].bars
    assert (first.height, first.y) == (usage.HEIGHT / 2, usage.HEIGHT / 2)
    below, above = chart.days[2].bars
    assert (below.series, above.series) == (0, 1) and above.y == 0 and above.height + below.height == usage.HEIGHT
    assert above.y + above.height == below.y
    assert chart.days[1].bars == () == chart.days[3].bars, "what was given back is in the table alone"
    assert below.x == pytest.approx(usage.WIDTH / 4 * 2.1) and below.width == pytest.approx(usage.WIDTH / 4 * 0.8)


def test_more_groups_than_colours_are_drawn_as_one_and_nothing_is_lost() -> None:
    parts = [part(0, f"s{number}@1", 100 - number) for number in range(9)]
    (chart,) = usage.charts(parts, by="scenario", start=START, days=1)
    assert chart.names == ("s0", "s1", "s2", "s3", usage.REST)
    assert chart.total == sum(100 - number for number in range(9)) == sum(chart.days[0].amounts)


def test_currencies_have_charts_of_their_own_and_free_use_has_none() -> None:
    parts = [part(0, "a@1", 5), part(0, "a@1", 6, currency="EUR"), part(0, "a@1", 0, currency="JPY")]
    assert [(one.currency, one.total) for one in usage.charts(parts, by="scenario", start=START, days=1)] == [
        ("EUR", 6),
        ("USD", 5),
    ]
