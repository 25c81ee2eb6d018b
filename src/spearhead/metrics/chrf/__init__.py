"""chrF (Popovic 2015) by sacrebleu: characters, so that it needs no tokenizer in any language."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics import parts


@dataclass(frozen=True, slots=True)
class Chrf:
    """F-score of character n-grams up to `characters` and, for chrF++ with 2, word n-grams up to `words`."""

    characters: int = 6
    words: int = 0
    beta: int = 2
    name: ClassVar[str] = "chrf"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "higher"

    @property
    def signature(self) -> str:
        """As sacrebleu writes it."""
        options = f"nc:{self.characters}|nw:{self.words}|beta:{self.beta}|space:no"
        return f"chrf|nrefs:1|case:mixed|eff:yes|{options}|sacrebleu:{metadata.version('sacrebleu')}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 3 x orders): n-grams of the output, of the reference, and shared, for each order."""
        from sacrebleu.metrics import CHRF

        scorer = CHRF(char_order=self.characters, word_order=self.words, beta=self.beta)
        outputs, references = parts.outputs(cases, self.name), parts.references(cases, self.name)
        rows = scorer._extract_corpus_statistics(outputs, [references])
        return np.array(rows, dtype=np.float64).reshape(len(cases), 3 * (self.characters + self.words))

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Corpus chrF, 0 to 100."""
        from sacrebleu.metrics import CHRF

        scorer = CHRF(char_order=self.characters, word_order=self.words, beta=self.beta)
        return float(scorer._compute_score_from_stats(totals.tolist()).score)


METRIC = Chrf()
