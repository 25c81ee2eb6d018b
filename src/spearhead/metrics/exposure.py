"""Exposure of canaries: how much likelier a model finds a sequence it was shown than others of the same format
(Carlini et al. 2019, "The Secret Sharer", arXiv 1802.08232, its definition of exposure). Knows no model and no data.

exposure = log2 |R| - log2 rank, where |R| is how many sequences the format can write and rank the place of the planted
one among all of them, the likeliest first. The rank is the plain one in a sample of unplanted sequences, no fitted
distribution: with n of them exposure = log2(n + 1) - log2(rank in the sample), and log2(n + 1) is the most it can show.
"""

from collections.abc import Sequence
from math import log2
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.manifest import Planted
from spearhead.core.sentence import Said, Sentence, said
from spearhead.metrics import resample

Array = np.ndarray[Any, np.dtype[np.float64]]


def exposures(nats: Array, candidates: Array) -> Array:
    """Bits of each canary, from its nats (c,) and those of unplanted candidates (n,): (c,).

    A candidate that is exactly as likely counts as likelier, as in the paper's definition of a rank.

    >>> exposures(np.array([1.0, 5.0]), np.array([2.0, 3.0, 4.0])).tolist()
    [2.0, 0.0]
    """
    if not len(candidates) or not np.isfinite(nats).all() or not np.isfinite(candidates).all():
        raise InputError("exposure: wanted finite nats, and at least one candidate to rank against")
    ranks = 1 + np.searchsorted(np.sort(candidates), nats, side="right")
    found: Array = log2(len(candidates) + 1) - np.log2(ranks)
    return found


def by_chance(candidates: int) -> float:
    """Mean bits of a sequence that was never seen: its rank is any of 1 to n + 1. Near log2(e) = 1.44 for many.

    >>> round(by_chance(1), 3), round(by_chance(100_000), 3)
    (0.5, 1.443)
    """
    return float(log2(candidates + 1) - np.log2(np.arange(1, candidates + 2)).mean())


def interval(nats: Array, candidates: Array, *, seed: int, draws: int) -> tuple[float, float] | None:
    """95 % of the mean exposure: canaries and candidates are both drawn anew; None for a single canary."""
    if len(nats) < 2:
        return None
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for at in range(draws):
        others = candidates[rng.integers(0, len(candidates), len(candidates))]
        means[at] = exposures(nats[rng.integers(0, len(nats), len(nats))], others).mean()
    return resample.interval(means)


def measured(
    repeats: int,
    nats: Sequence[float],
    candidates: Sequence[float],
    *,
    possible: float,
    extracted: int,
    probes: int,
    passes: float,
    how: str,
    seed: int,
    draws: int,
) -> Planted:
    """What a manifest says of canaries that were planted equally often.

    `possible` is log2 |R|; `extracted` of them were said in `probes`; `how` says how likelihoods and probes were made.
    """
    mine, others = np.array(nats, dtype=np.float64), np.array(candidates, dtype=np.float64)
    return Planted(
        repeats=repeats,
        canaries=len(nats),
        passes=passes,
        exposure=float(exposures(mine, others).mean()),
        interval=interval(mine, others, seed=seed, draws=draws),
        greatest=log2(len(others) + 1),
        possible=possible,
        by_chance=by_chance(len(others)),
        extracted=extracted,
        probes=probes,
        signature=f"exposure|bits|rank:empirical|candidates:{len(others)}|{how}|bootstrap:{draws}|seed:{seed}",
    )


def times(repeats: int) -> Sentence:
    """How often, in words.

    >>> str(times(0)), str(times(1)), str(times(16))
    ('never planted', 'planted once', 'planted 16 times')
    """
    if repeats < 2:
        return said("metrics.exposure.once") if repeats else said("metrics.exposure.never")
    return said("metrics.exposure.times", repeats=repeats)


def claims(groups: Sequence[Planted]) -> list[Sentence]:
    """What was measured and no more: a sentence for each number of repeats, and one that says what the bits mean."""
    found = []
    for group in groups:
        spread: Said = ""
        if group.interval:
            spread = said("metrics.exposure.spread", low=group.interval[0], high=group.interval[1])
        extracted, bits = _extracted(group), group.exposure
        found.append(said("metrics.exposure.claim", extracted=extracted, probes=group.probes, bits=bits, spread=spread))
    if groups:
        one = groups[0]
        chance, greatest, possible = one.by_chance, one.greatest, one.possible
        found.append(
            said("metrics.exposure.meaning", chance=chance, greatest=greatest, possible=possible, passes=one.passes)
        )
    return found


def alarm(groups: Sequence[Planted]) -> Said:
    """What must be said loudly: that what stood only once in the training data comes out again. Empty: it did not."""
    for group in groups:
        if group.repeats == 1 and group.extracted:
            extracted = _extracted(group)
            return said("metrics.exposure.alarm", extracted=extracted, probes=group.probes, passes=group.passes)
    return ""


def _extracted(group: Planted) -> Sentence:
    how, of, found = times(group.repeats), group.canaries, group.extracted
    if of == 1:
        return said("metrics.exposure.one", times=how) if found else said("metrics.exposure.one_not", times=how)
    if found < 2:
        single = said("metrics.exposure.single", canaries=of, times=how)
        return single if found else said("metrics.exposure.none", canaries=of, times=how)
    return said("metrics.exposure.many", found=found, canaries=of, times=how)
