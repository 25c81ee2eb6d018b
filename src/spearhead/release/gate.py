"""The gate: measured figures against the bars, what forbids a release, and whether it is gold or foam.

Knows no model and no file. Money is integer billionths; times are whole milliseconds.
"""

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

from spearhead.core import money
from spearhead.core.errors import BarMissed, InputError
from spearhead.core.manifest import BarResult, Credit, Measured, PriceTag
from spearhead.core.sentence import Said, Sentence, said
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
        rows = "; ".join(f"{row.bar}: wanted {row.wanted}, got {row.got}" for row in missed)
        raise BarMissed(f"{len(missed)} of {len(results)} bars missed: {rows}")


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
    """What an accepted piece costs and earns, with the arithmetic as sentences; all of it JSON values.

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
    coin = price.currency
    words = [
        said("ledger.cost.machine", milliseconds=milliseconds, rate=machine_hour, currency=coin, cost=machine),
        said(
            "release.cost.people",
            pieces=pieces,
            share=share / PARTS,
            seconds=review / 1000,
            rate=review_minute,
            currency=coin,
            cost=people,
        ),
        said(
            "release.cost.income",
            prompts=prompt_units,
            prompt=price.prompt,
            completions=completion_units,
            completion=price.completion,
            currency=coin,
            unit=price.unit,
            income=income,
        ),
    ]
    if each is not None and earned is not None:
        words += [
            said("ledger.cost.each", machine=machine, people=people, accepted=accepted, cost=each, currency=coin),
            said("ledger.cost.earned", income=income, accepted=accepted, each=earned, currency=coin),
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
        "arithmetic": [dataclasses.asdict(one) for one in words],
    }


def verdict(
    results: Sequence[BarResult],
    credits: Sequence[Credit],
    rights: Sequence[str],
    economics: Mapping[str, Any],
    *,
    measured: Sequence[Measured] = (),
    ceilings: Collection[str] = (),
) -> tuple[Literal["gold", "foam"], tuple[Said, ...]]:
    """`gold` when it beats trivial baselines, its rights are clean and a piece earns what it costs; with the reasons.

    `economics` is what the function of that name gave. Of the scores in `measured`, a baseline that no bar asks about
    and that is ahead all the same is told among the reasons; it changes nothing of the verdict. `ceilings` are those
    that nothing is expected to beat, such as real pictures.
    """
    beaten = [row for row in results if _rival(row)]
    missed = next((row for row in results if not row.passed), None)
    unclean = [c.source for c in credits if c.spdx.strip().upper() in UNCLEAR or not set(rights) <= set(c.rights)]
    if missed is not None:
        bars = said("release.verdict.misses", bar=missed.bar, wanted=missed.wanted, got=missed.got)
    elif not beaten:
        bars = said("release.verdict.no_baseline")
    else:
        bars = said("release.verdict.reaches", bars=len(results), beaten=len(beaten))
    if unclean:
        clean = said("release.verdict.unclean", source=unclean[0])
    elif not credits:
        clean = said("release.verdict.no_source")
    else:
        clean = said("release.verdict.clean", licences=len(credits))
    cost, income, coin = economics["cost_per_accepted"], economics["income_per_accepted"], economics["currency"]
    if cost is None or income is None:
        pays = said("release.verdict.nothing_accepted")
    else:
        pays = said("release.verdict.pays", cost=cost, income=income, currency=coin)
    good = bool(beaten) and missed is None and bool(credits) and not unclean
    good = good and cost is not None and income is not None and income >= cost
    return ("gold" if good else "foam"), (bars, clean, pays, *_unasked(results, measured, ceilings))


BEATS = "release.bar.beats"
SURE = 0.05
"""The p-value below which a baseline counts as ahead."""


def _rival(row: BarResult) -> str:
    """The baseline that a row wants to be beaten; empty where it wants something else."""
    wanted = row.wanted
    return str(wanted.facts["baseline"]) if isinstance(wanted, Sentence) and wanted.words == BEATS else ""


def _unasked(
    results: Sequence[BarResult], measured: Sequence[Measured], ceilings: Collection[str]
) -> Iterator[Sentence]:
    """A sentence for each baseline that no bar asks about and that is ahead in what the bars measure."""
    asked = {(row.bar, _rival(row)) for row in results}
    barred = [score for score in measured if any(score.name == row.bar for row in results)]
    ahead: dict[str, list[Sentence]] = {}
    for score in barred:
        for name, theirs in score.baselines.items():
            better = theirs > score.value if score.better == "higher" else theirs < score.value
            if (
                better
                and score.p_values.get(name, 1.0) < SURE
                and not (name in ceilings or (score.name, name) in asked)
            ):
                where = said("release.verdict.ahead_in", metric=score.name, theirs=theirs, ours=score.value)
                ahead.setdefault(name, []).append(where)
    for name, places in ahead.items():
        yield said("release.verdict.ahead", baseline=name, where=tuple(places))


def _rows(bar: Bar, score: Measured | None, n_cases: int) -> list[BarResult]:
    rows: list[BarResult] = []
    usable = score is not None and math.isfinite(score.value)
    value = score.value if score is not None else math.nan
    got = said("release.bar.value", value=value) if score is not None else said("release.bar.not_measured")

    def add(wanted: Said, found: Said, passed: bool) -> None:
        rows.append(BarResult(bar.metric, wanted, found if score is not None else got, usable and passed))

    if bar.minimum is not None:
        add(said("release.bar.at_least", bound=bar.minimum), got, value >= bar.minimum)
    if bar.maximum is not None:
        add(said("release.bar.at_most", bound=bar.maximum), got, value <= bar.maximum)
    for name in bar.beats:
        wanted = said(BEATS, baseline=name, p=bar.p)
        if score is None or name not in score.baselines or name not in score.p_values:
            add(wanted, said("release.bar.baseline_not_measured", baseline=name), False)
            continue
        theirs, p = score.baselines[name], score.p_values[name]
        ahead = value > theirs if score.better == "higher" else value < theirs
        add(wanted, said("release.bar.against", value=value, theirs=theirs, p=p), ahead and p < bar.p)
    if bar.cases:
        add(
            said("release.bar.on_cases", cases=bar.cases),
            said("release.bar.cases", cases=n_cases),
            n_cases >= bar.cases,
        )
    if not rows:
        add(said("release.bar.something"), said("release.bar.nothing"), False)
    return rows
