"""A StyleGAN2-style maker: a mapping network, modulated convolutions, noise, truncation, style mixing. No critic."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spearhead.models.gan.blocks import Asked, bend, double
from spearhead.models.gan.config import channels, sizes

SETTLES = 0.995
"""Decay of the running mean of the styles."""
GAIN = math.sqrt(2)
"""Keeps the variance behind a leaky ReLU."""


class Modulated(nn.Module):
    """A convolution whose input channels are scaled by each picture's own style (arXiv 1912.04958, section 2.2).

    With `demodulate` the outputs keep unit variance whatever the style (equation 3). Scaling the input by the style and
    the output by the norm of the scaled weights is the same as scaling the weights, and takes one convolution for the
    whole batch.
    """

    def __init__(self, inner: int, outer: int, kernel: int, *, style: int, demodulate: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outer, inner, kernel, kernel) / math.sqrt(inner * kernel**2))
        self.style = nn.Linear(style, inner)
        nn.init.normal_(self.style.weight, std=1 / math.sqrt(style))
        nn.init.ones_(self.style.bias)
        self.demodulate = demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(n, inner, h, w) and styles (n, style) -> (n, outer, h, w)."""
        scale = self.style(w)  # (n, inner)
        y = F.conv2d(x * scale[:, :, None, None], self.weight, padding=self.weight.shape[-1] // 2)
        if self.demodulate:
            norms = scale.square() @ self.weight.square().sum((2, 3)).T  # (n, outer)
            y = y * torch.rsqrt(norms + 1e-8)[:, :, None, None]
        return y


class Layer(nn.Module):
    """Modulated convolution, noise of a learnt strength, bias, leaky ReLU. The noise is drawn anew while learning and
    fixed afterwards, so that a style is one picture."""

    def __init__(self, inner: int, outer: int, *, style: int, side: int) -> None:
        super().__init__()
        self.conv = Modulated(inner, outer, 3, style=style, demodulate=True)
        self.bias = nn.Parameter(torch.zeros(outer, 1, 1))
        self.strength = nn.Parameter(torch.zeros(()))
        self.noise: Tensor
        self.register_buffer("noise", torch.randn(1, 1, side, side))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y = self.conv(x, w)
        noise = self.noise
        if self.training:
            noise = torch.randn(len(y), 1, *y.shape[2:], device=y.device, dtype=y.dtype)
        return GAIN * bend(y + self.strength * noise + self.bias)


class Mapping(nn.Module):
    """Noise (n, d) and label (n,) -> style (n, d), the usual style plus a deviation.

    The direction of the noise gives the style, its length (over the root of d) how far the style lies from the mean
    one. So shorter noise is truncation: w = mean + psi (f(z) - mean), arXiv 1812.04948, appendix B; for standard normal
    noise psi is 1 to within a few per cent.
    """

    def __init__(self, noise: int, classes: int, layers: int) -> None:
        super().__init__()
        self.asked = Asked(noise, classes)
        widths = [self.asked.wide, *([noise] * layers)]
        self.layers = nn.ModuleList(
            nn.Linear(inner, outer) for inner, outer in zip(widths[:-1], widths[1:], strict=True)
        )
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(max(1, classes), noise))  # the mean style of each class

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        far = noise.square().mean(1, keepdim=True).add(1e-8).sqrt()  # (n, 1)
        x = self.asked(noise / far, label)
        for layer in self.layers:
            x = GAIN * bend(layer(x))
        which = label if self.asked.of_class is not None else torch.zeros_like(label)
        if self.training:
            self._settle(x.detach(), which)
        mean = self.mean[which]
        out: Tensor = mean + far * (x - mean)
        return out

    @torch.no_grad()
    def _settle(self, styles: Tensor, which: Tensor) -> None:
        """Move the mean of every class that is here towards its styles."""
        count = torch.zeros(len(self.mean), device=styles.device).index_add_(0, which, torch.ones_like(styles[:, 0]))
        summed = torch.zeros_like(self.mean).index_add_(0, which, styles)
        here = (summed / count.clamp(min=1)[:, None] - self.mean) * (count > 0)[:, None]
        # Not in place: the mean that was used stays as it was for the backward pass.
        self.mean = self.mean + (1 - SETTLES) * here


class StyleMaker(nn.Module):
    """A constant picture, at each size convolutions that a style modulates, and pixels summed over the sizes
    (arXiv 1912.04958, figure 7b)."""

    def __init__(
        self, *, noise: int, classes: int, size: int, colours: int, width: int, depth: int, mapping: int, mixing: float
    ) -> None:
        super().__init__()
        sides = sizes(size)
        widths = channels(width, len(sides))
        self.mapping = Mapping(noise, classes, mapping)
        self.start = nn.Parameter(torch.randn(widths[0], sides[0], sides[0]))
        self.mixing = mixing
        stages, out, before = [], [], widths[0]
        for side, each in zip(sides, widths, strict=True):
            inner = [before, *([each] * (depth - 1))]
            stages.append(nn.ModuleList(Layer(i, each, style=noise, side=side) for i in inner))
            out.append(Modulated(each, colours, 1, style=noise, demodulate=False))
            before = each
        self.stages, self.to_pixels = nn.ModuleList(stages), nn.ModuleList(out)
        self.bias = nn.Parameter(torch.zeros(colours, 1, 1))
        self.layers = len(sides) * depth

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        w = self.mapping(noise, label)  # (n, d)
        styles = w[:, None].expand(-1, self.layers, -1)  # (n, layers, d)
        if self.training and self.mixing:
            other = self.mapping(torch.randn_like(noise), label)
            crossed = torch.rand(len(w), 1, device=w.device) < self.mixing
            begins = torch.randint(1, self.layers, (len(w), 1), device=w.device) if self.layers > 1 else 1
            late = torch.arange(self.layers, device=w.device)[None] >= begins  # (n, layers)
            styles = torch.where((crossed & late)[:, :, None], other[:, None], styles)
        return self.draw(styles)

    def mixed(self, coarse: Tensor, fine: Tensor, label: Tensor, *, layer: Tensor) -> Tensor:
        """Pictures with the style of noise `coarse` before `layer` (n,), and of `fine` from there on."""
        first, second = self.mapping(coarse, label)[:, None], self.mapping(fine, label)[:, None]
        late = torch.arange(self.layers, device=coarse.device) >= layer[:, None]  # (n, layers)
        return self.draw(torch.where(late[:, :, None], second, first))

    def draw(self, styles: Tensor) -> Tensor:
        """Styles (n, layers, d), one for each convolution, -> pixels (n, c, h, w)."""
        x = self.start * torch.ones_like(styles[:, 0, :1])[:, :, None, None]  # a traced graph takes any number of them
        pixels: Tensor | None = None
        number = 0
        for stage, to_pixels in zip(self.stages, self.to_pixels, strict=True):
            if pixels is not None:
                x, pixels = double(x), double(pixels)
            for layer in stage:  # type: ignore[attr-defined]
                x = layer(x, styles[:, number])
                number += 1
            here: Tensor = to_pixels(x, styles[:, number - 1])
            pixels = here if pixels is None else pixels + here
        assert pixels is not None
        return pixels + self.bias
