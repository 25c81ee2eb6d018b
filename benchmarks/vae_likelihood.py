"""How likely a variational autoencoder finds FashionMNIST's test pictures, beside the published numbers.

    python benchmarks/vae_likelihood.py --minutes 60
    python benchmarks/vae_likelihood.py --minutes 600 --prior vamp --folder runs/vamp     # goes on when called again

Trains with the project's own loop in the published setting (arXiv 2004.04795, table 1: two gated layers of 300 units,
40 latent numbers, dynamically binarised), keeps the weights that are best on 5,000 held-out training pictures, and
bounds the negative log-likelihood of the test pictures with 5,000 importance-weighted samples each (arXiv 1509.00519).
The test pictures are binarised once. `--stage quick` takes 200 samples of every picture and corrects them by what 5,000
bring on every twentieth: its own error is printed. Exit code 3 when the target is missed.
"""

import argparse
import dataclasses
import functools
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from _fashion import HELD, Bytes, fashion

PUBLISHED = {
    ("mlp", "gaussian"): 228.70,
    ("mlp", "vamp"): 227.35,
    ("hierarchical", "gaussian"): 227.37,
    ("hierarchical", "vamp"): 226.72,
}
MARGIN = 1.5


def main() -> int:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="of training proper (default 60)")
    parser.add_argument("--prior", choices=("gaussian", "vamp"), default="gaussian")
    parser.add_argument("--network", choices=("mlp", "hierarchical"), default="mlp")
    parser.add_argument("--stage", choices=("full", "quick"), default="full", help="how the test pictures are judged")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate at its height")
    parser.add_argument("--warmup", type=float, default=0.1, help="share of the steps in which the divergence comes in")
    parser.add_argument("--epochs", type=float, default=0, help="0: as many as the minutes allow, by a short trial")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--folder", type=Path, help="keep the run here, and go on from here")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    import torch

    torch.set_num_threads(given.threads)
    return measure(given)


def measure(given: argparse.Namespace) -> int:
    """The whole claim, with its figures as one line of JSON last."""

    from spearhead.models.pictures import Shape
    from spearhead.models.vae.config import Config
    from spearhead.models.vae.network import build

    data = fashion()
    learnt, held = grey(data.learnt), grey(data.held)
    config = Config(network=given.network, prior=given.prior, warmup=given.warmup, conditional=False)
    shape = Shape(28, 28, 1)
    steps = planned(given, config, learnt) if not given.epochs else int(given.epochs * len(learnt.pixels) / given.batch)
    model = build(config, shape, steps=steps, seed=0)
    said = {"prior": given.prior, "network": given.network, "pictures": len(learnt.pixels)}
    said |= trained(model, given, learnt, held, steps=steps)
    began = time.perf_counter()
    nll, error, sampling = judged(model, grey(data.test), given)
    published = PUBLISHED[given.network, given.prior]
    said |= {
        "nll": round(nll, 3),
        "standard_error_over_pictures": round(error, 3),
        "standard_error_of_the_correction": round(sampling, 3),
        "published": published,
        "difference": round(nll - published, 3),
        "target": published + MARGIN,
        "samples": given.samples,
        "test_pictures": len(data.test),
        "judging_seconds": round(time.perf_counter() - began, 1),
    }
    print(
        f"importance-weighted NLL of the test pictures: {nll:.2f} nats (standard error over pictures {error:.2f}); "
        f"published {published:.2f}, difference {nll - published:+.2f}, target at most {published + MARGIN:.2f}"
    )
    print(json.dumps(said))
    return 0 if nll <= published + MARGIN else 3


# -- data --------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Grey:
    """Pictures as one block of bytes, (n, 1, h, w) uint8."""

    pixels: Any

    def at(self, rows: Any) -> Any:
        """Those rows as a batch."""
        import torch

        from spearhead.models.pictures import Pictures

        return Pictures(self.pixels[rows].float().div_(127.5).sub_(1), torch.zeros(len(rows), dtype=torch.long))


def grey(pixels: Bytes) -> Grey:
    """Pictures (n, 28, 28, 1) as a block."""
    import torch

    return Grey(torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))))


@dataclass(frozen=True)
class Order:
    """The loop's source of batches: every picture once an epoch, the same for the same seed."""

    grey: Grey
    batch: int

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.grey.pixels.numpy().tobytes() + str(self.batch).encode()).hexdigest()

    def at(self, step: int) -> Sequence[Any]:
        count = len(self.grey.pixels) // self.batch
        epoch, turn = divmod(step, count)
        places = order_of(epoch, len(self.grey.pixels))
        return [self.grey.at(places[turn * self.batch : (turn + 1) * self.batch])]


@functools.lru_cache(maxsize=1)
def order_of(epoch: int, count: int) -> Any:
    """In which order an epoch sees the pictures."""
    return np.random.default_rng([0, epoch]).permutation(count)


# -- training ----------------------------------------------------------------------------------------------------------
def plan_of(given: argparse.Namespace, steps: int) -> Any:
    from spearhead.training.plan import Plan

    return Plan(
        steps=steps,
        minutes=given.minutes,
        batch=given.batch,
        learning_rate=given.rate,
        betas=(0.9, 0.99),
        clip=0.0,
        schedule="cosine",
        warmup=0.01,
        average=0.999,
        precision="fp32",
        validate_every=max(1, min(1000, steps // 20)),
        save_every=2000,
        track=(),
    )


def planned(given: argparse.Namespace, config: Any, learnt: Grey) -> int:
    """How many steps the minutes allow, by the pace of a trial of 60 steps; kept in the folder of a run."""
    from spearhead.models.pictures import Shape
    from spearhead.models.vae.network import build
    from spearhead.training.loop import train

    note = given.folder / "steps.txt" if given.folder else None
    if note is not None and note.exists():
        return int(note.read_text())
    model = build(config, Shape(28, 28, 1), steps=1000, seed=0)
    paces = []
    trial = dataclasses.replace(plan_of(given, 1000), minutes=0.0)
    for step in train(model, Order(learnt, given.batch), trial):
        paces.append(step.seconds)
        if step.number == 60:
            break
    steps = max(20, int(given.minutes * 60 / float(np.median(paces[10:]))))
    if note is not None:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(str(steps))
    return steps


def trained(model: Any, given: argparse.Namespace, learnt: Grey, held: Grey, *, steps: int) -> dict[str, Any]:
    """Train in place and say how it went."""
    from spearhead.training.loop import train

    validation = [held.at(np.arange(start, start + 1000)) for start in range(0, HELD, 1000)]
    folder = given.folder / "checkpoint" if given.folder else None
    run = train(model, Order(learnt, given.batch), plan_of(given, steps), validation=validation, folder=folder)
    while True:
        try:
            step = next(run)
        except StopIteration as end:
            done = end.value
            break
        if step.validation is not None:
            epoch = step.number * given.batch / len(learnt.pixels)
            seen = f"loss {step.loss:.2f}, bound of held-out {step.validation:.2f}, {step.elapsed / 60:.1f} min"
            print(f"step {step.number}/{steps} (epoch {epoch:.0f}): {seen}", file=sys.stderr, flush=True)
    return {
        "steps": done.steps,
        "epochs": round(done.steps * given.batch / len(learnt.pixels), 1),
        "minutes": round(done.seconds / 60, 2),
        "batch": given.batch,
        "rate": given.rate,
        "held_out_bound": round(done.best_loss, 3),
        "best_step": done.best_step,
    }


# -- judging -----------------------------------------------------------------------------------------------------------
def judged(model: Any, test: Grey, given: argparse.Namespace) -> tuple[float, float, float]:
    """Mean negative log-likelihood, its standard error over pictures, and that of the quick stage's correction."""
    import torch

    rng = torch.Generator().manual_seed(777)
    batch = test.at(np.arange(len(test.pixels)))
    # Binarised once, for both stages: black and white pictures are taken as they are.
    binary = type(batch)(model.observe(batch.pixels, rng=rng) * 2 - 1, batch.labels)
    if given.stage == "full":
        found = np.concatenate(list(bounds(model, binary, samples=given.samples, rng=rng)))
        return -float(found.mean()), float(found.std() / np.sqrt(len(found))), 0.0
    rough = np.concatenate(list(bounds(model, binary, samples=200, rng=rng)))
    every = torch.arange(0, len(rough), 20)
    few = type(batch)(binary.pixels[every], binary.labels[every])
    fine = np.concatenate(list(bounds(model, few, samples=given.samples, rng=rng)))
    gain = fine - rough[every.numpy()]
    error = float(rough.std() / np.sqrt(len(rough)))
    return -float(rough.mean() + gain.mean()), error, float(gain.std() / np.sqrt(len(gain)))


def bounds(model: Any, pictures: Any, *, samples: int, rng: Any) -> Iterator[Any]:
    """Importance-weighted bounds, five hundred pictures at a time."""
    from spearhead.models.vae.likelihood import likelihood

    for start in range(0, len(pictures.pixels), 500):
        part = slice(start, start + 500)
        few = type(pictures)(pictures.pixels[part], pictures.labels[part])
        yield likelihood(model, few, samples=samples, rng=rng).numpy()
        if samples > 1000:
            print(f"judged {min(start + 500, len(pictures.pixels))} pictures", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
