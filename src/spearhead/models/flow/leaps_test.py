"""Leaps: one step of Euler's that answers for a stretch of the way, against the way itself."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spearhead.models.flow.config import Config
from spearhead.models.flow.conftest import NETWORKS
from spearhead.models.flow.network import Flow, build
from spearhead.models.flow.solve import solve
from spearhead.models.pictures import Pictures, Shape

NOISE = torch.randn(200, 1, 4, 4, generator=torch.Generator().manual_seed(1))
NOBODY = torch.zeros(200, dtype=torch.long)


def learnt(steps: int) -> Flow:
    """A flow to pictures on one line, light left and dark right or the other way round, that also learnt leaps."""
    torch.manual_seed(0)
    config = Config(size=4, patch=1, width=16, levels=(1,), blocks=1, heads=2, label_dropout=0.0, leaps=0.5)
    model = build(config, Shape(4, 4, 1), steps=steps, seed=0).train()
    optimiser = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99))
    pattern = torch.where(torch.arange(4).view(1, 1, 1, 4) < 2, -0.3, 0.3).expand(1, 1, 4, 4)
    for step in range(steps):
        batch = Pictures(pattern * torch.randn(64, 1, 1, 1), torch.zeros(64, dtype=torch.long))
        ((_, value),) = model.losses(batch)
        optimiser.zero_grad()
        optimiser.param_groups[0]["lr"] = 1.5e-2 * (1 - step / steps)
        torch.autograd.backward(value)
        optimiser.step()
    return model.eval()


def test_a_model_that_leaps_is_in_two_steps_nearer_to_its_many_than_its_plain_velocity_is() -> None:
    model = learnt(200)

    def end(steps: int, solver: str, length: float) -> Tensor:
        with torch.no_grad():
            *_, (x, _) = solve(lambda x, t: model._field(x, t, NOBODY, length), NOISE, steps=steps, solver=solver)
        return x

    def drawn(steps: int, solver: str) -> Tensor:
        rng = torch.Generator().manual_seed(1)
        *_, x = model.sample(NOBODY, len(NOBODY), rng=rng, options={"steps": steps, "solver": solver})
        return x

    teacher = end(64, "heun", 0.0)
    torch.testing.assert_close(drawn(64, "heun"), teacher)
    for steps, share in ((1, 0.25), (2, 0.5)):
        leapt, plain = drawn(steps, "euler"), end(steps, "euler", 0.0)
        torch.testing.assert_close(leapt, end(steps, "euler", 1 / steps))
        assert float((leapt - teacher).square().mean()) < share * float((plain - teacher).square().mean())


def test_a_fresh_model_leaps_where_gaussian_pictures_flow() -> None:
    model = build(NETWORKS["leaps"], Shape(8, 8, 3, ("a", "b")), steps=1, seed=0).eval()
    noise = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    for steps in (1, 2, 5):
        rng = torch.Generator().manual_seed(2)
        *_, x = model.sample(torch.tensor([0, 1]), 2, rng=rng, options={"steps": steps})
        # noise of variance 1 becomes a picture of variance 0.8^2, however many leaps it takes
        torch.testing.assert_close(x, 0.8 * noise, atol=1e-5, rtol=1e-5)


def test_a_leap_of_no_length_is_the_velocity(made: Callable[..., Flow]) -> None:
    model = made("leaps")
    x, time, label = torch.randn(5, 3, 8, 8), torch.rand(5), torch.tensor([0, 1, 2, 3, 0])
    with torch.no_grad():
        none, zero = model.velocity(x, time, label), model.velocity(x, time, label, torch.zeros(5))
        long = model.velocity(x, time, label, 1 - time)
    torch.testing.assert_close(none, zero, atol=1e-5, rtol=1e-5)
    assert float((long - zero).abs().max()) > 0.01


def test_leaps_lie_within_the_way_and_are_as_many_as_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(NETWORKS["leaps"], Shape(8, 8, 3, ("a",)), steps=1, seed=0)
    seen: list[tuple[Tensor, Tensor]] = []

    def ask(x: Tensor, time: Tensor, label: Tensor, length: Tensor) -> Tensor:
        seen.append((time, length))
        return x

    monkeypatch.setattr(model, "_ask", ask)
    torch.manual_seed(0)
    batch = Pictures(torch.zeros(4000, 3, 8, 8), torch.zeros(4000, dtype=torch.long))
    next(iter(model.train().losses(batch)))
    (first, half), (second, same), (time, length) = seen  # its two halves are asked before the whole
    leaps = length > 0
    assert float(leaps.float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float((time + length).max()) <= 1 and float(length.max()) > 0.9
    torch.testing.assert_close(half, length[leaps] / 2)
    torch.testing.assert_close(same, half)
    torch.testing.assert_close(first, time[leaps])
    torch.testing.assert_close(second, first + half)
    seen.clear()
    next(iter(model.eval().losses(batch)))
    assert len(seen) == 1 and not seen[0][1].any()  # nobody leaps where models are compared
