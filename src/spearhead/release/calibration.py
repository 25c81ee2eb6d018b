"""What the layers of a trained model see: second moments of their inputs on real texts. Needs torch, trains nothing."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.generation import Progress

Array = np.ndarray[Any, np.dtype[Any]]
WIDEST = 4096
"""Inputs of a layer above which its moments would not fit in memory; such layers are rounded without calibration."""


def moments(merged: Path, sequences: Sequence[Sequence[int]]) -> Generator[Progress, None, dict[str, Array]]:
    """The mean of x x^T over the inputs x of every linear layer: (width, width) by module name.

    `merged` is a Hugging Face model folder, `sequences` token ids of texts like those it will see (some 3000 tokens
    do). Layers that read the same input share one array.
    """
    import torch

    from spearhead.models.pretrained.build import load

    if not sequences or not any(sequences):
        raise InputError("calibration: no texts were given")
    yield Progress("calibrate", 0, len(sequences), "loading", unit="text")
    model = load(merged).eval()
    sums: dict[str, torch.Tensor] = {}
    leader: dict[str, str] = {}  # the first module of the forward pass that read the same tensor
    last: list[Any] = [None, ""]
    rows = 0

    def watch(name: str) -> Any:
        def see(module: Any, inputs: tuple[Any, ...]) -> None:
            if last[0] is inputs[0]:
                leader[name] = last[1]
                return
            last[0], last[1] = inputs[0], name
            leader[name] = name
            x = inputs[0].reshape(-1, inputs[0].shape[-1]).float()
            sums[name] = sums[name].addmm_(x.T, x) if name in sums else x.T @ x

        return see

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head" and module.in_features <= WIDEST:
            module.register_forward_pre_hook(watch(name))
    with torch.no_grad():
        for at, sequence in enumerate(sequences):
            if sequence:
                model.base_model(torch.tensor([list(sequence)], device=model.device))
                rows += len(sequence)
            yield Progress("calibrate", at + 1, len(sequences), unit="text")
    whole = {name: (total / rows).numpy() for name, total in sums.items()}
    return {name: whole[first] for name, first in leader.items()}
