"""A piece of text, picture, sound or video as bytes, and what every modality can do with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from spearhead.core import digest


@dataclass(frozen=True)
class Media:
    """Bytes of one modality; equal bytes of equal type are the same thing and have the same `id`."""

    modality: str
    mime: str
    data: bytes

    @cached_property
    def id(self) -> str:
        """sha256 over the mime type and the bytes."""
        return digest.of_bytes(self.mime.encode() + b"\0" + self.data)

    @property
    def text(self) -> str:
        """The characters of a text; raises UnicodeDecodeError on anything that is not UTF-8."""
        return self.data.decode("utf-8")


def text(content: str, *, mime: str = "text/plain") -> Media:
    """A text as media.

    >>> text("hello").text
    'hello'
    """
    return Media("text", mime, content.encode("utf-8"))


@dataclass(frozen=True, slots=True)
class Label:
    """What a file that leaves must say of itself; every field ends up inside the file."""

    producer: str
    """Name or code of the service that generated it (GB 45438 `ContentProducer`)."""
    produce_id: str
    """Unique number of this content at the producer."""
    release: str
    """`name@version` of the release that made it."""
    created: str
    """ISO 8601 time in UTC."""
    digital_source_type: str = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    visible: bool = True
    """Whether the copy carries the mark that a person sees."""
    watermark: bool = False
    """Whether its pixels or words carry an invisible mark too."""


class Codec(Protocol):
    """One modality to arrays and back; a trained tokenizer is one too."""

    @property
    def modality(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def vocab(self) -> int | None:
        """How many codes there are; None when they are continuous."""
        ...

    def encode(self, items: Sequence[Media]) -> "np.ndarray[Any, Any]": ...
    def decode(self, codes: "np.ndarray[Any, Any]") -> list[Media]: ...


class Modality(Protocol):
    """What a folder under `media/` exports as `MODALITY`."""

    @property
    def name(self) -> str: ...
    @property
    def mimes(self) -> tuple[str, ...]: ...
    @property
    def unit(self) -> str:
        """What is counted and charged: `token`, `picture`, `second`."""
        ...

    def measure(self, media: Media) -> int: ...
    def embed(self, media: Media, label: Label) -> Media:
        """A copy that carries the label inside; exactly one label, whatever was there before."""
        ...

    def extract(self, media: Media) -> Mapping[str, str] | None:
        """The label inside, as its seven GB 45438 members, or None."""
        ...
