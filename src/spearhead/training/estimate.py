"""How long a run will take, what memory and what money, from a few measured micro-batches before it starts."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from spearhead.nn.model import Model
from spearhead.training import devices
from spearhead.training.batches import Batches
from spearhead.training.loop import autocast
from spearhead.training.plan import Plan

OPTIMISER_COPIES = {"adamw": 2, "muon": 2, "sgd": 1}
"""Numbers that an optimiser keeps for each learning parameter."""
MOST_TURNS = 100
"""Micro-batches in which every group of a model must have had its turn."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A forecast; `cost` is in billionths of the currency of the hourly price."""

    steps: int
    seconds: float
    """Of the steps and of their validations."""
    memory: int
    """Bytes for weights, gradients, optimiser, the best weights kept, and activations as seen."""
    units_per_second: float
    cost: int
    learning: int
    """Parameters that learn."""
    parameters: int


def estimate(
    model: Model, batches: Batches[Any], plan: Plan, *, validation: Sequence[Any] = (), hour: int = 0
) -> Estimate:
    """Measure two micro-batches of the first step, forward and backward; change neither weights nor random state.

    An example that is longer than any micro-batch of that step is measured too: memory is that of the largest.

    They are computed in the precision of the run.
    Of `validation`, the micro-batches that are validated on, one is measured, forward alone.
    A model of several groups is measured until each had its turn: both of a GAN's losses are in its forecast, the
    maker's for as many of the critic's as it waits for. `hour` is what an hour of this machine costs, in billionths.
    """
    micros = batches.at(0)
    measured = [micros[0], micros[-1]]  # the longest first: it also warms the caches
    if (alone := batches.longest).units > max(micro.units for micro in micros):
        measured.insert(0, alone)  # it comes later, and what it takes must be there
    device = next(model.parameters()).device
    kind = devices.precision(plan.precision, device)
    before = _resident()
    seconds = [_measured(model, micro, within=autocast(device, kind)) for micro in measured][-1]
    working = max(0, _resident() - before)
    speed = measured[-1].units / seconds
    step_seconds = sum(micro.units for micro in micros) / speed
    whole = plan.steps * step_seconds
    limit = plan.minutes * 60
    whole, steps = (limit, int(limit / step_seconds)) if 0 < limit < whole else (whole, plan.steps)
    whole += _validations(plan, max(1, steps)) * _validating(model, validation, within=autocast(device, kind))
    learn = sum(p.numel() for p in model.parameters() if p.requires_grad)
    held = sum(p.numel() * p.element_size() for p in model.parameters())
    memory = held + learn * 4 * (2 + OPTIMISER_COPIES[plan.optimiser] + bool(plan.average)) + working
    return Estimate(
        steps=max(1, steps),
        seconds=whole,
        memory=memory,
        units_per_second=speed,
        cost=round(whole * hour / 3600),
        learning=learn,
        parameters=sum(p.numel() for p in model.parameters()),
    )


def _validations(plan: Plan, steps: int) -> int:
    """How often a run of so many steps validates: every so many, and at its end."""
    return -(-steps // plan.validate_every) if plan.validate_every else 1


@torch.no_grad()
def _validating(model: Model, validation: Sequence[Any], *, within: AbstractContextManager[Any]) -> float:
    """Seconds of one validation, from one of its micro-batches."""
    if not validation:
        return 0.0
    micro = validation[len(validation) // 2]
    with _unchanged(model):
        model.eval()
        began = time.perf_counter()
        with within:
            next(iter(model.losses(micro)))
        seconds = time.perf_counter() - began
    return float(seconds / micro.units * sum(one.units for one in validation))


def _measured(model: Model, micro: Any, *, within: AbstractContextManager[Any]) -> float:
    """Seconds of a micro-batch, forward and backward, in the mean over as many as let every group have its turn.

    Not resumed after the last group's loss: what follows a step (AdaLoRA's move of rank) is not to happen here.
    """
    missing = set(model.groups())
    turns = 0
    with _unchanged(model):
        began = time.perf_counter()
        while missing and turns < MOST_TURNS:
            turns += 1
            stream = model.losses(micro)
            while True:
                with within:
                    given = next(stream, None)
                if given is None:
                    break
                name, loss = given
                torch.autograd.backward(loss)
                missing.discard(name)
                if not missing:
                    break
        return (time.perf_counter() - began) / turns


@contextmanager
def _unchanged(model: Model) -> Iterator[None]:
    """Have the model learn for a while and leave it as it was: random state, buffers, memory, no gradients."""
    state = torch.get_rng_state()
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]  # running statistics of a norm, for one
    memory = {name: value.clone() for name, value in model.memory().items()}
    was = model.training
    model.train()
    try:
        yield
    finally:
        model.train(was)
        model.zero_grad(set_to_none=True)
        torch.set_rng_state(state)
        model.remember(memory)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


def _resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
