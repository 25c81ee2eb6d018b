"""Whether a loss has exploded though it is still a number: far above its running level, for long. Knows no model."""

import math
from dataclasses import dataclass

SPAN = 50
"""Steps that the running level looks back on."""
LONG = 25
"""So many steps in a row are no accident of one batch."""


@dataclass(frozen=True, slots=True)
class Level:
    """Where a loss has been, after some steps."""

    first: float = math.nan
    mean: float = math.nan
    """The running mean of the steps that were not far above."""
    lowest: float = math.inf
    """The smallest that it was."""
    above: int = 0
    """Steps in a row that were far above."""

    @property
    def exploded(self) -> bool:
        return self.above >= LONG


def follow(level: Level, loss: float, *, times: float) -> Level:
    """The level one step later.

    A loss is far above where it exceeds the lowest level by `times` that level or the first loss, whichever is larger:
    so neither the noise of a loss that has become small counts, nor the sign of one that falls below zero. With 0 none
    ever is.

    >>> from functools import reduce
    >>> fine, bad = [4.0, 2.0, 1.0] * 20, [60.0] * LONG
    >>> reduce(lambda level, loss: follow(level, loss, times=10.0), fine + bad, Level()).exploded
    True
    >>> reduce(lambda level, loss: follow(level, loss, times=10.0), fine + bad[1:], Level()).exploded
    False
    """
    if math.isnan(level.first):
        return Level(loss, loss, loss)
    scale = max(abs(level.first), abs(level.lowest))
    if times and scale and loss - level.lowest > times * scale:
        return Level(level.first, level.mean, level.lowest, level.above + 1)
    mean = level.mean + (loss - level.mean) / SPAN
    return Level(level.first, mean, min(level.lowest, mean))
