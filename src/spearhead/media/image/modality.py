"""What one can do with a picture: count it, label it, read its label, mark it for people. Knows no model, no review."""

from collections.abc import Mapping
from dataclasses import dataclass

from spearhead.core.errors import InputError
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

    def signature(self, media: Media) -> tuple[int, int] | None:
        """Where the C2PA manifest lies: its first byte and its length; None when there is none."""
        try:
            return container.signature(container.split(media.data, media.mime), media.mime)
        except InputError:
            return None

    def mark(self, media: Media) -> Media:
        """A copy with "AI生成" in its corner or on a strip below; once, however often it is asked for."""
        from spearhead.media.image import codec, mark

        return media if mark.marked(codec.read(media)) else codec.redraw(media, mark.mark)

    def marked(self, media: Media) -> bool:
        """Whether the mark is there, in its place or, after a resize or a cut, elsewhere."""
        from spearhead.media.image import codec, mark

        try:
            return mark.marked(codec.read(media), search=True)
        except InputError:
            return False
