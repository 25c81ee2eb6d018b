"""Whether a quatrain rhymes: its second and fourth line end in different characters of one Pingshui group.

That is Tang rhyme as it was codified, not Mandarin's; what rhymes in Mandarin alone does not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics import parts, pingshui
from spearhead.metrics.mean import percent, rows
from spearhead.metrics.pingshui import Table
from spearhead.metrics.setting import Setting, bound
from spearhead.metrics.verse import quatrain


@dataclass(frozen=True, slots=True)
class Rhyme:
    """The share of outputs that are quatrains and rhyme. Tang quatrains score about 94, shuffled ones about 4."""

    table: Table | None = None
    name: ClassVar[str] = "rhyme"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "higher"

    def bind(self, setting: Setting) -> "Rhyme":
        """The metric with the table of rhymes."""
        return Rhyme(pingshui.table(setting.home))

    @property
    def signature(self) -> str:
        """Which lines, which rhyme."""
        return f"rhyme|lines:2-4|quatrains-only|{pingshui.SIGNATURE}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): whether it rhymes, and 1."""
        table = bound(self.table, self.name)
        found = (quatrain(output) for output in parts.outputs(cases, self.name))
        return rows(float(poem is not None and table.rhyme(poem[1][-1], poem[3][-1])) for poem in found)

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Per 100 outputs."""
        return percent(totals)


METRIC = Rhyme()
