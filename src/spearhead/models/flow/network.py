"""Flow matching: a velocity that carries noise to pictures along straight lines, learnt by regression.

x(t) = (1 - t) noise + t picture, and the network answers E[picture - noise | x(t), t] (arXiv 2210.02747, equation 23
with sigma_min = 0). With leaps it also answers the mean velocity over a stretch of the way, from t to t + length, which
one step of Euler's takes without an error. Knows no file.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spearhead.core.errors import InputError
from spearhead.models.flow.config import Config, impossible
from spearhead.models.flow.dit import DiT
from spearhead.models.flow.solve import guided, solve
from spearhead.models.flow.unet import UNet
from spearhead.models.pictures import Pictures, Shape
from spearhead.nn.model import Model, Share

RATE = 8.0
"""On 8x8 digits 3e-3, 1e-2 and 2e-2 ended at 0.534, 0.503 and 0.508: so a plan's usual 1e-3 is meant as 8e-3."""
JUDGED = Config()
"""How the times of held-out pictures fall: a loss at easier times would be smaller without anything learnt."""


class Velocity(nn.Module):
    """A velocity that begins as the best one for Gaussian pictures; the network learns what they are beyond that.

    With pictures of variance s^2 around 0, x(t) has the variance v = (1 - t)^2 + (t s)^2 and the best linear velocity
    is x (t s^2 - (1 - t)) / v; what it leaves has the variance s^2 / v. So the network sees and gives numbers of unit
    variance at every time (the preconditioning of arXiv 2206.00364, table 1, for straight paths). Such pictures' flow
    multiplies x by the ratio of lengths sqrt(v): a leap of length h has the mean velocity x (ratio - 1) / h, written
    below so that h may be 0.
    """

    def __init__(self, network: nn.Module, *, deviation: float) -> None:
        super().__init__()
        self.network, self.deviation = network, deviation

    def forward(self, x: Tensor, time: Tensor, label: Tensor, length: Tensor | None = None) -> Tensor:
        """(n, c, h, w), (n,), (n,) and (n,) to (n, c, h, w); no length is one of 0."""
        share, variance = time.view(-1, 1, 1, 1), self.deviation**2
        scale = torch.rsqrt((1 - share).square() + share.square() * variance)
        if length is None:
            linear = x * ((share * variance - (1 - share)) * scale.square())
            beyond: Tensor = self.network(x * scale, time, label)
        else:
            stretch = length.view(-1, 1, 1, 1)
            end = ((1 - share - stretch).square() + (share + stretch).square() * variance).sqrt()
            rise = (2 * share + stretch) * variance - 2 * (1 - share) + stretch  # of v, over the length
            linear = x * (rise * scale / (1 / scale + end))
            beyond = self.network(x * scale, time, label, length)
        return linear + beyond * (self.deviation * scale)


class Flow(Model):
    """A velocity network and what it learns from; the label `classes` means no class."""

    def __init__(self, config: Config, shape: Shape) -> None:
        """Raises InputError when the picture does not divide into the network's places."""
        super().__init__()
        self.config, self.shape = config, shape
        self.classes = len(shape.classes)
        self.velocity: nn.Module = Velocity(_network(config, self.classes), deviation=config.deviation)

    @property
    def none(self) -> int:
        """The label of no class; the only one of a model without classes."""
        return self.classes

    def shares(self) -> Mapping[str, Iterable[Share]]:
        """The U-Net learns at `RATE` times the plan's rate: what it gives depends on the direction of its weights
        alone, and a step turns them by the less the longer they have grown."""
        rate = RATE if self.config.network == "unet" else 1.0
        return {name: (Share(tuple(group), rate=rate),) for name, group in self.groups().items()}

    def losses(self, batch: Pictures) -> Iterator[tuple[str, Tensor]]:
        """Mean squared error of the velocity, and in training of leaps, over (n, c, h, w).

        In evaluation the noise and the time of a picture are functions of its pixels, times fall as `JUDGED` says
        whatever a model learns by, no class is hidden and nobody leaps (what a model teaches itself is no measure of
        it): the losses of two steps, or of two models, differ by what was learnt and by nothing else.
        """
        picture, label = batch.pixels, batch.labels
        length = torch.zeros(len(picture), device=picture.device)
        if self.training:
            noise, time = torch.randn_like(picture), times(len(picture), self.config, device=picture.device)
            hidden = torch.rand(len(label), device=label.device) < self.config.label_dropout
            label = label.masked_fill(hidden, self.none)
        else:
            noise, time = self._fixed(picture)
        leaping = torch.zeros(len(picture), dtype=torch.bool, device=picture.device)
        if self.training and self.config.leaps:
            leaping = torch.rand_like(time) < self.config.leaps
            length = torch.rand_like(time) * leaping
            time = torch.where(leaping, torch.rand_like(time) * (1 - length), time)
        x, wanted = torch.lerp(noise, picture, time.view(-1, 1, 1, 1)), picture - noise
        if self.config.leaps and leaping.any():  # else a step need not wait for the device to answer
            wanted[leaping] = self._two_leaps(x[leaping], time[leaping], label[leaping], length[leaping])
        yield "loss", (self._ask(x, time, label, length) - wanted).square().mean()

    @torch.no_grad()
    def _two_leaps(self, x: Tensor, time: Tensor, label: Tensor, length: Tensor) -> Tensor:
        """The mean velocity of two leaps of half the length: what one has to answer (arXiv 2507.16884, section 3)."""
        half = length / 2
        first = self._ask(x, time, label, half)
        second = self._ask(x + first * half.view(-1, 1, 1, 1), time + half, label, half)
        return (first + second) / 2

    def _ask(self, x: Tensor, time: Tensor, label: Tensor, length: Tensor) -> Tensor:
        """The mean velocity over `length`; a model without leaps knows none but 0."""
        found: Tensor = self.velocity(x, time, label, *([length] if self.config.leaps else []))
        return found

    def sample(
        self, prompt: Tensor, count: int, *, rng: torch.Generator, options: Mapping[str, Any]
    ) -> Iterator[Tensor]:
        """Pictures (count, c, h, w) in [-1, 1] of the classes `prompt` (count,): where they are heading, each step.

        `options`: steps, solver and guidance, else the configuration's.
        """
        config = self.config
        device = next(self.parameters()).device
        noise = torch.randn(count, self.shape.channels, self.shape.height, self.shape.width, generator=rng)
        steps, solver = int(options.get("steps", config.steps)), str(options.get("solver", config.solver))
        with torch.no_grad():
            field = guided(
                partial(self._field, length=1 / steps if solver == "euler" else 0.0),
                prompt.to(device),
                none=self.none,
                guidance=float(options.get("guidance", config.guidance if self.classes else 1.0)),
            )
            for _, ahead in solve(field, noise.to(device), steps=steps, solver=solver):
                yield ahead

    def _field(self, x: Tensor, time: float, label: Tensor, length: float = 0.0) -> Tensor:
        return self._ask(x, x.new_full((len(x),), time), label, x.new_full((len(x),), length))

    def _fixed(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        noise, time = torch.empty(pictures.shape), torch.empty(len(pictures))
        rng = torch.Generator()
        for number, picture in enumerate(pictures.float().cpu().contiguous()):
            rng.manual_seed(zlib.crc32(picture.numpy().tobytes()))
            noise[number] = torch.randn(picture.shape, generator=rng)
            time[number] = times(1, JUDGED, rng=rng)[0]
        return noise.to(pictures), time.to(pictures)


def times(
    count: int, config: Config, *, device: torch.device | None = None, rng: torch.Generator | None = None
) -> Tensor:
    """(count,): times of the way to learn at, as the configuration says they fall."""
    normal = torch.randn(count, device=device, generator=rng) * config.time_deviation + config.time_mean
    even = torch.rand(count, device=device, generator=rng)
    which = torch.rand(count, device=device, generator=rng) < config.time_uniform
    return torch.where(which, even, torch.sigmoid(normal))


def build(config: Config, shape: Shape, *, steps: int, seed: int) -> Flow:
    """A fresh model; the same seed gives the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Flow(config, shape)


def _network(config: Config, classes: int) -> nn.Module:
    if why := impossible(config):
        raise InputError(f"model.{why}")
    if config.network == "dit":
        return DiT(
            size=config.size,
            channels=config.channels,
            classes=classes,
            patch=config.patch,
            width=config.width,
            blocks=config.blocks,
            heads=config.heads,
            leaps=config.leaps > 0,
        )
    return UNet(
        channels=config.channels,
        classes=classes,
        patch=config.patch,
        widths=tuple(config.width * level for level in config.levels),
        blocks=config.blocks,
        heads=config.heads,
        leaps=config.leaps > 0,
    )
