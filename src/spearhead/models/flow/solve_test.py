"""The solvers against flows that are known in closed form."""

import math

import pytest
import torch
from torch import Tensor

from spearhead.models.flow.solve import guided, solve

MEAN, DEVIATION = 0.4, 0.3


def gaussian(x: Tensor, time: float) -> Tensor:
    """The velocity from a standard normal to normal(MEAN, DEVIATION) on straight paths, each pair drawn apart."""
    variance = (1 - time) ** 2 + (time * DEVIATION) ** 2
    share = (time * DEVIATION**2 - (1 - time)) / variance  # cov(x1 - x0, x(t)) / var x(t)
    return MEAN + share * (x - time * MEAN)


def end(solver: str, steps: int) -> Tensor:
    noise = torch.linspace(-3, 3, 41, dtype=torch.float64)
    *_, (x, _) = solve(gaussian, noise, steps=steps, solver=solver)
    return x


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_the_error_falls_with_the_order_of_the_solver(solver: str, order: int) -> None:
    wanted = MEAN + DEVIATION * torch.linspace(-3, 3, 41, dtype=torch.float64)  # where the flow takes each noise
    errors = [float((end(solver, steps) - wanted).abs().max()) for steps in (64, 128, 256)]
    for before, after in zip(errors, errors[1:], strict=False):
        assert math.log2(before / after) == pytest.approx(order, abs=0.1)


def test_heun_asks_twice_a_step_but_for_the_last() -> None:
    asked: list[float] = []

    def velocity(x: Tensor, time: float) -> Tensor:
        asked.append(time)
        return torch.ones_like(x)

    for solver, times in (("euler", [0, 0.25, 0.5, 0.75]), ("heun", [0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75])):
        asked.clear()
        states = list(solve(velocity, torch.zeros(1), steps=4, solver=solver))
        assert asked == times
        assert [float(x) for x, _ in states] == [0.25, 0.5, 0.75, 1.0]
        assert [float(ahead) for _, ahead in states] == [1.0] * 4  # a straight path shows its end at once


def test_guidance_one_never_asks_for_no_class_and_more_leads_away_from_it() -> None:
    seen: list[list[int]] = []

    def field(x: Tensor, time: float, label: Tensor) -> Tensor:
        seen.append(label.tolist())
        return label.float().view(-1, 1) + 0 * x

    label, x = torch.tensor([0, 2]), torch.zeros(2, 1)
    assert guided(field, label, none=5, guidance=1.0)(x, 0.0).flatten().tolist() == [0, 2]
    assert seen == [[0, 2]]
    # no class gives 5: 5 + 2 * (0 - 5) and 5 + 2 * (2 - 5)
    assert guided(field, label, none=5, guidance=2.0)(x, 0.0).flatten().tolist() == [-5, -1]
    assert guided(field, label, none=5, guidance=0.0)(x, 0.0).flatten().tolist() == [5, 5]
    assert seen[1:] == [[0, 2, 5, 5]] * 2
