"""FSQ (1,000 codes) leaves no code dead on FashionMNIST; beside it VQ (1,024), trained and judged alike.

    python benchmarks/image_tokenizers.py --threads 1 --folder runs/image_tokenizers

Both learn the same pictures in the same order through the project's own loop, for as many steps, and differ in nothing
but the quantiser (FSQ: arXiv 2309.15505, VQ: arXiv 1711.00937). The 10,000 test pictures are then encoded and decoded
as 8-bit files: mean squared error of a pixel (0 to 1) and its PSNR, codes that occur at least once, the perplexity of
their use, dead codes. Prints a Markdown table last; with `--folder` a run that was broken off goes on. Exit code 3 when
a code of FSQ is dead.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from _fashion import Data, fashion
from _runs import learn
from spearhead.core.errors import InputError
from vae_likelihood import Order, grey

if TYPE_CHECKING:
    from spearhead.models.tokenizer.quality import Quality

WAYS = {"fsq": "FSQ [8, 5, 5, 5]", "vq": "VQ, 1,024 vectors of 16"}


def main() -> int:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate at its height")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the runs here, and go on from here")
    given = parser.parse_args()
    if given.steps < 1 or given.batch < 1:
        raise InputError(f"--steps {given.steps} and --batch {given.batch}: wanted at least one of each")
    import torch

    torch.set_num_threads(given.threads)
    data = fashion()
    found = {way: measured(given, data, way) for way in WAYS}
    dead = found["fsq"].vocab - found["fsq"].used
    print(table(given, found))
    print(f"\ndead codes of FSQ: {dead}, wanted none: {'missed' if dead else 'reached'}")
    return 3 if dead else 0


def measured(given: argparse.Namespace, data: Data, way: str) -> "Quality":
    """Train one tokenizer and judge it on the test pictures."""
    from spearhead.models.pictures import Shape
    from spearhead.models.tokenizer.config import Config
    from spearhead.models.tokenizer.network import build
    from spearhead.models.tokenizer.quality import measure
    from spearhead.training.plan import Plan

    plan = Plan(
        steps=given.steps,
        batch=given.batch,
        learning_rate=given.rate,
        schedule="cosine",
        warmup=0.05,
        precision="fp32",
        save_every=200,
        seed=given.seed,
        track=(),
    )
    config = Config(quantiser="fsq" if way == "fsq" else "vq", codes=1024)
    model = build(config, Shape(28, 28, 1), steps=given.steps, seed=given.seed)
    began = time.process_time()
    learn(way, model, Order(grey(data.learnt), given.batch), plan, given.folder / way if given.folder else None)
    print(f"{way}: {time.process_time() - began:.0f} s of one processor", file=sys.stderr, flush=True)
    test = grey(data.test)
    return measure(model, (test.at(np.arange(at, at + 250)) for at in range(0, len(data.test), 250)))


def table(given: argparse.Namespace, found: "dict[str, Quality]") -> str:
    """Markdown."""
    lines = [
        f"10,000 test pictures of FashionMNIST, 49 codes each, after {given.steps:,} steps of {given.batch}, "
        f"seed {given.seed}:",
        "",
        "| tokenizer | mean squared error (pixels 0 to 1) | PSNR, dB | codes in use | dead | perplexity |",
        "|---|---|---|---|---|---|",
    ]
    for way, one in found.items():
        lines.append(
            f"| {WAYS[way]} | {one.error / 255**2:.5f} | {one.psnr:.2f} | {one.used:,} of {one.vocab:,} | "
            f"{one.vocab - one.used:,} | {one.perplexity:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        code = main()
    except InputError as error:
        print(error, file=sys.stderr)
        code = 2
    sys.exit(code)
