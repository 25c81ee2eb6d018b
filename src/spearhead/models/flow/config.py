"""What a scenario says about a flow-matching model. Plain values, no torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from spearhead.core.bounds import Channels, Count, NotNegative, Part, Positive, Share
from spearhead.core.sampler import MOST_STEPS


@dataclass(frozen=True, slots=True)
class Config:
    """The `[model]` table of a scenario whose family is `flow`."""

    size: Count = 28
    """Height and width in pixels."""
    channels: Channels = 1
    """1: grey, 3: colour."""
    network: Literal["unet", "dit"] = "unet"
    """A U-Net, or a small transformer over squares of pixels."""
    patch: Count = 2
    """Side of the squares of pixels that the network sees as one place."""
    width: Count = 64
    """Channels of the U-Net's first level, or of every token of the DiT. Well above channels * patch ** 2: a narrow
    network cannot take the noise of that many pixels away (seen at 32 and 48 for 48: speckled pictures)."""
    levels: tuple[Count, ...] = (1, 2)
    """Widths of the U-Net's levels as multiples of `width`; each level halves the sides."""
    blocks: Count = 2
    """Blocks a level on the way down and again on the way up; of the DiT all in all."""
    heads: Count = 4
    """Attention heads: of the U-Net's one attention at its lowest level, of every block of the DiT."""
    deviation: Positive = 0.8
    """Root mean square of the pictures' values in [-1, 1], about."""
    label_dropout: Share = 0.1
    """How often a training picture's class is hidden, so that guidance has something to lead away from."""
    time_mean: float = 0.0
    """Training times are sigmoid(normal(mean, deviation)): arXiv 2403.03206, section 3.1."""
    time_deviation: NotNegative = 1.0
    """Standard deviation of the same."""
    time_uniform: Share = 0.1
    """Share of training times that are uniform instead: the solver starts at 0, where the others hardly ever fall."""
    leaps: Part = 0.0
    """Share of training pictures that teach leaps, by which 1 to 4 steps of Euler's are enough (0: no leaps). A leap
    is learnt from two of half its length, down to the velocity itself: the model is its own teacher (arXiv
    2507.16884). Sample with `solver = "euler"`; `guidance = 1.0` suits so few steps best."""
    steps: Annotated[int, Interval(ge=1, le=MOST_STEPS)] = 25
    """Steps of the solver, unless a request says otherwise; so the next two."""
    solver: Literal["euler", "heun"] = "heun"
    """Euler's or Heun's method; Heun asks the network twice a step."""
    guidance: NotNegative = 1.5
    """1: none; more follows the class more closely and varies less (arXiv 2207.12598)."""


def impossible(config: Config) -> str:
    """What of a configuration cannot be though each key alone can, as `key: sentence`; empty: nothing."""
    places, rest = divmod(config.size, config.patch)
    if config.network == "dit":
        if rest or config.width % config.heads or config.width // config.heads % 2:
            return (
                f"size {config.size} must be a multiple of model.patch {config.patch}, and model.width {config.width} "
                f"of twice model.heads {config.heads}"
            )
        return ""
    after = len(config.levels) - 1
    if after < 0 or rest or places % 2**after or config.width * config.levels[-1] % config.heads:
        return (
            f"size {config.size} must be a multiple of model.patch {config.patch} times 2 for each of {after} levels "
            f"after the first, and the last level's width of model.heads {config.heads}"
        )
    return ""
