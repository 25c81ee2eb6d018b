"""Memorisation of poems: how many of the outputs' lines stand in a training poem, character by character."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.metrics import parts
from spearhead.metrics.mean import percent
from spearhead.metrics.setting import Setting, bound
from spearhead.metrics.verse import lines

SHORTEST = 4
"""Characters a line needs to count: shorter ones are set phrases."""


@dataclass(frozen=True, slots=True)
class CopiedLines:
    """The share of all lines of the outputs. Poets quote too: read it beside the references' own."""

    known: frozenset[str] | None = None
    training: str = ""
    """The data's digest."""
    name: ClassVar[str] = "copied_lines"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "lower"

    def bind(self, setting: Setting) -> "CopiedLines":
        """The metric against the training outputs of a setting."""
        texts = (record.parts.get("output", record.parts.get("text")) for record in setting.train())
        known = {
            line for piece in texts if piece is not None and piece.modality == "text" for line in lines(piece.text)
        }
        return CopiedLines(frozenset(known), setting.digest)

    @property
    def signature(self) -> str:
        """What is a line, and against which data."""
        against = "unbound" if self.known is None else f"training:{self.training[:8]}"
        return f"copied-lines|between-punctuation|from:{SHORTEST}-characters|{against}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): copied lines, lines."""
        known = bound(self.known, self.name)
        found = [
            [line for line in lines(output) if len(line) >= SHORTEST] for output in parts.outputs(cases, self.name)
        ]
        counts = [(sum(line in known for line in each), len(each)) for each in found]
        return np.array(counts, dtype=np.float64).reshape(len(cases), 2)

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Per 100 lines."""
        return percent(totals)


METRIC = CopiedLines()
