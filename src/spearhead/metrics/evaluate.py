"""Cases to scores with intervals, and to the comparison with baselines. Knows nothing of how outputs were made.

Most metrics are sums over cases (`statistics`, `reduce`). One over the whole set has `over(cases)` instead: a function
from how often each case was drawn, float64 (cases,), to the value; `draws` says how many draws it can afford, `bounds`
between which two values it lies.
"""

import dataclasses
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.generation import Progress
from spearhead.core.manifest import Measured
from spearhead.core.score import Case, Metric, Score
from spearhead.metrics import resample

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours minus theirs with its 95 % interval, and the p-value of the paired bootstrap (see `resample.p_value`)."""

    delta: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """A value, and what it is on each draw of the bootstrap."""

    value: float
    draws: Array


def evaluate(cases: Sequence[Case], metrics: Sequence[Metric], *, seed: int, draws: int = 1000) -> list[Score]:
    """A score a metric, with the percentile bootstrap's interval.

    The signature names the metric's options, the number of cases, what they were (`set`: inputs and references) and
    the bootstrap. Raises InputError when there are no cases or a metric misses what it needs.
    """
    _some(cases)
    sums = [metric for metric in metrics if not hasattr(metric, "over")]
    rows = [_statistics(metric, cases) for metric in sums]
    totals = iter(resample.totals(rows, seed=seed, draws=draws) if rows else [])
    statistics = iter(rows)
    found = []
    for metric in metrics:
        if hasattr(metric, "over"):
            drawn = _whole(metric, cases, seed=seed, draws=draws)
        else:
            drawn = Drawn(metric.reduce(next(statistics).sum(axis=0)), _reduced(metric, next(totals)))
        found.append(
            Score(
                name=metric.name,
                value=drawn.value,
                interval=_interval(metric, drawn),
                better=metric.better,
                signature=signature(metric, cases, seed=seed, draws=draws),
            )
        )
    return found


def compare(
    ours: Sequence[Case], theirs: Sequence[Case], metric: Metric, *, seed: int, draws: int = 1000
) -> Comparison:
    """How much ours is above theirs on the same references, by paired bootstrap: both are drawn alike."""
    _aligned(ours, theirs, "theirs", inputs=False)
    mine, other = _drawn(metric, [ours, theirs], seed=seed, draws=draws)
    delta = mine.value - other.value
    return Comparison(
        delta,
        resample.interval(mine.draws - other.draws),
        resample.p_value(mine.draws, other.draws, delta=delta),
    )


def measured(
    ours: Sequence[Case],
    baselines: Mapping[str, Sequence[Case]],
    metrics: Sequence[Metric],
    *,
    seed: int,
    draws: int = 1000,
) -> Generator[Progress, None, list[Measured]]:
    """Yields progress, returns what a manifest says of each metric: value, interval, baselines and p-values.

    Every baseline answers the same cases in the same order; raises InputError otherwise.
    """
    _some(ours)
    for name, cases in baselines.items():
        _aligned(ours, cases, name, inputs=True)
    found = []
    steps = len(metrics) * (1 + len(baselines))
    for at, metric in enumerate(metrics):
        systems = {"": ours, **baselines}
        drawn: dict[str, Drawn] = {}
        if hasattr(metric, "over"):
            for step, (name, cases) in enumerate(systems.items()):
                yield Progress("evaluate", at * len(systems) + step, steps, f"{metric.name} {name}".strip())
                drawn[name] = _whole(metric, cases, seed=seed, draws=draws)
        else:
            rows = {}
            for step, (name, cases) in enumerate(systems.items()):
                yield Progress("evaluate", at * len(systems) + step, steps, f"{metric.name} {name}".strip())
                rows[name] = _statistics(metric, cases)
            sums = resample.totals(list(rows.values()), seed=seed, draws=draws)
            for (name, statistics), each in zip(rows.items(), sums, strict=True):
                drawn[name] = Drawn(metric.reduce(statistics.sum(axis=0)), _reduced(metric, each))
        found.append(
            Measured(
                name=metric.name,
                value=drawn[""].value,
                interval=_interval(metric, drawn[""]),
                better=metric.better,
                signature=signature(metric, ours, seed=seed, draws=draws),
                baselines={name: drawn[name].value for name in baselines},
                p_values={
                    name: resample.p_value(
                        drawn[""].draws, drawn[name].draws, delta=drawn[""].value - drawn[name].value
                    )
                    for name in baselines
                },
            )
        )
    yield Progress("evaluate", steps, steps)
    return found


def robustness(
    clean: Sequence[Case], noisy: Sequence[Case], metric: Metric, *, noise: str, seed: int, draws: int = 1000
) -> list[Score]:
    """The metric over answers to inputs with typing noise, and how far that is from the same over `clean`, paired.

    Both answer the same references in the same order; `noise` says what was done to the inputs and with which seed.
    A change of 0 is untouched; the direction of both is the metric's.
    """
    (score,) = evaluate(noisy, [metric], seed=seed, draws=draws)
    difference = compare(noisy, clean, metric, seed=seed, draws=draws)
    known = f"noise:{noise}|{signature(metric, clean, seed=seed, draws=draws)}"
    return [
        dataclasses.replace(score, name=f"{metric.name}_with_typos", signature=f"robustness|{known}"),
        Score(
            name=f"{metric.name}_change_with_typos",
            value=difference.delta,
            interval=difference.interval,
            better=metric.better,
            signature=f"robustness|noisy-less-clean|{known}",
        ),
    ]


def signature(metric: Metric, cases: Sequence[Case], *, seed: int, draws: int) -> str:
    """The metric's signature with the cases and the bootstrap; two scores subtract only where all of it agrees."""
    drawn = f"bootstrap:{draws}"
    if hasattr(metric, "over"):
        drawn = f"bootstrap:{whole_draws(metric, draws)},centred"
    ids = [[part.id if part else None for part in (case.source, case.reference)] for case in cases]
    asked = digest.of_value(sorted(ids, key=str))[:8]
    return f"{metric.signature}|cases:{len(cases)}|set:{asked}|{drawn}|seed:{seed}"


def whole_draws(metric: Metric, draws: int) -> int:
    """How often the cases are drawn for a metric over whole sets: each draw takes it anew."""
    return min(draws, int(getattr(metric, "draws", draws)))


def _drawn(metric: Metric, systems: Sequence[Sequence[Case]], *, seed: int, draws: int) -> list[Drawn]:
    """The values of several systems on the same draws."""
    if hasattr(metric, "over"):
        return [_whole(metric, cases, seed=seed, draws=draws) for cases in systems]
    rows = [_statistics(metric, cases) for cases in systems]
    sums = resample.totals(rows, seed=seed, draws=draws)
    return [
        Drawn(metric.reduce(each.sum(axis=0)), _reduced(metric, drawn)) for each, drawn in zip(rows, sums, strict=True)
    ]


def _whole(metric: Any, cases: Sequence[Case], *, seed: int, draws: int) -> Drawn:
    """A metric over the whole set of outputs. Drawing with replacement repeats some, which makes such a metric worse at
    every draw: the draws are moved so that their mean is the value itself. Some may pass the metric's bounds by that.
    """
    value_of = metric.over(cases)
    value = float(value_of(np.ones(len(cases))))
    blocks = resample.weights(len(cases), seed=seed, draws=whole_draws(metric, draws))
    values = np.array([value_of(counts) for block in blocks for counts in block])
    if not np.isfinite(value) or not np.isfinite(values).all():
        raise ValueError(f"{metric.name}: the value must be a finite number; got {value}")
    return Drawn(value, values - values.mean() + value)


def _interval(metric: Any, drawn: Drawn) -> tuple[float, float]:
    """95 % of the draws, within what the metric can be: no share is above 100."""
    least, most = getattr(metric, "bounds", (-np.inf, np.inf))
    low, high = resample.interval(drawn.draws)
    return max(low, least), min(high, most)


def _reduced(metric: Metric, totals: Array) -> Array:
    return np.array([metric.reduce(row) for row in totals])


def _statistics(metric: Metric, cases: Sequence[Case]) -> Array:
    rows = metric.statistics(cases)
    if rows.ndim != 2 or len(rows) != len(cases) or not np.isfinite(rows).all():
        raise ValueError(f"{metric.name}: statistics must be finite numbers, one row a case; got shape {rows.shape}")
    return rows


def _some(cases: Sequence[Case]) -> None:
    if not cases:
        raise InputError("there are no cases to judge: give at least one output")


def _aligned(ours: Sequence[Case], theirs: Sequence[Case], name: str, *, inputs: bool) -> None:
    _some(ours)
    if len(ours) != len(theirs):
        raise InputError(f"{name}: {len(theirs)} cases beside {len(ours)} of ours: wanted the same cases")
    for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        if one.reference != other.reference or (inputs and one.source != other.source):
            raise InputError(f"{name}: case {at} is another one than ours: wanted the same cases in the same order")
