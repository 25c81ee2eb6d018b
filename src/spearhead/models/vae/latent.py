"""One or two layers of latent variables: what the encoder says of pictures, and draws of its posterior.

Shapes as in `blocks`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spearhead.models.pictures import Shape
from spearhead.models.vae.blocks import ConvIn, ConvOut, FlatIn, FlatOut, Gated, Head
from spearhead.models.vae.densities import divergence, log_normal, moved


@dataclass(frozen=True, slots=True)
class Seen:
    """What the encoder says of n pictures: the posterior of the top latent layer, and features for the lower one."""

    mean: Tensor
    logvar: Tensor
    features: Tensor | None = None

    def repeated(self, times: int) -> "Seen":
        """Every picture `times` times, one after the other."""
        features = None if self.features is None else self.features.repeat_interleave(times, 0)
        return Seen(self.mean.repeat_interleave(times, 0), self.logvar.repeat_interleave(times, 0), features)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Latent numbers of a posterior, top layer first, (n, layers * d)."""

    z: Tensor
    lower: Tensor | None = None
    """log q(z1|x,z2) - log p(z1|z2) at the draw, (n,); None with one layer."""
    divergence: Tensor | None = None
    """The same in the mean over z1, (n,)."""


class One(nn.Module):
    """One layer of latent variables between an encoder and a decoder."""

    layers = 1

    def __init__(self, encoder: FlatIn | ConvIn, decoder: FlatOut | ConvOut, latent: int) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.head = Head(encoder.features, latent)

    def read(self, x: Tensor, labels: Tensor) -> Seen:
        return Seen(*self.head(self.encoder(x, labels)))

    def infer(self, seen: Seen, labels: Tensor, noise: Tensor) -> Drawn:
        return Drawn(moved(noise, seen.mean, seen.logvar))

    def generate(self, top: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """Latent numbers of all layers from those of the top; `noise` (n, 0)."""
        return top

    def decode(self, z: Tensor, labels: Tensor) -> Tensor:
        out: Tensor = self.decoder(z, labels)
        return out


class Two(nn.Module):
    """Two layers: q(z2|x) q(z1|x,z2) and p(x|z1,z2) p(z1|z2) p(z2) (arXiv 1705.07120, section 4, figure 2)."""

    layers = 2

    def __init__(self, shape: Shape, hidden: int, latent: int, *, classes: int) -> None:
        super().__init__()
        self.latent = latent
        self.high = FlatIn(shape, hidden, classes=classes)
        self.high_head = Head(hidden, latent)
        self.low = Gated(shape.channels * shape.height * shape.width, hidden, classes=classes)
        self.beside = Gated(latent, hidden)
        self.joint = Gated(2 * hidden, hidden)
        self.low_head = Head(hidden, latent)
        self.down = Gated(latent, hidden, classes=classes)
        self.down_more = Gated(hidden, hidden)
        self.down_head = Head(hidden, latent)
        self.out = FlatOut(shape, hidden, 2 * latent, classes=classes)

    def read(self, x: Tensor, labels: Tensor) -> Seen:
        mean, logvar = self.high_head(self.high(x, labels))
        return Seen(mean, logvar, self.low(x.flatten(1), labels))

    def infer(self, seen: Seen, labels: Tensor, noise: Tensor) -> Drawn:
        assert seen.features is not None
        z2 = moved(noise[:, : self.latent], seen.mean, seen.logvar)
        features = self.joint(torch.cat([seen.features, self.beside(z2, labels)], dim=1), labels)
        mean, logvar = self.low_head(features)
        z1 = moved(noise[:, self.latent :], mean, logvar)
        below = self._below(z2, labels)
        gap = log_normal(z1, mean, logvar) - log_normal(z1, *below)
        return Drawn(torch.cat([z2, z1], dim=1), gap, divergence(mean, logvar, *below))

    def generate(self, top: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """Latent numbers of all layers from those of the top; `noise` (n, d)."""
        return torch.cat([top, moved(noise, *self._below(top, labels))], dim=1)

    def decode(self, z: Tensor, labels: Tensor) -> Tensor:
        out: Tensor = self.out(z, labels)
        return out

    def _below(self, z2: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.down_head(self.down_more(self.down(z2, labels), labels))
        return found
