"""Bias: how far the classes that were delivered are from those that were asked for, as a classifier sees them.

Total variation distance between the two distributions: the share of outputs that would have to change class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics.pictures import Ground
from spearhead.metrics.setting import Setting, bound


@dataclass(frozen=True, slots=True)
class ClassBalance:
    """0: every class as often as asked. Mistakes that cancel each other do not count: see class_accuracy for them."""

    ground: Ground | None = None
    name: ClassVar[str] = "class_balance"
    modality: ClassVar[str] = "image"
    better: ClassVar[Better] = "lower"

    def bind(self, setting: Setting) -> "ClassBalance":
        """The metric with the classifier of a setting."""
        return ClassBalance(bound(setting.ground, self.name))

    @property
    def signature(self) -> str:
        """The distance and the classifier."""
        where = self.ground.extractor.facts.signature if self.ground is not None else "unbound"
        return f"class-balance|total-variation|asked-delivered|{where}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2 x classes): the class asked for and the class seen, one-hot."""
        ground = bound(self.ground, self.name)
        eye = np.eye(len(ground.extractor.facts.classes))
        return np.concatenate([eye[ground.asked(cases, self.name)], eye[ground.said(cases, self.name)]], axis=1)

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """0 to 100."""
        asked, seen = np.split(totals, 2)
        return float(50 * np.abs(asked - seen).sum() / max(asked.sum(), 1.0))


METRIC = ClassBalance()
