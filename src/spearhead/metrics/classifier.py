"""A small classifier of pictures that the project trains itself, seeded, to measure generated pictures with. Imports
torch; knows no files and no scenario.
"""

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spearhead.core.errors import InputError
from spearhead.core.generation import Progress

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Labels = np.ndarray[Any, np.dtype[np.int64]]

WIDTH = 64
"""Features of a picture: the layer before the classes."""
BATCH = 128
EPOCHS = 3
MOST_STEPS = 1200
LEAST_STEPS = 200
"""Small sets are seen more often than `EPOCHS`."""
RATE = 4e-3
SEED = 0


class Classifier(nn.Module):
    """Pixels (n, c, s, s) in [0, 1] to features (n, 64) and the classes' logits (n, classes)."""

    def __init__(self, *, size: int, channels: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * (size // 4) ** 2, WIDTH),
            nn.ReLU(),
        )
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(pixels * 2 - 1)
        return features, self.head(features)


def train(pixels: Pixels, labels: Labels, *, classes: int, seed: int = SEED) -> Generator[Progress, None, Classifier]:
    """Learn from `pixels` (n, s, s, c) and `labels` (n,): AdamW, one cycle of the rate, pictures mirrored at random.

    The same pictures in the same order give the same weights (on the same machine and number of threads). Raises
    InputError when there are fewer than two classes or ten pictures.
    """
    if classes < 2 or len(pixels) < 10:
        raise InputError(
            f"a classifier of pictures needs two classes and ten pictures, got {classes} and {len(pixels)}: "
            "measure by efficientnet-lite0 instead, and leave out metrics that ask for the class"
        )
    rng = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Classifier(size=pixels.shape[1], channels=pixels.shape[3], classes=classes)
    steps = min(MOST_STEPS, max(LEAST_STEPS, math.ceil(EPOCHS * len(pixels) / BATCH)))
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=steps)
    everything = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    wanted = torch.from_numpy(np.asarray(labels, np.int64))
    order = torch.empty(0, dtype=torch.long)
    model.train()
    for step in range(steps):
        while len(order) < BATCH:
            order = torch.cat([order, torch.randperm(len(everything), generator=rng)])
        chosen, order = order[:BATCH], order[BATCH:]
        batch = everything[chosen].float().div_(255)
        flipped = torch.rand(len(batch), generator=rng) < 0.5
        batch[flipped] = batch[flipped].flip(3)
        loss = nn.functional.cross_entropy(model(batch)[1], wanted[chosen], label_smoothing=0.05)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        cycle.step()
        if step % 25 == 0:
            yield Progress("classifier", step, steps, f"loss {loss.item():.2f}", "steps")
    if not all(torch.isfinite(value).all() for value in model.parameters()):
        raise InputError("the classifier of pictures diverged: look at the pictures, or measure by efficientnet-lite0")
    yield Progress("classifier", steps, steps, "", "steps")
    return model.eval()
