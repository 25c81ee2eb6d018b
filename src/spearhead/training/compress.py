"""Passes that make a model smaller while it learns: rounded weights, thin matrices, fewer hidden units.

Quantisation-aware: the loss is that of the rounded weights, the step is the exact ones' (the straight-through estimate,
arXiv 1308.3432; for whole networks arXiv 1712.05877). Pruning: after each step the least weights, or the least hidden
units, are zero again, ever more of them by the cubic schedule of arXiv 1710.01878, equation 1. Nothing is remembered
between steps, so a run that goes on is bit for bit the run that was never broken off. Knows no family and no file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spearhead.core.errors import InputError
from spearhead.nn.model import Model
from spearhead.nn.weight_layouts import STRETCHES
from spearhead.training.plan import Plan

PRUNES, PRUNED = 0.2, 0.6
"""Shares of the run at which pruning begins and has reached its end: what is left learns on without the rest."""
ROUNDS = 0.5
"""Share of the run from which weights are rounded: before, they find their place."""
BLOCK = 32
"""Weights that share a scale, in every layout of ggml's that is trained for here."""

Unit = tuple[tuple[nn.Parameter, int], ...]


@dataclass(frozen=True, slots=True)
class Compression:
    """What of a model is made smaller, and how far."""

    matrices: tuple[nn.Parameter, ...]
    units: tuple[Unit, ...]
    layout: str
    share: float
    """Of weights or units that are zero in the end."""

    def settled(self, progress: float) -> bool:
        """Whether nothing is made smaller any more: weights from before are not the ones that were asked for."""
        return (not self.share or progress >= PRUNED) and (not self.layout or progress >= ROUNDS)

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

    @contextmanager
    def rounded(self, progress: float) -> Iterator[None]:
        """Have rounded weights in the model for a while, where it is time; gradients that are made go to the exact."""
        if not self.layout or progress < ROUNDS:
            yield
            return
        exact = [matrix.data for matrix in self.matrices]
        for matrix in self.matrices:
            matrix.data = rounding(matrix.data, layout=self.layout)
        try:
            yield
        finally:
            for matrix, data in zip(self.matrices, exact, strict=True):
                matrix.data = data

    @torch.no_grad()
    def finish(self) -> None:
        """Leave the model as it is to be released: pruned, and rounded for good."""
        self.prune(1.0)
        if self.layout:
            for matrix in self.matrices:
                matrix.copy_(rounding(matrix, layout=self.layout))


def of(model: Model, plan: Plan) -> Compression | None:
    """What the plan asks of this model; None: nothing. Raises InputError where the model cannot give it."""
    if not plan.round_to and not plan.prune:
        return None
    if not 0 <= plan.prune < 1:
        raise InputError(f"training.prune is {plan.prune:g}: wanted the share that goes, from 0 to below 1")
    matrices = tuple(model.matrices())
    if not matrices:
        raise InputError(
            "training.round_to and training.prune need a model whose matrices learn (gpt, or pretrained with method "
            "full): leave them out; release.layouts rounds any model after training"
        )
    if plan.round_to and (odd := [m for m in matrices if m.shape[-1] % BLOCK]):
        raise InputError(f"training.round_to: rows of {odd[0].shape[-1]} do not divide into blocks of {BLOCK}")
    units: tuple[Unit, ...] = ()
    if plan.prune and plan.prune_what == "units":
        units = tuple(model.units())
        if not units:
            raise InputError("training.prune_what is 'units', and this model names none: wanted 'weights'")
    return Compression(matrices, units, plan.round_to, plan.prune)


def rounding(values: Tensor, *, layout: str) -> Tensor:
    """`values` (..., width) as they are after they were written in `layout` (Q8_0 or Q4_0) and read back.

    Q4_0 tries the scales that `nn.weight_layouts` tries: what is trained under is what is written.
    """
    blocks = values.detach().float().reshape(-1, BLOCK)
    if layout == "Q8_0":
        scale = blocks.abs().amax(-1, keepdim=True) / 127
        codes = torch.where(scale == 0, 0.0, blocks / scale).round()
        return (codes * scale.half().float()).reshape(values.shape).to(values.dtype)
    place = blocks.abs().argmax(-1, keepdim=True)
    peak = blocks.gather(-1, place)
    safe = torch.where(peak == 0, 1.0, peak)
    gain, scale, chosen = torch.full_like(peak, -1), torch.zeros_like(peak), torch.zeros_like(blocks)
    for share in STRETCHES:
        codes = (blocks * (-8 * share / safe)).round_().clamp_(-8, 7)
        product = (blocks * codes).sum(-1, keepdim=True)
        square = codes.square().sum(-1, keepdim=True)
        ratio = product / torch.where(square == 0, 1.0, square)
        better = product * ratio > gain
        gain = torch.where(better, product * ratio, gain)
        scale = torch.where(better, ratio, scale)
        chosen = torch.where(better, codes, chosen)
    return (chosen * scale.half().float()).reshape(values.shape).to(values.dtype)


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
