"""Named ways to change a piece for training, each taken by its own chance; of any modality.

>>> import numpy as np
>>> take("LIGHT", {"low": 1.0}, {"low": lambda text, rng: text.lower()}, rng=np.random.default_rng(0))
'light'
"""

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

import numpy as np

from spearhead.core.errors import InputError

T = TypeVar("T")


class Way(Protocol[T]):
    """A changed copy of a piece."""

    def __call__(self, piece: T, rng: np.random.Generator, /) -> T: ...


def fault(chances: Mapping[str, float], ways: Iterable[str]) -> str:
    """What is wrong with `training.augment`, in a sentence; empty when nothing is."""
    known = list(ways)
    for name, chance in chances.items():
        if name not in known:
            return f"training.augment: {name!r} is unknown: wanted {', '.join(known)}"
        if not 0 <= chance <= 1:
            return f"training.augment.{name} is {chance:g}: wanted a probability between 0 and 1"
    return ""


def take(piece: T, chances: Mapping[str, float], ways: Mapping[str, Way[T]], *, rng: np.random.Generator) -> T:
    """`piece` after each named way, in the order of `ways`, with its probability; raises InputError as `fault` says."""
    if told := fault(chances, ways):
        raise InputError(told)
    for name, way in ways.items():
        if rng.random() < chances.get(name, 0.0):
            piece = way(piece, rng)
    return piece
