"""What makes a model smaller while it learns: thin matrices, fewer hidden units. Knows no family and no file.

After each step the least weights, or the least hidden units, are zero again, ever more of them by the cubic schedule of
arXiv 1710.01878, equation 1. Nothing is remembered between steps, so a run that goes on is bit for bit the run that was
never broken off. Fewer bits are learnt after a run: see `tuning`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spearhead.core.errors import InputError
from spearhead.nn.model import Model
from spearhead.training.plan import Plan

PRUNES, PRUNED = 0.2, 0.6
"""Shares of the run at which pruning begins and has reached its end: what is left learns on without the rest."""
BLOCK = 32
"""Weights that share a scale, in every layout of ggml's that is written here."""

Unit = tuple[tuple[nn.Parameter, int], ...]


@dataclass(frozen=True, slots=True)
class Compression:
    """What of a model is made smaller, and how far."""

    matrices: tuple[nn.Parameter, ...]
    units: tuple[Unit, ...]
    share: float
    """Of weights or units that are zero in the end."""

    def settled(self, progress: float) -> bool:
        """Whether nothing is made smaller any more: weights from before are not the ones that were asked for."""
        return progress >= PRUNED

    @torch.no_grad()
    def prune(self, progress: float) -> None:
        """Make the least of the weights, or of the units, zero, as many as there should be by now."""
        share = self.share * _grown(progress)
        if not share:
            return
        if not self.units:
            for matrix in self.matrices:
                gone = int(share * matrix.numel())
                if gone:
                    size = matrix.abs()
                    matrix.masked_fill_(size <= size.flatten().kthvalue(gone).values, 0.0)
            return
        for unit in self.units:
            # What goes through a unit is a product over its matrices, so its size is the product of their lengths.
            size = torch.stack([_length(matrix, axis) for matrix, axis in unit]).log().sum(0)
            gone = len(size) - _left(len(size), share)
            if gone:
                least = size.topk(gone, largest=False).indices
                for matrix, axis in unit:
                    matrix.index_fill_(axis, least, 0.0)


def of(model: Model, plan: Plan) -> Compression | None:
    """What the plan asks of this model; None: nothing. Raises InputError where the model cannot give it."""
    if not plan.prune:
        return None
    if not 0 <= plan.prune < 1:
        raise InputError(f"training.prune is {plan.prune:g}: wanted the share that goes, from 0 to below 1")
    matrices = tuple(model.matrices())
    if not matrices:
        raise InputError(
            "training.prune needs a model whose matrices learn (gpt, or pretrained with method full): leave it out; "
            "release.layouts rounds any model after training"
        )
    units: tuple[Unit, ...] = ()
    if plan.prune_what == "units":
        units = tuple(model.units())
        if not units:
            raise InputError("training.prune_what is 'units', and this model names none: wanted 'weights'")
    return Compression(matrices, units, plan.prune)


def _grown(progress: float) -> float:
    """The share of what is to go that is gone: 1 - (1 - t)^3."""
    t = min(max((progress - PRUNES) / (PRUNED - PRUNES), 0.0), 1.0)
    return 1 - (1 - t) ** 3


def _left(count: int, share: float) -> int:
    """How many units stay: whole blocks of them, so that the smaller matrix can be written in every layout."""
    if count <= BLOCK:
        return max(1, round(count * (1 - share)))
    return max(BLOCK, round(count * (1 - share) / BLOCK) * BLOCK)


def _length(matrix: Tensor, axis: int) -> Tensor:
    """Of each slice of a matrix along `axis`."""
    found: Tensor = torch.linalg.vector_norm(matrix, dim=1 - axis)
    return found
