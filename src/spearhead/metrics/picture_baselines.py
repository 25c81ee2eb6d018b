"""The trivial pictures that a trained model has to beat, by class: no network, nothing learnt but averages.

Each answers the same cases in the same order. Knows no metric and no model.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.record import Record
from spearhead.core.score import Case
from spearhead.media.image.codec import Channels, Pixels, read, write

NAMES = {
    "real": "a training picture of the class, drawn at random: what real pictures score",
    "mean": "the mean picture of the class",
    "gaussian": "a draw from the Gaussian of the class's pixels (its mean and covariance)",
    "nearest": "the training picture of the class that is nearest to the reference: what perfect copying scores",
}
MOST = 3000
"""Training pictures of a class that a Gaussian is drawn from."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Training pictures of one shape, by class."""

    media: Mapping[str, Sequence[Media]]
    pixels: Mapping[str, Pixels]
    """uint8 (n, h, w, c)."""

    @classmethod
    def of(cls, records: Iterable[Record], *, size: tuple[int, int] | None = None, channels: Channels = 3) -> "Pool":
        """Pictures brought to `size` (None: that of the first); raises InputError when there is none."""
        media: dict[str, list[Media]] = {}
        blocks: dict[str, list[Pixels]] = {}
        for record in records:
            found = record.parts.get("output")
            if found is None or found.modality != "image":
                continue
            size = size or read(found, channels=channels).shape[:2]
            given = record.parts.get("input")
            words = given.text.strip() if given is not None else ""
            media.setdefault(words, []).append(found)
            blocks.setdefault(words, []).append(read(found, size=size, channels=channels))
        if not media:
            raise InputError("baselines: there are no training pictures: give at least one")
        return cls(media, {words: np.stack(rows) for words, rows in blocks.items()})


def answer(name: str, pool: Pool, cases: Sequence[Case], *, seed: int) -> list[Case]:
    """The cases answered by the baseline `name` (see `NAMES`); raises InputError on an unknown name or class."""
    made: Mapping[str, Callable[[Pool, str, Sequence[Case], np.random.Generator], list[Media]]]
    made = {"real": _real, "mean": _mean, "gaussian": _gaussian, "nearest": _nearest}
    if name not in made:
        raise InputError(f"baseline {name!r} is unknown for pictures: wanted one of {', '.join(NAMES)}")
    groups: dict[str, list[int]] = {}
    for at, case in enumerate(cases):
        words = case.input.text.strip() if case.input is not None else ""
        if words not in pool.media:
            raise InputError(f"{name}: case {at} asks for {words[:60]!r}, of which there is no training picture")
        groups.setdefault(words, []).append(at)
    answers: dict[int, Media] = {}
    for words in sorted(groups):
        rng = np.random.default_rng([seed, *words.encode()])
        asked = [cases[at] for at in groups[words]]
        answers |= dict(zip(groups[words], made[name](pool, words, asked, rng), strict=True))
    return [dataclasses.replace(case, output=answers[at]) for at, case in enumerate(cases)]


def _real(pool: Pool, words: str, cases: Sequence[Case], rng: np.random.Generator) -> list[Media]:
    """Without repeating one while there are enough."""
    known = pool.media[words]
    order = np.concatenate([rng.permutation(len(known)) for _ in range(-(-len(cases) // len(known)))])
    return [known[at] for at in order[: len(cases)]]


def _mean(pool: Pool, words: str, cases: Sequence[Case], rng: np.random.Generator) -> list[Media]:
    return [write(_pixels(pool.pixels[words].mean(0)))] * len(cases)


def _gaussian(pool: Pool, words: str, cases: Sequence[Case], rng: np.random.Generator) -> list[Media]:
    """mean + (1 / sqrt(n - 1)) sum of z_i (x_i - mean), z standard normal: its covariance is that of the pictures."""
    known = pool.pixels[words]
    if len(known) > MOST:
        known = known[rng.choice(len(known), MOST, replace=False)]
    values = known.reshape(len(known), -1).astype(np.float32)
    mean = values.mean(0)
    weights = rng.standard_normal((len(cases), len(known)), dtype=np.float32) / np.sqrt(max(1, len(known) - 1))
    drawn = mean + weights @ (values - mean)
    return [write(_pixels(one.reshape(known.shape[1:]))) for one in drawn]


def _nearest(pool: Pool, words: str, cases: Sequence[Case], rng: np.random.Generator) -> list[Media]:
    known = pool.pixels[words]
    channels: Any = known.shape[3]
    wanted = []
    for at, case in enumerate(cases):
        if case.reference is None:
            raise InputError(f"nearest: case {at} of class {words!r} has no reference picture: leave nearest out")
        wanted.append(read(case.reference, size=known.shape[1:3], channels=channels).reshape(-1))
    values = known.reshape(len(known), -1).astype(np.float32)
    square = np.einsum("ij,ij->i", values, values)
    found = (square[None] - 2 * np.stack(wanted).astype(np.float32) @ values.T).argmin(1)
    return [pool.media[words][at] for at in found.tolist()]


def _pixels(values: "np.ndarray[Any, Any]") -> Pixels:
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)
