"""Cases to scores with intervals, and to the comparison with baselines. Knows nothing of how outputs were made."""

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


def evaluate(cases: Sequence[Case], metrics: Sequence[Metric], *, seed: int, draws: int = 1000) -> list[Score]:
    """A score a metric, with the percentile bootstrap's interval.

    The signature names the metric's options, the number of cases, what they were (`set`: inputs and references) and
    the bootstrap. Raises InputError when there are no cases or a metric misses what it needs.
    """
    _some(cases)
    rows = [_statistics(metric, cases) for metric in metrics]
    sums = resample.totals(rows, seed=seed, draws=draws) if rows else []
    return [
        Score(
            name=metric.name,
            value=metric.reduce(statistics.sum(axis=0)),
            interval=resample.interval(_reduced(metric, drawn)),
            better=metric.better,
            signature=signature(metric, cases, seed=seed, draws=draws),
        )
        for metric, statistics, drawn in zip(metrics, rows, sums, strict=True)
    ]


def compare(
    ours: Sequence[Case], theirs: Sequence[Case], metric: Metric, *, seed: int, draws: int = 1000
) -> Comparison:
    """How much ours is above theirs on the same references, by paired bootstrap: both are drawn alike."""
    _aligned(ours, theirs, "theirs", inputs=False)
    return _compare(metric, _statistics(metric, ours), _statistics(metric, theirs), seed=seed, draws=draws)


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
        rows = {}
        for step, (name, cases) in enumerate({"": ours, **baselines}.items()):
            yield Progress("evaluate", at * (1 + len(baselines)) + step, steps, f"{metric.name} {name}".strip())
            rows[name] = _statistics(metric, cases)
        values = {name: metric.reduce(statistics.sum(axis=0)) for name, statistics in rows.items()}
        sums = resample.totals(list(rows.values()), seed=seed, draws=draws)
        drawn = {name: _reduced(metric, each) for name, each in zip(rows, sums, strict=True)}
        found.append(
            Measured(
                name=metric.name,
                value=values[""],
                interval=resample.interval(drawn[""]),
                better=metric.better,
                signature=signature(metric, ours, seed=seed, draws=draws),
                baselines={name: values[name] for name in baselines},
                p_values={
                    name: resample.p_value(drawn[""], drawn[name], delta=values[""] - values[name])
                    for name in baselines
                },
            )
        )
    yield Progress("evaluate", steps, steps)
    return found


def robustness(
    clean: Sequence[Case], noisy: Sequence[Case], metric: Metric, *, noise: str, seed: int, draws: int = 1000
) -> Score:
    """What typing noise in the inputs costs: the metric over `noisy` less the same over `clean`, paired.

    Both answer the same references in the same order; `noise` says what was done to the inputs and with which seed.
    0 is untouched; the direction is the metric's.
    """
    difference = compare(noisy, clean, metric, seed=seed, draws=draws)
    return Score(
        name=f"robustness_{metric.name}",
        value=difference.delta,
        interval=difference.interval,
        better=metric.better,
        signature=f"robustness|noisy-less-clean|noise:{noise}|{signature(metric, clean, seed=seed, draws=draws)}",
    )


def signature(metric: Metric, cases: Sequence[Case], *, seed: int, draws: int) -> str:
    """The metric's signature with the cases and the bootstrap; two scores subtract only where all of it agrees."""
    ids = [[part.id if part else None for part in (case.input, case.reference)] for case in cases]
    asked = digest.of_value(sorted(ids, key=str))[:8]
    return f"{metric.signature}|cases:{len(cases)}|set:{asked}|bootstrap:{draws}|seed:{seed}"


def _compare(metric: Metric, ours: Array, theirs: Array, *, seed: int, draws: int) -> Comparison:
    delta = metric.reduce(ours.sum(axis=0)) - metric.reduce(theirs.sum(axis=0))
    mine, other = (_reduced(metric, drawn) for drawn in resample.totals([ours, theirs], seed=seed, draws=draws))
    return Comparison(delta, resample.interval(mine - other), resample.p_value(mine, other, delta=delta))


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
        if one.reference != other.reference or (inputs and one.input != other.input):
            raise InputError(f"{name}: case {at} is another one than ours: wanted the same cases in the same order")
