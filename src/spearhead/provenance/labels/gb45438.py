"""The implicit label of GB 45438-2025 in a piece of any modality. Where it goes is the modality's own knowledge."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol, runtime_checkable

from spearhead.core import digest
from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media, Modality
from spearhead.core.sentence import Sentence
from spearhead.media import gb45438


@cache
def modality(name: str) -> Modality:
    """The modality of this name; looked up once, for the catalogue reads folders."""
    found: Modality = Catalogue("spearhead.media", "MODALITY")[name]
    return found


@runtime_checkable
class Bare(Protocol):
    """A modality that can say which bytes the label's digest is of."""

    def content(self, media: Media) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Implicit:
    """A label as it was read: its members as written, what breaks the standard, and whether its digest fits."""

    members: Mapping[str, str]
    problems: tuple[Sentence, ...]
    intact: bool | None
    """None: the label carries no digest that we know."""

    @property
    def produce_id(self) -> str:
        """The producer's number of this content."""
        return gb45438.plain(self.members["ProduceID"])

    @property
    def producer(self) -> str:
        """Name or code of the producer."""
        return gb45438.plain(self.members["ContentProducer"])


def embed(media: Media, label: Label) -> Media:
    """A copy with exactly this label inside."""
    return modality(media.modality).embed(media, label)


def read(media: Media) -> Implicit | None:
    """The label inside; None when there is none."""
    kind = modality(media.modality)
    members = kind.extract(media)
    if members is None:
        return None
    scheme, _, given = members["ReservedCode1"].partition(":")
    intact = None
    if scheme == "sha256" and isinstance(kind, Bare):
        try:
            intact = digest.of_bytes(kind.content(media)) == given
        except InputError:  # of such a file it is not known what the digest is of
            intact = None
    return Implicit(members, tuple(gb45438.problems(members)), intact)
