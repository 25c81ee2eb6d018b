"""The smallest thing that the loop can train: a network that learns the sine, for trying the loop itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spearhead.nn.model import Model


@dataclass(frozen=True, slots=True)
class Point:
    """One example of a regression; `units` is its length."""

    x: float
    units: int = 1


@dataclass(frozen=True, slots=True)
class Points:
    """A micro-batch of them."""

    x: Tensor
    closes: bool

    @property
    def weight(self) -> int:
        return len(self.x)

    @property
    def examples(self) -> int:
        return len(self.x)

    @property
    def units(self) -> int:
        return len(self.x)


def pack_points(examples: Sequence[Point], *, closes: bool = True) -> Points:
    """A micro-batch of points."""
    return Points(torch.tensor([[point.x] for point in examples]), closes)


class Sine(Model):
    """Learns sin(x); draws noise, so that a restart must put the generator back."""

    def __init__(self, *, noise: float = 0.0, poison_at: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
        self.noise, self.poison_at, self.calls = noise, poison_at, 0

    def losses(self, batch: Points) -> Iterator[tuple[str, Tensor]]:
        x = batch.x
        if self.training:
            self.calls += 1
            x = x + self.noise * torch.randn_like(x)
        loss = (self.net(x) - torch.sin(batch.x)).square().mean()
        if self.training and self.calls == self.poison_at:
            loss = loss * float("nan")
        yield "loss", loss
