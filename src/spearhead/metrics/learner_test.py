"""The small classifier as the one training loop learns it."""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from spearhead.metrics.learner import Learner, build, consistent, hardened, supervised
from spearhead.metrics.pools import Batch


def batch(*, labelled: int = 6, bare: int = 9) -> Batch:
    rng = torch.Generator().manual_seed(0)
    pixels, without = torch.rand(labelled, 1, 8, 8, generator=rng), torch.rand(bare, 1, 8, 8, generator=rng)
    return Batch(pixels, torch.arange(labelled) % 4, without)


def darker(x: Tensor) -> Tensor:
    return x * 0.5


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generator_alone() -> None:
    before = torch.get_rng_state()
    one, other, third = (build(size=8, channels=1, classes=4, seed=seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(one, other) and not torch.equal(one, third)
    assert torch.equal(before, torch.get_rng_state())


def test_pictures_without_labels_teach_only_where_the_network_is_sure() -> None:
    network = build(size=8, channels=1, classes=4, seed=0).eval()
    shown = batch()
    with torch.no_grad():
        surest, said = network(shown.bare)[1].softmax(1).max(1)
        each = F.cross_entropy(network(shown.bare * 0.5)[1], said, reduction="none")
        labelled = F.cross_entropy(network(shown.pixels)[1], shown.labels)
    sure = float(surest.sort().values[4:6].mean())  # four of nine are above it
    wanted = labelled + 2 * each[surest >= sure].sum() / 9
    found = consistent(network, shown, weak=lambda x: x, strong=darker, sure=sure, weight=2.0)
    torch.testing.assert_close(found, wanted)
    nobody = consistent(network, shown, weak=lambda x: x, strong=darker, sure=1.1)
    torch.testing.assert_close(nobody, labelled)


def test_a_class_that_the_network_gave_itself_is_taken_as_given() -> None:
    """No gradient flows into the weakly changed picture: only its strongly changed version learns."""
    network = build(size=8, channels=1, classes=4, seed=0).eval()
    shown = batch()
    consistent(network, shown, weak=lambda x: x, strong=darker, sure=0.0).backward()  # type: ignore[no-untyped-call]
    got = network.head.weight.grad
    assert got is not None
    with torch.no_grad():
        said = network(shown.bare)[1].argmax(1)
    (wanted,) = torch.autograd.grad(
        F.cross_entropy(network(shown.pixels)[1], shown.labels) + F.cross_entropy(network(shown.bare * 0.5)[1], said),
        network.head.weight,
    )
    torch.testing.assert_close(got, wanted)


def test_attacked_pictures_are_made_against_a_network_that_judges_and_then_learns_from_them() -> None:
    network = build(size=8, channels=1, classes=4, seed=0).train()
    shown = batch()
    seen: list[bool] = []

    def attack(pixels: Tensor, loss: Any) -> Tensor:
        seen.append(network.training)
        loss(pixels)
        return darker(pixels)

    found = hardened(network, shown, attack=attack, clean=0.25)
    assert seen == [False] and network.training
    assert network.state_dict()["body.1.num_batches_tracked"] == 2  # the attacked pictures, and the others
    fresh = build(size=8, channels=1, classes=4, seed=0).train()
    both = [F.cross_entropy(fresh(x)[1], shown.labels) for x in (darker(shown.pixels), shown.pixels)]
    torch.testing.assert_close(found, 0.75 * both[0] + 0.25 * both[1])


def test_a_judged_learner_is_shown_its_pictures_as_they_are() -> None:
    network = build(size=8, channels=1, classes=4, seed=0)
    model = Learner(network, functools.partial(supervised, change=darker, smoothing=0.3)).eval()
    shown = batch(bare=0)
    ((name, loss),) = model.losses(shown)
    assert name == "loss"
    torch.testing.assert_close(loss, F.cross_entropy(network(shown.pixels)[1], shown.labels))
