"""What a step of a classifier's training is shown: so many pictures of every pool, with labels or without.

A function of seed and step, so a restart needs no memory. Imports torch; knows no classifier.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spearhead.core.errors import InputError

Places = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Batch:
    """`pixels` float32 (n, c, h, w) in [0, 1] with `labels` int64 (n,), and `bare` (m, c, h, w) without."""

    pixels: Tensor
    labels: Tensor
    bare: Tensor

    @property
    def weight(self) -> int:
        return len(self.pixels)

    @property
    def examples(self) -> int:
        return len(self.pixels) + len(self.bare)

    @property
    def units(self) -> int:
        return self.examples


@dataclass(frozen=True, slots=True)
class Pool:
    """Pictures uint8 (n, h, w, c), of which a step is shown `count`; their labels (n,), or None without any."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    count: int
    labels: np.ndarray[Any, np.dtype[Any]] | None = None


class Order:
    """The loop's source of batches: from every pool its count, each of its pictures once in every epoch of its own."""

    def __init__(self, pools: Sequence[Pool], *, seed: int) -> None:
        if not any(pool.labels is not None for pool in pools):
            raise InputError("no picture has a label: wanted at least one pool of pictures with labels")
        for pool in pools:
            if pool.count < 1 or not len(pool.pixels):
                raise InputError(
                    f"a pool of {len(pool.pixels)} pictures, {pool.count} a step: wanted at least one of each"
                )
            if pool.labels is not None and len(pool.labels) != len(pool.pixels):
                raise InputError(f"{len(pool.pixels)} pictures have {len(pool.labels)} labels: wanted one for each")
        self.pools, self.seed = tuple(pools), seed
        self._pixels = [torch.from_numpy(np.ascontiguousarray(pool.pixels.transpose(0, 3, 1, 2))) for pool in pools]
        self._labels = [None if p.labels is None else torch.from_numpy(np.array(p.labels, np.int64)) for p in pools]
        self._epochs: dict[int, tuple[int, Places]] = {}

    @property
    def digest(self) -> str:
        """Names the pictures, their labels and their order."""
        found = hashlib.sha256(repr(self.seed).encode())
        for pool in self.pools:
            found.update(repr((pool.pixels.shape, pool.count, pool.labels is None)).encode())
            found.update(np.ascontiguousarray(pool.pixels).tobytes())
            if pool.labels is not None:
                found.update(np.asarray(pool.labels, np.int64).tobytes())
        return found.hexdigest()

    def at(self, step: int) -> list[Batch]:
        """The one micro-batch of a step."""
        shown: list[Tensor] = []
        named: list[Tensor] = []
        bare: list[Tensor] = [torch.empty(0, *self._pixels[0].shape[1:])]
        for number, (pixels, labels) in enumerate(zip(self._pixels, self._labels, strict=True)):
            places = torch.from_numpy(self.places(number, step))
            chosen = pixels[places].float().div_(255)
            if labels is None:
                bare.append(chosen)
            else:
                shown.append(chosen)
                named.append(labels[places])
        return [Batch(torch.cat(shown), torch.cat(named), torch.cat(bare))]

    def places(self, number: int, step: int) -> Places:
        """Which pictures of pool `number` a step is shown."""
        count = self.pools[number].count
        epochs, offsets = np.divmod(step * count + np.arange(count), len(self.pools[number].pixels))
        return np.concatenate([self._order(number, int(one))[offsets[epochs == one]] for one in np.unique(epochs)])

    def _order(self, number: int, epoch: int) -> Places:
        known, order = self._epochs.get(number, (-1, np.empty(0, np.int64)))
        if known != epoch:
            order = np.random.default_rng([self.seed, number, epoch]).permutation(len(self.pools[number].pixels))
            self._epochs[number] = (epoch, order)
        return order
