"""Exact match for question answering: the share of answers that equal the reference after normalisation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics import answers, parts
from spearhead.metrics.mean import percent, rows


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """As in SQuAD (Rajpurkar et al. 2016), over words that are right for Chinese."""

    name: ClassVar[str] = "exact_match"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "higher"

    @property
    def signature(self) -> str:
        """How answers are normalised."""
        return f"exact-match|mean|{answers.SIGNATURE}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): whether it matches, and 1."""
        pairs = zip(parts.outputs(cases, self.name), parts.references(cases, self.name), strict=True)
        return rows(float(answers.normalised(got) == answers.normalised(wanted)) for got, wanted in pairs)

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Matches per 100."""
        return percent(totals)


METRIC = ExactMatch()
