"""The bound against values worked by hand, densities that sum to one, samples of the class that was asked for."""

import dataclasses
import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from spearhead.core.errors import InputError
from spearhead.models.pictures import Pictures, Shape
from spearhead.models.vae import FAMILY
from spearhead.models.vae.config import Config
from spearhead.models.vae.densities import divergence, log_logistic, log_mixture, log_normal
from spearhead.models.vae.latent import One
from spearhead.models.vae.network import Vae, build

NETWORKS: tuple[tuple[Literal["mlp", "conv", "hierarchical"], int], ...] = (
    ("mlp", 12),
    ("conv", 5),
    ("hierarchical", 12),
)
PRIORS: tuple[Literal["gaussian", "vamp"], ...] = ("gaussian", "vamp")
SMALL = Config(latent=3, hidden=12, pseudo=7, warmup=0.0)
KINDS = [
    Config(network=network, prior=prior, hidden=hidden, latent=3, pseudo=7, warmup=0.0)
    for network, hidden in NETWORKS
    for prior in PRIORS
]


def loss(model: Vae, batch: Pictures) -> Tensor:
    ((_, found),) = model.losses(batch)
    return found


def name(config: Config) -> str:
    return f"{config.network}-{config.prior}"


def test_the_bound_of_a_model_that_knows_nothing_is_the_one_worked_by_hand(shape: Shape, lines: Pictures) -> None:
    model = build(SMALL, shape, steps=1, seed=0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        assert isinstance(model.body, One)
        model.body.head.linear.bias.copy_(torch.tensor([1.0, 0, 0, 0, 0, math.log(4)]))
    # Every pixel is a fair coin. q = N((1, 0, 0), diag(1, 1, 4)): KL = (1 + 1 + 1 + 4 - 3 - log 4) / 2.
    want = 30 * math.log(2) + (4 - math.log(4)) / 2
    assert loss(model, lines).item() == pytest.approx(want, rel=1e-6)


def test_a_divergence_is_torchs() -> None:
    rng = torch.Generator().manual_seed(1)
    a, b, c, d = (torch.randn(5, 3, generator=rng) for _ in range(4))
    normal = torch.distributions.Normal
    one, other = normal(a, (b / 2).exp()), normal(c, (d / 2).exp())
    assert torch.allclose(divergence(a, b, c, d), torch.distributions.kl_divergence(one, other).sum(1), atol=1e-5)
    assert torch.allclose(log_normal(c, a, b), one.log_prob(c).sum(1), atol=1e-5)  # type: ignore[no-untyped-call]


def test_the_vamp_prior_is_the_mixture_of_its_classs_components(shape: Shape) -> None:
    model = build(dataclasses.replace(SMALL, prior="vamp"), shape, steps=1, seed=0)
    mean, logvar = model.components()
    z, labels = torch.randn(9, 3), torch.arange(9) % 2
    found = model.log_prior(z, labels)
    for row, label in enumerate(labels.tolist()):
        own = torch.distributions.Independent(
            torch.distributions.Normal(mean[label::2], (logvar[label::2] / 2).exp()), 1
        )
        mixture = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(torch.ones(len(mean[label::2]))), own
        )
        want = mixture.log_prob(z[row])  # type: ignore[no-untyped-call]
        assert found[row].item() == pytest.approx(want.item(), abs=1e-4)


def test_the_mixture_of_narrow_components_is_exact_in_half_precision_too() -> None:
    rng = torch.Generator().manual_seed(0)
    mean, logvar = torch.randn(20, 40, generator=rng), torch.full((20, 40), -5.0)
    top = mean[:9] + math.exp(-2.5) * torch.randn(9, 40, generator=rng)  # each near a component of its own
    wanted = log_normal(top.double(), mean[:9].double(), logvar[:9].double()) - math.log(20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = log_mixture(top, torch.zeros(9, dtype=torch.long), (mean, logvar), classes=0)
    assert float((found - wanted).abs().max()) < 0.05


def test_a_draw_of_the_vamp_prior_takes_every_component_of_its_class_alike(shape: Shape) -> None:
    model = build(dataclasses.replace(SMALL, prior="vamp"), shape, steps=1, seed=0)
    means = torch.arange(7.0)[:, None].expand(7, 3)
    noise = torch.randn(8000, model.noise, generator=torch.Generator().manual_seed(2))
    for truncation in (1.0, 0.3, 2.0):  # how far a draw may lie from the middle of its component, not which one it is
        for label, own in ((0, [0, 2, 4, 6]), (1, [1, 3, 5])):
            labels = torch.full((8000,), label)
            top, _ = model._top(noise * truncation, labels, (means, torch.full((7, 3), -20.0)))
            counts = torch.bincount(top[:, 0].round().long(), minlength=7)
            assert counts.nonzero().flatten().tolist() == own
            assert (counts[own] / 8000 - 1 / len(own)).abs().max() < 0.02
    ends = torch.tensor([[-1e-30, -1.0], [0.0, -1.0], [0.0, 0.0]])
    assert model._choice(ends, torch.tensor([0, 0, 0])).tolist() == [0, 6, 4]


@pytest.mark.parametrize("scale", [-6.0, -3.0, 0.0])
def test_the_levels_of_a_rounded_logistic_sum_to_one(scale: float) -> None:
    levels = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    for mean in (-1.0, 0.1, 0.97):
        found = log_logistic(levels, torch.tensor(mean), torch.tensor(scale, dtype=torch.float64))
        assert float(found.exp().sum()) == pytest.approx(1, abs=1e-9)
    middle = torch.tensor(3 / 255, dtype=torch.float64)  # the level from 2/255 to 4/255
    wide = log_logistic(middle, torch.tensor(0.0), torch.tensor(scale, dtype=torch.float64))
    cdf = [1 / (1 + math.exp(-edge / math.exp(scale))) for edge in (4 / 255, 2 / 255)]
    assert float(wide.exp()) == pytest.approx(cdf[0] - cdf[1], rel=1e-6)


@pytest.mark.parametrize("likelihood", ["bernoulli", "logistic"])
def test_pixels_are_summed_up_in_whole_precision(likelihood: Literal["bernoulli", "logistic"]) -> None:
    model = build(dataclasses.replace(SMALL, likelihood=likelihood), Shape(28, 28, 1), steps=1, seed=0)
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(0, 2, (50, 1, 28, 28), generator=rng).float()
    out = torch.randn(x.shape, generator=rng).bfloat16()
    with torch.no_grad():
        found, wanted = model.score(x, out), model.score(x.double(), out.double())
    assert float((found - wanted).abs().max()) < 0.01, "what a decoder gives in bfloat16 says one thing"


@pytest.mark.parametrize("config", KINDS, ids=name)
def test_in_half_precision_only_products_of_matrices_are(config: Config, shape: Shape, lines: Pictures) -> None:
    model = build(config, shape, steps=1, seed=0).eval()
    noise = torch.randn(20, config.latent * model.body.layers, generator=torch.Generator().manual_seed(0))
    x, labels = (lines.pixels[:20] > 0).float(), lines.labels[:20]
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = model.bound(x, labels, noise)
    with torch.no_grad():
        wanted = model.bound(x, labels, noise)
    assert all(value.dtype == torch.float32 for value in found)
    assert float((found[1] - wanted[1]).abs().max()) < 0.3


def test_pixels_are_drawn_anew_with_the_chance_of_their_grey(shape: Shape) -> None:
    model = build(SMALL, shape, steps=1, seed=0)
    grey = torch.full((4000, 1, 1, 1), 0.4)
    rng = torch.Generator().manual_seed(3)
    first, second = model.observe(grey, rng=rng), model.observe(grey, rng=rng)
    assert set(first.flatten().tolist()) == {0.0, 1.0} and not torch.equal(first, second)
    assert float(first.mean()) == pytest.approx(0.7, abs=0.03)
    ends = torch.tensor([-1.0, 1.0]).repeat(500)
    assert torch.equal(model.observe(ends, rng=rng), (ends + 1) / 2), "black stays black, white stays white"


@pytest.mark.parametrize("config", KINDS, ids=name)
def test_every_kind_learns(config: Config, shape: Shape, lines: Pictures) -> None:
    model = build(config, shape, steps=120, seed=0)
    model.eval()
    before = loss(model, lines).item()
    model.train()
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(120):
        optimiser.zero_grad()
        torch.autograd.backward(loss(model, lines))
        optimiser.step()
    model.eval()
    after = loss(model, lines).item()
    # Grey of .95 and .05 alone costs 30 * H(.05) = 5.96 nats, and which of 5 or 6 lines at least 1.6 more.
    assert 7.5 < after < 0.6 * before
    assert after < 14.5, "better than a coin for every pixel (20.8), and than the pixels' means (14.7)"


def test_a_class_makes_its_own_pictures(shape: Shape, lines: Pictures) -> None:
    model = build(dataclasses.replace(SMALL, prior="vamp"), shape, steps=300, seed=0)
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(300):
        optimiser.zero_grad()
        torch.autograd.backward(loss(model, lines))
        optimiser.step()
    model.eval()
    with torch.no_grad():
        labels = torch.arange(100) % 2
        (made,) = model.sample(labels, 100, rng=torch.Generator().manual_seed(0), options={})
    upright = made.mean(2).flatten(1).amax(1) > made.mean(3).flatten(1).amax(1)
    assert made.shape == (100, 1, 6, 5) and made.abs().max() <= 1
    assert float((upright == (labels == 0)).float().mean()) > 0.9


@pytest.mark.parametrize("config", KINDS, ids=name)
def test_the_same_seed_makes_the_same_model_and_the_same_pictures(config: Config, shape: Shape) -> None:
    def made(seed: int) -> Tensor:
        model = build(config, shape, steps=1, seed=seed).eval()
        with torch.no_grad():
            (drawn,) = model.sample(torch.tensor([0, 1, 1]), 3, rng=torch.Generator().manual_seed(5), options={})
        return drawn

    assert torch.equal(made(0), made(0)) and not torch.equal(made(0), made(1))


def test_the_divergence_warms_up_over_the_run_and_is_whole_when_judged(shape: Shape, lines: Pictures) -> None:
    model = build(dataclasses.replace(SMALL, warmup=0.5), shape, steps=8, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        assert isinstance(model.body, One)
        model.body.head.linear.bias[0] = 2.0
        coins, seen = 30 * math.log(2), []
        for progress in (0.0, 0.125, 0.25, 0.5, 1.0):
            model.progress = progress
            seen.append(float(loss(model, lines)) - coins)
        assert seen == pytest.approx([0.0, 0.5, 1.0, 2.0, 2.0], abs=1e-4)
        assert float(loss(build(SMALL, shape, steps=8, seed=0).eval(), lines)) == pytest.approx(
            float(loss(build(dataclasses.replace(SMALL, warmup=0.5), shape, steps=8, seed=0).eval(), lines))
        )


def test_colour_has_its_own_likelihood_and_learns() -> None:
    config = Config(network="conv", likelihood="logistic", latent=3, hidden=8, warmup=0.0, size=9, channels=3)
    model = build(config, Shape(9, 9, 3), steps=60, seed=0)
    colours = torch.rand(64, 3, 1, 1, generator=torch.Generator().manual_seed(0)).mul(255).round() / 127.5 - 1
    batch = Pictures(colours.expand(64, 3, 9, 9).contiguous(), torch.zeros(64, dtype=torch.long))
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    seen = []
    for _ in range(60):
        optimiser.zero_grad()
        found = loss(model, batch)
        torch.autograd.backward(found)
        optimiser.step()
        seen.append(float(found.detach()) / (243 * math.log(2)))
    assert seen[-1] < 6.5 < seen[0], "bits per channel; 8 without any knowledge"
    with torch.no_grad():
        (made,) = model.sample(torch.zeros(2, dtype=torch.long), 2, rng=torch.Generator().manual_seed(0), options={})
    assert made.shape == (2, 3, 9, 9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"channels": 3}, "likelihood 'bernoulli' is for grey"),
        ({"prior": "vamp", "pseudo": 1}, "at least one for each of 2 classes"),
        ({"latent": 0}, "model.latent"),
        ({"warmup": 1.5}, "model.warmup"),
    ],
)
def test_a_configuration_that_cannot_be_is_said(change: dict[str, object], said: str) -> None:
    config = dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=said):
        build(config, Shape(6, 5, config.channels, ("a", "b")), steps=1, seed=0)


@pytest.mark.parametrize("preset", list(FAMILY.presets))
def test_every_preset_builds_and_gives_a_finite_bound(preset: str) -> None:
    config = FAMILY.presets[preset]
    model = build(config, Shape(config.size, config.size, config.channels, ("a", "b")), steps=1, seed=0).eval()
    pixels = torch.zeros(2, config.channels, config.size, config.size)
    with torch.no_grad():
        assert math.isfinite(float(loss(model, Pictures(pixels, torch.tensor([0, 1])))))
