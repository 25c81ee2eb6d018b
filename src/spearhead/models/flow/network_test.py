"""What the network learns and gives, against what can be worked out."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spearhead.core.errors import InputError
from spearhead.models.flow.blocks import Conv, Dense, Waves, blend, unit
from spearhead.models.flow.config import Config
from spearhead.models.flow.conftest import NETWORKS
from spearhead.models.flow.network import Flow, build, times
from spearhead.models.flow.solve import guided, solve
from spearhead.models.pictures import Pictures, Shape

Made = Callable[..., Flow]


def loss(model: Flow, batch: Pictures) -> float:
    with torch.no_grad():
        ((name, value),) = model.losses(batch)
    assert name == "loss"
    return float(value)


class ToPoint(nn.Module):
    """The velocity from noise to one picture: whoever is at x at time t must go there in what time is left."""

    def __init__(self, point: Tensor) -> None:
        super().__init__()
        self.point = point

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        return (self.point - x) / (1 - time).view(-1, 1, 1, 1)


def test_the_closed_form_from_noise_to_a_point_has_no_loss_and_arrives() -> None:
    point = torch.rand(1, 3, 8, 8) * 2 - 1
    model = build(NETWORKS["unet"], Shape(8, 8, 3), steps=1, seed=0)
    model.velocity = ToPoint(point)
    for training in (True, False):
        model.train(training)
        assert loss(model, Pictures(point.repeat(64, 1, 1, 1), torch.zeros(64, dtype=torch.long))) < 1e-8
    noise = torch.randn(5, 3, 8, 8)
    *_, (x, _) = solve(lambda x, time: (point - x) / (1 - time), noise, steps=3, solver="euler")
    torch.testing.assert_close(x, point.expand_as(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "config",
    [
        Config(size=4, patch=1, width=16, levels=(1,), blocks=1, heads=2),
        Config(size=4, patch=2, network="dit", width=32, blocks=1, heads=2),
    ],
    ids=lambda config: config.network,
)
def test_a_network_that_sees_one_picture_learns_that_closed_form_and_draws_it(config: Config) -> None:
    torch.manual_seed(0)
    point = torch.where(torch.arange(4).view(1, 1, 1, 4) < 2, -0.8, 0.6).expand(1, 1, 4, 4)
    model = build(config, Shape(4, 4, 1), steps=1, seed=0).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    batch = Pictures(point.expand(48, 1, 4, 4), torch.zeros(48, dtype=torch.long))
    for step in range(120):
        ((_, value),) = model.losses(batch)
        optimiser.zero_grad()
        optimiser.param_groups[0]["lr"] = 1.5e-2 * (1 - step / 120)
        torch.autograd.backward(value)
        optimiser.step()
    model.eval()
    for time in (0.2, 0.5, 0.8):
        x, times = torch.lerp(torch.randn(64, 1, 4, 4), point, time), torch.full((64,), time)
        with torch.no_grad():
            found = model.velocity(x, times, torch.zeros(64, dtype=torch.long))
        wanted = ToPoint(point)(x, times, times)
        assert float((found - wanted).square().mean() / wanted.square().mean()) < 0.1

    def off(model: Flow) -> float:
        *_, drawn = model.sample(
            torch.zeros(16, dtype=torch.long), 16, rng=torch.Generator().manual_seed(0), options={"steps": 10}
        )
        return float((drawn - point).abs().mean())

    assert off(model) < 0.1 < 0.5 < off(build(config, Shape(4, 4, 1), steps=1, seed=0).eval())


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_parameter_learns_and_shapes_are_kept(made: Made, name: str) -> None:
    model = made(name).train()
    batch = Pictures(torch.rand(6, *_shape(model)) * 2 - 1, torch.tensor([0, 1, 2, 0, 1, 2]))
    ((_, value),) = model.losses(batch)
    torch.autograd.backward(value)
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())
    with torch.no_grad():
        assert model.velocity(batch.pixels, torch.rand(6), batch.labels).shape == batch.pixels.shape


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_fresh_network_begins_at_the_velocity_of_gaussian_pictures(name: str) -> None:
    config = NETWORKS[name]
    model = build(config, Shape(config.size, config.size, 3, ("a", "b")), steps=1, seed=0).eval()
    rng = torch.Generator().manual_seed(0)
    picture = 0.8 * torch.randn(500, *_shape(model), generator=rng)
    noise = torch.randn(picture.shape, generator=rng)
    for time in (0.0, 0.3, 0.8):
        x = torch.lerp(noise, picture, time)
        with torch.no_grad():
            found = model.velocity(x, torch.full((500,), time), torch.zeros(500, dtype=torch.long))
        # linear regression of picture - noise on x(t), by the sample itself
        slope = float((x * (picture - noise)).sum() / x.square().sum())
        torch.testing.assert_close(found, slope * x, atol=0.05, rtol=0)
        # what no velocity can know of Gaussian pictures: s^2 / ((1 - t)^2 + (t s)^2)
        left = float((picture - noise - found).square().mean())
        assert left == pytest.approx(0.64 / ((1 - time) ** 2 + time**2 * 0.64), rel=0.03)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_time_and_class_are_heard_and_a_row_depends_on_no_other(made: Made, name: str) -> None:
    model = made(name)
    x = torch.randn(1, *_shape(model)).repeat(4, 1, 1, 1)
    time, label = torch.tensor([0.2, 0.2, 0.7, 0.2]), torch.tensor([0, 1, 0, model.none])
    with torch.no_grad():
        found = model.velocity(x, time, label)
        alone = torch.cat([model.velocity(x[n : n + 1], time[n : n + 1], label[n : n + 1]) for n in range(4)])
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-4)
    for a, b in ((0, 1), (0, 2), (0, 3), (1, 3)):
        assert float((found[a] - found[b]).abs().max()) > 1e-3


def test_normalised_weights_learn_at_a_rate_of_their_own(made: Made) -> None:
    for name, rate in (("unet", 8.0), ("dit", 1.0)):
        model = made(name)
        (share,) = model.shares()["loss"]
        assert share.rate == rate and len(share.parameters) == len(list(model.parameters()))


def test_validation_loss_is_the_same_every_time_and_in_any_batches(made: Made) -> None:
    model = made("unet")
    batch = Pictures(torch.rand(10, 3, 8, 8) * 2 - 1, torch.arange(10) % 3)
    whole = loss(model, batch)
    torch.manual_seed(123)
    assert loss(model, batch) == whole
    order = torch.randperm(10)
    parts = [Pictures(batch.pixels[rows], batch.labels[rows]) for rows in (order[:3], order[3:])]
    assert sum(loss(model, part) * part.weight for part in parts) / 10 == pytest.approx(whole, rel=1e-5)
    model.train()
    assert loss(model, batch) != loss(model, batch)


def test_times_are_logit_normal_with_a_share_that_is_even() -> None:
    config = Config(size=8, width=16, heads=2, time_mean=0.0, time_deviation=1.0, time_uniform=0.25)
    found = times(200_000, config, rng=torch.Generator().manual_seed(0))
    # P(t < 0.1): a quarter of 0.1, three quarters of Phi(logit 0.1) = Phi(-2.19722) = 0.014003
    assert float((found < 0.1).float().mean()) == pytest.approx(0.25 * 0.1 + 0.75 * 0.014003, abs=0.001)
    assert float(found.mean()) == pytest.approx(0.5, abs=0.002)


def test_a_model_that_learns_at_easier_times_is_judged_at_the_same_ones() -> None:
    batch = Pictures(torch.rand(40, 3, 8, 8) * 2 - 1, torch.arange(40) % 2)
    easier: dict[str, Any] = {"time_mean": 3.0, "time_deviation": 0.1, "time_uniform": 0.0}
    judged = [
        loss(build(dataclasses.replace(NETWORKS["unet"], **more), Shape(8, 8, 3, ("a", "b")), steps=1, seed=0).eval(),
             batch)
        for more in ({}, easier)
    ]  # fmt: skip
    assert judged[0] == judged[1], "a search over these keys would find the easiest times, and nothing learnt"


def test_the_class_is_hidden_as_often_as_the_configuration_says() -> None:
    seen: list[Tensor] = []

    class Spy(nn.Module):
        def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
            seen.append(label)
            return x

    torch.manual_seed(0)
    model = build(NETWORKS["flat"], Shape(6, 6, 3, ("a", "b")), steps=1, seed=0)
    model.velocity = Spy()
    labels = torch.arange(20_000) % 2
    batch = Pictures(torch.zeros(20_000, 3, 6, 6), labels)
    loss(model.train(), batch)
    hidden = seen[0] == 2
    assert float(hidden.float().mean()) == pytest.approx(0.1, abs=0.007)
    assert torch.equal(seen[0][~hidden], labels[~hidden])
    loss(model.eval(), Pictures(batch.pixels[:50], labels[:50]))
    assert torch.equal(seen[1], labels[:50])


def test_the_same_seed_gives_the_same_weights_and_the_same_pictures(made: Made) -> None:
    torch.manual_seed(1)
    first = build(NETWORKS["unet"], Shape(8, 8, 3), steps=1, seed=5)
    torch.manual_seed(2)
    second = build(NETWORKS["unet"], Shape(8, 8, 3), steps=1, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))

    model, label = made("dit"), torch.tensor([0, 1, 2])

    def pictures(seed: int) -> Tensor:
        *_, last = model.sample(label, 3, rng=torch.Generator().manual_seed(seed), options={})
        return last

    assert torch.equal(pictures(3), pictures(3)) and not torch.equal(pictures(3), pictures(4))


def test_samples_are_the_solution_of_the_guided_velocity(made: Made) -> None:
    model, label = made("unet"), torch.tensor([2, 0])
    options = {"steps": 3, "solver": "euler", "guidance": 3.0}
    drafts = list(model.sample(label, 2, rng=torch.Generator().manual_seed(1), options=options))
    assert len(drafts) == 3
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for step in range(3):
            time = torch.full((2,), step / 3)
            free = model.velocity(x, time, torch.tensor([3, 3]))
            x = x + (free + 3 * (model.velocity(x, time, label) - free)) / 3
    torch.testing.assert_close(drafts[-1], x, atol=1e-4, rtol=1e-4)

    plain = guided(model._field, label, none=3, guidance=1.0)
    with torch.no_grad():
        assert torch.equal(plain(x, 0.5), model.velocity(x, torch.full((2,), 0.5), label))


@torch.no_grad()
def test_normalised_weights_keep_the_length_of_what_goes_through() -> None:
    torch.manual_seed(0)
    weight = unit(torch.randn(7, 5, 3, 3) * 4)
    torch.testing.assert_close(weight.flatten(1).norm(dim=1), torch.ones(7))
    assert float(Conv(16, 64, kernel=1)(torch.randn(8, 16, 20, 20)).square().mean()) == pytest.approx(1, abs=0.05)
    assert float(Dense(64, 256)(torch.randn(512, 64)).square().mean()) == pytest.approx(1, abs=0.05)
    assert float(Waves(512)(torch.rand(512)).square().mean()) == pytest.approx(1, abs=0.05)
    # E silu(z)^2 = 0.596^2 for z standard normal
    assert float(nn.functional.silu(torch.randn(400_000)).square().mean()) == pytest.approx(0.596**2, abs=0.002)
    keep, add = blend(0.3)
    assert keep**2 + add**2 == pytest.approx(1)
    assert add / keep == pytest.approx(3 / 7)


@pytest.mark.parametrize("layer", [Conv(4, 6, kernel=3, gain=1.7), Conv(4, 6, kernel=2, stride=2), Dense(4, 6)])
def test_folding_a_layer_changes_nothing_that_it_gives(layer: Conv | Dense) -> None:
    x = torch.randn(2, 4, 8, 8) if isinstance(layer, Conv) else torch.randn(2, 4)
    before = layer(x)
    layer.fold()
    torch.testing.assert_close(layer(x), before)
    assert math.isclose(float(layer.weight.detach().flatten(1).norm(dim=1).mean()), layer.gain, rel_tol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        Config(size=27),
        Config(size=20, levels=(1, 2, 4)),
        Config(width=66, levels=(1,)),
        Config(levels=()),
        Config(network="dit", patch=3, size=28),
        Config(network="dit", width=100, heads=8),
    ],
)
def test_a_size_that_the_network_cannot_make_is_refused(config: Config) -> None:
    with pytest.raises(InputError, match=r"model\.size"):
        build(config, Shape(config.size, config.size, 1), steps=1, seed=0)


def _shape(model: Flow) -> tuple[int, int, int]:
    return model.shape.channels, model.shape.height, model.shape.width
