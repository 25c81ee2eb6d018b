"""Runs of the small classifier for the benchmarks: progress on stderr, results kept in a folder to go on from.

Knows no data set.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.files import write_whole

Right = np.ndarray[Any, np.dtype[np.bool_]]
"""Whether each picture was given its class, (n,)."""
DRAWS = 2000
"""Bootstrap draws of every interval."""


def learn(name: str, model: Any, order: Any, plan: Any, folder: Path | None) -> None:
    """Train in place by the project's loop, to the end."""
    from spearhead.training.loop import train

    for step in train(model, order, plan, folder=folder):
        if step.number % max(1, plan.steps // 10) == 0:
            print(f"{name}: step {step.number} of {plan.steps}, loss {step.loss:.3f}, {step.elapsed:.0f} s",
                  file=sys.stderr, flush=True)  # fmt: skip


def kept(
    folder: Path | None, name: str, settings: Mapping[str, Any], work: Callable[[Path | None], Mapping[str, Right]]
) -> Mapping[str, Right]:
    """What `work` gives, or gave when it was called before with a folder; `settings` are all that it depends on."""
    if folder is None:
        return work(None)
    file, mark = folder / f"{name}.json", digest.of_value(dict(settings))
    if not file.exists():
        found = work(folder / name)
        bits = {key: [len(value), np.packbits(value).tobytes().hex()] for key, value in found.items()}
        write_whole(file, json.dumps({"settings": mark, "right": bits}))
        print(f"{name}: " + ", ".join(f"{key} {value.mean():.2%}" for key, value in found.items()),
              file=sys.stderr, flush=True)  # fmt: skip
        return found
    raw = json.loads(file.read_text("utf-8"))
    if raw["settings"] != mark:
        raise InputError(f"{file} was measured with other settings: remove it, or name another --folder")
    return {
        key: np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8), count=count).astype(np.bool_)
        for key, (count, bits) in raw["right"].items()
    }


def spread(values: Any) -> tuple[float, float, float]:
    """Mean of (runs, pictures) and its 95 % interval, both drawn anew (see `resample.crossed`)."""
    from spearhead.metrics import resample

    block = np.asarray(values, np.float64)
    return float(block.mean()), *resample.interval(resample.crossed(block, seed=0, draws=DRAWS))
