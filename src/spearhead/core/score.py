"""A measured number that says how it was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from spearhead.core.media import Media, text
from spearhead.core.template import Given, Turns, given, said

Better = Literal["higher", "lower"]
CEILINGS: Mapping[str, tuple[str, ...]] = {"image": ("real", "nearest")}
"""By modality, the baselines that are real pieces: what can be reached, and nothing that a model has to beat."""


@dataclass(frozen=True, slots=True)
class Case:
    """One judged piece: what was asked, what came, what was wanted (None where nothing was)."""

    input: Media | None
    output: Media
    reference: Media | None
    before: Turns = ()
    """What was said before the input."""

    @property
    def given(self) -> Given:
        """What the answer is wanted to."""
        return given(self.input.text if self.input else "", before=self.before)

    @property
    def source(self) -> Media | None:
        """All that was said, as one piece: what the words of an answer can have come from."""
        if not self.before or self.input is None:
            return self.input
        return text(said(self.before, self.input.text))


@dataclass(frozen=True, slots=True)
class Score:
    """A value with its 95 % interval, its direction and the signature that makes it comparable."""

    name: str
    value: float
    interval: tuple[float, float] | None
    better: Better
    signature: str

    def __sub__(self, other: "Score") -> float:
        """The difference of two scores measured alike; raises ValueError on unlike signatures."""
        if self.signature != other.signature:
            raise ValueError(f"{self.name}: {self.signature!r} and {other.signature!r} were not measured alike")
        return self.value - other.value


class Metric(Protocol):
    """What a folder under `metrics/` exports as `METRIC`.

    A metric is a sum over cases, then a function of the sum: so one bootstrap serves them all, and pairs.
    """

    @property
    def name(self) -> str: ...
    @property
    def modality(self) -> str: ...
    @property
    def better(self) -> Better: ...
    @property
    def signature(self) -> str:
        """Names every option that moves the value; holds no case count (evaluate adds it)."""
        ...

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """One row of sufficient statistics a case: (cases, k)."""
        ...

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """The value from the column sums: (k,) -> number."""
        ...
