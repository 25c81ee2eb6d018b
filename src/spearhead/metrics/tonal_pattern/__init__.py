"""How far a quatrain keeps the tones of regulated verse, by Middle Chinese level and oblique tones (not Mandarin's).

The rules (Wang Li, "Shici gelu"): tones alternate at the even places of a line; the lines of a couplet are opposite at
these places; the second and third line agree at the second place; the rhymes are level, the third line ends oblique.
"""

from collections.abc import Iterator, Sequence
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
class TonalPattern:
    """The mean share of the rules that an output keeps; one that is no quatrain keeps none.

    A character of two tones keeps whatever rule it can. Tang quatrains score about 94, their characters in disorder
    about 64: chance keeps more than half of the rules, and old-style quatrains do not try.
    """

    table: Table | None = None
    name: ClassVar[str] = "tonal_pattern"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "higher"

    def bind(self, setting: Setting) -> "TonalPattern":
        """The metric with the table of tones."""
        return TonalPattern(pingshui.table(setting.home))

    @property
    def signature(self) -> str:
        """The rules."""
        return f"tonal-pattern|alternate,opposite,agree,ends|mean-share-of-rules|quatrains-only|{pingshui.SIGNATURE}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): the share, and 1."""
        table = bound(self.table, self.name)
        found = (quatrain(output) for output in parts.outputs(cases, self.name))
        return rows(0.0 if poem is None else float(np.mean(list(_kept(poem, table)))) for poem in found)

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """0 to 100."""
        return percent(totals)


def _kept(poem: Sequence[str], table: Table) -> Iterator[bool]:
    """Whether each rule is kept."""
    even = range(1, len(poem[0]) - 1, 2)  # the second, fourth and, of seven, sixth place
    for line in poem:
        yield from (_opposite(line[at], line[at + 2], table) for at in list(even)[:-1])
    for first, second in ((0, 1), (2, 3)):
        yield from (_opposite(poem[first][at], poem[second][at], table) for at in even)
    yield any(table.can_be(poem[1][1], tone) and table.can_be(poem[2][1], tone) for tone in pingshui.TONES.values())
    yield table.can_be(poem[1][-1], "level")
    yield table.can_be(poem[2][-1], "oblique")
    yield table.can_be(poem[3][-1], "level")


def _opposite(one: str, other: str, table: Table) -> bool:
    return (table.can_be(one, "level") and table.can_be(other, "oblique")) or (
        table.can_be(one, "oblique") and table.can_be(other, "level")
    )


METRIC = TonalPattern()
