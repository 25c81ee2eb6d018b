"""Token F1 for question answering: the overlap of answer and reference as bags of words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics import answers, parts
from spearhead.metrics.mean import percent, rows


@dataclass(frozen=True, slots=True)
class TokenF1:
    """As in SQuAD (Rajpurkar et al. 2016), over words that are right for Chinese."""

    name: ClassVar[str] = "token_f1"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "higher"

    @property
    def signature(self) -> str:
        """How answers are normalised."""
        return f"token-f1|mean|{answers.SIGNATURE}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): F1 and 1; two empty answers agree."""
        pairs = zip(parts.outputs(cases, self.name), parts.references(cases, self.name), strict=True)
        return rows(_f1(answers.normalised(got), answers.normalised(wanted)) for got, wanted in pairs)

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """The mean F1, 0 to 100."""
        return percent(totals)


def _f1(got: list[str], wanted: list[str]) -> float:
    if not got or not wanted:
        return float(got == wanted)
    return 2.0 * (Counter(got) & Counter(wanted)).total() / (len(got) + len(wanted))


METRIC = TokenF1()
