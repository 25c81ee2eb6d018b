"""The mark that a person sees. How it looks is the modality's own knowledge."""

from typing import Protocol, runtime_checkable

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.provenance.labels.gb45438 import MODALITIES


@runtime_checkable
class Markable(Protocol):
    """A modality that can carry a mark for people."""

    def mark(self, media: Media) -> Media: ...
    def marked(self, media: Media) -> bool: ...


def embed(media: Media) -> Media:
    """A copy that carries the mark; raises InputError for a modality that has none."""
    modality = MODALITIES[media.modality]
    if not isinstance(modality, Markable):
        raise InputError(f"{media.modality} has no visible mark: ask for a copy without one")
    return modality.mark(media)


def read(media: Media) -> bool:
    """Whether the piece carries the mark."""
    modality = MODALITIES[media.modality]
    return isinstance(modality, Markable) and modality.marked(media)
