"""The optimisers that a plan can name, and who of a model learns by which. Knows no schedule.

Muon (https://kellerjordan.github.io/posts/muon/) moves a matrix by the nearest half-orthogonal one to its momentum:
every direction learns equally fast. It is for matrices inside a network; embeddings, heads and vectors stay with AdamW.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from spearhead.core.errors import InputError
from spearhead.nn.model import Model, Share
from spearhead.training.plan import Plan

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd polynomial that pulls every singular value towards one."""
ROUNDS = 5
MOMENTUM = (0.85, 0.95, 300)
"""From, to, and over how many steps: a young momentum must not remember the first gradients for long."""

Made = Mapping[str, tuple[Optimizer, ...]]
"""The optimisers of each group of a model, by the names that its losses yield."""


def make(model: Model, plan: Plan) -> dict[str, tuple[Optimizer, ...]]:
    """The optimisers of each group of the model that has something to learn.

    Who learns how is what `model.shares()` says and else the plan. Weight decay is for matrices; vectors (norms,
    biases, scales) have none. Raises InputError when nothing learns or when shares and groups do not agree.
    """
    looked_up = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)}
    shares = model.shares()
    made = {}
    for name, parameters in model.groups().items():
        owned = list(shares[name])
        _must_cover(name, [p for share in owned for p in share.parameters], list(parameters))
        kinds: dict[str, list[dict[str, Any]]] = {}
        for share in owned:
            for kind, group in _groups(share, plan, looked_up):
                kinds.setdefault(kind, []).append(group)
        made[name] = tuple(_MAKE[kind](groups, plan) for kind, groups in kinds.items())
    if not any(each for each in made.values()):
        raise InputError("there is nothing to train: the model has no parameter that learns (method 'none'?)")
    return made


def set_rates(made: Iterable[Optimizer], factor: float) -> None:
    """Give every parameter group its own rate times the schedule's `factor`."""
    for optimiser in made:
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * factor


def parameters(made: Iterable[Optimizer]) -> list[nn.Parameter]:
    """All parameters that these optimisers move."""
    return [parameter for optimiser in made for group in optimiser.param_groups for parameter in group["params"]]


def named(made: Made) -> dict[str, Optimizer]:
    """Every optimiser by a name of its own, for the checkpoint."""
    return {f"{name}/{number}": one for name, each in made.items() for number, one in enumerate(each)}


def _must_cover(name: str, shared: list[nn.Parameter], grouped: list[nn.Parameter]) -> None:
    if len({id(p) for p in shared}) != len(shared) or {id(p) for p in shared} != {id(p) for p in grouped}:
        raise InputError(f"the shares of {name!r} must name each of the group's parameters once")


def _groups(share: Share, plan: Plan, looked_up: set[int]) -> Iterable[tuple[str, dict[str, Any]]]:
    """The parameter groups of one share, each with the optimiser it is for."""
    kind: str = share.optimiser or plan.optimiser
    decay = plan.weight_decay if share.weight_decay is None else share.weight_decay
    sets: dict[tuple[str, float], list[nn.Parameter]] = {}
    for p in share.parameters:
        # A row of an embedding is moved by the few tokens that name it: the matrix is no map to be orthogonalised.
        inside = kind == "muon" and p.ndim > 1 and id(p) not in looked_up
        own = "adamw" if kind == "muon" and not inside else kind
        sets.setdefault((own, decay if p.ndim > 1 else 0.0), []).append(p)
    for (own, wanted), chosen in sets.items():
        base = (plan.muon_rate if own == "muon" else plan.learning_rate) * share.rate
        group: dict[str, Any] = {"params": chosen, "lr": base, "base": base, "weight_decay": wanted}
        if own == "adamw":
            group["betas"] = share.betas or plan.betas
        elif own == "sgd":
            group["momentum"] = (share.betas or plan.betas)[0]
        yield own, group


class Muon(Optimizer):
    """Muon for matrices; what has more sides is taken as (first side, all others).

    Each update is scaled by sqrt(max(1, rows / columns)), so that a rate means the same for every shape.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float = 0.02, weight_decay: float = 0.0) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient; matrices of one shape are worked on together."""
        if closure is not None:
            raise ValueError("this optimiser takes no closure")
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    update = self._momentum(p)
                    alike.setdefault((update.shape[0], update.shape[1]), []).append((p, update))
            for (rows, columns), pairs in alike.items():
                turned = orthogonal(torch.stack([update for _, update in pairs]))
                rate = group["lr"] * math.sqrt(max(1.0, rows / columns))
                for (p, _), update in zip(pairs, turned, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update.view_as(p), alpha=-rate)

    def _momentum(self, p: nn.Parameter) -> Tensor:
        """The Nesterov momentum of p's gradient as a matrix."""
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["step"], state["momentum"] = torch.zeros(()), torch.zeros_like(p)
        first, last, over = MOMENTUM
        keep = first + (last - first) * min(float(state["step"]) / over, 1.0)
        state["step"] += 1
        kept: Tensor = state["momentum"].lerp_(p.grad, 1 - keep)
        return p.grad.lerp(kept, keep).flatten(1)


def orthogonal(x: Tensor) -> Tensor:
    """Matrices (count, rows, columns) with every singular value near one and the same singular vectors.

    Five Newton-Schulz rounds (Bernstein and Newhouse, arXiv 2409.20325, with Jordan's coefficients): singular values
    end between about 0.7 and 1.2, which is enough. In bfloat16 on a card, where it is fast.
    """
    a, b, c = NEWTON_SCHULZ
    tall = x.shape[1] > x.shape[2]
    y = (x.mT if tall else x).contiguous()
    y = y.bfloat16() if y.is_cuda else y
    y = y / (y.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        square = y @ y.mT
        y = torch.baddbmm(y, torch.baddbmm(square, square, square, beta=b, alpha=c), y, beta=a)
    return (y.mT if tall else y).to(x.dtype)


def _adamw(groups: list[dict[str, Any]], plan: Plan) -> Optimizer:
    return AdamW(groups, lr=plan.learning_rate, betas=plan.betas, fused=True)


def _sgd(groups: list[dict[str, Any]], plan: Plan) -> Optimizer:
    return SGD(groups, lr=plan.learning_rate)


def _muon(groups: list[dict[str, Any]], plan: Plan) -> Optimizer:
    return Muon(groups, lr=plan.muon_rate)


_MAKE = {"adamw": _adamw, "sgd": _sgd, "muon": _muon}
