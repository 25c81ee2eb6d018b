"""Pictures changed a little so that a classifier errs: FGSM and PGD, plain functions of pixels. Knows no classifier.

`pixels` are (n, c, h, w) in [0, 1]. A `loss` takes such pixels and gives a number that grows as the classifier errs;
summed over the pictures, since a mean would only make the gradients smaller, of which nothing but signs is used. What
comes back lies no further than `size` from `pixels` in any value (the L-infinity ball), and in [0, 1]. Gradients of
parameters are neither made nor touched; whether layers like BatchNorm learn or judge meanwhile is the caller's choice.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from spearhead.core.errors import InputError

Loss = Callable[[Tensor], Tensor]
STRIDE = 2.5
"""All strides of `pgd` together, in sizes of the ball: far enough to cross it and to come back along its border."""


def fgsm(pixels: Tensor, loss: Loss, *, size: float) -> Tensor:
    """One step up the sign of the gradient (Goodfellow et al., arXiv 1412.6572, section 4)."""
    _must_be_a_size(size)
    return _climbed(pixels, loss, middle=pixels, stride=size, size=size)


def pgd(
    pixels: Tensor,
    loss: Loss,
    *,
    size: float,
    steps: int,
    stride: float = 0.0,
    rng: torch.Generator | None = None,
) -> Tensor:
    """Steps up the sign of the gradient, each put back into the ball (Madry et al., arXiv 1706.06083, section 2.1).

    Begins at a point of the ball drawn with `rng`, without one at the pictures. A `stride` of 0: 2.5 * size / steps.
    """
    _must_be_a_size(size)
    if steps < 1 or stride < 0:
        raise InputError(f"an attack of {steps} steps of {stride}: wanted at least one step, and none backwards")
    found = pixels
    if rng is not None:
        drawn = torch.rand(pixels.shape, generator=rng, dtype=pixels.dtype, device=pixels.device)
        found = _inside(pixels + (2 * drawn - 1) * size, middle=pixels, size=size)
    for _ in range(steps):
        found = _climbed(found, loss, middle=pixels, stride=stride or STRIDE * size / steps, size=size)
    return found


def _climbed(begin: Tensor, loss: Loss, *, middle: Tensor, stride: float, size: float) -> Tensor:
    with torch.enable_grad():
        x = begin.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(x), x)
    return _inside(begin.detach() + stride * gradient.sign(), middle=middle.detach(), size=size)


def _inside(pixels: Tensor, *, middle: Tensor, size: float) -> Tensor:
    return torch.clamp(pixels, min=(middle - size).clamp_(min=0), max=(middle + size).clamp_(max=1))


def _must_be_a_size(size: float) -> None:
    if not 0 <= size <= 1:
        raise InputError(f"the size of an attack is {size}: wanted 0 to 1, in units of the pixels")
