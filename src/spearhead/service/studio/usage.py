"""What was used, what it cost, what is left: figures of an account or of all, and the bars of a chart over days.

Adds up what the ledger says and computes no price. Knows no browser.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from spearhead.ledger import invoices, limits, usage
from spearhead.ledger.invoices import Invoice
from spearhead.ledger.usage import Part

SPANS = (7, 30, 90)
"""Days that a report may show."""
GROUPS = {"scenario": "model", "key": "api_key_id", "account": "user_id"}
"""What a report may be apart for, and the ledger's name for it."""
MOST_SERIES = 5
"""Colours that can be told apart; the rest is drawn as one."""
REST = "*"
"""The name of that rest, which is nobody's name."""
MOST_INVOICES = 25
"""Of an account that are listed; all of them can be fetched."""
WIDTH, HEIGHT, GAP = 640.0, 160.0, 0.2
"""Of the drawing, in units of its own; the gap between days is a part of a day's width."""


@dataclass(frozen=True, slots=True)
class Sum:
    """What one group used in all, in one unit and one currency; `amount` is billionths."""

    name: str
    unit: str
    currency: str
    requests: int
    prompt_units: int
    completion_units: int
    amount: int

    @property
    def units(self) -> int:
        """Of prompts and answers."""
        return self.prompt_units + self.completion_units


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of a day's bar; `series` counts from 0, places are units of the drawing."""

    series: int
    x: float
    y: float
    width: float
    height: float
    amount: int


@dataclass(frozen=True, slots=True)
class Day:
    """A day's bar, and its figures for the table beside it: one a series."""

    date: str
    bars: tuple[Bar, ...]
    amounts: tuple[int, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Chart:
    """Cost by day in one currency. `top` is the highest day, to which the drawing is scaled."""

    currency: str
    names: tuple[str, ...]
    days: tuple[Day, ...]
    top: int

    @property
    def total(self) -> int:
        """Of all days."""
        return sum(day.total for day in self.days)


def parts(
    connection: Connection, *, by: str, days: int, moment: datetime, account: str | None = None
) -> tuple[list[Part], datetime]:
    """What was used in the last `days` days, today among them, apart for `by` and currency; and when that begins."""
    start = limits.window("day", moment)[0] - timedelta(days=days - 1)
    found = usage.buckets(
        connection,
        start=start,
        end=moment + timedelta(seconds=1),
        width="1d",
        group_by=(GROUPS[by], "currency"),
        only={"user_id": [account]} if account is not None else None,
    )
    return found, start


def group_of(part: Part, by: str) -> str:
    """The group that a part belongs to; a scenario's releases are one. Empty where no key was used."""
    if by == "scenario":
        return (part.model or "").partition("@")[0]
    return (part.api_key_id if by == "key" else part.user_id) or ""


def sums(found: Sequence[Part], *, by: str) -> list[Sum]:
    """The parts added up over all days, the dearest first."""
    totals: dict[tuple[str, str, str], list[int]] = {}
    for part in found:
        name = (group_of(part, by), part.unit, part.currency or "")
        counts = (part.requests, part.prompt_units, part.completion_units, part.amount)
        totals[name] = [a + b for a, b in zip(totals.get(name, [0] * 4), counts, strict=True)]
    made = [Sum(*name, *counts) for name, counts in totals.items()]
    return sorted(made, key=lambda one: (-one.amount, -one.requests, one.name, one.unit))


def charts(found: Sequence[Part], *, by: str, start: datetime, days: int) -> list[Chart]:
    """A chart for every currency that anything was charged in; days without use are there too."""
    currencies = sorted({part.currency or "" for part in found if part.amount})
    return [
        _chart([part for part in found if part.currency == coin], coin, by=by, start=start, days=days)
        for coin in currencies
    ]


def newest(connection: Connection, account: str | None) -> list[Invoice]:
    """The newest invoices of an account, or of all, the newest first."""
    most = MOST_INVOICES if account is not None else 4 * MOST_INVOICES
    return list(reversed(invoices.of_account(connection, account)))[:most]


def _chart(found: Sequence[Part], currency: str, *, by: str, start: datetime, days: int) -> Chart:
    by_day: dict[str, dict[str, int]] = {}
    totals: dict[str, int] = {}
    for part in found:
        name, date = group_of(part, by), part.start.date().isoformat()
        day = by_day.setdefault(date, {})
        day[name] = day.get(name, 0) + part.amount
        totals[name] = totals.get(name, 0) + part.amount
    ranked = sorted(totals, key=lambda name: (-totals[name], name))
    names = ranked if len(ranked) <= MOST_SERIES else [*ranked[: MOST_SERIES - 1], REST]
    table: list[tuple[str, list[int]]] = []
    for number in range(days):
        date = (start + timedelta(days=number)).date().isoformat()
        own = by_day.get(date, {})
        amounts = [own.get(name, 0) for name in names]
        if len(names) < len(ranked):
            amounts[-1] = sum(own.get(name, 0) for name in ranked[MOST_SERIES - 1 :])
        table.append((date, amounts))
    # A correction can make a day negative: what is drawn is what was charged, the table says both.
    top = max((sum(max(0, amount) for amount in amounts) for _, amounts in table), default=0)
    made = tuple(
        Day(date, _bars(number, amounts, days=days, top=top), tuple(amounts), sum(amounts))
        for number, (date, amounts) in enumerate(table)
    )
    return Chart(currency, tuple(names), made, top)


def _bars(number: int, amounts: Sequence[int], *, days: int, top: int) -> tuple[Bar, ...]:
    width = WIDTH / days
    bars, floor = [], HEIGHT
    for series, amount in enumerate(amounts):
        if amount <= 0 or not top:
            continue
        height = HEIGHT * amount / top
        floor -= height
        x = round(width * (number + GAP / 2), 2)
        bars.append(Bar(series, x, round(floor, 2), round(width * (1 - GAP), 2), round(height, 2), amount))
    return tuple(bars)
