"""Every example once an epoch, the same order for the same seed, shares without overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from spearhead.core.errors import InputError
from spearhead.training.batches import POOL, Batches
from spearhead.training.plan import Plan


@dataclass(frozen=True, slots=True)
class Item:
    number: int
    units: int


def pack(examples: Sequence[Item], *, closes: bool = True) -> tuple[list[Item], bool]:
    return list(examples), closes


ITEMS = [Item(i, 1 + (i * 37) % 90) for i in range(96)]


def test_an_epoch_sees_every_example_once_and_the_next_in_another_order() -> None:
    batches = Batches(ITEMS, pack, plan=Plan(batch=16))
    assert batches.steps_per_epoch == 6
    first = [i for step in range(6) for i in batches.indices(step)]
    second = [i for step in range(6, 12) for i in batches.indices(step)]
    assert sorted(first) == sorted(second) == list(range(96)) and first != second


def test_a_step_is_a_function_of_seed_and_number() -> None:
    one, other = Batches(ITEMS, pack, plan=Plan(batch=16)), Batches(ITEMS, pack, plan=Plan(batch=16))
    for step in (9, 3, 9, 0):
        one.at(step)
    assert one.at(7) == other.at(7)
    assert Batches(ITEMS, pack, plan=Plan(batch=16, seed=1)).at(7) != other.at(7)


def test_buckets_hold_examples_of_like_length_and_lose_none() -> None:
    plan = Plan(batch=4, packing=False)
    items = [Item(i, 1 + (i * 7919) % 200) for i in range(4 * POOL)]
    batches = Batches(items, pack, plan=plan)
    seen = [batches.indices(step) for step in range(POOL)]
    assert sorted(i for batch in seen for i in batch) == list(range(4 * POOL))
    padded = sum(4 * max(items[i].units for i in batch) for batch in seen)
    assert padded < 1.05 * sum(item.units for item in items)
    assert [max(items[i].units for i in batch) for batch in seen] != sorted(
        max(items[i].units for i in b) for b in seen
    )


def test_micro_batches_keep_within_their_tokens_and_only_the_last_closes() -> None:
    parts = Batches(ITEMS, pack, plan=Plan(batch=16, micro_tokens=200)).at(0)
    assert len(parts) > 1
    assert all(sum(item.units for item in part) <= 200 for part, _ in parts)
    assert [closes for _, closes in parts] == [False] * (len(parts) - 1) + [True]
    assert sum(len(part) for part, _ in parts) == 16


def test_processes_share_a_batch_without_overlap() -> None:
    plan = Plan(batch=16)
    whole = sorted(Batches(ITEMS, pack, plan=plan).indices(3))
    parts = [Batches(ITEMS, pack, plan=plan, rank=rank, world=3).at(3) for rank in range(3)]
    assert sorted(item.number for part in parts for micro, _ in part for item in micro) == whole


def test_a_changed_example_is_the_same_after_a_restart() -> None:
    def change(number: int, rng: np.random.Generator) -> Item:
        return Item(number, 1 + int(rng.integers(50)))

    batches = Batches(ITEMS, pack, plan=Plan(batch=8), change=change)
    assert batches.at(5) == Batches(ITEMS, pack, plan=Plan(batch=8), change=change).at(5)
    assert batches.at(5) != Batches(ITEMS, pack, plan=Plan(batch=8)).at(5)


def test_no_example_is_said() -> None:
    with pytest.raises(InputError, match="no example to train on"):
        Batches([], pack, plan=Plan())


@dataclass(frozen=True, slots=True)
class Grid:
    """One example of so many numbers that they are not all shown."""

    values: np.ndarray[Any, np.dtype[np.uint8]]
    units: int = 1


def test_the_digest_knows_every_number_of_every_example() -> None:
    def all_of(examples: Sequence[Grid], *, closes: bool = True) -> Sequence[Grid]:
        return examples

    def named(grids: list[np.ndarray[Any, np.dtype[np.uint8]]]) -> str:
        return Batches([Grid(grid) for grid in grids], all_of, plan=Plan(batch=2)).digest

    grids = [np.zeros((64, 64), np.uint8) for _ in range(3)]
    before = named(grids)
    assert named([grid.copy() for grid in grids]) == before
    for number in range(3):
        other = [grid.copy() for grid in grids]
        other[number][31, 31] = 1
        assert named(other) != before, f"example {number} is another one"
    assert named([grids[0].reshape(32, 128), *grids[1:]]) != before
