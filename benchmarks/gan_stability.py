"""Claim: the default GAN ends where it was best: final Frechet distance over the smallest one <= 1.10, no rollback.

    python benchmarks/gan_stability.py --minutes 10 --seeds 3
    python benchmarks/gan_stability.py --minutes 10 --preset style --peers ""
    python benchmarks/gan_stability.py --minutes 10 --seeds 3 --peers flow --flow-steps 6000 --folder FOLDER

Trains through the project's own loop on FashionMNIST, once for each seed, and measures the averaged maker on the way
against the 10,000 test pictures. Nothing is rolled back: the last measurement is of the last weights. Beside it, once
each with the same minutes: DCGAN, the variational autoencoder, flow matching drawn in 25 steps, and without training a
Gaussian for each class and real training pictures. The flow may be given a time of its own (`--flow-minutes`), or
steps (`--flow-steps`), where other work would make minutes mean little; each of its pictures takes 25 evaluations and
more, so that it is looked at with fewer of them until its last measurement (fewer pictures tell a larger distance).
Distances are Frechet distances over the features that the table names, and comparable only under that name. Prints a
Markdown table and one line of JSON last; exit code 3 when a seed misses the ratio, when the mean final distance is not
below the autoencoder's and the Gaussian's, or when the flow's is not below the mean. With `--folder` a run that was
broken off goes on, and what is finished there is only looked at anew where `--made`, `--solver` or `--guidance` ask for
another look; `--seeds 0` trains the peers alone and claims nothing.
"""

import argparse
import dataclasses
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from _fashion import NAMES, SHA256, Bytes, Data, fashion
from spearhead.core.errors import InputError
from spearhead.core.files import write_whole
from spearhead.core.media import Media
from spearhead.store.home import Home

RATIO = 1.10
PEERS = ("dcgan", "vae", "flow", "gaussian", "real")
DRAWN_IN = 25
"""Steps of the flow's solver."""
Floats = np.ndarray[Any, np.dtype[np.float64]]


def main() -> int:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of training proper, for each run (default 10)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset", default="default", help="of the gan family (default: default)")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"some of {', '.join(PEERS)} (default: all)")
    parser.add_argument("--features", choices=("classifier", "random"), default="classifier")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate at its height")
    parser.add_argument("--average", type=float, default=0.998, help="decay of the averaged weights")
    parser.add_argument("--looks", type=int, default=12, help="measurements of a run")
    parser.add_argument("--made", type=int, default=5000, help="pictures made for each measurement")
    parser.add_argument("--flow-minutes", type=float, help="of the flow's training (default: as --minutes)")
    parser.add_argument("--flow-steps", type=int, default=0, help="of the flow's training, instead of minutes")
    parser.add_argument("--flow-looks", type=int, default=6, help="measurements of the flow (default 6)")
    parser.add_argument("--flow-made", type=int, default=1000, help="pictures of the flow's looks but the last")
    parser.add_argument("--solver", choices=("euler", "heun"), default="euler", help="of the flow (default: euler)")
    parser.add_argument("--guidance", type=float, default=1.0, help="of the flow (default 1: none)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep runs and grids of samples here, and go on from here")
    given = parser.parse_args()
    asked = [name for name in given.peers.split(",") if name]
    if unknown := set(asked) - set(PEERS):
        raise InputError(f"--peers names {', '.join(sorted(unknown))}: wanted some of {', '.join(PEERS)}")
    import torch

    torch.set_num_threads(given.threads)
    return measure(given, asked)


@dataclass(frozen=True)
class Run:
    """One training run: distances of the averaged weights by step, and the loop's own held-out loss beside them."""

    name: str
    seed: int
    steps: int
    seconds: float
    parameters: int
    distances: dict[int, float]
    held: dict[int, float]
    made: dict[int, int]
    """How many pictures each distance is of."""

    @property
    def final(self) -> float:
        return self.distances[max(self.distances)]

    @property
    def best(self) -> float:
        return min(self.distances.values())


def measure(given: argparse.Namespace, peers: Sequence[str]) -> int:
    """The whole claim."""
    data = fashion()
    named, features = extractor(given.features, data)
    real = features(data.test)

    def far(made: Bytes) -> float:
        return frechet(real, features(made))

    runs = [learn(given, data, far, name=given.preset, seed=seed) for seed in range(given.seeds)]
    peer_runs = [learn(given, data, far, name=name, seed=0) for name in ("dcgan", "vae", "flow") if name in peers]
    fixed = {}
    if "gaussian" in peers:
        fixed["per-class Gaussian"] = far(gaussian(data, given.made))
    if "real" in peers:
        fixed["real training pictures"] = far(data.learnt[: given.made])
    print(table([*runs, *peer_runs], fixed, given, named))
    ratios = [run.final / run.best for run in runs]
    mean = statistics.fmean(run.final for run in runs) if runs else math.nan
    rivals = {run.name: run.final for run in peer_runs if run.name == "vae"}
    rivals |= {name: value for name, value in fixed.items() if name != "real training pictures"}
    missed = [f"seed {run.seed}" for run, ratio in zip(runs, ratios, strict=True) if ratio > RATIO]
    missed += [name for name, value in rivals.items() if mean >= value]
    missed += [run.name for run in peer_runs if run.name == "flow" and run.final >= mean]
    said = {
        "preset": given.preset,
        "features": named,
        "minutes": given.minutes,
        "batch": given.batch,
        "rate": given.rate,
        "ratios": [round(ratio, 4) for ratio in ratios],
        "mean_final": round(mean, 4) if runs else None,
        "runs": [dataclasses.asdict(run) for run in [*runs, *peer_runs]],
        "fixed": fixed,
        "missed": missed,
    }
    print(json.dumps(said))
    return 3 if missed else 0


def table(runs: Sequence[Run], fixed: dict[str, float], given: argparse.Namespace, named: str) -> str:
    """Markdown."""
    lines = [
        f"Frechet distance over `{named}`, {given.made:,} made against 10,000 test pictures, {given.minutes:g} minutes "
        f"of training on {given.threads} threads:",
        "",
        "| model | seed | parameters | steps | best | final | final / best |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        lines.append(
            f"| {run.name} | {run.seed} | {run.parameters:,} | {run.steps:,} | {run.best:.3f} | {run.final:.3f} | "
            f"{run.final / run.best:.3f} |"
        )
    lines += [f"| {name} | | | | | {value:.3f} | |" for name, value in fixed.items()]
    return "\n".join(lines)


# -- training ----------------------------------------------------------------------------------------------------------
def learn(given: argparse.Namespace, data: Data, far: Callable[[Bytes], float], *, name: str, seed: int) -> Run:
    """One run of a preset of the gan family, of the autoencoder or of the flow, measured several times."""
    import torch
    from safetensors.torch import load_file, save_file

    from spearhead.models import pictures
    from spearhead.training import checkpoint
    from spearhead.training.batches import Batches
    from spearhead.training.loop import train
    from spearhead.training.plan import Plan

    rate = given.rate if name not in ("dcgan", "vanilla") else 2e-4  # the published one, without a penalty to hold it
    plan = Plan(
        batch=given.batch,
        learning_rate=rate,
        clip={"vae": 100.0, "flow": 1.0}.get(name, 0.0),
        average=given.average,
        precision="fp32",
        warmup=0.02,
        decay=0.4,
        seed=seed,
        micro_batch=1024,
    )
    examples = [pictures.Picture(p, int(label)) for p, label in zip(data.learnt, data.labels, strict=True)]
    held = pictures.pack(
        [pictures.Picture(p, int(label)) for p, label in zip(data.held[:1024], data.held_labels[:1024], strict=True)]
    )
    folder = None if given.folder is None else given.folder / f"{name}-{seed}"
    minutes, looks = given.minutes, given.looks
    if name == "flow":
        minutes = 0.0 if given.flow_steps else given.flow_minutes or given.minutes
        looks = given.flow_looks
    if name == "flow" and given.flow_steps:
        steps = given.flow_steps
    else:
        trial = Batches(examples, pictures.pack, plan=plan)
        steps = planned(given, name, trial, minutes=minutes, looks=looks, folder=folder)
    plan = dataclasses.replace(plan, steps=steps, minutes=minutes, validate_every=max(1, steps // looks))
    batches = Batches(examples, pictures.pack, plan=plan)
    model = network(name, steps=steps, seed=seed)
    rows = [] if folder is None else kept(folder / "measured.jsonl")

    def look(step: int, seconds: float, held: float, *, last: bool) -> None:
        how = manner(given, name, last=last)
        made = drawn(model, name=name, how=how)
        row = {"step": step, "seconds": seconds, "distance": far(made), "held": held, **how}
        rows.append(row)
        print(f"{name} seed {seed}, of {steps:,} steps: {json.dumps(row)}", file=sys.stderr, flush=True)
        if folder is not None:
            write_whole(folder / "measured.jsonl", "".join(json.dumps(one) + "\n" for one in rows))
            show(folder / f"{step:07d}.png", made[:60])

    for step in train(model, batches, plan, validation=[held], folder=folder and folder / "checkpoint"):
        if step.validation is None:
            continue
        if folder is not None:  # the last look may take longer than a person waits: it can be taken again
            folder.mkdir(parents=True, exist_ok=True)
            save_file(checkpoint.snapshot(model), folder / "looked-at.safetensors")
        look(step.number, step.elapsed, step.validation, last=step.progress == 1.0)
    at = None if folder is None else checkpoint.read(folder / "checkpoint")
    wanted = {"step": at and at.step, **manner(given, name, last=True)}
    if folder is not None and at is not None and (not rows or wanted.items() - rows[-1].items()):
        checkpoint.put_back(model, load_file(folder / "looked-at.safetensors"))
        with torch.no_grad():
            loss = float(next(iter(model.eval().losses(held)))[1])
        model.train()
        look(at.step, at.elapsed, loss, last=True)
    last = rows[-1]
    return Run(
        name,
        seed,
        int(last["step"]),
        last["seconds"],
        sum(p.numel() for p in model.parameters()),
        {int(row["step"]): row["distance"] for row in rows},
        {int(row["step"]): row["held"] for row in rows},
        {int(row["step"]): int(row["made"]) for row in rows},
    )


def manner(given: argparse.Namespace, name: str, *, last: bool) -> dict[str, Any]:
    """How a look is taken: of how many pictures, and how the flow draws them."""
    if name != "flow":
        return {"made": given.made}
    count = given.made if last else given.flow_made
    return {"made": count, "steps": DRAWN_IN, "solver": given.solver, "guidance": given.guidance}


def drawn(model: Any, *, name: str, how: dict[str, Any]) -> Bytes:
    """Pictures of a model as it is, every class as often; the same noise each time."""
    import torch

    from spearhead.models import pictures

    labels, rng = torch.arange(how["made"]) % len(NAMES), torch.Generator().manual_seed(1)
    part = 250 if name == "flow" else len(labels)  # 25 passes in the cache, or one in memory
    found = []
    with torch.random.fork_rng(devices=[]):
        for some in torch.split(labels, part):
            *_, end = model.sample(some, len(some), rng=rng, options=how if name == "flow" else {})
            found.append(pictures.pixels(end))
    return np.concatenate(found)


def kept(file: Path) -> list[dict[str, Any]]:
    """What was measured before the run was broken off."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def network(name: str, *, steps: int, seed: int) -> Any:
    """A model by its name."""
    from spearhead.models.pictures import Shape

    shape = Shape(28, 28, 1, NAMES)
    if name == "vae":
        from spearhead.models import vae
        from spearhead.models.vae.network import build as build_vae

        return build_vae(vae.FAMILY.presets["default"], shape, steps=steps, seed=seed)
    if name == "flow":
        from spearhead.models import flow
        from spearhead.models.flow.network import build as build_flow

        return build_flow(flow.FAMILY.presets["default"], shape, steps=steps, seed=seed)
    from spearhead.models import gan
    from spearhead.models.gan.network import build

    if name not in gan.FAMILY.presets:
        raise InputError(f"--preset is {name!r}: wanted one of {', '.join(gan.FAMILY.presets)}")
    config = dataclasses.replace(gan.FAMILY.presets[name], size=28, channels=1)
    return build(config, shape, steps=steps, seed=seed)


def planned(
    given: argparse.Namespace, name: str, batches: Any, *, minutes: float, looks: int, folder: Path | None
) -> int:
    """How many steps fit into the minutes, by a short trial on a model that is thrown away; once for each run."""
    from spearhead.training.loop import train
    from spearhead.training.plan import Plan

    file = None if folder is None else folder / "steps.json"
    if file is not None and file.exists():
        return int(json.loads(file.read_text("utf-8")))
    trial = Plan(steps=14, batch=given.batch, learning_rate=1e-4, precision="fp32", average=given.average)
    seconds = [step.seconds for step in train(network(name, steps=14, seed=0), batches, trial)]
    steps: int = max(looks, int(minutes * 60 / statistics.median(seconds[4:])))
    if file is not None:
        write_whole(file, json.dumps(steps))
    return steps


def show(file: Path, made: Bytes) -> None:
    """A grid of samples, a column for each class."""
    from spearhead.media.image import codec

    write_whole(file, codec.write(codec.enlarge(codec.grid(list(made), len(NAMES)), 400)).data)


# -- judging -----------------------------------------------------------------------------------------------------------
def frechet(a: Floats, b: Floats) -> float:
    """Squared Frechet distance of features (n, f) and (m, f) as Gaussians (arXiv 1706.08500, equation 6)."""
    left, right = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(left)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    both = np.sqrt(np.linalg.eigvalsh(root @ right @ root).clip(0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(left) + np.trace(right) - 2 * both)


def extractor(name: str, data: Data) -> tuple[str, Callable[[Bytes], Floats]]:
    """The features by name: the project's own classifier (trained once, kept in the cache), or random filters."""
    if name == "random":
        import torch

        from spearhead.models.gan.distance import Features

        filters = Features(1)

        def random(pixels: Bytes) -> Floats:
            with torch.no_grad():
                block = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
                found: Floats = torch.cat([filters(part) for part in torch.split(block, 500)]).double().numpy()
            return found

        return "gan-random-filters@1", random
    from spearhead.metrics import features

    making = features.classifier(
        Home.find(),
        train=[(NAMES[label], _png(one)) for one, label in zip(data.learnt, data.labels, strict=True)],
        held=[(NAMES[label], _png(one)) for one, label in zip(data.held, data.held_labels, strict=True)],
        data=f"gan_stability:{SHA256}",
    )
    while True:
        try:
            said = next(making)
        except StopIteration as end:
            found = end.value
            break
        print(f"{said.stage}: {said.done:g} of {said.total:g} {said.note}", file=sys.stderr, flush=True)

    def classified(pixels: Bytes) -> Floats:
        seen: Floats = found([_png(one) for one in pixels]).features.astype(np.float64)
        return seen

    return f"{found.facts.signature}, right on {found.facts.accuracy:.1%}", classified


def gaussian(data: Data, count: int) -> Bytes:
    """Pictures of a normal distribution with each class's own mean and covariance of pixels."""
    rng = np.random.default_rng(0)
    made = np.empty((count, 28, 28, 1), np.uint8)
    for label in range(len(NAMES)):
        known = data.learnt[data.labels == label].reshape(-1, 784).astype(np.float64)
        values, vectors = np.linalg.eigh(np.cov(known, rowvar=False))
        places = np.arange(label, count, len(NAMES))
        drawn = rng.normal(size=(len(places), 784)) * np.sqrt(values.clip(0)) @ vectors.T + known.mean(0)
        made[places] = drawn.round().clip(0, 255).astype(np.uint8).reshape(-1, 28, 28, 1)
    return made


def _png(pixels: Bytes) -> Media:
    from spearhead.data import pictures

    return pictures.png(pixels)


if __name__ == "__main__":
    began = time.perf_counter()
    try:
        code = main()
    except InputError as error:
        print(error, file=sys.stderr)
        code = 2
    print(f"{time.perf_counter() - began:.0f} s in all", file=sys.stderr)
    sys.exit(code)
