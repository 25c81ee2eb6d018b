"""Small changes to pictures that leave their class alone, drawn anew for every picture. Knows no classes.

Pictures are (n, c, h, w) with black, 0, behind them. Draws come from torch's own generator, which the loop keeps over a
restart.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def mirrored(x: Tensor) -> Tensor:
    """Every other picture, by chance, seen in a mirror."""
    chosen = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    return torch.where(chosen, x.flip(3), x)


def turned(x: Tensor, *, degrees: float, stretch: float, slant: float) -> Tensor:
    """Turned by up to `degrees`, stretched each way by a factor up to 1 + `stretch` or down to its inverse, and slanted
    by up to `slant` (the tangent of the angle); bilinear, and what comes in is black."""
    n = len(x)
    angle, lean = _between(n, math.radians(degrees), like=x), _between(n, slant, like=x)
    across, along = (_between(n, math.log1p(stretch), like=x).exp() for _ in range(2))
    cosine, sine, nothing = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # Turned after slanted after stretched: where each pixel of the result is looked up.
    rows = (
        torch.stack([cosine * across, (cosine * lean - sine) * along, nothing], 1),
        torch.stack([sine * across, (sine * lean + cosine) * along, nothing], 1),
    )
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def relit(x: Tensor, *, contrast: float, gamma: float) -> Tensor:
    """Pixels in [0, 1] to a power from 1 / (1 + `gamma`) to 1 + `gamma`, times a factor from 1 - `contrast` to 1."""
    n = len(x)
    power = _between(n, math.log1p(gamma), like=x).exp()
    factor = 1 - contrast * torch.rand(n, device=x.device, dtype=x.dtype)
    return x.clamp(0, 1).pow(power[:, None, None, None]) * factor[:, None, None, None]


def _between(n: int, most: float, *, like: Tensor) -> Tensor:
    """(n,), evenly from -most to most."""
    return (2 * torch.rand(n, device=like.device, dtype=like.dtype) - 1) * most
