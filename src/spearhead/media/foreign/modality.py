"""What one can do with a file that nothing here makes: label it, read its label. Knows no picture, page or frame.

Its label lies where GB 45438 and the practice guides of TC260 put it, a module a family of formats. No mark that people
see is drawn or looked for, and no C2PA manifest.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.media import gb45438
from spearhead.media.foreign import avi, flv, gif, heif, matroska, office, pdf, tiff

_WANTED = "GIF, TIFF, HEIF, AVIF, AVI, FLV, Matroska, WebM, DOCX, PPTX, XLSX or PDF"
_FORMATS: tuple[ModuleType, ...] = (gif, tiff, heif, avi, flv, matroska, office, pdf)


@dataclass(frozen=True, slots=True)
class ForeignModality:
    """A file is one unit, whatever is in it."""

    name: str = "foreign"
    mimes: tuple[str, ...] = (
        *(gif.MIME, tiff.MIME, heif.AVIF, heif.HEIC, heif.HEIF),
        *(avi.MIME, flv.MIME, matroska.MIME, matroska.WEBM),
        *(*office.MIMES, pdf.MIME),
    )
    unit: str = "file"

    def recognise(self, data: bytes) -> str | None:
        """The mime type by the bytes; None when it is none of these."""
        found = (form.recognise(data) for form in _FORMATS)
        return next((mime for mime in found if mime), None)

    def measure(self, media: Media) -> int:
        """One a file."""
        return 1

    def embed(self, media: Media, label: Label) -> Media:
        """A copy with the GB 45438 label, and only this label; all else as it was."""
        form = _form(media.data)
        members = gb45438.members(label, form.content(media.data))
        return Media(media.modality, media.mime, form.put(media.data, json.dumps(members, separators=(",", ":"))))

    def extract(self, media: Media) -> Mapping[str, str] | None:
        """The seven members of the label, as they are written; None when there is none."""
        try:
            form = _form(media.data)
            form.content(media.data)  # the whole file is looked at
            text = form.label(media.data)
        except InputError:
            return None
        return gb45438.from_json(text) if text else None

    def content(self, media: Media) -> bytes:
        """The bytes without the label: what ReservedCode1 is the digest of. Raises InputError where it is not known."""
        return bytes(_form(media.data).content(media.data))


def _form(data: bytes) -> ModuleType:
    if (found := next((form for form in _FORMATS if form.recognise(data)), None)) is None:
        raise InputError(f"no label is written into such a file: wanted {_WANTED}")
    return found
