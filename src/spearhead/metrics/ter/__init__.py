"""TER (Snover et al. 2006) by sacrebleu: edits and shifts per reference word; Chinese by characters."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics import parts
from spearhead.metrics.words import is_mainly_han


@dataclass(frozen=True, slots=True)
class Ter:
    """As Tercom by default; for a reference that is mainly Han with its normalisation and Asian support, since text
    without spaces would otherwise be one single word, right or wrong as a whole.
    """

    name: ClassVar[str] = "ter"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "lower"

    @property
    def signature(self) -> str:
        """As sacrebleu writes it."""
        options = "case:lc|tok:tercom,norm-and-asian-if-han|punct:yes"
        return f"ter|nrefs:1|{options}|sacrebleu:{metadata.version('sacrebleu')}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): edits and reference words."""
        from sacrebleu.metrics import TER

        plain, asian = TER(), TER(normalized=True, asian_support=True)
        rows = np.zeros((len(cases), 2))
        pairs = zip(parts.outputs(cases, self.name), parts.references(cases, self.name), strict=True)
        for at, (output, reference) in enumerate(pairs):
            scorer = asian if is_mainly_han(reference) else plain
            rows[at] = scorer._extract_corpus_statistics([output], [[reference]])[0]
        return rows

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Edits per 100 reference words."""
        from sacrebleu.metrics import TER

        return float(TER()._compute_score_from_stats(totals.tolist()).score)


METRIC = Ter()
