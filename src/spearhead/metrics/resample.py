"""The bootstrap over cases: draws, intervals and p-values, from sums of statistics. Knows no metric and no text."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
BLOCK = 2_000_000
"""Cells of the draw matrix held at a time."""


def weights(cases: int, *, seed: int, draws: int) -> Iterator[Array]:
    """How often each case was drawn, in blocks (draws of the block, cases): equal arguments give equal draws.

    The drawn indices are those of `default_rng(seed).choice(cases, (draws, cases))`, as in sacrebleu.
    """
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // max(cases, 1))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        picked = rng.integers(0, cases, size=(rows, cases))
        picked += (np.arange(rows) * cases)[:, None]
        yield np.bincount(picked.ravel(), minlength=rows * cases).reshape(rows, cases).astype(np.float64)


def totals(statistics: Sequence[Array], *, seed: int, draws: int) -> list[Array]:
    """The column sums of each array (cases, k) over the same draws: (draws, k) each."""
    together = np.concatenate(statistics, axis=1)  # (cases, all columns): one product for every metric and system
    sums = np.concatenate([block @ together for block in weights(len(together), seed=seed, draws=draws)])
    ends = np.cumsum([each.shape[1] for each in statistics])[:-1]
    return np.split(sums, ends, axis=1)


def crossed(values: Array, *, seed: int, draws: int) -> Array:
    """Means of `values` (runs, cases) over runs and, apart from them, cases drawn with replacement: (draws,).

    What differs between runs and what differs between cases both widen the interval. Few runs (three, five) are few to
    draw from: their own part of it comes out somewhat small, by about (runs - 1) / runs of the variance.
    """
    runs, cases = values.shape
    chosen = np.concatenate(list(weights(runs, seed=seed, draws=draws)))
    means, start = [], 0
    for block in weights(cases, seed=seed + 1, draws=draws):
        means.append(((block @ values.T) * chosen[start : start + len(block)]).sum(1) / (runs * cases))
        start += len(block)
    return np.concatenate(means)


def interval(values: Array) -> tuple[float, float]:
    """The middle 95 % (percentile bootstrap, Efron 1979)."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def p_value(ours: Array, theirs: Array, *, delta: float) -> float:
    """Paired bootstrap (Koehn 2004, "Statistical significance tests for machine translation evaluation"), computed as
    in sacrebleu: how often a centred difference is above the measured one. Ties count, so that two equal systems give
    1 (sacrebleu gives 1 / (draws + 1)). It says that the two differ; the sign of `delta` says which one is ahead.
    """
    differences = np.abs(ours - theirs)
    above = np.count_nonzero(differences - differences.mean() >= abs(delta))
    return float((above + 1) / (len(differences) + 1))
