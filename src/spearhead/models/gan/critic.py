"""Critics: pixels (n, c, h, w) and label (n,) to a score (n,), higher for what looks real. Knows no loss."""

import torch
from torch import Tensor, nn

from spearhead.models.gan.blocks import SLOPE, Head, Residual, bend, conv, halve
from spearhead.models.gan.config import channels, sizes


class Critic(nn.Module):
    """A body that makes features (n, f) of pictures, and a head that scores them for their class."""

    def __init__(self, body: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.body, self.head = body, Head(features, classes)

    def forward(self, pictures: Tensor, label: Tensor) -> Tensor:
        score: Tensor = self.head(self.body(pictures), label)
        return score


def mlp(*, classes: int, size: int, colours: int, width: int) -> Critic:
    """Three layers (arXiv 1406.2661, with leaky ReLU)."""
    body = nn.Sequential(
        nn.Flatten(),
        nn.Linear(colours * size * size, width),
        nn.LeakyReLU(SLOPE),
        nn.Linear(width, width // 2),
        nn.LeakyReLU(SLOPE),
    )
    return Critic(body, width // 2, classes)


def dcgan(*, classes: int, size: int, colours: int, width: int, norm: bool) -> Critic:
    """Strided convolutions (arXiv 1511.06434); batch norm only where no penalty looks at single pictures."""
    sides = sizes(size)
    widths = (colours, *reversed(channels(width, len(sides))[:-1]))
    layers: list[nn.Module] = []
    for number, (inner, outer) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        layers.append(nn.Conv2d(inner, outer, 4, 2, 1))
        nn.init.normal_(layers[-1].weight, std=0.02)  # type: ignore[arg-type]
        if norm and number:
            layers.append(nn.BatchNorm2d(outer))
        layers.append(nn.LeakyReLU(SLOPE))
    return Critic(nn.Sequential(*layers, nn.Flatten()), widths[-1] * sides[0] ** 2, classes)


class Basis(nn.Module):
    """(n, c, s, s) -> (n, c): each channel weighed by a learnt picture of the coarsest size."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, side, side) / side)

    def forward(self, x: Tensor) -> Tensor:
        return (bend(x) * self.weight).sum((2, 3))


class Halve(nn.Module):
    """Half the size and other channels."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.widen = conv(inner, outer, 1)

    def forward(self, x: Tensor) -> Tensor:
        wider: Tensor = self.widen(halve(x))
        return wider


def residual(*, classes: int, size: int, colours: int, width: int, depth: int) -> Critic:
    """R3GAN's critic (arXiv 2501.05441, section 4): residual blocks without normalisation, a learnt basis at the end.

    The first convolution halves the size at once: the full size would take most of the time and is one layer away.
    """
    sides = sizes(size)
    widths = tuple(reversed(channels(width, len(sides))[:-1]))
    stem = nn.Conv2d(colours, widths[0], 4, 2, 1)
    nn.init.kaiming_normal_(stem.weight, a=SLOPE)
    layers: list[nn.Module] = [stem]
    for number, each in enumerate(widths):
        if number:
            layers.append(Halve(widths[number - 1], each))
        layers += [Residual(each) for _ in range(depth)]
    layers += [Basis(widths[-1], sides[0]), nn.Linear(widths[-1], widths[-1])]
    return Critic(nn.Sequential(*layers), widths[-1], classes)
