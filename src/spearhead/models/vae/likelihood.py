"""How likely a model finds pictures: the importance-weighted bound. Knows no loop and no published number."""

import math

import torch
from torch import Tensor

from spearhead.core.errors import InputError
from spearhead.models.pictures import Pictures
from spearhead.models.vae.densities import log_mixture, log_normal
from spearhead.models.vae.network import Vae

AT_ONCE = 1000
"""Draws decoded at once: more would not fit a processor's cache."""


@torch.no_grad()
def likelihood(model: Vae, pictures: Pictures, *, samples: int, rng: torch.Generator) -> Tensor:
    """log p(x) of every picture in nats, (n,) float64: a lower bound that tightens with `samples`.

    Importance-weighted (arXiv 1509.00519, equation 8), summed in float64. Grey pictures are binarised once, by `rng`;
    black and white ones are taken as they are. `rng` must be of the model's device. Raises InputError when `samples`
    is below 1.
    """
    if samples < 1:
        raise InputError(f"samples is {samples}: wanted at least 1")
    was = model.training
    model.eval()
    try:
        x = model.observe(pictures.pixels, rng=rng)
        mixture = None if model.pseudo is None else model.components()
        rows = [_one(model, mixture, x[i], pictures.labels[i], samples=samples, rng=rng) for i in range(len(x))]
    finally:
        model.train(was)
    return torch.stack(rows)


def _one(
    model: Vae,
    mixture: tuple[Tensor, Tensor] | None,
    x: Tensor,
    label: Tensor,
    *,
    samples: int,
    rng: torch.Generator,
) -> Tensor:
    """The bound of one picture (c, h, w)."""
    d, layers = model.config.latent, model.body.layers
    seen = model.body.read(x[None], label[None])
    weights = []
    for start in range(0, samples, AT_ONCE):
        count = min(AT_ONCE, samples - start)
        labels = label.expand(count)
        noise = torch.randn(count, layers * d, generator=rng, device=x.device)
        drawn = model.body.infer(seen.repeated(count), labels, noise)
        top = drawn.z[:, :d].double()
        prior = log_mixture(top, labels, mixture, classes=model.classes)
        weight = prior - log_normal(top, seen.mean.double(), seen.logvar.double())
        if drawn.lower is not None:
            weight = weight - drawn.lower.double()
        weights.append(weight + model.score(x[None], model.body.decode(drawn.z, labels)).double())
    return torch.logsumexp(torch.cat(weights), 0) - math.log(samples)
