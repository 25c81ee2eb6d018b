"""What a file is by its first bytes: asked of every modality, so that a new one is known without an edit here."""

from typing import Protocol, runtime_checkable

from spearhead.core.catalogue import Catalogue
from spearhead.core.media import Media
from spearhead.provenance.labels.gb45438 import modality


@runtime_checkable
class Recognises(Protocol):
    """A modality whose files tell by their first bytes what they are."""

    def recognise(self, data: bytes) -> str | None: ...


def recognise(data: bytes) -> Media:
    """The bytes as media; what no modality knows is taken for a text."""
    for name in Catalogue("spearhead.media", "MODALITY"):
        kind = modality(name)
        if isinstance(kind, Recognises) and (mime := kind.recognise(data)):
            return Media(name, mime, data)
    return Media("text", "text/plain", data)


def named(data: bytes, mime: str) -> Media:
    """The bytes as media of a type that is known from elsewhere; an unknown type is looked for in the bytes."""
    for name in Catalogue("spearhead.media", "MODALITY"):
        if mime in modality(name).mimes:
            return Media(name, mime, data)
    return recognise(data)
