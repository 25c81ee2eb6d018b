"""Precision, recall, density and coverage: do outputs lie among real pictures, and real pictures among outputs?

Kynkaanniemi et al. 2019 (arXiv 1904.06991), equations 1 and 2; Naeem et al. 2020 (arXiv 2002.09797), equations 6 and 8.
A picture's neighbourhood is the ball to its k-th nearest neighbour of its own set. Knows no metric.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.score import Better, Case
from spearhead.metrics.pictures import Ground
from spearhead.metrics.setting import Setting, bound

Array = np.ndarray[Any, Any]
Kind = Literal["precision", "recall", "density", "coverage"]

NEIGHBOURS = 5
BLOCK = 1000


@dataclass(frozen=True, slots=True)
class Manifold:
    """One of the four. In percent, but density, which is 1 for outputs as dense as the real pictures."""

    name: Kind
    ground: Ground | None = None
    modality: str = "image"
    better: Better = "higher"
    draws: int = 200

    def bind(self, setting: Setting) -> "Manifold":
        """The metric on the pictures of a setting."""
        return Manifold(self.name, bound(setting.ground, self.name))

    @property
    def bounds(self) -> tuple[float, float]:
        """Shares end at 100, density does not."""
        return 0.0, np.inf if self.name == "density" else 100.0

    @property
    def signature(self) -> str:
        """The neighbours, the extractor and the reference."""
        where = self.ground.signature if self.ground is not None else "unbound"
        return f"{self.name}|neighbours:{NEIGHBOURS}|balls:of-all-cases|{where}"

    def over(self, cases: Sequence[Case]) -> Callable[[Array], float]:
        """The value by how often each case was drawn; the neighbourhoods of the outputs are those of all of them."""
        ground = bound(self.ground, self.name)
        real, made = ground.reference_features(), ground.features(cases, self.name)
        if min(len(real), len(made)) <= NEIGHBOURS:
            raise InputError(
                f"{self.name}: {len(made)} cases and {len(real)} reference pictures: wanted more than {NEIGHBOURS} each"
            )
        reach = radii(made) if self.name == "recall" else ground.once("radii", lambda: radii(real))
        inside = within(real, made, reach, of_real=self.name != "recall")  # (real, cases)
        if self.name in ("precision", "density"):
            each = 100.0 * inside.any(0) if self.name == "precision" else inside.sum(0) / NEIGHBOURS
            return lambda counts: float(counts @ each / counts.sum())
        packed = np.packbits(inside.T, axis=1)  # (cases, real / 8): eight real pictures to a byte

        def share(counts: Array) -> float:
            met = np.bitwise_or.reduce(packed[counts > 0], axis=0)
            return float(100 * np.bitwise_count(met).sum() / len(real))

        return share


def radii(found: Array) -> Array:
    """(n,): how far each row's k-th nearest other row lies."""
    out = np.empty(len(found))
    for start in range(0, len(found), BLOCK):
        gaps = distances(found[start : start + BLOCK], found)
        gaps[np.arange(len(gaps)), np.arange(start, start + len(gaps))] = np.inf
        out[start : start + BLOCK] = np.partition(gaps, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1]
    return out


def within(real: Array, made: Array, reach: Array, *, of_real: bool) -> Array:
    """bool (real, made): whether the two lie no further apart than the real (or else the made) one's radius."""
    out = np.empty((len(real), len(made)), bool)
    for start in range(0, len(real), BLOCK):
        gaps = distances(real[start : start + BLOCK], made)
        out[start : start + BLOCK] = gaps <= (reach[start : start + BLOCK, None] if of_real else reach[None])
    return out


def distances(one: Array, other: Array) -> Array:
    """Euclidean, (rows of one, rows of other)."""
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))
