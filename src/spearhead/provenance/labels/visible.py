"""The mark that a person sees. How it looks is the modality's own knowledge."""

from typing import Protocol, runtime_checkable

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.provenance.labels.gb45438 import modality


@runtime_checkable
class Markable(Protocol):
    """A modality that can carry a mark for people."""

    def mark(self, media: Media) -> Media: ...
    def marked(self, media: Media) -> bool: ...


def embed(media: Media) -> Media:
    """A copy that carries the mark; raises InputError for a modality that has none."""
    kind = modality(media.modality)
    if not isinstance(kind, Markable):
        raise InputError(f"{media.modality} has no visible mark: ask for a copy without one")
    return kind.mark(media)


def read(media: Media) -> bool:
    """Whether the piece carries the mark."""
    kind = modality(media.modality)
    return isinstance(kind, Markable) and kind.marked(media)
