"""Seals a piece that is to leave: mark, encode, metadata label, C2PA last, then read everything back or raise.

A function of its arguments (the signature alone differs between two calls), safe in a thread. Knows no database.
"""

import unicodedata
from dataclasses import dataclass

from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.media import Label, Media
from spearhead.provenance.labels import c2pa_text, gb45438, visible
from spearhead.provenance.signer import Signer


@dataclass(frozen=True, slots=True)
class Seen:
    """Every layer that was found in a piece."""

    implicit: gb45438.Implicit | None
    c2pa: c2pa_text.Manifest | None
    visible: bool

    @property
    def produce_id(self) -> str:
        """The number that the layers agree on, the signed one first; empty when none has one."""
        if self.c2pa and self.c2pa.valid and self.c2pa.produce_id:
            return self.c2pa.produce_id
        return self.implicit.produce_id if self.implicit else ""


def seal(media: Media, label: Label, *, signer: Signer, training: str = "notAllowed") -> Media:
    """A copy of `media` with all its labels, read back; raises SpearheadError when one does not read as written."""
    piece = _encoded(media)
    if label.visible:
        piece = visible.embed(piece)
    piece = gb45438.embed(piece, label)
    piece = c2pa_text.embed(piece, label, signer=signer, training=training)
    if problems := _unlike(read(piece), label):
        raise SpearheadError(f"the sealed file does not read back: {'; '.join(problems)}; nothing was released")
    return piece


def read(media: Media) -> Seen:
    """What a piece says of itself, checked; reads anything and fetches nothing."""
    try:
        text = media.text
    except UnicodeDecodeError:
        return Seen(None, None, False)
    bare = Media(media.modality, media.mime, c2pa_text.without(unicodedata.normalize("NFC", text)).encode())
    return Seen(gb45438.read(bare), c2pa_text.read(media), visible.read(bare))


def _encoded(media: Media) -> Media:
    """The text in NFC, as it will be hashed, and without labels of an earlier sealing."""
    if media.modality != "text":
        raise InputError(f"sealing {media.modality} is not built yet, text is")
    text = c2pa_text.without(unicodedata.normalize("NFC", media.text))
    return Media("text", media.mime, text.encode())


def _unlike(seen: Seen, label: Label) -> list[str]:
    """In what the layers read differ from what was to be written."""
    out = []
    implicit, manifest = seen.implicit, seen.c2pa
    if implicit is None:
        out.append("no implicit label")
    elif implicit.problems or not implicit.intact:
        out.append(f"implicit label: {', '.join(implicit.problems) or 'its digest does not fit'}")
    elif (implicit.producer, implicit.produce_id) != (label.producer, label.produce_id):
        out.append("the implicit label names another producer or number")
    if manifest is None:
        out.append("no C2PA manifest")
    elif not manifest.valid:
        out.append(f"C2PA: {', '.join(manifest.failures)}")
    elif (manifest.release, manifest.produce_id) != (label.release, label.produce_id):
        out.append("the C2PA manifest names another release or number")
    if label.visible and not seen.visible:
        out.append("no visible mark")
    return out
