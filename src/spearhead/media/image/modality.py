"""What one can do with a picture: count it, label it, read its label. Knows no model and no review."""

from collections.abc import Mapping
from dataclasses import dataclass

from spearhead.core.media import Label, Media
from spearhead.media.image import container, metadata


@dataclass(frozen=True, slots=True)
class ImageModality:
    """PNG, JPEG and WebP."""

    name: str = "image"
    mimes: tuple[str, ...] = ("image/png", "image/jpeg", "image/webp")
    unit: str = "picture"

    def measure(self, media: Media) -> int:
        """One a picture."""
        return 1

    def recognise(self, data: bytes) -> str | None:
        """The mime type by the first bytes; None when it is no picture."""
        return container.recognise(data)

    def embed(self, media: Media, label: Label) -> Media:
        """A copy with the GB 45438 label in its XMP packet, and only this label; pixels untouched, signature gone."""
        return metadata.embed(media, label)

    def extract(self, media: Media) -> Mapping[str, str] | None:
        """The seven members of the label, as they are written; None when there is none."""
        return metadata.extract(media)

    def content(self, media: Media) -> bytes:
        """The bytes without the label: what ReservedCode1 is the digest of."""
        return metadata.content(media)
