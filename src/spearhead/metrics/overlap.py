"""ROUGE (Lin 2004) by rouge-score with words that are right for Chinese: its own tokenizer drops all but ASCII."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar, Literal

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics import parts
from spearhead.metrics.mean import percent, rows
from spearhead.metrics.words import SIGNATURE, words


class _Words:
    def tokenize(self, text: str) -> list[str]:
        return words(text)


@dataclass(frozen=True, slots=True)
class Rouge:
    """The mean over cases of the F-measure of one kind; no stemming."""

    name: str
    kind: Literal["rouge1", "rouge2", "rougeL"]
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "higher"

    @property
    def signature(self) -> str:
        """Kind, tokenizer and library."""
        options = f"f-measure|mean|stem:no|equal:100|{SIGNATURE}"
        return f"{self.kind}|{options}|rouge-score:{metadata.version('rouge-score')}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): F-measure and 1. Texts that are equal as words count 1, even too short for a pair of words."""
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer([self.kind], tokenizer=_Words())
        pairs = zip(parts.references(cases, self.name), parts.outputs(cases, self.name), strict=True)
        return rows(
            1.0 if words(wanted) == words(got) else scorer.score(wanted, got)[self.kind].fmeasure
            for wanted, got in pairs
        )

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """The mean F-measure, 0 to 100."""
        return percent(totals)
