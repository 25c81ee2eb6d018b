"""Claim: flow models train at least 1.3 times as many pictures a second as diffusers' loop over its `UNet2DModel`.

Both learn the same made-up pictures in one process, taking turns step by step, so that whatever else the machine does
meets both alike: 28x28, float32, equal batches, AdamW (fused for both), clipping to 1, a moving average of the
weights. diffusers' side is the loop of its unconditional training example without what it logs and saves: its noise
schedule, its model, its `EMAModel`. Two pairs of equal size in parameters:

- `default`: the family's default preset, which works on squares of 2x2 pixels, beside a U-Net as diffusers builds it;
- `pixels`: the family's preset `fine`, which like diffusers' works on single pixels at its first of three levels.

Prints one line of JSON last; fails when the first ratio is below the bar. Beside other work read the ratio of
processor time with `--threads 1`: waiting is not in it. Needs the extra `bench`.

    python benchmarks/flow_speed.py --steps 12
"""

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

BAR = 1.3
SIZE, CLASSES = 28, tuple("0123456789")
PAIRS: dict[str, tuple[dict[str, Any], tuple[int, ...], int]] = {
    "default": ({}, (48, 64, 96), 1),
    "pixels": ({"patch": 1, "width": 32, "levels": (1, 2, 4), "blocks": 1}, (32, 64, 64), 1),
}
"""Changes to our configuration; diffusers' widths and its layers a block."""


def main() -> int:
    """Run every pair and print what was seen; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="counted optimiser steps of each (default 12)")
    parser.add_argument("--batch", type=int, default=64, help="pictures a step (default 64)")
    parser.add_argument("--threads", type=int, default=2, help="threads of both (default 2)")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(given.threads)
    seen = {name: compare(name, steps=given.steps, batch=given.batch) for name in PAIRS}
    print(json.dumps({"threads": given.threads, "batch": given.batch, **seen, "bar": BAR}))
    ratio = seen["default"]["ratio_of_processor_time" if given.threads == 1 else "ratio"]
    return 0 if ratio >= BAR else 1


def compare(name: str, *, steps: int, batch: int) -> dict[str, float]:
    """One pair, in turns: pictures a second of each and what the medians' ratios are."""
    changes, widths, layers = PAIRS[name]
    ours, size = our_steps(changes, batch=batch, steps=steps + 2)
    theirs, other = their_steps(widths, layers, batch=batch)
    spent: dict[str, list[tuple[float, float]]] = {"ours": [], "diffusers": []}
    for number in range(steps + 2):  # the first two also fill caches
        for who, step in (("ours", ours), ("diffusers", theirs)):
            wall, cpu = time.perf_counter(), time.process_time()
            next(step)
            if number >= 2:
                spent[who].append((time.perf_counter() - wall, time.process_time() - cpu))
    middle = {who: [statistics.median(column) for column in zip(*rows, strict=True)] for who, rows in spent.items()}
    for who, (wall, cpu) in middle.items():
        print(f"{name} {who}: {batch / wall:.0f} pictures/s, {cpu * 1000:.0f} ms of processor a step", file=sys.stderr)
    return {
        "parameters": size,
        "diffusers_parameters": other,
        "pictures_per_second": round(batch / middle["ours"][0], 1),
        "diffusers_pictures_per_second": round(batch / middle["diffusers"][0], 1),
        "ratio": round(middle["diffusers"][0] / middle["ours"][0], 2),
        "ratio_of_processor_time": round(middle["diffusers"][1] / middle["ours"][1], 2),
    }


def our_steps(changes: dict[str, Any], *, batch: int, steps: int) -> tuple[Iterator[Any], int]:
    """The loop of `spearhead run`, one step each time it is asked; and the number of parameters."""
    import dataclasses

    import numpy as np

    from spearhead.models.flow import FAMILY
    from spearhead.models.flow.network import build
    from spearhead.models.pictures import Picture, Shape, pack
    from spearhead.training.batches import Batches
    from spearhead.training.loop import train
    from spearhead.training.plan import Plan

    config = dataclasses.replace(FAMILY.presets["default"], size=SIZE, **changes)
    model = build(config, Shape(SIZE, SIZE, 1, CLASSES), steps=steps, seed=0)
    blocks = np.random.default_rng(0).integers(0, 256, (8 * batch, SIZE, SIZE, 1), dtype=np.uint8)
    examples = [Picture(block, number % len(CLASSES)) for number, block in enumerate(blocks)]
    plan = Plan(steps=steps, batch=batch, learning_rate=1e-3, average=0.999, save_every=0, precision="fp32")
    return train(model, Batches(examples, pack, plan=plan), plan), sum(p.numel() for p in model.parameters())


def their_steps(widths: tuple[int, ...], layers: int, *, batch: int) -> tuple[Iterator[None], int]:
    """diffusers' loop, one step each time it is asked; and the number of parameters."""
    import torch
    import torch.nn.functional as F

    diffusers: Any = importlib.import_module("diffusers")  # its annotations are half there
    training_utils: Any = importlib.import_module("diffusers.training_utils")
    levels = len(widths)
    model = diffusers.UNet2DModel(
        sample_size=SIZE,
        in_channels=1,
        out_channels=1,
        block_out_channels=widths,
        layers_per_block=layers,
        norm_num_groups=8,
        attention_head_dim=32,
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        num_class_embeds=len(CLASSES) + 1,
    )
    model.train()
    schedule = diffusers.DDPMScheduler(num_train_timesteps=1000)
    average = training_utils.EMAModel(model.parameters(), decay=0.999)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.95, 0.999), weight_decay=1e-6, fused=True)
    pictures = torch.rand(8 * batch, 1, SIZE, SIZE) * 2 - 1
    labels = torch.arange(8 * batch) % len(CLASSES)

    def steps() -> Iterator[None]:
        while True:
            rows = torch.randint(0, len(pictures), (batch,))
            clean = pictures[rows]
            noise = torch.randn_like(clean)
            times = torch.randint(0, 1000, (batch,))
            noisy = schedule.add_noise(clean, noise, times)
            found = model(noisy, times, class_labels=labels[rows], return_dict=False)[0]
            torch.autograd.backward(F.mse_loss(found, noise))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            average.step(model.parameters())
            yield

    return steps(), sum(p.numel() for p in model.parameters())


if __name__ == "__main__":
    sys.exit(main())
