"""A variational autoencoder: its bound, its priors, its samples. Knows no data, no loop and no file.

All amounts are nats per picture. Shapes: n pictures, c channels, h by w pixels, d = latent numbers of one layer.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spearhead.core.errors import InputError
from spearhead.models.pictures import Pictures, Shape
from spearhead.models.vae.blocks import ConvIn, ConvOut, FlatIn, FlatOut
from spearhead.models.vae.config import Config, impossible
from spearhead.models.vae.densities import log_logistic, log_mixture, log_normal, moved
from spearhead.models.vae.latent import One, Two
from spearhead.nn.model import Model

JUDGE = 777
"""Seed of the draws with which held-out pictures are judged: the same at every validation."""


class Vae(Model):
    """The whole: `losses` yields the negative evidence lower bound (arXiv 1312.6114, equation 3), its divergence
    weighed by the warm-up while it learns."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.config = config
        self.classes = len(shape.classes) if config.conditional else 0
        self.shape = (shape.channels, shape.height, shape.width)
        self.body: One | Two
        if config.network == "hierarchical":
            self.body = Two(shape, config.hidden, config.latent, classes=self.classes)
        elif config.network == "conv":
            entry = ConvIn(shape, config.hidden, classes=self.classes)
            self.body = One(entry, ConvOut(shape, config.hidden, config.latent, classes=self.classes), config.latent)
        else:
            way_in = FlatIn(shape, config.hidden, classes=self.classes)
            way_out = FlatOut(shape, config.hidden, config.latent, classes=self.classes)
            self.body = One(way_in, way_out, config.latent)
        self.scale = nn.Parameter(torch.full((shape.channels, 1, 1), -2.0)) if config.likelihood == "logistic" else None
        self.pseudo: nn.Parameter | None = None
        if config.prior == "vamp":
            self.pseudo = nn.Parameter(torch.randn(config.pseudo, *self.shape))

    @property
    def noise(self) -> int:
        """Standard normal numbers that a sample takes: two for the mixture, then d for every layer."""
        return self.config.latent * self.body.layers + 2 * (self.pseudo is not None)

    def losses(self, batch: Pictures) -> Iterator[tuple[str, Tensor]]:
        """The bound of fresh binary pixels; judged, not learning: with the same draws every time and no warm-up."""
        rng = None if self.training else torch.Generator(batch.pixels.device).manual_seed(JUDGE)
        weight = min(1.0, self.progress / self.config.warmup) if self.training and self.config.warmup else 1.0
        x = self.observe(batch.pixels, rng=rng)
        noise = torch.randn(len(x), self.config.latent * self.body.layers, generator=rng, device=x.device)
        missed, apart = self.bound(x, batch.labels, noise)
        yield "loss", (missed + weight * apart).mean()

    def sample(self, prompt: Any, count: int, *, rng: torch.Generator, options: Mapping[str, Any]) -> Iterator[Tensor]:
        """Pictures (n, c, h, w) in [-1, 1] of the classes `prompt` (n,); option `truncation` scales the noise."""
        labels = torch.as_tensor(prompt, dtype=torch.long)
        if labels.shape != (count,):
            raise InputError(f"{count} pictures were asked for, with labels of shape {tuple(labels.shape)}")
        noise = torch.randn(count, self.noise, generator=rng) * float(options.get("truncation", 1.0))
        device = next(self.parameters()).device
        yield self.paint(noise.to(device), labels.to(device))

    def paint(self, noise: Tensor, labels: Tensor, components: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The mean picture that the latent numbers of `noise` (n, self.noise) stand for, in [-1, 1].

        `components` are those of `components()`, given by who has them already.
        """
        if components is None and self.pseudo is not None:
            components = self.components()
        top, rest = self._top(noise, labels, components)
        out = self.body.decode(self.body.generate(top, labels, rest), labels)
        return torch.sigmoid(out) * 2 - 1 if self.scale is None else out.clamp(-1, 1)

    def observe(self, pixels: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        """What is modelled: pixels drawn black or white with their grey value's probability, or the levels as they are.

        Black and white pixels stay as they are. (n, c, h, w) in [-1, 1] -> the same, in {0, 1} for `bernoulli`.
        """
        if self.scale is not None:
            return pixels
        drawn = torch.rand(pixels.shape, generator=rng, device=pixels.device)
        return (drawn * 2 - 1 < pixels).to(pixels.dtype)

    def bound(self, x: Tensor, labels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """-log p(x|z) at one draw, and the divergence of the posterior from the prior, both (n,).

        The divergence is exact where it has a closed form (a Gaussian prior, and every lower layer), else at the draw.
        """
        seen = self.body.read(x, labels)
        drawn = self.body.infer(seen, labels, noise)
        top = drawn.z[:, : self.config.latent]
        if self.pseudo is None:
            apart = -0.5 * (1 + seen.logvar - seen.mean.square() - seen.logvar.exp()).sum(1)
        else:
            apart = log_normal(top, seen.mean, seen.logvar) - self.log_prior(top, labels)
        if drawn.divergence is not None:
            apart = apart + drawn.divergence
        return -self.score(x, self.body.decode(drawn.z, labels)), apart

    def score(self, x: Tensor, out: Tensor) -> Tensor:
        """log p(x|z) in nats, (n,), from what the decoder gave; in half precision a sum of pixels is off by nats."""
        out = out.to(torch.promote_types(out.dtype, torch.float32))
        if self.scale is None:
            return (x * out).flatten(1).sum(1) - F.softplus(out).flatten(1).sum(1)
        return log_logistic(x, out, self.scale.clamp(min=-7.0)).flatten(1).sum(1)

    def log_prior(self, top: Tensor, labels: Tensor) -> Tensor:
        """log p of the top layer's numbers (n, d): (n,)."""
        return log_mixture(top, labels, None if self.pseudo is None else self.components(), classes=self.classes)

    def components(self) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the mixture's components, (k, d) each; component i is of class i modulo classes."""
        assert self.pseudo is not None
        pictures = torch.sigmoid(self.pseudo) if self.scale is None else torch.tanh(self.pseudo)
        labels = torch.arange(len(pictures), device=pictures.device) % max(1, self.classes)
        seen = self.body.read(pictures, labels)
        return seen.mean, seen.logvar

    def _top(self, noise: Tensor, labels: Tensor, components: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """A draw of the prior's top layer, and the noise that is left."""
        d = self.config.latent
        if components is None:
            return noise[:, :d], noise[:, d:]
        mean, logvar = components
        chosen = self._choice(noise[:, :2], labels)
        return moved(noise[:, 2 : d + 2], mean[chosen], logvar[chosen]), noise[:, d + 2 :]

    def _choice(self, pair: Tensor, labels: Tensor) -> Tensor:
        """Which component two standard normal numbers (n, 2) pick: all of a class are equally likely.

        By their direction alone: noise that is scaled, as truncation does, must leave none of them out.
        """
        y, x = pair.unbind(1)
        share = torch.atan2(y, x + 1e-20) / (2 * math.pi) + 0.5  # uniform in [0, 1]; a graph divides, so not by 0
        pseudo, classes = self.config.pseudo, max(1, self.classes)
        if not self.classes:
            labels = torch.zeros_like(labels)
        own = (pseudo - labels + classes - 1) // classes  # how many components the class has
        return labels + classes * torch.minimum((share * own).long(), own - 1)


def build(config: Config, shape: Shape, *, steps: int, seed: int) -> Vae:
    """The model of `config`; the same seed gives the same initial values. Raises InputError for what cannot be."""
    if why := impossible(config):
        raise InputError(f"model.{why}")
    classes = len(shape.classes) if config.conditional else 0
    if config.prior == "vamp" and config.pseudo < max(1, classes):
        raise InputError(f"model.pseudo is {config.pseudo}: wanted at least one for each of {max(1, classes)} classes")
    if min(config.latent, config.hidden) < 1 or not 0 <= config.warmup <= 1:
        raise InputError("model.latent and model.hidden must be at least 1, model.warmup between 0 and 1")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Vae(config, shape)
