"""distinct-n (Li et al. 2016): different n-grams over all n-grams of the outputs together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics import parts
from spearhead.metrics.mean import percent
from spearhead.metrics.words import SIGNATURE, grams, words


@dataclass(frozen=True, slots=True)
class DistinctN:
    """Every occurrence of an n-gram counts one over its occurrences in all outputs, so that the sum over cases is the
    number of different n-grams: additive, and exactly the published value on the whole.

    The bootstrap keeps those weights: drawing a case twice must not look like a model that repeats itself. The value
    falls with the number of outputs; compare it over equally many.
    """

    n: int = 2
    name: ClassVar[str] = "distinct_n"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "higher"

    @property
    def signature(self) -> str:
        """Order, words, and what the bootstrap holds fixed."""
        return f"distinct|n:{self.n}|corpus|weights:fixed|{SIGNATURE}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): the case's share of the different n-grams, and its n-grams."""
        each = [Counter(grams(words(output), self.n)) for output in parts.outputs(cases, self.name)]
        overall: Counter[tuple[str, ...]] = Counter()
        for counts in each:
            overall.update(counts)
        rows = [(sum(count / overall[gram] for gram, count in counts.items()), counts.total()) for counts in each]
        return np.array(rows, dtype=np.float64).reshape(len(cases), 2)

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Different n-grams per 100 n-grams."""
        return percent(totals)


METRIC = DistinctN()
