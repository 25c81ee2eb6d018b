"""The gate: measured figures against the bars, what forbids a release, and whether it is gold or foam.

Knows no model and no file. Money is integer billionths; times are whole milliseconds.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from spearhead.core import money
from spearhead.core.errors import BarMissed, InputError
from spearhead.core.manifest import BarResult, Credit, Measured, PriceTag
from spearhead.release.bars import Bar

UNCLEAR = frozenset({"", "NONE", "NOASSERTION", "UNKNOWN"})
HOUR, MINUTE = 3_600_000, 60_000
"""In milliseconds."""
PARTS = 1_000_000
"""Shares are counted in millionths."""


def judge(bars: Sequence[Bar], measured: Sequence[Measured], n_cases: int) -> list[BarResult]:
    """A row for each thing that a bar asks; what was not measured, or is no number, is missed.

    `n_cases` is how many held-out cases the figures rest on.
    """
    scores = {score.name: score for score in measured}
    return [row for bar in bars for row in _rows(bar, scores.get(bar.metric), n_cases)]


def require(results: Sequence[BarResult]) -> None:
    """Raise BarMissed, naming every bar that was missed; there must be at least one bar."""
    if not results:
        raise BarMissed("no bar was judged: a release needs at least one")
    if missed := [row for row in results if not row.passed]:
        said = "; ".join(f"{row.bar}: wanted {row.wanted}, got {row.got}" for row in missed)
        raise BarMissed(f"{len(missed)} of {len(results)} bars missed: {said}")


def permit(
    *, unservable: str, credits: Sequence[Credit], rights: Sequence[str], price: PriceTag | None, all: bool = True
) -> None:
    """Raise InputError when nothing that was measured could make this a release.

    That is: a model that no runtime here serves (`unservable` says why), a licence that is unclear or does not allow
    one of `rights`, or no price. `all` is whether these are all the credits there will be.
    """
    if unservable:
        raise InputError(unservable)
    if all and not credits:
        raise InputError("nothing says under which licences this was made: a release needs at least one")
    for credit in credits:
        if credit.spdx.strip().upper() in UNCLEAR:
            raise InputError(f"the licence of {credit.source!r} is unclear ({credit.spdx!r}): unknown means no")
        if missing := [right for right in rights if right not in credit.rights]:
            raise InputError(f"{credit.spdx} of {credit.source!r} does not allow to {' or to '.join(missing)}")
    if price is None:
        raise InputError("there is no price: a release needs one, and zero is a price that somebody must write down")


def economics(
    *,
    pieces: int,
    accepted: int,
    milliseconds: int,
    prompt_units: int,
    completion_units: int,
    machine_hour: int,
    review_minute: int,
    review_share: float,
    review_minutes: float,
    price: PriceTag,
) -> dict[str, Any]:
    """What an accepted piece costs and earns, with the arithmetic in words.

    `pieces` were made in `milliseconds` of the whole machine and `accepted` of them may be sold; the units are those
    of the accepted ones. `machine_hour` and `review_minute` are billionths. Costs are rounded up, income down.
    """
    counts = (pieces, accepted, milliseconds, prompt_units, completion_units, machine_hour, review_minute)
    if min(counts) < 0 or accepted > pieces or not 0 <= review_share <= 1 or review_minutes < 0:
        raise InputError("economics: counts are not negative, and no more is accepted than was made")
    share, review = round(review_share * PARTS), round(review_minutes * MINUTE)
    machine = -(-milliseconds * machine_hour // HOUR)
    people = -(-pieces * share * review * review_minute // (PARTS * MINUTE))
    income = money.cost(prompt_units, price.prompt) + money.cost(completion_units, price.completion)
    each = -(-(machine + people) // accepted) if accepted else None
    earned = income // accepted if accepted else None
    show, coin = money.show, price.currency
    words = [
        f"machine: {milliseconds} ms x {show(machine_hour)} {coin} an hour / {HOUR} = {show(machine)}",
        f"people: {pieces} pieces x {share / PARTS:.6g} looked at x {review / 1000:g} s x {show(review_minute)} {coin} "
        f"a minute / 60 = {show(people)}",
        f"income: {prompt_units} x {show(price.prompt)} + {completion_units} x {show(price.completion)} {coin} "
        f"a million {price.unit}s = {show(income)}",
    ]
    if each is not None and earned is not None:
        words += [
            f"cost of an accepted piece: ({show(machine)} + {show(people)}) / {accepted} = {show(each)} {coin}",
            f"income of an accepted piece: {show(income)} / {accepted} = {show(earned)} {coin}",
        ]
    return {
        "pieces": pieces,
        "accepted": accepted,
        "milliseconds": milliseconds,
        "machine_cost": machine,
        "review_cost": people,
        "income": income,
        "cost_per_accepted": each,
        "income_per_accepted": earned,
        "currency": coin,
        "arithmetic": words,
    }


def verdict(
    results: Sequence[BarResult],
    credits: Sequence[Credit],
    rights: Sequence[str],
    economics: Mapping[str, Any],
    *,
    measured: Sequence[Measured] = (),
) -> tuple[Literal["gold", "foam"], tuple[str, ...]]:
    """`gold` when it beats trivial baselines, its rights are clean and a piece earns what it costs; with the reasons.

    `economics` is what the function of that name gave. Of the scores in `measured`, a baseline that no bar asks about
    and that is ahead all the same is told among the reasons; it changes nothing of the verdict.
    """
    beaten = [row for row in results if row.wanted.startswith(BEATS)]
    missed = [row for row in results if not row.passed]
    unclean = [c.source for c in credits if c.spdx.strip().upper() in UNCLEAR or not set(rights) <= set(c.rights)]
    cost, income, coin = economics["cost_per_accepted"], economics["income_per_accepted"], economics["currency"]
    judged = [
        (
            bool(beaten) and not missed,
            f"it reaches all {len(results)} bars, {len(beaten)} of them against trivial baselines",
            f"it misses {missed[0].bar}: wanted {missed[0].wanted}, got {missed[0].got}"
            if missed
            else "no bar compares it with a trivial baseline",
        ),
        (
            bool(credits) and not unclean,
            f"its {len(credits)} licences allow what is asked of them",
            f"the rights of {unclean[0]!r} are not clean" if unclean else "nothing says what it was made from",
        ),
    ]
    if cost is None or income is None:
        judged.append((False, "", "no piece was accepted"))
    else:
        figures = f"an accepted piece costs {money.show(cost)} {coin} and earns {money.show(income)} {coin} (projected)"
        judged.append((income >= cost, figures, figures))
    good = all(passed for passed, _, _ in judged)
    reasons = tuple(yes if passed else no for passed, yes, no in judged)
    return ("gold" if good else "foam"), (*reasons, *_unasked(results, measured))


BEATS = "better than "
SURE = 0.05
"""The p-value below which a baseline counts as ahead."""


def _unasked(results: Sequence[BarResult], measured: Sequence[Measured]) -> Iterator[str]:
    """A sentence for each baseline that no bar asks about and that is ahead in what the bars measure."""
    asked = {(row.bar, row.wanted.removeprefix(BEATS).partition(" (")[0]) for row in results}
    barred = [score for score in measured if any(score.name == row.bar for row in results)]
    ahead: dict[str, list[str]] = {}
    for score in barred:
        for name, theirs in score.baselines.items():
            better = theirs > score.value if score.better == "higher" else theirs < score.value
            if better and score.p_values.get(name, 1.0) < SURE and (score.name, name) not in asked:
                ahead.setdefault(name, []).append(f"{score.name} ({theirs:.4g} against {score.value:.4g})")
    for name, where in ahead.items():
        yield f"no bar asks about the baseline {name}, which is ahead in {', '.join(where)}"


def _rows(bar: Bar, score: Measured | None, n_cases: int) -> list[BarResult]:
    rows: list[BarResult] = []
    usable = score is not None and math.isfinite(score.value)
    got = f"{score.value:.4g}" if score is not None else "not measured"

    def add(wanted: str, found: str, passed: bool) -> None:
        rows.append(BarResult(bar.metric, wanted, found if score is not None else got, usable and passed))

    value = score.value if score is not None else math.nan
    if bar.minimum is not None:
        add(f"at least {bar.minimum:g}", got, value >= bar.minimum)
    if bar.maximum is not None:
        add(f"at most {bar.maximum:g}", got, value <= bar.maximum)
    for name in bar.beats:
        wanted = f"{BEATS}{name} (p < {bar.p:g})"
        if score is None or name not in score.baselines or name not in score.p_values:
            add(wanted, f"{name} was not measured", False)
            continue
        theirs, p = score.baselines[name], score.p_values[name]
        ahead = value > theirs if score.better == "higher" else value < theirs
        add(wanted, f"{got} against {theirs:.4g}, p = {p:.3g}", ahead and p < bar.p)
    if bar.cases:
        add(f"on at least {bar.cases} cases", f"{n_cases} cases", n_cases >= bar.cases)
    if not rows:
        add("a bound, a baseline or a number of cases", "the bar asks for nothing", False)
    return rows
