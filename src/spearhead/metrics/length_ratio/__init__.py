"""Length ratio: how near an output's length is to its reference's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics import parts
from spearhead.metrics.mean import percent, rows
from spearhead.metrics.words import SIGNATURE, words


@dataclass(frozen=True, slots=True)
class LengthRatio:
    """The shorter over the longer of both, in words, so that 100 is best and too long weighs as much as too short."""

    name: ClassVar[str] = "length_ratio"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "higher"

    @property
    def signature(self) -> str:
        """What is divided by what."""
        return f"length-ratio|shorter-over-longer|mean|{SIGNATURE}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): the ratio and 1."""
        pairs = zip(parts.outputs(cases, self.name), parts.references(cases, self.name), strict=True)
        return rows(_ratio(len(words(got)), len(words(wanted))) for got, wanted in pairs)

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """The mean ratio, 0 to 100."""
        return percent(totals)


def _ratio(one: int, other: int) -> float:
    return min(one, other) / max(one, other) if one or other else 1.0


METRIC = LengthRatio()
