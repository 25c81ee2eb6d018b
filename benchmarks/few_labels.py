"""What pictures without labels, and generated pictures, do for a classifier that has few labels.

    python benchmarks/few_labels.py --threads 1 --folder runs/few

Of FashionMNIST's 55,000 training pictures 1 % (550) and 10 % (5,500), as many of every class, keep their labels; every
seed draws others. The project's small classifier learns through the project's own loop, in every way for as many steps
with as many of these labelled pictures a step:

- alone: they alone, mirrored and moved a little;
- changed: they alone, changed as strongly as FixMatch changes its pictures (so that what FixMatch gains over this is
  what pictures without labels bring);
- semi: FixMatch (arXiv 2001.07685), which sees all 55,000 pictures, and of the labels these alone;
- taught: as alone, with all 55,000 pictures added under the classes that this seed's `alone` classifier gives them
  (self-training, as in arXiv 1911.04252 without its noise): no label besides these either;
- own: as alone, with generated pictures added: the project's variational autoencoder, told the class, learnt these
  labelled pictures and nothing else;
- all: the same with an autoencoder that learnt all 55,000 pictures, with the classes that this seed's `alone`
  classifier gave them: it has seen no label besides these.

Judged by the 10,000 test pictures; differences to `alone` are paired by seed and picture, with 95 % intervals over
both.
No label besides these is used for stopping: all runs end after their steps. `--judge held --first 100` is for trying
settings, on 5,000 other pictures and other seeds. Prints a Markdown table last; with `--folder` a run that was broken
off goes on.
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from _fashion import NAMES, SHA256, Bytes, Data, fashion
from _runs import Right, kept, learn, spread
from spearhead.core.errors import InputError

WAYS = {
    "alone": "alone",
    "changed": "alone, strongly changed",
    "semi": "semi-supervised: FixMatch",
    "taught": "semi-supervised: its own guesses added",
    "own": "generated added, generator of the labelled pictures alone",
    "all": "generated added, generator of all pictures, classes guessed",
}
SEEDS = {0.01: 5, 0.1: 3}
"""Seeds of a share of the labels, unless told."""


def main() -> int:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", default="0.01,0.1", help="of the labels (default 0.01,0.1)")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"alone and some of {', '.join(WAYS)} (default: all)")
    parser.add_argument("--seeds", type=int, default=0, help="default: five for 1 %%, three for more")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--judge", choices=("test", "held"), default="test", help="held: for trying settings")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64, help="labelled pictures a step")
    parser.add_argument("--bare", type=int, default=2, help="pictures without labels a step, in batches (semi)")
    parser.add_argument("--made", type=float, default=0.5, help="generated pictures a step, in batches (own, all)")
    parser.add_argument("--rate", type=float, default=4e-3, help="learning rate at its height")
    parser.add_argument("--sure", type=float, default=0.95, help="FixMatch's threshold")
    parser.add_argument("--maker-steps", type=int, default=1000, help="of the generators")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep results and runs here, and go on from here")
    given = parser.parse_args()
    given.shares = [float(share) for share in given.shares.split(",")]
    ways = [name for name in given.ways.split(",") if name]
    if unknown := set(ways) - set(WAYS) or {"alone"} - set(ways):
        raise InputError(f"--ways {given.ways} is wrong about {', '.join(unknown)}: wanted alone and some of {[*WAYS]}")
    if not all(0 < share <= 0.5 for share in given.shares):
        raise InputError(f"--shares is {given.shares}: wanted shares of the labels above 0, at most 0.5")
    import torch

    torch.set_num_threads(given.threads)
    data = fashion()
    found: dict[float, dict[str, list[Right]]] = {}
    for share in given.shares:
        seeds = range(given.first, given.first + (given.seeds or SEEDS.get(share, 3)))
        rows = [{way: measured(given, data, share, way, seed) for way in ways} for seed in seeds]
        found[share] = {way: [row[way] for row in rows] for way in ways}
    print(table(given, found))
    return 0


def measured(given: argparse.Namespace, data: Data, share: float, way: str, seed: int) -> Right:
    """Which of the judging pictures one run gets right."""
    names = ("steps", "batch", "bare", "made", "rate", "sure", "maker_steps", "judge")
    settings = {name: getattr(given, name) for name in names}
    settings |= {"data": SHA256, "share": share, "way": way, "seed": seed, "version": 1}
    name = named(way, share, seed)
    return kept(given.folder, name, settings, lambda folder: run(given, data, share, way, seed, folder))["right"]


def run(
    given: argparse.Namespace, data: Data, share: float, way: str, seed: int, folder: Path | None
) -> dict[str, Right]:
    """Train one classifier, and its generator if it has one, and judge it."""
    from spearhead.metrics.learner import right
    from spearhead.metrics.pools import Pool

    few = drawn(data.labels, share=share, seed=seed)
    pixels, labels = data.learnt[few], data.labels[few]
    name = f"{way}, {share:.0%}, seed {seed}"
    pools = [Pool(pixels, given.batch, labels)]
    if way == "semi":
        pools.append(Pool(data.learnt, given.batch * given.bare))
    elif way == "own":
        pools.append(made(given, name, pixels, labels, seed, folder))
    elif way in ("taught", "all"):
        # With a folder the teacher is read from it.
        known = folder and folder.parent / named("alone", share, seed)
        teacher = classifier(given, f"{name}, teacher", pools, "alone", seed, known)
        guesses = guessed(teacher, data.learnt, few, labels)
        if way == "taught":
            pools.append(Pool(data.learnt, given.batch, guesses))
        else:
            pools.append(made(given, name, data.learnt, guesses, seed, folder))
    network = classifier(given, name, pools, way, seed, folder)
    test, wanted = (data.test, data.test_labels) if given.judge == "test" else (data.held, data.held_labels)
    return {"right": right(network, test, wanted)}


def named(way: str, share: float, seed: int) -> str:
    """What a run's folder is called."""
    return f"{way}-{share:g}-{seed}"


def drawn(labels: Any, *, share: float, seed: int) -> Any:
    """Places of the pictures that keep their labels: as many of every class."""
    rng = np.random.default_rng([seed, 7])
    count = round(len(labels) * share / len(NAMES))
    return np.sort(
        np.concatenate([rng.permutation(np.flatnonzero(labels == one))[:count] for one in range(len(NAMES))])
    )


# -- the classifier ----------------------------------------------------------------------------------------------------
def classifier(
    given: argparse.Namespace, name: str, pools: Sequence[Any], way: str, seed: int, folder: Path | None
) -> Any:
    """The network, trained in one of the ways."""
    from spearhead.metrics.learner import Learner, Objective, build, consistent, supervised
    from spearhead.metrics.pools import Order
    from spearhead.training.plan import Plan

    objective: Objective = functools.partial(supervised, change=strong if way == "changed" else weak)
    if way == "semi":
        objective = functools.partial(consistent, weak=weak, strong=strong, sure=given.sure)
    plan = Plan(
        steps=given.steps,
        batch=given.batch,
        learning_rate=given.rate,
        weight_decay=0.01,
        clip=0.0,
        schedule="cosine",
        warmup=0.1,
        average=0.99,
        precision="fp32",
        save_every=200,
        seed=seed,
        track=(),
    )
    model = Learner(build(size=28, channels=1, classes=len(NAMES), seed=seed), objective)
    learn(name, model, Order(pools, seed=seed), plan, folder and folder / "run")
    return model.network


def weak(x: Any) -> Any:
    """FixMatch's weak change: mirrored by chance, moved by up to an eighth of the side."""
    from spearhead.metrics import views
    from spearhead.models.gan import augment

    return augment.translation(views.mirrored(x))


def strong(x: Any) -> Any:
    """The weak change, then turned, stretched, slanted, lit otherwise, and a square of half the side cut out."""
    from spearhead.metrics import views
    from spearhead.models.gan import augment

    return augment.cutout(
        views.relit(views.turned(weak(x), degrees=15, stretch=0.15, slant=0.15), contrast=0.5, gamma=0.5)
    )


# -- the generator -----------------------------------------------------------------------------------------------------
def guessed(network: Any, pixels: Bytes, few: Any, labels: Any) -> Any:
    """The class of every picture: where the label is known that, elsewhere what the network says."""
    import torch

    with torch.no_grad():
        blocks = np.array_split(pixels.transpose(0, 3, 1, 2), max(1, len(pixels) // 500))
        said = [network(torch.from_numpy(block.copy()).float() / 255)[1].argmax(1).numpy() for block in blocks]
    found = np.concatenate(said)
    found[few] = labels
    return found


def made(given: argparse.Namespace, name: str, pixels: Bytes, labels: Any, seed: int, folder: Path | None) -> Any:
    """A pool of as many pictures as the generator learnt, 5,500 to 20,000, of evenly spread classes."""
    import torch

    from spearhead.metrics.pools import Pool
    from spearhead.models import pictures, vae
    from spearhead.models.vae.network import build
    from spearhead.training.batches import Batches
    from spearhead.training.plan import Plan

    plan = Plan(
        steps=given.maker_steps,
        batch=64,
        micro_batch=64,
        learning_rate=2e-3,
        clip=100.0,
        schedule="cosine",
        warmup=0.02,
        average=0.995,
        precision="fp32",
        save_every=500,
        seed=seed,
        track=(),
    )
    examples = [pictures.Picture(one, int(label)) for one, label in zip(pixels, labels, strict=True)]
    shape = pictures.Shape(28, 28, 1, NAMES)
    maker = build(vae.FAMILY.presets["default"], shape, steps=plan.steps, seed=seed)
    batches = Batches(examples, pictures.pack, plan=plan, change=functools.partial(turned, examples))
    learn(f"{name}, generator", maker, batches, plan, folder and folder / "maker")
    wanted = torch.arange(min(max(5500, len(pixels)), 20_000)) % len(NAMES)
    with torch.no_grad():
        *_, found = maker.sample(wanted, len(wanted), rng=torch.Generator().manual_seed(seed), options={})
    block = pictures.pixels(found)
    if folder is not None:
        show(folder.parent / f"{folder.name}.png", block[:60])
    return Pool(block, max(1, round(given.batch * given.made)), wanted.numpy())


def turned(examples: Any, number: int, rng: np.random.Generator) -> Any:
    """An example, mirrored by chance."""
    one = examples[number]
    return one if rng.random() < 0.5 else dataclasses.replace(one, pixels=np.ascontiguousarray(one.pixels[:, ::-1]))


def show(file: Path, block: Bytes) -> None:
    """A grid of generated pictures, a column for each class."""
    from spearhead.core.files import write_whole
    from spearhead.media.image import codec

    write_whole(file, codec.write(codec.enlarge(codec.grid(list(block), len(NAMES)), 400)).data)


# -- the table ---------------------------------------------------------------------------------------------------------
def table(given: argparse.Namespace, found: dict[float, dict[str, list[Right]]]) -> str:
    """Markdown."""
    which = "10,000 test" if given.judge == "test" else "5,000 held-out"
    lines = [
        f"Right of the {which} pictures, {given.steps:,} steps, 95 % over seeds and pictures; differences in points:",
        "",
        "| labels | seeds | the classifier learnt | right | to alone |",
        "|---|---|---|---|---|",
    ]
    for share, ways in found.items():
        base = np.stack(ways["alone"]).astype(np.float64)
        for way, runs in ways.items():
            block = np.stack(runs).astype(np.float64)
            mean, low, high = (100 * value for value in spread(block))
            row = f"| {share:.0%} | {len(runs)} | {WAYS[way]} | {mean:.2f} ({low:.2f}-{high:.2f}) | "
            if way != "alone":
                more, least, most = (100 * value for value in spread(block - base))
                row += f"{more:+.2f} ({least:+.2f} to {most:+.2f}) "
            lines.append(f"{row}|")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        code = main()
    except InputError as error:
        print(error, file=sys.stderr)
        code = 2
    sys.exit(code)
