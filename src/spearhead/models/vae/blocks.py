"""Gated layers between pictures and latent numbers. Knows no bound and no prior.

Shapes: n pictures, c channels, h by w pixels, d = latent numbers of one layer.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spearhead.models.pictures import Shape

NARROWEST, WIDEST = -6.0, 2.0
"""Bounds of a posterior's log variance, as in the published setting: outside them the bound is no longer finite."""


class Gated(nn.Module):
    """(W x + b + label) * sigmoid(V x + c + label), as one matrix (arXiv 1612.08083, equation 1)."""

    def __init__(self, inputs: int, outputs: int, *, classes: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * outputs)
        nn.init.normal_(self.linear.weight, 0.0, math.sqrt(2 / inputs))
        nn.init.zeros_(self.linear.bias)
        self.words = nn.Embedding(classes, 2 * outputs) if classes else None

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:  # (n, inputs), (n,) -> (n, outputs)
        both = self.linear(x)
        if self.words is not None:
            both = both + self.words(labels)
        return F.glu(both, dim=1)


class GatedConv(nn.Module):
    """The same for pictures: a 3x3 convolution, its groups normalised; `stride` 2 halves the sides (rounding up)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 2 * outputs, 3, stride=stride, padding=1)
        self.norm = nn.GroupNorm(math.gcd(8, 2 * outputs), 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:  # (n, inputs, h, w) -> (n, outputs, h', w')
        return F.glu(self.norm(self.conv(x)), dim=1)


class Head(nn.Module):
    """Mean and log variance of a normal distribution from features; in float32 at least, as what is made of them."""

    def __init__(self, inputs: int, latent: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * latent)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:  # (n, inputs) -> (n, d), (n, d)
        both = self.linear(features)
        mean, logvar = both.to(torch.promote_types(both.dtype, torch.float32)).chunk(2, dim=1)
        return mean, logvar.clamp(NARROWEST, WIDEST)


class FlatIn(nn.Module):
    """Pictures to features by two gated layers."""

    def __init__(self, shape: Shape, hidden: int, *, classes: int) -> None:
        super().__init__()
        self.first = Gated(shape.channels * shape.height * shape.width, hidden, classes=classes)
        self.second = Gated(hidden, hidden)
        self.features = hidden

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:  # (n, c, h, w) -> (n, hidden)
        out: Tensor = self.second(self.first(x.flatten(1), labels), labels)
        return out


class FlatOut(nn.Module):
    """Latent numbers to what the likelihood needs, by two gated layers."""

    def __init__(self, shape: Shape, hidden: int, latent: int, *, classes: int) -> None:
        super().__init__()
        self.shape = (shape.channels, shape.height, shape.width)
        self.first = Gated(latent, hidden, classes=classes)
        self.second = Gated(hidden, hidden)
        self.last = nn.Linear(hidden, math.prod(self.shape))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:  # (n, d) -> (n, c, h, w)
        out: Tensor = self.last(self.second(self.first(z, labels), labels))
        return out.view(-1, *self.shape)


def sides(shape: Shape) -> list[tuple[int, int]]:
    """The sizes of a convolutional network's feature maps, from the picture down to about 7."""
    found = [(shape.height, shape.width)]
    while min(found[-1]) > 8:
        found.append((-(-found[-1][0] // 2), -(-found[-1][1] // 2)))
    return found


class ConvIn(nn.Module):
    """Pictures to features by gated convolutions."""

    def __init__(self, shape: Shape, width: int, *, classes: int) -> None:
        super().__init__()
        levels = sides(shape)
        self.stem = GatedConv(shape.channels, width)
        widths = [width * min(2**level, 4) for level in range(len(levels))]
        self.down = nn.Sequential(
            *(GatedConv(a, b, stride=2) for a, b in zip(widths[:-1], widths[1:], strict=True)),
        )
        self.features = 8 * width
        self.last = Gated(widths[-1] * levels[-1][0] * levels[-1][1], self.features, classes=classes)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:  # (n, c, h, w) -> (n, features)
        out: Tensor = self.last(self.down(self.stem(x)).flatten(1), labels)
        return out


class ConvOut(nn.Module):
    """Latent numbers to what the likelihood needs, by gated convolutions after nearest-neighbour enlargement."""

    def __init__(self, shape: Shape, width: int, latent: int, *, classes: int) -> None:
        super().__init__()
        self.sides = sides(shape)[::-1]
        widths = [width * min(2**level, 4) for level in range(len(self.sides))][::-1]
        self.start = (widths[0], *self.sides[0])
        self.first = Gated(latent, 8 * width, classes=classes)
        self.second = Gated(8 * width, math.prod(self.start))
        self.up = nn.ModuleList(GatedConv(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.last = nn.Conv2d(widths[-1], shape.channels, 3, padding=1)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:  # (n, d) -> (n, c, h, w)
        x: Tensor = self.second(self.first(z, labels), labels)
        x = x.view(-1, *self.start)
        for layer, side in zip(self.up, self.sides[1:], strict=True):
            x = layer(F.interpolate(x, size=side, mode="nearest"))
        out: Tensor = self.last(x)
        return out
