"""Seals a piece that is to leave: marks, encode, metadata label, C2PA last, then read everything back or raise.

A function of its arguments (the signature alone differs between two calls), safe in a thread. Knows no database.
"""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.media import Label, Media
from spearhead.provenance.labels import c2pa_file, c2pa_text, gb45438, visible
from spearhead.provenance.labels.manifest import Manifest
from spearhead.provenance.labels.watermark import Detection, Watermark
from spearhead.provenance.signer import Signer


@dataclass(frozen=True, slots=True)
class Seen:
    """Every layer that was found in a piece."""

    implicit: gb45438.Implicit | None
    c2pa: Manifest | None
    visible: bool | None
    """None: it is of a modality whose mark nobody can look for."""
    watermark: Detection | None = None
    """None: nobody looked for it, which takes the key."""

    @property
    def produce_id(self) -> str:
        """The number that the layers agree on, the signed one first; empty when none has one."""
        if self.c2pa and self.c2pa.valid and self.c2pa.produce_id:
            return self.c2pa.produce_id
        return self.implicit.produce_id if self.implicit else ""


class _Embed(Protocol):
    def __call__(self, media: Media, label: Label, *, signer: Signer, training: str) -> Media: ...


@dataclass(frozen=True, slots=True)
class Carrier:
    """How the files of a modality carry a manifest."""

    bare: Callable[[Media], Media]
    """The piece in which the other layers are looked for; raises InputError when there is nothing to look at."""
    check: Callable[[Media], object]
    """Raises InputError for a piece that cannot be shown to anyone."""
    embed: _Embed
    read: Callable[[Media], Manifest | None]
    bound: Callable[[Media], bool]
    """Whether the manifest holds this very file by our own count, whatever the library says."""


def _bare_text(media: Media) -> Media:
    try:
        text = media.text
    except UnicodeDecodeError as error:
        raise InputError(f"a text must be UTF-8; byte {error.start} is not: convert it first") from error
    return Media("text", media.mime, c2pa_text.without(unicodedata.normalize("NFC", text)).encode())


def _counted(media: Media) -> object:
    """A sound or a film is shown to no one here; its length is read, which takes every table that a player needs."""
    return gb45438.modality(media.modality).measure(media)


def _seen(media: Media) -> object:
    from spearhead.media.image import codec

    return codec.read(media, channels=1)


CARRIERS: Mapping[str, Carrier] = {
    # A text's own reader counts for itself already: the library does not know where the wrapper lies.
    "text": Carrier(_bare_text, _bare_text, c2pa_text.embed, c2pa_text.read, lambda media: True),
    "image": Carrier(lambda media: media, _seen, c2pa_file.embed, c2pa_file.read, c2pa_file.bound),
    "sound": Carrier(lambda media: media, _counted, c2pa_file.embed, c2pa_file.read, c2pa_file.bound),
    "video": Carrier(lambda media: media, _counted, c2pa_file.embed, c2pa_file.read, c2pa_file.bound),
}


def seal(
    media: Media,
    label: Label,
    *,
    signer: Signer,
    training: str = "notAllowed",
    watermark: Watermark | None = None,
) -> Media:
    """A copy of `media` with all its labels, read back; raises SpearheadError when one does not read as written.

    Where the label asks for an invisible mark, `watermark` draws it, into pictures of 256 pixels or more; one that is
    there already stays. Into a text the sampler has drawn it, or could not: the label says that it carries one where
    it is found, and is silent where it is not.
    """
    carrier = CARRIERS.get(media.modality)
    if carrier is None:
        raise InputError(f"sealing {media.modality} is not built yet, {' and '.join(CARRIERS)} are")
    carrier.check(media)
    piece = carrier.bare(media)
    if label.visible:
        piece = visible.embed(piece)
    if not label.watermark:
        watermark = None
    elif watermark is None:
        raise SpearheadError(
            "the label asks for an invisible mark, and nothing was given to draw it: nothing was released"
        )
    elif piece.modality == "text":
        heard = watermark.read(piece)
        label = replace(label, watermark=heard is not None and heard.found)
        watermark = watermark if label.watermark else None
    else:
        before = watermark.read(piece)
        piece = piece if before and before.found else watermark.embed(piece)
    piece = gb45438.embed(piece, label)
    piece = carrier.embed(piece, label, signer=signer, training=training)
    seen = read(piece, watermark=watermark)
    problems = _unlike(seen, label)
    if not carrier.bound(piece):
        problems.append("C2PA: it does not hold this file")
    if signer.time_stamps and not (seen.c2pa and seen.c2pa.stamped):
        problems.append(f"C2PA: no time stamp that holds came from {signer.time_stamps}")
    if problems:
        raise SpearheadError(f"the sealed file does not read back: {'; '.join(problems)}; nothing was released")
    return piece


def read(media: Media, *, watermark: Watermark | None = None) -> Seen:
    """What a piece says of itself, checked; reads anything and fetches nothing. An invisible mark takes its key."""
    carrier = CARRIERS.get(media.modality)
    if carrier is None:
        return Seen(gb45438.read(media), None, visible.read(media))
    try:
        bare = carrier.bare(media)
    except InputError:
        return Seen(None, None, False)
    found = watermark.read(bare) if watermark is not None else None
    return Seen(gb45438.read(bare), carrier.read(media), visible.read(bare), found)


def _unlike(seen: Seen, label: Label) -> list[str]:
    """In what the layers read differ from what was to be written."""
    out = []
    implicit, manifest = seen.implicit, seen.c2pa
    if implicit is None:
        out.append("no implicit label")
    elif implicit.problems or not implicit.intact:
        out.append(f"implicit label: {', '.join(map(str, implicit.problems)) or 'its digest does not fit'}")
    elif (implicit.producer, implicit.produce_id) != (label.producer, label.produce_id):
        out.append("the implicit label names another producer or number")
    if manifest is None:
        out.append("no C2PA manifest")
    elif not manifest.valid:
        out.append(f"C2PA: {', '.join(manifest.failures)}")
    elif (manifest.release, manifest.produce_id) != (label.release, label.produce_id):
        out.append("the C2PA manifest names another release or number")
    elif manifest.watermarked != label.watermark:
        out.append("the C2PA manifest says otherwise of an invisible mark")
    if label.visible and not seen.visible:
        out.append("no visible mark")
    if seen.watermark is not None and not seen.watermark.found:
        out.append(f"the invisible mark does not hold in this piece (p = {seen.watermark.p_value:.1g})")
    return out
