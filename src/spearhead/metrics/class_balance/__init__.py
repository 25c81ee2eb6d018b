"""Bias: how far the classes that were delivered are from those that were asked for, as a classifier sees them.

Total variation distance between the two distributions: the share of outputs that would have to change class.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics.pictures import Ground
from spearhead.metrics.setting import Setting, bound

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class ClassBalance:
    """0: every class as often as asked. Mistakes that cancel each other do not count: see class_accuracy for them."""

    ground: Ground | None = None
    name: ClassVar[str] = "class_balance"
    modality: ClassVar[str] = "image"
    classifies: ClassVar[bool] = True
    better: ClassVar[Better] = "lower"
    bounds: ClassVar[tuple[float, float]] = (0.0, 100.0)

    def bind(self, setting: Setting) -> "ClassBalance":
        """The metric with the classifier of a setting."""
        return ClassBalance(bound(setting.ground, self.name))

    @property
    def signature(self) -> str:
        """The distance and the classifier."""
        where = self.ground.extractor.facts.signature if self.ground is not None else "unbound"
        return f"class-balance|total-variation|asked-delivered|{where}"

    def over(self, cases: Sequence[Case]) -> Callable[[Array], float]:
        """The distance, 0 to 100, by how often each case was drawn."""
        ground = bound(self.ground, self.name)
        eye = np.eye(len(ground.extractor.facts.classes))
        surplus = eye[ground.said(cases, self.name)] - eye[ground.asked(cases, self.name)]  # (cases, classes)
        return lambda counts: float(50 * np.abs(counts @ surplus).sum() / counts.sum())


METRIC = ClassBalance()
