"""The losses and penalties are those of the papers, worked by hand."""

import math

import pytest
import torch
from torch import Tensor

from spearhead.models.gan.objectives import critic_loss, lipschitz_penalty, maker_loss, squared_gradients


def test_r1_equals_the_gradient_worked_by_hand() -> None:
    weight = torch.tensor([[3.0, 4.0], [0.0, 12.0]], requires_grad=True)
    pictures = torch.randn(5, 1, 2, 2, requires_grad=True)
    # score = half of the sum of weight * x^2, so its gradient is weight * x
    found = squared_gradients(0.5 * (weight * pictures.square()).sum((1, 2, 3)), pictures)
    assert torch.allclose(found, (weight * pictures).square().sum((1, 2, 3)))
    found.sum().backward()  # type: ignore[no-untyped-call]  # and the critic learns from it: d/dw of (w x)^2 is 2 w x^2
    assert weight.grad is not None
    assert torch.allclose(weight.grad, (2 * weight * pictures.square()).sum((0, 1)).detach())


def test_r1_of_a_linear_critic_is_the_squared_length_of_its_weights() -> None:
    weight = torch.tensor([3.0, 4.0, 0.0, 12.0])
    pictures = torch.randn(6, 1, 2, 2, requires_grad=True)
    assert torch.allclose(squared_gradients(pictures.flatten(1) @ weight, pictures), torch.full((6,), 169.0))


@pytest.mark.parametrize("length", [0.25, 1.0, 7.0])
def test_the_wasserstein_penalty_of_a_linear_critic_is_its_closed_form(length: float) -> None:
    weight = torch.nn.functional.normalize(torch.randn(12), dim=0) * length

    def judge(pictures: Tensor) -> Tensor:
        return pictures.flatten(1) @ weight

    found = lipschitz_penalty(judge, torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2))
    assert float(found) == pytest.approx((length - 1) ** 2, abs=1e-5)


def test_the_wasserstein_penalty_looks_between_real_and_made() -> None:
    seen: list[Tensor] = []

    def judge(pictures: Tensor) -> Tensor:
        seen.append(pictures.detach())
        return pictures.sum((1, 2, 3))

    lipschitz_penalty(judge, torch.zeros(64, 1, 2, 2), torch.ones(64, 1, 2, 2))
    values = seen[0].flatten(1)
    assert torch.equal(values, values[:, :1].expand(-1, 4)), "one share for a whole picture"
    assert 0 <= float(values.min()) < 0.2 and 0.8 < float(values.max()) <= 1


def test_the_losses_are_those_of_the_papers() -> None:
    real, made = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.0])

    def softplus(x: float) -> float:
        return math.log1p(math.exp(x))

    expected = {
        "vanilla": (
            (softplus(-2) + softplus(0.5) + softplus(1) + softplus(1)) / 2,
            (softplus(-0.5) + softplus(-1)) / 2,
        ),
        "wasserstein": ((0.5 - 2 + 1 + 1) / 2, -0.75),
        "relativistic": ((softplus(0.5 - 2) + softplus(1 + 1)) / 2, (softplus(2 - 0.5) + softplus(-1 - 1)) / 2),
    }
    for kind, (critic, maker) in expected.items():
        assert float(critic_loss(kind, real, made)) == pytest.approx(critic, rel=1e-6)
        assert float(maker_loss(kind, real, made)) == pytest.approx(maker, rel=1e-6)
