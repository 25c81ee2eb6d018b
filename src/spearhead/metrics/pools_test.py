"""What a step of a classifier's training is shown."""

from typing import Any

import numpy as np
import pytest
import torch

from spearhead.core.errors import InputError
from spearhead.metrics.pools import Order, Pool


def pictures(count: int, *, first: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Pictures of 4 x 4 pixels, each of one grey level that is its number."""
    return np.broadcast_to(
        np.arange(first, first + count, dtype=np.uint8)[:, None, None, None], (count, 4, 4, 1)
    ).copy()


def test_every_picture_of_a_pool_is_shown_once_an_epoch_with_its_own_label() -> None:
    order = Order([Pool(pictures(10), 4, np.arange(10)), Pool(pictures(6, first=100), 3)], seed=0)
    shown = [order.at(step)[0] for step in range(5)]
    labels = torch.cat([batch.labels for batch in shown])
    for epoch in labels.view(2, 10):
        assert sorted(epoch.tolist()) == list(range(10))
    for batch in shown:
        assert batch.pixels.shape == (4, 1, 4, 4) and batch.bare.shape == (3, 1, 4, 4)
        assert (batch.pixels.mean((1, 2, 3)) * 255).round().tolist() == batch.labels.tolist()
        assert (batch.weight, batch.examples) == (4, 7)
    bare = torch.cat([batch.bare[:, 0, 0, 0] for batch in shown[:4]]) * 255
    assert sorted(bare[:6].round().tolist()) == sorted(bare[6:].round().tolist()) == list(range(100, 106))


def test_a_step_is_the_same_whatever_was_shown_before() -> None:
    pools = [Pool(pictures(7), 5, np.arange(7)), Pool(pictures(20), 3)]
    one, other = Order(pools, seed=3), Order(pools, seed=3)
    walked = [one.at(step)[0] for step in range(6)]
    assert torch.equal(other.at(5)[0].labels, walked[5].labels) and torch.equal(other.at(5)[0].bare, walked[5].bare)
    assert not torch.equal(Order(pools, seed=4).at(0)[0].labels, walked[0].labels)


def test_several_pools_with_labels_stand_one_after_the_other() -> None:
    order = Order([Pool(pictures(3), 2, np.zeros(3)), Pool(pictures(3), 4, np.ones(3))], seed=0)
    assert order.at(0)[0].labels.tolist() == [0, 0, 1, 1, 1, 1]
    assert len(order.at(0)[0].bare) == 0


def test_other_pictures_labels_or_counts_have_another_digest() -> None:
    labels = np.arange(4)
    pools = [
        Pool(pictures(4), 2, labels),
        Pool(pictures(4, first=1), 2, labels),
        Pool(pictures(4), 2, labels[::-1]),
        Pool(pictures(4), 3, labels),
    ]
    assert len({Order([pool], seed=0).digest for pool in pools} | {Order(pools[:1], seed=1).digest}) == 5


def test_pools_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="no picture has a label"):
        Order([Pool(pictures(4), 2)], seed=0)
    with pytest.raises(InputError, match="at least one of each"):
        Order([Pool(pictures(4), 0, np.arange(4))], seed=0)
    with pytest.raises(InputError, match="3 labels"):
        Order([Pool(pictures(4), 2, np.arange(3))], seed=0)
