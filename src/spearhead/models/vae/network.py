"""A variational autoencoder: its bound, its priors, its samples. Knows no data, no loop and no file.

All amounts are nats per picture. Shapes: n pictures, c channels, h by w pixels, d = latent numbers of one layer.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spearhead.core.errors import InputError
from spearhead.models.pictures import Pictures, Shape
from spearhead.models.vae.config import Config
from spearhead.nn.model import Model

LOG_TAU = math.log(2 * math.pi)
NARROWEST, WIDEST = -6.0, 2.0
"""Bounds of a posterior's log variance, as in the published setting: outside them the bound is no longer finite."""
JUDGE = 777
"""Seed of the draws with which held-out pictures are judged: the same at every validation."""


# -- parts -----------------------------------------------------------------------------------------------------------
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
    """Mean and log variance of a normal distribution from features."""

    def __init__(self, inputs: int, latent: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * latent)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:  # (n, inputs) -> (n, d), (n, d)
        mean, logvar = self.linear(features).chunk(2, dim=1)
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


# -- one or two layers of latent variables -----------------------------------------------------------------------------
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


# -- the model ---------------------------------------------------------------------------------------------------------
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
        """Standard normal numbers that a sample takes: one for the mixture, then d for every layer."""
        return self.config.latent * self.body.layers + (self.pseudo is not None)

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
        """log p(x|z) in nats, (n,), from what the decoder gave."""
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
        chosen = self._choice(noise[:, 0], labels)
        return moved(noise[:, 1 : d + 1], mean[chosen], logvar[chosen]), noise[:, d + 1 :]

    def _choice(self, number: Tensor, labels: Tensor) -> Tensor:
        """Which component a standard normal number picks: all of a class are equally likely."""
        share = 0.5 * (1 + torch.erf(number / math.sqrt(2)))  # uniform in [0, 1]
        pseudo, classes = self.config.pseudo, max(1, self.classes)
        if not self.classes:
            labels = torch.zeros_like(labels)
        own = (pseudo - labels + classes - 1) // classes  # how many components the class has
        return labels + classes * torch.minimum((share * own).long(), own - 1)


def log_mixture(top: Tensor, labels: Tensor, components: tuple[Tensor, Tensor] | None, *, classes: int) -> Tensor:
    """log p of (n, d) under the equally likely components of each one's class, mean and log variance (k, d); (n,).

    Without components: under the standard normal distribution.
    """
    if components is None:
        return -0.5 * (LOG_TAU + top.square()).sum(1)
    mean, logvar = (value.to(top.dtype) for value in components)
    narrow = torch.exp(-logvar)
    # The sum of (z - m)^2 / v as three products, so that no (n, k, d) block is made.
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


def build(config: Config, shape: Shape, *, steps: int, seed: int) -> Vae:
    """The model of `config`; the same seed gives the same initial values. Raises InputError for what cannot be."""
    if config.likelihood == "bernoulli" and shape.channels != 1:
        raise InputError(
            f"likelihood 'bernoulli' is for grey pictures, model.channels is {shape.channels}: wanted 'logistic'"
        )
    classes = len(shape.classes) if config.conditional else 0
    if config.prior == "vamp" and config.pseudo < max(1, classes):
        raise InputError(f"model.pseudo is {config.pseudo}: wanted at least one for each of {max(1, classes)} classes")
    if min(config.latent, config.hidden) < 1 or not 0 <= config.warmup <= 1:
        raise InputError("model.latent and model.hidden must be at least 1, model.warmup between 0 and 1")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Vae(config, shape)
