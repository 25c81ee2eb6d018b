"""Normal, mixed and logistic densities in nats, and draws of them. Knows no network.

Shapes: n pictures, k components of a mixture, d = latent numbers.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LOG_TAU = math.log(2 * math.pi)


def moved(noise: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Standard normal noise as a draw of N(mean, exp(logvar))."""
    return mean + noise * torch.exp(0.5 * logvar)


def log_normal(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """log N(z; mean, exp(logvar)), summed over the last axis."""
    return -0.5 * (LOG_TAU + logvar + (z - mean).square() * torch.exp(-logvar)).sum(-1)


def divergence(mean: Tensor, logvar: Tensor, to: Tensor, to_logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(to, exp(to_logvar))), summed over the last axis."""
    ratio = ((mean - to).square() + logvar.exp()) * torch.exp(-to_logvar)
    return 0.5 * (to_logvar - logvar + ratio - 1).sum(-1)


def log_mixture(top: Tensor, labels: Tensor, components: tuple[Tensor, Tensor] | None, *, classes: int) -> Tensor:
    """log p of (n, d) under the equally likely components of each one's class, mean and log variance (k, d); (n,).

    Without components: under the standard normal distribution. In float32 at least, whatever the layers compute in.
    """
    top = top.to(torch.promote_types(top.dtype, torch.float32))
    if components is None:
        return -0.5 * (LOG_TAU + top.square()).sum(1)
    mean, logvar = (value.to(top.dtype) for value in components)
    narrow = torch.exp(-logvar)
    # The sum of (z - m)^2 / v as three products, so that no (n, k, d) block is made. They are far larger than what is
    # left of them: with the 8 bits of bfloat16 nothing but noise would be.
    with torch.autocast(top.device.type, enabled=False):
        spread = top.square() @ narrow.T - 2 * top @ (mean * narrow).T + (mean.square() * narrow).sum(1)
    each = -0.5 * (spread + logvar.sum(1) + top.shape[1] * LOG_TAU)  # (n, k)
    if not classes:
        return torch.logsumexp(each, 1) - math.log(len(mean))
    own = torch.arange(len(mean), device=top.device) % classes == labels[:, None]
    return torch.logsumexp(each.masked_fill(~own, -math.inf), 1) - own.sum(1).to(top.dtype).log()


def log_logistic(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log probability of one of 256 levels under a rounded logistic distribution (arXiv 1701.05517, equation 2).

    `x` in [-1, 1] on the grid of 256 levels; the outermost levels hold the tails. The difference of two sigmoids is
    s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)), which loses no digits.
    """
    narrow, half = torch.exp(-log_scale), 1 / 255
    upper, lower = (x - mean + half) * narrow, (x - mean - half) * narrow
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2 * half * narrow))
    edges = torch.where(x < -1 + half, F.logsigmoid(upper), F.logsigmoid(-lower))
    return torch.where(x.abs() > 1 - half, edges, inside)
