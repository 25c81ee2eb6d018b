"""Claim: the ONNX runtime makes at least 2 times as many pictures a second as the same model in eager torch.

Both make the same guided pictures of the flow family's default preset in one process, taking turns, from the request
to the PNG. Torch gets its best eager form: normalised weights folded, channels last, inference mode. Three ways:

- `requests`: so many requests for one picture at once. The runtime lets them share batches; torch answers them one
  after the other, as a program around `model.sample` does.
- `single`: one request for one picture.
- `batch`: one request for so many pictures, so that torch has its batch too.

The bar is on `requests`. `sweep` tells pictures a second of the runtime by threads and by how many step together.
Weights are random: time does not depend on them. Prints one line of JSON last; fails when the ratio is below the bar.
Beside other work read the ratio of processor time with `--threads 1`.

    python benchmarks/serve_pictures.py --steps 5
"""

import argparse
import asyncio
import copy
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.generation import Prompt
from spearhead.core.template import Segment
from spearhead.media.image import codec
from spearhead.runtimes.onnx import Onnx, Settings

BAR = 2.0


def main() -> int:
    """Run both and print what was seen; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5, help="Heun steps of every picture (default 5)")
    parser.add_argument("--count", type=int, default=16, help="requests at once, pictures a batch (default 16)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="threads of both (default 2)")
    parser.add_argument("--sweep", action="store_true", help="also measure the runtime by threads and batch")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        torch_pictures = model(Path(folder), steps=given.steps)
        seen = asyncio.run(compare(Path(folder), torch_pictures, given))
        if given.sweep:
            seen["sweep"] = asyncio.run(sweep(Path(folder), given))
    print(json.dumps({"threads": given.threads, "count": given.count, "steps": given.steps, **seen, "bar": BAR}))
    ratio = seen["requests"]["ratio_of_processor_time" if given.threads == 1 else "ratio"]
    return 0 if ratio >= BAR else 1


def model(folder: Path, *, steps: int) -> Callable[[list[int]], list[bytes]]:
    """Export the preset into `folder`; gives what makes PNGs of labels in eager torch."""
    import torch

    from spearhead.models import pictures
    from spearhead.models.flow import FAMILY
    from spearhead.models.flow.blocks import Conv, Dense
    from spearhead.models.flow.export import export
    from spearhead.models.flow.network import build

    config = FAMILY.presets["default"]
    made = build(config, pictures.Shape(config.size, config.size, 1, tuple("0123456789")), steps=1, seed=0).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape) * 0.1)
    export(made, folder, made.shape)
    eager = copy.deepcopy(made)
    for layer in eager.modules():
        if isinstance(layer, Conv | Dense):
            layer.fold()
    for parameter in eager.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def answer(labels: list[int]) -> list[bytes]:
        with torch.inference_mode():
            rng = torch.Generator().manual_seed(0)
            *_, last = eager.sample(torch.tensor(labels), len(labels), rng=rng, options={"steps": steps})
        return [codec.write(block).data for block in pictures.pixels(last)]

    return answer


async def compare(folder: Path, eager: Callable[[list[int]], list[bytes]], given: Any) -> dict[str, Any]:
    """Each way, in turns."""
    count = given.count
    labels = [number % 10 for number in range(count)]
    seen: dict[str, Any] = {}
    async with await Onnx.start(folder, settings=Settings(batch=count, threads=given.threads)) as runtime:

        async def requests() -> None:
            await asyncio.gather(*(drafts(runtime, label, steps=given.steps) for label in labels))

        async def single() -> None:
            await drafts(runtime, 0, steps=given.steps)

        async def batch() -> None:
            await drafts(runtime, 0, steps=given.steps, count=count)

        ways: dict[str, tuple[Any, Callable[[], Any], int]] = {
            "requests": (requests, lambda: [eager([label]) for label in labels], count),
            "single": (single, lambda: eager([0]), 1),
            "batch": (batch, lambda: eager(labels), count),
        }
        for name, (ours, theirs, pictures) in ways.items():
            spent: dict[str, list[tuple[float, float]]] = {"ours": [], "torch": []}
            for number in range(given.rounds + 1):  # the first also fills caches
                for who in ("ours", "torch"):
                    wall, cpu = time.perf_counter(), time.process_time()
                    await ours() if who == "ours" else theirs()
                    if number:
                        spent[who].append((time.perf_counter() - wall, time.process_time() - cpu))
            middle = {who: np.median(np.array(rows), axis=0) for who, rows in spent.items()}
            seen[name] = {
                "pictures_per_second": round(pictures / float(middle["ours"][0]), 2),
                "torch_pictures_per_second": round(pictures / float(middle["torch"][0]), 2),
                "ratio": round(float(middle["torch"][0] / middle["ours"][0]), 2),
                "ratio_of_processor_time": round(float(middle["torch"][1] / middle["ours"][1]), 2),
            }
            print(f"{name}: {seen[name]}", file=sys.stderr, flush=True)
    return seen


async def sweep(folder: Path, given: Any) -> dict[str, float]:
    """Pictures a second of the runtime by threads and pictures that step together."""
    seen = {}
    for threads in (1, 2):
        for batch in (1, 2, 4, 8, 16, 32):
            async with await Onnx.start(folder, settings=Settings(batch=batch, threads=threads)) as runtime:
                spent = []
                for _ in range(3):
                    began = time.perf_counter()
                    await drafts(runtime, 0, steps=given.steps, count=32)
                    spent.append(time.perf_counter() - began)
                seen[f"threads {threads}, batch {batch}"] = round(32 / statistics.median(spent), 2)
    return seen


async def drafts(runtime: Onnx, label: int, *, steps: int, count: int = 1) -> int:
    """How many drafts answer one request."""
    prompt = Prompt((Segment(str(label), False),), count=count, options={"steps": steps}, seed=0)
    return len([draft async for draft in runtime.generate(prompt)])


if __name__ == "__main__":
    sys.exit(main())
