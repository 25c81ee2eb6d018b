"""What maker and critic are told: adversarial losses and gradient penalties, plain functions of scores (n,)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Judge = Callable[[Tensor], Tensor]
"""Pictures (n, c, h, w) to scores (n,)."""


def critic_loss(kind: str, real: Tensor, made: Tensor) -> Tensor:
    """The critic's mean loss for scores of real and made pictures.

    `relativistic` compares each real picture with the made one beside it (arXiv 2501.05441, equation 2).
    """
    match kind:
        case "relativistic":
            return F.softplus(made - real).mean()
        case "wasserstein":
            return (made - real).mean()  # arXiv 1704.00028, equation 3 without the penalty
        case _:
            return (F.softplus(-real) + F.softplus(made)).mean()


def maker_loss(kind: str, real: Tensor, made: Tensor) -> Tensor:
    """The maker's; only `relativistic` looks at the scores of real pictures."""
    match kind:
        case "relativistic":
            return F.softplus(real - made).mean()
        case "wasserstein":
            return -made.mean()
        case _:
            return F.softplus(-made).mean()  # non-saturating


def squared_gradients(scores: Tensor, pictures: Tensor) -> Tensor:
    """(n,): for each picture the squared length of its score's gradient; differentiable once more.

    Its mean times gamma / 2 is R1 on real pictures and R2 on made ones (Mescheder et al., arXiv 1801.04406, equations
    9 and 10). `pictures` must be what `scores` were computed from and require gradients.
    """
    (gradient,) = torch.autograd.grad(scores.sum(), pictures, create_graph=True)
    return gradient.square().sum((1, 2, 3))


def lipschitz_penalty(judge: Judge, real: Tensor, made: Tensor) -> Tensor:
    """Mean of (|gradient| - 1)^2 at random points between each real picture and a made one.

    WGAN-GP, arXiv 1704.00028, equation 3, to be multiplied by lambda.
    """
    share = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
    between = (share * real + (1 - share) * made).requires_grad_(True)
    lengths = squared_gradients(judge(between), between).add(1e-12).sqrt()
    return (lengths - 1).square().mean()
