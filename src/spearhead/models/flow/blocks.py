"""Layers whose weights have a length of their own choosing and whose signals keep theirs. Knows no flow.

Normalising weights costs by their number, normalising signals by pixels and batch; so the U-Net normalises its
weights, and its blocks are convolutions and SiLU with hardly anything in between (Karras et al., arXiv 2312.02696).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SILU = 1 / 0.596
"""SiLU of unit normal input has this length (arXiv 2312.02696, equation 81): layers behind one undo it."""


def unit(weight: Tensor) -> Tensor:
    """Each output's weights with the length 1: unit normal inputs give unit normal outputs (equation 66)."""
    flat = weight.flatten(1)
    scale = torch.rsqrt(flat.square().sum(dim=1) + 1e-8)
    return weight * scale.view(-1, *[1] * (weight.ndim - 1))


def blend(share: float) -> tuple[float, float]:
    """What to multiply a and b with, so that `share` of b in a keeps unit length (equation 88)."""
    length = math.hypot(1 - share, share)
    return (1 - share) / length, share / length


class Conv(nn.Module):
    """A convolution with weights of length `gain`, without bias."""

    def __init__(self, before: int, after: int, *, kernel: int, stride: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel) / math.sqrt(before * kernel * kernel))
        self.gain, self.stride, self.padding, self.folded = gain, stride, (kernel - stride + 1) // 2, False

    def forward(self, x: Tensor) -> Tensor:
        """(n, before, h, w) to (n, after, h / stride, w / stride)."""
        weight = self.weight if self.folded else unit(self.weight) * self.gain
        return F.conv2d(x, weight, stride=self.stride, padding=self.padding)

    def fold(self) -> None:
        """Keep the normalised weights: for a graph that is to be run, not trained."""
        with torch.no_grad():
            self.weight.copy_(unit(self.weight) * self.gain)
        self.folded = True


class Dense(nn.Module):
    """A linear map with weights of length `gain`, without bias."""

    def __init__(self, before: int, after: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before) / math.sqrt(before))
        self.gain, self.folded = gain, False

    def forward(self, x: Tensor) -> Tensor:
        """(..., before) to (..., after)."""
        return F.linear(x, self.weight if self.folded else unit(self.weight) * self.gain)

    def fold(self) -> None:
        """See `Conv.fold`."""
        with torch.no_grad():
            self.weight.copy_(unit(self.weight) * self.gain)
        self.folded = True


class Waves(nn.Module):
    """A time in [0, 1] as cosines of random frequencies and phases, of unit length (equation 75)."""

    frequencies: Tensor
    phases: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2 * math.pi * torch.randn(width))
        self.register_buffer("phases", 2 * math.pi * torch.rand(width))

    def forward(self, time: Tensor) -> Tensor:
        """(n,) to (n, width)."""
        return torch.cos(time[:, None] * 4 * self.frequencies + self.phases) * math.sqrt(2)


class Length(nn.Module):
    """How long a leap is, in [0, 1], as a vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.waves = Waves(width)
        self.mix = Dense(width, width)

    def forward(self, length: Tensor) -> Tensor:
        """(n,) to (n, width)."""
        found: Tensor = self.mix(self.waves(length))
        return found


class Condition(nn.Module):
    """Time and class, and of a model with leaps their length, as one vector."""

    def __init__(self, classes: int, width: int, *, leaps: bool) -> None:
        """One row more than there are classes: the last one is no class."""
        super().__init__()
        self.waves = Waves(width)
        self.time = Dense(width, width)
        self.names = nn.Embedding(classes + 1, width)
        self.mix = Dense(width, width, gain=SILU)
        self.length = Length(width) if leaps else None

    def forward(self, time: Tensor, label: Tensor, length: Tensor | None) -> Tensor:
        """(n,), (n,) and (n,) to (n, width)."""
        heard = [self.time(self.waves(time)), self.names(label)]
        if self.length is not None:
            heard.append(self.length(torch.zeros_like(time) if length is None else length))
        both = sum(heard[1:], start=heard[0]) * math.sqrt(1 / len(heard))
        return F.silu(self.mix(F.silu(both)))


def levelled(x: Tensor) -> Tensor:
    """Each pixel's channels at unit length (equation 30): where a path begins whose length nobody answers for."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-4)
