"""What one can do with a sound: count its seconds, label it, read its label. Knows no samples, no model, no review.

It has no mark that people hear yet: that one is spoken or beaten into the sound as it is made, so it comes with making.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.media import gb45438
from spearhead.media.sound import mp3, wav


@dataclass(frozen=True, slots=True)
class Format:
    """What is known of one file format."""

    recognise: Callable[[bytes], bool]
    seconds: Callable[[bytes], int]
    label: Callable[[bytes], dict[str, str] | None]
    put: Callable[[bytes, str | None], bytes]
    content: Callable[[bytes], bytes]
    signature: Callable[[bytes], tuple[int, int] | None]


FORMATS: Mapping[str, Format] = {
    one.MIME: Format(one.recognise, one.seconds, one.label, one.put, one.content, one.signature) for one in (wav, mp3)
}


@dataclass(frozen=True, slots=True)
class SoundModality:
    """WAV and MP3."""

    name: str = "sound"
    mimes: tuple[str, ...] = tuple(FORMATS)
    unit: str = "second"

    def recognise(self, data: bytes) -> str | None:
        """The mime type by the first bytes; None when it is no sound."""
        return next((mime for mime, form in FORMATS.items() if form.recognise(data)), None)

    def measure(self, media: Media) -> int:
        """Its seconds, rounded up; raises InputError on a file that is not whole."""
        return _form(media).seconds(media.data)

    def embed(self, media: Media, label: Label) -> Media:
        """A copy with the GB 45438 label, and only this label; samples untouched, signature gone."""
        members = gb45438.members(label, self.content(media))
        data = _form(media).put(media.data, json.dumps(members, separators=(",", ":")))
        return Media(media.modality, media.mime, data)

    def extract(self, media: Media) -> Mapping[str, str] | None:
        """The seven members of the label, as they are written; None when there is none."""
        try:
            return _form(media).label(media.data)
        except InputError:
            return None

    def content(self, media: Media) -> bytes:
        """The sound as it is encoded, without any metadata: what ReservedCode1 is the digest of."""
        return _form(media).content(media.data)

    def signature(self, media: Media) -> tuple[int, int] | None:
        """Where the C2PA manifest lies: its first byte and its length; None when there is none."""
        try:
            return _form(media).signature(media.data)
        except InputError:
            return None


def _form(media: Media) -> Format:
    if media.mime not in FORMATS:
        raise InputError(f"{media.mime} is no sound that is known: wanted {' or '.join(FORMATS)}")
    return FORMATS[media.mime]
