"""Several processes that learn together: how they meet and what they add up. Knows no plan and no model."""

import os
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import torch
from torch import Tensor, nn

from spearhead.training.launch import rank, world

WAIT = timedelta(days=1)
"""The others wait for the first to prepare the data; a launcher ends them all when one fails."""


def meet(word: str = "") -> str:
    """Wait for all the others and hear the word of the first; alone: the word itself."""
    if world() == 1:
        return word
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    kinds = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    torch.distributed.init_process_group(kinds, rank=rank(), world_size=world(), timeout=WAIT)
    said = [word]
    torch.distributed.broadcast_object_list(said, src=0)
    return said[0]


def part() -> None:
    """Each goes on alone."""
    if together():
        torch.distributed.destroy_process_group()


def together() -> bool:
    """Whether the processes have met and not parted."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def first() -> bool:
    """Whether this is the process that writes."""
    return not together() or torch.distributed.get_rank() == 0


def own_noise(seed: int, step: int) -> None:
    """Have every process but the first draw noise of its own in this step; the first goes on from its checkpoint's.

    A function of seed and step, so that a run that goes on draws the same. With the first's noise in all of them, two
    halves of a batch would be blurred alike.
    """
    if not first():
        mixed = np.random.SeedSequence([seed, 3, torch.distributed.get_rank(), step])
        torch.manual_seed(int(mixed.generate_state(1, np.uint64)[0] >> np.uint64(1)))


def over(value: float, device: torch.device) -> float:
    """The sum over all processes."""
    if not together():
        return value
    summed: Tensor = torch.tensor(value, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(summed)
    return float(summed)


def of_first(value: float, device: torch.device) -> float:
    """The value of the first process."""
    return over(value if first() else 0.0, device)


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Each process has divided by the whole batch's weight already, so the sum is the whole batch's gradient."""
    if not together():
        return
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([grad.flatten() for grad in grads])
    torch.distributed.all_reduce(flat)
    parts = torch.split(flat, [grad.numel() for grad in grads])
    for grad, sum_of_all in zip(grads, parts, strict=True):
        grad.copy_(sum_of_all.view_as(grad))
