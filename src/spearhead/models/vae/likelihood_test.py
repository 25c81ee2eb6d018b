"""The importance-weighted bound against the true likelihood, integrated on a grid."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from spearhead.core.errors import InputError
from spearhead.models.pictures import Pictures, Shape
from spearhead.models.vae.blocks import Head
from spearhead.models.vae.config import Config
from spearhead.models.vae.latent import Two
from spearhead.models.vae.likelihood import likelihood
from spearhead.models.vae.network import Vae, build

FLAT = Config(latent=1, hidden=8, pseudo=5)


def trained(config: Config, shape: Shape, lines: Pictures) -> Vae:
    model = build(config, shape, steps=30, seed=0)
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimiser.zero_grad()
        ((_, loss),) = model.losses(lines)
        torch.autograd.backward(loss)
        optimiser.step()
    with torch.no_grad():  # a posterior this wide misses no mode, so that the weights have no heavy tail
        for head in (part for part in model.modules() if isinstance(part, Head)):
            head.linear.weight[1:] = 0
            head.linear.bias[1:] = 1.0
    return model.eval()


def binary(lines: Pictures, count: int) -> Pictures:
    """Pictures in pure black and white: nothing is left to be drawn."""
    return Pictures(lines.pixels[:count].sign(), lines.labels[:count])


def integrated(model: Vae, pictures: Pictures, *, points: int) -> Tensor:
    """log p(x) as a sum over a fine grid of latent numbers, from the densities' definitions; (n,)."""
    axis = torch.linspace(-7, 7, points)
    layers = model.body.layers
    grid = torch.cartesian_prod(*[axis] * layers).reshape(-1, layers)  # (points ** layers, layers)
    out = []
    for x, label in zip((pictures.pixels + 1) / 2, pictures.labels, strict=True):
        labels = label.expand(len(grid))
        chances = torch.sigmoid(model.body.decode(grid, labels)).double()
        told = (x * chances + (1 - x) * (1 - chances)).log().flatten(1).sum(1)
        told = told + top_density(model, grid[:, :1], labels).log()
        if isinstance(model.body, Two):
            told = told + normal(grid[:, 1:], *model.body._below(grid[:, :1], labels))[:, 0].log()
        out.append(torch.logsumexp(told, 0) + layers * math.log(float(axis[1] - axis[0])))
    return torch.stack(out)


def normal(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """The density of N(mean, exp(logvar))."""
    variance = logvar.double().exp()
    return torch.exp(-((z - mean).double() ** 2) / (2 * variance)) / torch.sqrt(2 * math.pi * variance)


def top_density(model: Vae, z: Tensor, labels: Tensor) -> Tensor:
    if model.pseudo is None:
        return normal(z, torch.zeros(()), torch.zeros(()))[:, 0]
    mean, logvar = model.components()
    own = slice(int(labels[0]), None, model.classes)
    return normal(z, mean[own, 0], logvar[own, 0]).mean(1)


@pytest.mark.parametrize(
    "config",
    [FLAT, dataclasses.replace(FLAT, prior="vamp"), dataclasses.replace(FLAT, network="hierarchical", prior="vamp")],
    ids=lambda config: f"{config.network}-{config.prior}",
)
def test_many_samples_give_the_true_likelihood(config: Config, shape: Shape, lines: Pictures) -> None:
    model, few = trained(config, shape, lines), binary(lines, 4)
    with torch.no_grad():
        want = integrated(model, few, points=2001 if model.body.layers == 1 else 201)
    found = likelihood(model, few, samples=10_000, rng=torch.Generator().manual_seed(0))
    assert found.dtype == torch.float64 and found.shape == (4,)
    assert (found - want).abs().max() < 0.05


def test_the_bound_tightens_with_samples_and_one_sample_is_the_plain_bound(shape: Shape, lines: Pictures) -> None:
    model, few = trained(FLAT, shape, lines), binary(lines, 20)
    rng = torch.Generator().manual_seed(0)
    one, four, many = (
        float(torch.stack([likelihood(model, few, samples=samples, rng=rng).mean() for _ in range(rounds)]).mean())
        for samples, rounds in ((1, 60), (4, 60), (3000, 1))
    )
    assert one + 0.01 < four < many - 0.005
    with torch.no_grad():
        x = model.observe(few.pixels)
        rounds = [model.bound(x, few.labels, torch.randn(20, 1, generator=rng)) for _ in range(300)]
        plain = -torch.stack([(missed + apart).mean() for missed, apart in rounds]).mean()
    assert one == pytest.approx(float(plain), abs=0.15) and many - one > 0.3


def test_the_same_seed_gives_the_same_number_and_learning_goes_on(shape: Shape, lines: Pictures) -> None:
    model = build(FLAT, shape, steps=1, seed=0).train()
    first, second = (likelihood(model, lines, samples=3, rng=torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, second) and model.training


def test_no_sample_is_said(shape: Shape, lines: Pictures) -> None:
    with pytest.raises(InputError, match="samples is 0"):
        likelihood(build(FLAT, shape, steps=1, seed=0), lines, samples=0, rng=torch.Generator())
