"""Self-BLEU (Zhu et al. 2018, Texygen): each output against all the others; low means diverse."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics import parts
from spearhead.metrics.mean import percent
from spearhead.metrics.words import is_mainly_han

ORDER = 4


@dataclass(frozen=True, slots=True)
class SelfBleu:
    """The mean of sacrebleu's sentence BLEU with all other outputs as references, in time linear in the outputs.

    Empty outputs are left out. The bootstrap keeps each output's references: a case drawn twice is not its own copy.
    """

    name: ClassVar[str] = "self_bleu"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "lower"

    @property
    def signature(self) -> str:
        """As for BLEU, with what the bootstrap holds fixed."""
        options = "refs:others|mean|case:mixed|eff:yes|tok:13a,zh-if-han|smooth:exp|references:fixed"
        return f"self-bleu|{options}|sacrebleu:{metadata.version('sacrebleu')}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): sentence BLEU against the others over 100, and 1; zeros for an empty output."""
        from sacrebleu.metrics import BLEU
        from sacrebleu.metrics.helpers import extract_all_word_ngrams

        plain, chinese = BLEU(tokenize="13a"), BLEU(tokenize="zh")
        each: list[Counter[tuple[str, ...]]] = []
        lengths: list[int] = []
        for output in parts.outputs(cases, self.name):
            scorer = chinese if is_mainly_han(output) else plain
            counts, length = extract_all_word_ngrams(scorer._preprocess_segment(output), 1, ORDER)
            each.append(counts)
            lengths.append(length)
        most = _two_most(each)
        ordered = sorted(lengths)
        rows = np.zeros((len(cases), 2))
        for at, counts in enumerate(each):
            if not lengths[at] or len(cases) < 2:
                continue
            correct, total = [0] * ORDER, [0] * ORDER
            for gram, count in counts.items():
                best, holder, second = most[gram]
                correct[len(gram) - 1] += min(count, second if holder == at else best)
                total[len(gram) - 1] += count
            score = BLEU.compute_bleu(
                correct=correct,
                total=total,
                sys_len=lengths[at],
                ref_len=_closest_other(ordered, lengths[at]),
                smooth_method="exp",
                effective_order=True,
            )
            rows[at] = score.score / 100, 1
        return rows

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """The mean, 0 to 100."""
        return percent(totals)


def _two_most(each: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """For every n-gram its greatest count in one output, which output that is, and the next greatest count."""
    most: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for at, counts in enumerate(each):
        for gram, count in counts.items():
            best, holder, second = most.get(gram, (0, -1, 0))
            most[gram] = (count, at, best) if count > best else (best, holder, max(second, count))
    return most


def _closest_other(ordered: list[int], length: int) -> int:
    """The length nearest to `length` among the others (one `length` left out); the shorter one of two as near."""
    at = bisect_left(ordered, length)
    others = ordered[max(0, at - 1) : at] + ordered[at + 1 : at + 2]
    return min(others, key=lambda other: (abs(other - length), other))


METRIC = SelfBleu()
