"""What a scenario says about a generative adversarial network, and the named values of it. Plain values, no torch."""

from dataclasses import dataclass
from typing import Literal

from spearhead.core.bounds import Channels
from spearhead.core.errors import InputError

Kind = Literal["colour", "translation", "cutout"]


@dataclass(frozen=True, slots=True)
class Config:
    """The `[model]` table of a scenario whose family is `gan`.

    A maker draws pictures, a critic tells them from the data, each learns against the other. What the training plan
    should say beside it: `average` (0.999 for some thousand steps: the average of the maker is what is judged and
    released), `clip = 0`, `learning_rate` 2e-4 to 1e-3, a `batch` of 32 to 128, and no `micro_batch` below 256: the
    held-out distance is taken for each micro-batch of the validation pictures, and few pictures say little. It
    learns in float32 whatever the machine has: `precision = "bf16"` is refused.
    """

    size: int = 28
    """Height and width in pixels: 4, 5, 6 or 7 doubled once or more, unless both networks are `mlp`."""
    channels: Channels = 1
    """1: grey, 3: colour."""
    maker: Literal["mlp", "dcgan", "residual", "style"] = "residual"
    """What draws: fully connected, DCGAN's, residual, or with a style for each layer (StyleGAN2)."""
    critic: Literal["mlp", "dcgan", "residual"] = "residual"
    """What judges, in the same three kinds."""
    loss: Literal["vanilla", "wasserstein", "relativistic"] = "relativistic"
    """`vanilla`: non-saturating (arXiv 1406.2661); `wasserstein`: WGAN-GP (1704.00028); `relativistic`: R3GAN
    (2501.05441)."""
    penalty: float = 5.0
    """Weight of the gradient penalty at first: gamma of R1 and R2 (`relativistic`), of R1 (`vanilla`), lambda
    (`wasserstein`); 0: none, and the `dcgan` critic has batch norm then. Small pictures of high contrast want more than
    R3GAN's 0.5 to 0.05: with those the critic won on FashionMNIST (held-out distance 0.56, then back up to 0.63)."""
    penalty_end: float = 1.0
    """The same at the end of the run; between them it falls by a cosine."""
    critic_steps: int = 1
    """Steps of the critic for one of the maker."""
    noise: int = 64
    """Numbers that a picture is drawn from."""
    width: int = 32
    """Channels at half the full size; twice as many with each halving, four times at most. `mlp`: hidden units."""
    depth: int = 1
    """Residual blocks, or convolutions of the style maker, at each size."""
    augment: tuple[Kind, ...] = ()
    """DiffAugment (arXiv 2006.10738) of all that the critic sees; for a few thousand pictures or fewer."""
    augment_share: float = 0.5
    """Share of the pictures that are augmented at the end of the run; it rises from 0 by a cosine."""
    mapping: int = 2
    """Layers of the style maker's mapping network."""
    mixing: float = 0.5
    """Share of the pictures that the style maker draws from two styles while it learns."""
    truncation: float = 1.0
    """Standard deviation of the noise when pictures are asked for; less than 1: closer to the usual, less varied."""

    def __post_init__(self) -> None:
        for name in ("penalty", "penalty_end", "augment_share", "mixing"):
            if not 0 <= getattr(self, name) <= (1 if name in ("augment_share", "mixing") else 1e4):
                raise InputError(f"model.{name} is {getattr(self, name)}: wanted 0 to 1, or a weight of 0 to 10,000")
        for name, most in (("critic_steps", 100), ("noise", 4096), ("width", 2048), ("depth", 64), ("mapping", 64)):
            if not 1 <= getattr(self, name) <= most:
                raise InputError(f"model.{name} is {getattr(self, name)}: wanted 1 to {most}")
        if not 0 < self.truncation <= 2:
            raise InputError(f"model.truncation is {self.truncation}: wanted more than 0 and at most 2")
        if self.loss == "wasserstein" and self.penalty <= 0:
            raise InputError("model.penalty is 0: the wasserstein loss needs its penalty, 10 in the paper")
        if not (self.maker == "mlp" and self.critic == "mlp"):
            sizes(self.size)


def sizes(size: int) -> tuple[int, ...]:
    """The sides at which the convolutions work, from the coarsest to `size`.

    Raises InputError for a size that no doubling of 4, 5, 6 or 7 gives.

    >>> sizes(28), sizes(32)
    ((7, 14, 28), (4, 8, 16, 32))
    """
    found = [size]
    while found[0] % 2 == 0 and found[0] >= 8:
        found.insert(0, found[0] // 2)
    if not (4 <= found[0] <= 7 and 2 <= len(found) <= 9):
        good = sorted(base << times for base in (4, 5, 6, 7) for times in range(1, 9))
        near = sorted(sorted(good, key=lambda other: abs(other - size))[:2])
        raise InputError(f"model.size is {size}: wanted 4, 5, 6 or 7 doubled, for instance {near[0]} or {near[1]}")
    return tuple(found)


def channels(width: int, count: int) -> tuple[int, ...]:
    """Channels at each of `count` sizes, from the coarsest to the full one.

    >>> channels(32, 4)
    (128, 64, 32, 16)
    """
    return tuple(max(8, min(4 * width, (width << (count - 1 - level)) // 2)) for level in range(count))


PRESETS = {
    "debug": Config(size=8, width=16, noise=16),
    "default": Config(),
    "vanilla": Config(maker="mlp", critic="mlp", loss="vanilla", penalty=0.0, penalty_end=0.0, width=512),
    "dcgan": Config(maker="dcgan", critic="dcgan", loss="vanilla", penalty=0.0, penalty_end=0.0),
    "wgan-gp": Config(
        maker="dcgan", critic="dcgan", loss="wasserstein", penalty=10.0, penalty_end=10.0, critic_steps=5
    ),
    "r3gan": Config(),
    "style": Config(maker="style", mapping=4),
}
