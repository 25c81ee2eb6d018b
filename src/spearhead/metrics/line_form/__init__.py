"""Whether a poem has the form of a quatrain (jueju): four lines of five, or four of seven characters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics import parts
from spearhead.metrics.mean import percent, rows
from spearhead.metrics.verse import quatrain


@dataclass(frozen=True, slots=True)
class LineForm:
    """The share of outputs in this form; punctuation and line breaks do not matter, other signs do."""

    name: ClassVar[str] = "line_form"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "higher"
    examples: ClassVar[tuple[tuple[str, str], ...]] = (
        ("登鹳雀楼", "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。"),
        ("早发白帝城", "朝辞白帝彩云间，千里江陵一日还。\n两岸猿声啼不住，轻舟已过万重山。"),
    )
    """Input and an output in perfect form, for who tests metrics."""

    @property
    def signature(self) -> str:
        """The form."""
        return "line-form|quatrain:4x5,4x7|han-only"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): whether it is in form, and 1."""
        return rows(float(quatrain(output) is not None) for output in parts.outputs(cases, self.name))

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Per 100 outputs."""
        return percent(totals)


METRIC = LineForm()
