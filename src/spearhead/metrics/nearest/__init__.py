"""Memorisation of pictures: how many outputs lie closer to a training picture than held-out pictures usually do.

Distance is that of thumbnails (`index.pictures`) in units of contrast. Closer than 95 of 100 held-out pictures counts,
so 5 is what a model that copies nothing scores, and 100 what one scores that only copies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spearhead.core.media import Media
from spearhead.core.score import Better, Case
from spearhead.index.pictures import WIDTH
from spearhead.metrics.mean import percent, rows
from spearhead.metrics.pictures import Ground, outputs
from spearhead.metrics.setting import Setting, bound

Array = np.ndarray[Any, Any]

USUAL = 5
"""Of 100 held-out pictures, so many lie closer to the training data than what is called close."""
HELD = 1000
"""Held-out pictures that say what is usual."""
BLOCK = 500


@dataclass(frozen=True, slots=True)
class Shown:
    """An output with the training picture most like it; `similarity` as in `index.pictures`."""

    output: Media
    nearest: Media
    similarity: float
    nearer: float
    """Than so many of 100 held-out pictures lie to theirs."""

    @property
    def distance(self) -> float:
        """0: the same thumbnail; two different pictures lie about 1 apart."""
        return 1 - self.similarity


@dataclass(frozen=True, slots=True)
class Nearest:
    """The share of outputs that are unusually like one training picture."""

    ground: Ground | None = None
    name: ClassVar[str] = "nearest"
    modality: ClassVar[str] = "image"
    better: ClassVar[Better] = "lower"

    def bind(self, setting: Setting) -> "Nearest":
        """The metric against the training pictures of a setting."""
        return Nearest(bound(setting.ground, self.name))

    @property
    def signature(self) -> str:
        """What is compared with what."""
        if self.ground is None:
            return "nearest|unbound"
        ground = self.ground
        against = f"training:{ground.digest[:8]}x{len(ground.train)}"
        return f"nearest|thumbnails:16x16|closer-than:{100 - USUAL}-of-100-{ground.split}|{against}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): whether it is unusually close, and 1."""
        ground = bound(self.ground, self.name)
        limit = float(np.percentile(_usual(ground), 100 - USUAL))
        return rows((_closest(ground, outputs(cases, self.name))[1] > limit).astype(float))

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Per 100 outputs."""
        return percent(totals)

    def show(self, cases: Sequence[Case]) -> list[Shown]:
        """Every output beside the training picture most like it."""
        ground = bound(self.ground, self.name)
        found, likeness = _closest(ground, outputs(cases, self.name))
        nearer = 100 * np.searchsorted(_usual(ground), likeness) / len(_usual(ground))
        return [
            Shown(case.output, ground.train[at], value, share)
            for case, at, value, share in zip(cases, found.tolist(), likeness.tolist(), nearer.tolist(), strict=True)
        ]


def _usual(ground: Ground) -> Array:
    """How like their training pictures held-out pictures are, rising."""
    found: Array = ground.once("nearest-usual", lambda: np.sort(_closest(ground, ground.reference[:HELD])[1]))
    return found


def _closest(ground: Ground, found: Sequence[Media]) -> tuple[Array, Array]:
    """(n,) number of the most similar training picture, (n,) its similarity."""

    def known() -> tuple[int, Array, Array, Array]:
        values = ground.thumbnails(ground.train)
        step = 3 if _grey(values) else 1  # one of three equal channels says it all
        values = values[:, ::step].astype(np.float32)
        return step, values, np.einsum("ij,ij->i", values, values), values.var(1)

    step, values, square, variance = ground.once("nearest-known", known)
    best, likeness = np.zeros(len(found), np.int64), np.zeros(len(found))
    thumbs = ground.thumbnails(found) if len(found) else np.zeros((0, WIDTH), np.uint8)
    if step == 3 and not _grey(thumbs):
        step, values, square = 1, np.repeat(values, 3, axis=1), 3 * square
    mine = thumbs[:, ::step].astype(np.float32)
    for start in range(0, len(mine), BLOCK):
        part = mine[start : start + BLOCK]
        gap = np.maximum((part**2).sum(1)[:, None] + square[None] - 2 * part @ values.T, 0) / values.shape[1]
        ratio = gap / np.maximum((part.var(1)[:, None] + variance[None]) / 2, 1e-6)
        chosen = ratio.argmin(1)
        best[start : start + BLOCK] = chosen
        likeness[start : start + BLOCK] = 1 - np.sqrt(ratio[np.arange(len(part)), chosen])
    return best, likeness


def _grey(thumbs: Array) -> bool:
    channels = thumbs.reshape(len(thumbs), -1, 3)
    return bool((channels == channels[..., :1]).all())


METRIC = Nearest()
