"""BLEU (Papineni et al. 2002) by sacrebleu, with its Chinese tokenizer where the reference is Chinese."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics import parts
from spearhead.metrics.words import is_mainly_han

if TYPE_CHECKING:
    from sacrebleu.metrics import BLEU


@dataclass(frozen=True, slots=True)
class Bleu:
    """`tokenizer` is one of sacrebleu's, or `auto`: `zh` for a reference that is mainly Han, `13a` for any other.

    Effective order is on: it changes nothing unless the whole corpus is too short to hold one 4-gram, where identical
    texts would score 0 without it.
    """

    tokenizer: Literal["auto", "13a", "zh", "char", "intl", "none"] = "auto"
    name: ClassVar[str] = "bleu"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "higher"

    @property
    def signature(self) -> str:
        """As sacrebleu writes it."""
        tokenizer = "13a,zh-if-han" if self.tokenizer == "auto" else self.tokenizer
        return f"bleu|nrefs:1|case:mixed|eff:yes|tok:{tokenizer}|smooth:exp|sacrebleu:{metadata.version('sacrebleu')}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 10): output length, reference length, matches of order 1 to 4, n-grams of order 1 to 4."""
        names = ("13a", "zh") if self.tokenizer == "auto" else (self.tokenizer,)
        scorers = {name: _scorer(name) for name in names}
        rows = np.zeros((len(cases), 10))
        pairs = zip(parts.outputs(cases, self.name), parts.references(cases, self.name), strict=True)
        for at, (output, reference) in enumerate(pairs):
            chosen = self.tokenizer if self.tokenizer != "auto" else "zh" if is_mainly_han(reference) else "13a"
            rows[at] = scorers[chosen]._extract_corpus_statistics([output], [[reference]])[0]
        return rows

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Corpus BLEU, 0 to 100."""
        from sacrebleu.metrics import BLEU

        return float(
            BLEU.compute_bleu(
                correct=totals[2:6].tolist(),
                total=totals[6:10].tolist(),
                sys_len=int(totals[0]),
                ref_len=int(totals[1]),
                smooth_method="exp",
                effective_order=True,
            ).score
        )


def _scorer(tokenizer: str) -> "BLEU":
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenizer, effective_order=True, force=True)


METRIC = Bleu()
