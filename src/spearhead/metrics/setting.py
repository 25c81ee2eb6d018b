"""What a metric may need besides the cases: the data they were learnt from and held out from. Knows no metric.

A metric that needs it has `bind(setting)`, which gives the metric that can be computed; unbound it only has a name.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from spearhead.core.errors import InputError
from spearhead.core.record import Record
from spearhead.store.home import Home


@dataclass(frozen=True, slots=True)
class Setting:
    """The data set of the cases; `ground` for pictures comes from `pictures.ground`."""

    home: Home
    train: Callable[[], Iterable[Record]]
    """The records that were learnt from, as often as they are asked for."""
    digest: str
    """The data set's."""
    ground: Any = None
    """A `metrics.pictures.Ground`."""


def bound(value: Any, metric: str) -> Any:
    """`value`, or InputError when the metric was not bound."""
    if value is None:
        raise InputError(f"{metric} needs the data that the cases come from: bind it to a setting first")
    return value
