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
        raise InputError(f"{media.modality} has no mark for people yet: it comes with its making; ask for none")
    return kind.mark(media)


def read(media: Media) -> bool | None:
    """Whether the piece carries the mark; None where nobody can look for one."""
    kind = modality(media.modality)
    return kind.marked(media) if isinstance(kind, Markable) else None
