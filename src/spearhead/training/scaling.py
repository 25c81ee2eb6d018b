"""Loss scaling: float16 knows no number below 6e-8, so gradients are taken of a multiple of the loss.

After Micikevicius et al. 2018, "Mixed precision training" (arXiv 1710.03740, section 3.2), with the factor found while
training: halved at an overflow, whose step is left out, and doubled after many steps without one. Factors are powers of
two, so that scaling itself rounds nothing. Knows no loop.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FIRST = 2.0**16
MOST = 2.0**24
LEAST = 2.0**-8
"""Below, it is not the scale that makes gradients overflow."""
PATIENCE = 2000
"""Steps without an overflow after which the factor is doubled."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What the loss is multiplied with; `steady` counts the steps since that was changed."""

    factor: float = 1.0
    steady: int = 0


def begin(kind: torch.dtype) -> Scale:
    """The scale of a run that computes in `kind`; only float16 wants one."""
    return Scale(FIRST) if kind == torch.float16 else Scale()


def after(scale: Scale, *, overflowed: bool) -> Scale:
    """The scale of the next step."""
    if overflowed:
        return Scale(scale.factor / 2)
    if scale.steady + 1 >= PATIENCE:
        return Scale(min(MOST, scale.factor * 2))
    return Scale(scale.factor, scale.steady + 1)


@torch.no_grad()
def undo(scale: Scale, parameters: Sequence[Tensor]) -> None:
    """Divide the gradients of `parameters` by the factor, in place."""
    grads = [p.grad for p in parameters if p.grad is not None]
    if scale.factor != 1.0 and grads:
        torch._foreach_mul_(grads, 1 / scale.factor)


@torch.no_grad()
def clear(parameters: Sequence[Tensor]) -> None:
    """Make the gradients of `parameters` zero: a model that looks at them after a step (AdaLoRA) learns no infinity."""
    grads = [p.grad for p in parameters if p.grad is not None]
    if grads:
        torch._foreach_zero_(grads)
