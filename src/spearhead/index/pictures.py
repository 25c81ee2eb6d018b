"""Which pictures nearly repeat each other, and which known picture a new one is most like. Knows pixels alone.

A picture is remembered as a thumbnail: 16 x 16 averages of its areas, so that a copy in another size, of another
compression or a little brighter stays close. The search is exact: two thumbnails lie at least as far apart as their
projections on one line do, so only a window of that line is compared.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core import digest
from spearhead.core.errors import InputError

Array = np.ndarray[Any, Any]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]

SIDE = 16
WIDTH = SIDE * SIDE * 3
BLOCK = 1024
"""Pictures that are compared with their window at a time."""
ARRAYS = "pictures.npz"
NAMES = "pictures.json"


@dataclass(frozen=True, slots=True)
class Likeness:
    """The known picture `id` that a picture is most like; `similarity` 1 is the same thumbnail, 0 nothing alike."""

    id: str
    similarity: float


def thumbnails(pictures: Iterable[Pixels]) -> Array:
    """uint8 (n, 768): the 16 x 16 area averages of each picture, uint8 (h, w, 1, 3 or 4); transparency lies on white.

    Pictures that follow each other in one shape are averaged together.
    """
    out: list[Array] = []
    batch: list[Pixels] = []
    for one in pictures:
        if batch and (one.shape != batch[0].shape or len(batch) == BLOCK):
            out.append(_averaged(np.stack(batch)))
            batch = []
        batch.append(one)
    if batch:
        out.append(_averaged(np.stack(batch)))
    return np.concatenate(out) if out else np.zeros((0, WIDTH), np.uint8)


def similarity(first: Array, second: Array) -> Array:
    """1 less the root mean square difference over the contrast (standard deviation) of the two, row by row.

    1 is equal; two different pictures lie about 0 or below. Flat pictures are like none but their equals.
    """
    one, other = first.astype(np.float32), second.astype(np.float32)
    gap = np.sqrt(np.mean((one - other) ** 2, axis=-1))
    contrast = np.sqrt((one.var(axis=-1) + other.var(axis=-1)) / 2)
    flat = np.where(gap > 0, np.inf, 0.0).astype(np.float32)
    return np.asarray(1 - np.divide(gap, contrast, out=flat, where=contrast > 1e-6))


def pairs(found: Array, threshold: float) -> Iterator[tuple[int, list[tuple[int, float]]]]:
    """For every picture of `found` (n, 768), those of at least `threshold` similarity with their similarity.

    Each pair is told at one of its two ends only; pictures without a pair are left out.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"the similarity of near-duplicate pictures is {threshold}: wanted above 0, at most 1")
    if not len(found):
        return
    window = _Window(found)
    for start in range(0, len(found), BLOCK):
        rows, matches, likeness = window.near(start, min(start + BLOCK, len(found)), threshold)
        gathered: dict[int, list[tuple[int, float]]] = {}
        for row, other, value in zip(rows.tolist(), matches.tolist(), likeness.tolist(), strict=True):
            gathered.setdefault(row, []).append((other, value))
        yield from gathered.items()


class _Window:
    """Thumbnails in the order of their projection on the line along which they differ most."""

    def __init__(self, found: Array) -> None:
        # Averages over 8 x 8 areas lie closer than the thumbnails: a bound in a twelfth of the work.
        coarse = found.reshape(len(found), SIDE // 2, 2, SIDE // 2, 2, 3).mean((2, 4, 5), dtype=np.float32)
        coarse = coarse.reshape(len(found), -1)  # (n, 64)
        sample = coarse[:: max(1, len(coarse) // 4096)]
        line = np.linalg.svd(sample - sample.mean(0), full_matrices=False)[2][0]
        along = coarse @ line.astype(np.float32)
        self.order = np.argsort(along, kind="stable")
        self.along, self.coarse = along[self.order], coarse[self.order]
        self.square = np.einsum("ij,ij->i", self.coarse, self.coarse)
        self.found = found[self.order]
        values = self.found.reshape(len(found), -1)
        self.contrast = np.concatenate(
            [values[at : at + BLOCK].astype(np.float32).std(1) for at in range(0, len(values), BLOCK)]
        )

    def near(self, start: int, stop: int, threshold: float) -> tuple[Array, Array, Array]:
        """Numbers (in the order given) of the pairs whose first end is at start..stop of the line."""
        reach = (1 - threshold) * max(float(self.contrast.max()), 1e-6) * np.sqrt(self.coarse.shape[1])
        end = int(np.searchsorted(self.along, self.along[stop - 1] + reach + 1e-3, side="right"))
        apart = (
            self.square[start:stop, None]
            + self.square[None, start:end]
            - 2 * self.coarse[start:stop] @ self.coarse[start:end].T
        )
        # The contrast of both ends bounds how far apart a near pair may lie.
        least = self.contrast[start:end].max()
        bound = (1 - threshold) * np.sqrt((self.contrast[start:stop] ** 2 + least**2) / 2)
        rows, columns = np.nonzero(apart <= (bound**2 * self.coarse.shape[1] + 1.0)[:, None])
        later = columns > rows
        rows, columns = rows[later] + start, columns[later] + start
        alike = np.concatenate(
            [
                similarity(self.found[rows[at : at + BLOCK]], self.found[columns[at : at + BLOCK]])
                for at in range(0, len(rows), BLOCK)
            ]
            or [np.zeros(0, np.float32)]
        )
        good = alike >= threshold
        return self.order[rows[good]], self.order[columns[good]], alike[good]


class PictureIndex:
    """Known pictures, ready to be asked. Built once, saved beside the model, read-only afterwards."""

    def __init__(self, ids: Sequence[str], found: Array) -> None:
        self.ids, self.found = list(ids), found
        channels = found.reshape(len(found), -1, 3)
        self._grey = bool((channels == channels[..., :1]).all())  # one of three equal channels says it all
        self._values = (found[:, ::3] if self._grey else found).astype(np.float32)
        self._square = np.einsum("ij,ij->i", self._values, self._values) * (3 if self._grey else 1)
        self._variance = self._values.var(axis=1)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def build(cls, pictures: Iterable[tuple[str, Pixels]]) -> "PictureIndex":
        """An index of (id, pixels) pairs; raises InputError when there is none."""
        ids: list[str] = []

        def told() -> Iterator[Pixels]:
            for name, pixels in pictures:
                ids.append(name)
                yield pixels

        found = thumbnails(told())
        if not ids:
            raise InputError("a picture index needs at least one picture")
        return cls(ids, found)

    def nearest(self, pixels: Pixels) -> Likeness:
        """The known picture with the greatest similarity, the first of equals."""
        own = thumbnails([pixels])[0].astype(np.float32)
        along = self._values @ (own.reshape(-1, 3).sum(1) if self._grey else own)
        gap = np.maximum(self._square + own @ own - 2 * along, 0) / WIDTH
        contrast = np.maximum((self._variance + own.var()) / 2, 1e-12)
        best = int(np.argmin(gap / contrast))
        return Likeness(self.ids[best], float(similarity(own[None], self.found[best : best + 1])[0]))

    def thumbnail(self, id: str) -> Pixels:
        """What the index keeps of a known picture: uint8 (16, 16, 3)."""
        try:
            return np.asarray(self.found[self.ids.index(id)]).reshape(SIDE, SIDE, 3)
        except ValueError:
            raise InputError(f"the picture index holds no picture {id[:80]!r}") from None

    def save(self, folder: Path) -> None:
        """Two plain files in `folder`: thumbnails as .npz without pickle, names as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / ARRAYS, found=self.found)
        names = {"version": 1, "arrays": digest.of_file(folder / ARRAYS), "ids": self.ids}
        (folder / NAMES).write_text(json.dumps(names, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path) -> "PictureIndex":
        """What `save` wrote; raises InputError on anything else."""
        try:
            names = json.loads((folder / NAMES).read_text("utf-8"))
            if names["version"] != 1 or names["arrays"] != digest.of_file(folder / ARRAYS):
                raise InputError(f"{folder / ARRAYS} is not the file that {NAMES} speaks of: build the index again")
            with np.load(folder / ARRAYS, allow_pickle=False) as box:
                found = box["found"]
            ids = [str(one) for one in names["ids"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{folder} holds no picture index: {error}; build it again") from error
        if found.dtype != np.uint8 or found.shape != (len(ids), WIDTH) or not ids:
            raise InputError(f"{folder} holds a picture index whose parts do not fit each other: build it again")
        return cls(ids, found)


@lru_cache(maxsize=16)
def opened(folder: Path) -> PictureIndex:
    """The index in `folder`, loaded once: a release never changes."""
    return PictureIndex.load(folder)


def _averaged(pictures: Pixels) -> Array:
    """(n, h, w, c) uint8 to (n, 768) uint8."""
    count, height, width, channels = pictures.shape
    values: Array = pictures.astype(np.float32)
    if channels == 4:
        opaque = values[..., 3:] / 255
        values = values[..., :3] * opaque + 255 * (1 - opaque)
    rows, columns = _areas(height), _areas(width)
    small = np.einsum("ih,nhwc->niwc", rows, values, optimize=True)
    small = np.einsum("jw,niwc->nijc", columns, small, optimize=True)
    small = np.broadcast_to(small, (count, SIDE, SIDE, 3))
    return np.asarray(np.rint(small).astype(np.uint8).reshape(count, WIDTH))


def _areas(length: int) -> Array:
    """(16, length): how much of each pixel lies in each of 16 equal stretches; rows add up to 1."""
    edges = np.linspace(0, length, SIDE + 1)
    begin = np.maximum(edges[:-1, None], np.arange(length)[None])
    end = np.minimum(edges[1:, None], np.arange(1, length + 1)[None])
    shares = np.maximum(end - begin, 0)
    return np.asarray((shares / shares.sum(1, keepdims=True)).astype(np.float32))
