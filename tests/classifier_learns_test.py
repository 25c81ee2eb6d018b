"""The small classifier under the one training loop: against attacks, and with pictures that have no labels."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spearhead.metrics import attacks, views
from spearhead.metrics.learner import Learner, Objective, build, consistent, hardened, right, supervised
from spearhead.metrics.pools import Order, Pool
from spearhead.training.loop import train
from spearhead.training.plan import Plan

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Labels = np.ndarray[Any, np.dtype[np.int64]]
PLAN = Plan(steps=60, batch=32, learning_rate=0.01, clip=0.0, precision="fp32", save_every=0, track=())


def drawn(count: int, *, seed: int) -> tuple[Pixels, Labels]:
    """Two classes, told by a square that is dark or bright in 95 of 100 pictures, and by all other pixels a little.

    The many weak hints together are never wrong, but an attack turns them round; the square it cannot hide (the setting
    of Tsipras et al., arXiv 1805.12152, section 2.1).
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    sign = (2 * labels - 1)[:, None, None]
    pictures = 0.5 + 0.05 * sign + rng.normal(0, 0.1, (count, 8, 8))
    pictures[:, 2:5, 2:5] = 0.5 + 0.3 * sign * np.where(rng.random((count, 1, 1)) < 0.95, 1, -1)
    return (pictures * 255).clip(0, 255).astype(np.uint8)[..., None], labels


def test_who_trains_against_the_attack_withstands_more_of_it() -> None:
    attack = functools.partial(attacks.pgd, size=0.1, steps=4)
    objectives: dict[str, Objective] = {
        "plain": supervised,
        "hardened": functools.partial(hardened, attack=attack, clean=0.0),
    }
    found = {}
    for name, objective in objectives.items():
        pixels, labels = drawn(800, seed=0)
        model = Learner(build(size=8, channels=1, classes=2, seed=0), objective)
        for _ in train(model, Order([Pool(pixels, 32, labels)], seed=0), PLAN):
            pass
        pixels, labels = drawn(400, seed=1)
        found[name] = [right(model.network, pixels, labels, attack=way).mean() for way in (None, attack)]
    assert found["plain"][0] > 0.97 and found["plain"][1] < 0.7, found
    assert min(found["hardened"]) > 0.9, found


def test_a_run_with_pictures_without_labels_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    pixels, labels = drawn(300, seed=0)
    order = Order([Pool(pixels[:40], 8, labels[:40]), Pool(pixels[40:300], 16)], seed=0)
    objective = functools.partial(
        consistent,
        weak=views.mirrored,
        strong=functools.partial(views.turned, degrees=20, stretch=0.1, slant=0.1),
        sure=0.2,
    )
    plan = Plan(steps=6, batch=8, precision="fp32", average=0.9, save_every=0, track=())

    def learnt(folder: Path, *, broken_off: bool) -> Tensor:
        model = Learner(build(size=8, channels=1, classes=2, seed=0), objective)
        run = train(model, order, plan, folder=folder)
        if broken_off:
            for _ in range(3):
                next(run)
            run.close()
            model = Learner(build(size=8, channels=1, classes=2, seed=5), objective)
            run = train(model, order, plan, folder=folder)
        for _ in run:
            pass
        return torch.cat([value.flatten().float() for value in model.state_dict().values()])

    whole, two_parts = learnt(tmp_path / "a", broken_off=False), learnt(tmp_path / "b", broken_off=True)
    assert torch.equal(whole, two_parts)
