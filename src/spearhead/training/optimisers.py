"""The optimisers that a plan can name, one for each group of a model. Knows no schedule."""

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from spearhead.core.errors import InputError
from spearhead.nn.model import Model
from spearhead.training.plan import Plan


def make(model: Model, plan: Plan) -> dict[str, Optimizer]:
    """One optimiser for each group of the model that has something to learn.

    Weight decay is for matrices; vectors (norms, biases, scales) have none.
    """
    made = {name: _one(list(parameters), plan) for name, parameters in model.groups().items()}
    if not any(group["params"] for optimiser in made.values() for group in optimiser.param_groups):
        raise InputError("there is nothing to train: the model has no parameter that learns (method 'none'?)")
    return made


def _one(parameters: Iterable[nn.Parameter], plan: Plan) -> Optimizer:
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for parameter in parameters:
        (matrices if parameter.ndim > 1 else vectors).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": plan.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if plan.optimiser == "sgd":
        return SGD(groups, lr=plan.learning_rate, momentum=plan.betas[0])
    return AdamW(groups, lr=plan.learning_rate, betas=plan.betas, fused=True)
