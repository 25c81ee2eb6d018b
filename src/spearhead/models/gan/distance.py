"""How far made pictures lie from held-out ones, cheaply: what a GAN is judged by while it trains. Knows no maker.

Adversarial losses do not say whether pictures get better, nor whether the maker collapsed. This does: a Frechet
distance (Heusel et al., arXiv 1706.08500, equation 6) over the features of a small convolutional network with fixed
random weights, the label beside the features (joint distance: DeVries et al., arXiv 1907.08175), so that a maker that
ignores the label is seen too. It is relative: 0 when both sets have the same mean and covariance, 1 for a maker that
always draws the mean picture. It ranks the states of one run; it is no score to compare models by (see `metrics/`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST = 1024
"""Pictures of a batch that are looked at."""
_SEED = 2026
_NEAR, _FAR = 32, 24


class Features(nn.Module):
    """Pixels (n, c, h, w) -> (n, f): responses of fixed random filters pooled to 2x2, and the picture at 4x4.

    Random filters see edges and textures without having learnt any (Saxe et al., ICML 2011); the same on every machine.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(_SEED)
        near = torch.randn(_NEAR, channels, 5, 5, generator=rng) / (25 * channels) ** 0.5
        far = torch.randn(_FAR, _NEAR, 3, 3, generator=rng) / (9 * _NEAR) ** 0.5
        near = near - near.mean((1, 2, 3), keepdim=True)  # brightness is in the small picture already
        self.near: Tensor
        self.far: Tensor
        self.register_buffer("near", near, persistent=False)
        self.register_buffer("far", far, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(F.conv2d(x, self.near, padding=2))
        y = F.relu(F.conv2d(F.avg_pool2d(y, 2), self.far, padding=1))
        pooled = F.adaptive_avg_pool2d(y, 2).flatten(1), F.adaptive_avg_pool2d(x, 4).flatten(1)
        return torch.cat(pooled, dim=1)


def frechet(a: Tensor, b: Tensor) -> Tensor:
    """Squared Frechet distance of two sets of features (n, f) and (m, f) as Gaussians, in float64."""
    a, b = a.double(), b.double()
    apart = (a.mean(0) - b.mean(0)).square().sum()
    left, right = _covariance(a), _covariance(b)
    values, vectors = torch.linalg.eigh(left)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    both = torch.linalg.eigvalsh(root @ right @ root).clamp(min=0).sqrt().sum()
    found: Tensor = (apart + left.trace() + right.trace() - 2 * both).clamp(min=0)
    return found


def relative(held: Tensor, made: Tensor, labels: Tensor, *, classes: int) -> Tensor:
    """The distance of features `made` (n, f) from `held` (n, f), both of the same `labels` (n,); see the module."""
    scale = held.std(0, correction=0)
    # A feature that hardly varies (an empty border) must not count more than all others; nor must a set of twins.
    floor = max(0.1 * float(scale.mean()), 0.02 * float(held.square().mean().sqrt()), 1e-6)
    scale = scale.clamp(min=floor)
    a, b = held / scale, made / scale
    spread = _covariance(a.double()).trace().clamp(min=0.01 * held.shape[1])
    if classes > 1:
        # Labels as long as the features together, so that joint and marginal parts weigh alike.
        rows = F.one_hot(labels, classes).double() * (spread / (1 - 1 / classes)).sqrt()
        a, b = torch.cat([a.double(), rows], 1), torch.cat([b.double(), rows], 1)
    return frechet(a, b) / spread


def _covariance(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred.T @ centred / len(x)
