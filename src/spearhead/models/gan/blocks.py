"""Parts that makers and critics share: residual blocks, resampling, class conditioning. Knows no loss."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
"""Of the leaky ReLU below zero."""


def bend(x: Tensor) -> Tensor:
    """Leaky ReLU."""
    return F.leaky_relu(x, SLOPE)


def conv(inner: int, outer: int, kernel: int) -> nn.Conv2d:
    """A convolution that keeps the size, initialised for leaky ReLU (He et al., arXiv 1502.01852, equation 15)."""
    made = nn.Conv2d(inner, outer, kernel, padding=kernel // 2)
    nn.init.kaiming_normal_(made.weight, a=SLOPE)
    nn.init.zeros_(made.bias)  # type: ignore[arg-type]
    return made


class Residual(nn.Module):
    """x + conv(bend(conv(bend(x)))); the last convolution begins at zero, so that the block begins as the identity.

    R3GAN has 1x1, grouped 3x3, 1x1 here; two dense 3x3 take the same time at these widths on a CPU (grouped
    convolutions are slow twice differentiated) and hold more weights.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = conv(width, width, 3), conv(width, width, 3)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:  # (n, width, h, w), both ways
        out: Tensor = x + self.second(bend(self.first(bend(x))))
        return out


def double(x: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, c, 2h, 2w), bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def halve(x: Tensor) -> Tensor:
    """(n, c, 2h, 2w) -> (n, c, h, w), the mean of four."""
    return F.avg_pool2d(x, 2)


class Asked(nn.Module):
    """Noise (n, d) and label (n,) -> (n, wide): the noise, and beside it a learnt vector of the class."""

    def __init__(self, noise: int, classes: int) -> None:
        super().__init__()
        self.of_class = nn.Embedding(classes, noise) if classes else None
        self.wide = 2 * noise if classes else noise

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        return noise if self.of_class is None else torch.cat([noise, self.of_class(label)], dim=1)


class Head(nn.Module):
    """Features (n, f) and label (n,) -> score (n,): a linear map plus the class's own direction.

    Projection: Miyato and Koyama, arXiv 1802.05637, equation 4.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(features, 1)
        self.of_class = nn.Embedding(classes, features) if classes else None
        self.scale = 1 / math.sqrt(features)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        score: Tensor = self.out(features)[:, 0]
        if self.of_class is not None:
            score = score + self.scale * (self.of_class(label) * features).sum(1)
        return score
