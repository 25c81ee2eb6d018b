"""TER (Snover et al. 2006) by sacrebleu: edits and shifts per reference word; Chinese by characters."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics import parts
from spearhead.metrics.words import is_mainly_han

LONGEST = 500
"""Words (Han: characters) of a text that are judged: the search for shifts takes minutes on a runaway output."""


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
        options = f"case:lc|tok:tercom,norm-and-asian-if-han|punct:yes|first:{LONGEST}"
        return f"ter|nrefs:1|{options}|sacrebleu:{metadata.version('sacrebleu')}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): edits and reference words."""
        from sacrebleu.metrics import TER

        plain, asian = TER(), TER(normalized=True, asian_support=True)
        rows = np.zeros((len(cases), 2))
        pairs = zip(parts.outputs(cases, self.name), parts.references(cases, self.name), strict=True)
        for at, (output, reference) in enumerate(pairs):
            han = is_mainly_han(reference)
            got, wanted = (_cut(text, han=han) for text in (output, reference))
            rows[at] = (asian if han else plain)._extract_corpus_statistics([got], [[wanted]])[0]
        return rows

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Edits per 100 reference words."""
        from sacrebleu.metrics import TER

        return float(TER()._compute_score_from_stats(totals.tolist()).score)


def _cut(text: str, *, han: bool) -> str:
    if han:
        return text[:LONGEST]
    found = text.split(maxsplit=LONGEST)
    return " ".join(found[:LONGEST]) if len(found) > LONGEST else text


METRIC = Ter()
