"""What adversarial training in pixel space does for the FashionMNIST classifier, and what it costs.

    python benchmarks/robust_classifier.py --threads 1 --folder runs/robust

The project's small classifier learns the 55,000 training pictures through the project's own loop in three ways, each
for as many steps: as they are; half of the loss on pictures attacked by FGSM (arXiv 1412.6572, section 6); all of it on
pictures attacked by PGD of 7 steps from a random point (arXiv 1706.06083). The 10,000 test pictures are then judged as
they are and under FGSM, the first 2,000 of them under PGD of 10 steps and the first 200 under 50, by an attacker who
knows the weights. Intervals are 95 %, over training runs and pictures. Prints a Markdown table last; with `--folder` a
run that was broken off goes on.
"""

import argparse
import functools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from _fashion import NAMES, SHA256, Data, fashion
from _runs import Right, kept, learn, spread
from spearhead.core.errors import InputError

WAYS = {"ordinary": "as they are", "fgsm": "FGSM, half of the loss", "pgd": "PGD of 7 steps"}
TAUGHT_STEPS, JUDGED_STEPS, LONG_STEPS = 7, 10, 50
SOME, FEW = 2000, 200
"""Pictures that are judged under the many steps of PGD."""
SMOOTHING = 0.05
"""That of the registered classifier."""


def main() -> int:
    """Train, attack, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=0.1, help="of the attacks, pixels being 0 to 1 (default 0.1)")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=4e-3, help="learning rate at its height")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", default=",".join(WAYS), help=f"some of {', '.join(WAYS)} (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep results and runs here, and go on from here")
    given = parser.parse_args()
    ways = [name for name in given.ways.split(",") if name]
    if unknown := set(ways) - set(WAYS):
        raise InputError(f"--ways names {', '.join(sorted(unknown))}: wanted some of {', '.join(WAYS)}")
    if given.seeds < 1 or not 0 < given.size <= 1:
        raise InputError(f"--seeds {given.seeds} and --size {given.size}: wanted at least one seed, a size up to 1")
    import torch

    torch.set_num_threads(given.threads)
    data = fashion()
    rows = [{way: measured(given, data, way=way, seed=seed) for way in ways} for seed in range(given.seeds)]
    found = {way: [row[way] for row in rows] for way in ways}
    print(table(given, found))
    return 0


def measured(given: argparse.Namespace, data: Data, *, way: str, seed: int) -> dict[str, Right]:
    """Which test pictures one run gets right, by attack."""
    settings = {"data": SHA256, "way": way, "seed": seed, "version": 1}
    settings |= {name: getattr(given, name) for name in ("size", "epochs", "batch", "rate")}
    return dict(kept(given.folder, f"{way}-{seed}", settings, lambda folder: run(given, data, way, seed, folder)))


def run(given: argparse.Namespace, data: Data, way: str, seed: int, folder: Path | None) -> dict[str, Right]:
    """Train one classifier and attack it."""
    import torch

    from spearhead.metrics import attacks, views
    from spearhead.metrics.learner import Learner, Objective, build, hardened, right, supervised
    from spearhead.metrics.pools import Order, Pool
    from spearhead.training.plan import Plan

    taught = functools.partial(attacks.pgd, size=given.size, steps=TAUGHT_STEPS, rng=torch.default_generator)
    common: dict[str, Any] = {"change": views.mirrored, "smoothing": SMOOTHING}
    objectives: dict[str, Objective] = {
        "ordinary": functools.partial(supervised, **common),
        "fgsm": functools.partial(
            hardened, attack=functools.partial(attacks.fgsm, size=given.size), clean=0.5, **common
        ),
        "pgd": functools.partial(hardened, attack=taught, clean=0.0, **common),
    }
    plan = Plan(
        steps=max(1, round(given.epochs * len(data.learnt) / given.batch)),
        batch=given.batch,
        learning_rate=given.rate,
        weight_decay=0.01,
        clip=0.0,
        schedule="cosine",
        warmup=0.1,
        precision="fp32",
        save_every=200,
        seed=seed,
        track=(),
    )
    model = Learner(build(size=28, channels=1, classes=len(NAMES), seed=seed), objectives[way])
    order = Order([Pool(data.learnt, given.batch, data.labels)], seed=seed)
    learn(f"{way}, seed {seed}", model, order, plan, folder)
    began = time.perf_counter()

    def judged(count: int, attack: Any) -> Right:
        return right(model.network, data.test[:count], data.test_labels[:count], attack=attack)

    def climbing(steps: int) -> Any:
        rng = torch.Generator().manual_seed(1)
        return functools.partial(attacks.pgd, size=given.size, steps=steps, rng=rng)

    whole = len(data.test)
    found = {
        "clean": judged(whole, None),
        "fgsm": judged(whole, functools.partial(attacks.fgsm, size=given.size)),
        "pgd": judged(SOME, climbing(JUDGED_STEPS)),
        "long": judged(FEW, climbing(LONG_STEPS)),
    }
    print(f"{way}, seed {seed}: attacked in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def table(given: argparse.Namespace, found: dict[str, list[dict[str, Right]]]) -> str:
    """Markdown."""
    lines = [
        f"Right of the 10,000 test pictures in percent, attacks of size {given.size:g} (pixels 0 to 1), training runs: "
        f"{given.seeds}, of {given.epochs:g} epochs, 95 % over runs and pictures:",
        "",
        f"| trained on pictures | unharmed | FGSM | PGD-{JUDGED_STEPS}, first {SOME:,} | "
        f"PGD-{LONG_STEPS}, first {FEW:,} |",
        "|---|---|---|---|---|",
    ]
    for way, runs in found.items():
        cells = [percent(spread(np.stack([run[name] for run in runs]))) for name in ("clean", "fgsm", "pgd", "long")]
        lines.append(f"| {WAYS[way]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def percent(found: tuple[float, float, float]) -> str:
    """A share with its interval."""
    mean, low, high = found
    return f"{mean * 100:.1f} ({low * 100:.1f}-{high * 100:.1f})"


if __name__ == "__main__":
    try:
        code = main()
    except InputError as error:
        print(error, file=sys.stderr)
        code = 2
    sys.exit(code)
