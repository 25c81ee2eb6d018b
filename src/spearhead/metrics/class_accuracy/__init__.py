"""How often a classifier, which never saw the outputs, sees the class that was asked for.

The classifier errs too: read the score beside that of real pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics.mean import percent, rows
from spearhead.metrics.pictures import Ground
from spearhead.metrics.setting import Setting, bound


@dataclass(frozen=True, slots=True)
class ClassAccuracy:
    """The share of outputs that are classified as their input's class."""

    ground: Ground | None = None
    name: ClassVar[str] = "class_accuracy"
    modality: ClassVar[str] = "image"
    classifies: ClassVar[bool] = True
    better: ClassVar[Better] = "higher"

    def bind(self, setting: Setting) -> "ClassAccuracy":
        """The metric with the classifier of a setting."""
        return ClassAccuracy(bound(setting.ground, self.name))

    @property
    def signature(self) -> str:
        """The classifier, and how often it is right on held-out pictures."""
        if self.ground is None:
            return "class-accuracy|unbound"
        facts = self.ground.extractor.facts
        right = "unknown" if facts.accuracy is None else f"{100 * facts.accuracy:.1f}"
        return f"class-accuracy|{facts.signature}|right-on-{self.ground.split}:{right}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): whether the class was seen, and 1."""
        ground = bound(self.ground, self.name)
        said, asked = ground.said(cases, self.name), ground.asked(cases, self.name)
        return rows((said == asked).astype(float))

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Per 100 outputs."""
        return percent(totals)


METRIC = ClassAccuracy()
