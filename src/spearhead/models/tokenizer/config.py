"""What a scenario says about a picture tokenizer. Plain values, no torch."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from spearhead.core.bounds import Channels, Count, Whole

MOST_CODES = 1 << 16


@dataclass(frozen=True, slots=True)
class Config:
    """The `[model]` table of a scenario whose family is `tokenizer`."""

    size: Count = 28
    """Height and width of the pictures in pixels; a multiple of 2 to the power of `halvings`."""
    channels: Channels = 1
    """1: grey, 3: colour."""
    quantiser: Literal["fsq", "vq"] = "fsq"
    """`fsq` rounds a few numbers to levels (arXiv 2309.15505); `vq` looks for the nearest of learnt vectors
    (arXiv 1711.00937, moving averages of appendix A.1, codes that fall out of use are put back)."""
    levels: tuple[Annotated[int, Ge(2)], ...] = (8, 5, 5, 5)
    """Levels of each number of `fsq`: their product is the number of codes (1,000)."""
    codes: Annotated[int, Interval(ge=2, le=MOST_CODES)] = 1000
    """Vectors of `vq`."""
    width: Count = 32
    """Feature maps at full size; doubled with the first halving."""
    halvings: Annotated[int, Interval(ge=1, le=6)] = 2
    """Each token stands for a square of 2 ** halvings pixels."""
    blocks: Whole = 1
    """Residual blocks at each size below the full one, which would cost the most and bring the least."""


def impossible(config: Config) -> str:
    """What of a configuration cannot be though each key alone can, as `key: sentence`; empty: nothing."""
    cell = 1 << config.halvings
    if config.size % cell:
        return (
            f"size {config.size} cannot be halved {config.halvings} times: wanted a multiple of {cell}, or fewer "
            "model.halvings"
        )
    if not config.levels or math.prod(config.levels) > MOST_CODES:
        return f"levels are {list(config.levels)}: wanted one at least, and {MOST_CODES:,} codes at most"
    return ""
