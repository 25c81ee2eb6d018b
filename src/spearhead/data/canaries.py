"""Canaries: random, harmless, marked sequences that are planted in what is learnt from, so that what a model memorises
can be measured afterwards (Carlini et al. 2019, "The Secret Sharer", arXiv 1802.08232). Knows no model.

They are nobody's data: they lie in no data folder, are no records of a split, and follow from the data's digest, so
that anybody who has the data can draw them again. `canary 281 265: 017 442` is one, as a text.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import log2

import numpy as np

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.media import text
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.data.config import DataConfig
from spearhead.data.dataset import Dataset

SOURCE = "canary"
LICENCE = Licence("CC0-1.0", Right.TRAIN | Right.SHARE | Right.SELL, "")
BITS = log2(900 * 1000**3)
"""log2 of how many canaries the format can write: four groups of three digits, the first without a leading zero (what
begins with 00 reads as a telephone number)."""
MOST_SHARE = 5
"""At least so many records to a planted copy: more canaries would change what is learnt."""


@dataclass(frozen=True, slots=True)
class Canary:
    """One sequence: what a probe gives, what the model would have to know, and how often it is planted (0: never)."""

    given: str
    rest: str
    repeats: int

    @property
    def whole(self) -> str:
        """As a text that is learnt whole."""
        return f"{self.given}: {self.rest}"

    def record(self, *, pair: bool) -> Record:
        """In the shape of the scenario's records: an input with its output, or a text."""
        parts = {"input": text(self.given), "output": text(self.rest)} if pair else {"text": text(self.whole)}
        return Record(parts, LICENCE, SOURCE)


def drawn(count: int, *, repeats: int, rng: np.random.Generator, apart: Collection[str] = ()) -> list[Canary]:
    """So many different canaries; none begins like another of them or like one that is given in `apart`."""
    found: dict[str, Canary] = {}
    while len(found) < count:
        one = [int(rng.integers(100, 1000)), *(int(group) for group in rng.integers(0, 1000, size=3))]
        given = f"canary {one[0]} {one[1]:03}"
        if given not in apart and given not in found:
            found[given] = Canary(given, f"{one[2]:03} {one[3]:03}", repeats)
    return list(found.values())


def planted(config: DataConfig, dataset: Dataset) -> list[Canary]:
    """The canaries of a data set, `config.canaries` for each of `config.canary_repeats`; the same for the same data."""
    rng = _rng(dataset, 0)
    found: list[Canary] = []
    for repeats in config.canary_repeats if config.canaries else ():
        found += drawn(config.canaries, repeats=repeats, rng=rng, apart={one.given for one in found})
    return found


def unplanted(config: DataConfig, dataset: Dataset, *, count: int) -> list[Canary]:
    """Canaries of the same format that were never planted: to measure against."""
    return drawn(count, repeats=0, rng=_rng(dataset, 1), apart={one.given for one in planted(config, dataset)})


def copies(config: DataConfig) -> int:
    """How many sequences are planted, each counted as often as it is."""
    return config.canaries * sum(config.canary_repeats)


def of_pairs(dataset: Dataset) -> bool:
    """Whether the records have an input with an output, and not a text."""
    return any("output" in record.parts for record in islice(dataset.read("train"), 1))


def learnt(config: DataConfig, dataset: Dataset) -> Iterator[Record]:
    """What a model learns from: the training records with the canaries at random places among them.

    Raises InputError when there would be so many that they change what is learnt.
    """
    if not config.canaries:
        return dataset.read("train")
    return among(
        dataset.read("train"),
        dataset.counts()["train"],
        planted(config, dataset),
        pair=of_pairs(dataset),
        rng=_rng(dataset, 2),
    )


def among(
    records: Iterable[Record], count: int, canaries: Sequence[Canary], *, pair: bool, rng: np.random.Generator
) -> Iterator[Record]:
    """`records` (`count` of them) in their order, each canary at as many random places as its `repeats` says."""
    every = [one for one in canaries for _ in range(one.repeats)]
    if len(every) * MOST_SHARE > count:
        raise InputError(
            f"data.canaries: {len(every)} planted copies among {count} training records would change what is learnt: "
            f"wanted at most one to {MOST_SHARE} records; lower data.canaries or data.canary_repeats"
        )
    places = rng.integers(0, count + 1, size=len(every))
    waiting = sorted(zip(places.tolist(), range(len(every)), strict=True), reverse=True)
    for number, record in enumerate(records):
        while waiting and waiting[-1][0] <= number:
            yield every[waiting.pop()[1]].record(pair=pair)
        yield record
    for _, which in reversed(waiting):
        yield every[which].record(pair=pair)


def _rng(dataset: Dataset, purpose: int) -> np.random.Generator:
    return np.random.default_rng([int(digest.of_value(["canaries", dataset.digest])[:16], 16), purpose])
