"""What a picture says of itself in its metadata: the GB 45438 label, IPTC's source type, how it was made.

Put into the XMP packet of PNG, JPEG and WebP (practice guide TC260-PG-20259A); read wherever it was seen in the wild.
Pixels are never touched, so labelling costs no quality. Knows no marks and no signatures.
"""

import json
import re
import zlib
from collections.abc import Mapping

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.media import gb45438, xmp
from spearhead.media.image import container
from spearhead.media.image.container import Chunk

AIGC = xmp.AIGC
SOURCE_TYPE: xmp.Name = ("http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "Iptc4xmpExt", "DigitalSourceType")
SYSTEM: xmp.Name = ("http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "Iptc4xmpExt", "AISystemUsed")
PARAMETERS: xmp.Name = ("urn:spearhead:picture#", "spearhead", "Parameters")
MOST_PARAMETERS = 32 * 1024
"""Bytes that all parameters of a picture may take in its file."""

_UNSAFE = re.compile("[\x7f-\x9f\ud800-\udfff\ufffe\uffff]")  # what JSON allows and XML does not
_TEXTS = (b"tEXt", b"iTXt", b"zTXt")
_EXIF = {"image/png": b"eXIf", "image/jpeg": b"\xe1", "image/webp": b"EXIF"}
_MOST_TEXT = 64 * 1024


def embed(media: Media, label: Label) -> Media:
    """A copy with exactly this label; any other label, wherever it stood, and any signature are taken out."""
    chunks = _bare(media)
    members = gb45438.members(label, container.content(chunks, media.mime))
    values = {
        AIGC: json.dumps(members, separators=(",", ":")),
        SOURCE_TYPE: label.digital_source_type,
        SYSTEM: label.release,
    }
    return _with(media, chunks, values)


def extract(media: Media) -> Mapping[str, str] | None:
    """The seven members of the label inside; None when there is none or the file cannot be taken apart."""
    try:
        chunks = container.split(media.data, media.mime)
    except InputError:
        return None
    value = xmp.read(container.packet(chunks, media.mime), AIGC)
    if value is not None and (found := gb45438.from_json(value)):
        return found
    return next((found for chunk in chunks if (found := _stray(chunk, media.mime)) is not None), None)


def content(media: Media) -> bytes:
    """The bytes that the label's digest is of: everything but XMP packet, labels and signature."""
    return container.content(_bare(media), media.mime)


def without_signature(media: Media) -> Media:
    """A copy without any C2PA manifest."""
    chunks = container.without_signature(container.split(media.data, media.mime), media.mime)
    return Media(media.modality, media.mime, container.join(chunks, media.mime))


def with_parameters(media: Media, parameters: Mapping[str, str] | None) -> Media:
    """A copy that says how it was made; None takes out what was said. Raises InputError past `MOST_PARAMETERS`."""
    text = None if parameters is None else _UNSAFE.sub(_escaped, digest.canonical(dict(parameters)))
    if text is not None and len(text.encode()) > MOST_PARAMETERS:
        raise InputError(f"the parameters take {len(text.encode()):,} bytes, a picture holds {MOST_PARAMETERS:,}")
    chunks = container.split(media.data, media.mime)
    if text is None and container.packet(chunks, media.mime) is None:
        return media
    return _with(media, chunks, {PARAMETERS: text})


def parameters(media: Media) -> dict[str, str] | None:
    """How the picture was made, as it says itself; None when it does not."""
    try:
        chunks = container.split(media.data, media.mime)
        value = xmp.read(container.packet(chunks, media.mime), PARAMETERS)
        found = json.loads(value) if value and len(value) <= MOST_PARAMETERS else None
    except (InputError, ValueError, RecursionError):
        return None
    return {str(name): str(words) for name, words in found.items()} if isinstance(found, dict) else None


def _with(media: Media, chunks: list[Chunk], values: Mapping[xmp.Name, str | None]) -> Media:
    packet = xmp.put(container.packet(chunks, media.mime), values)
    return Media(
        media.modality, media.mime, container.join(container.with_packet(chunks, media.mime, packet), media.mime)
    )


def _bare(media: Media) -> list[Chunk]:
    """The chunks without signature and without labels outside the XMP packet."""
    chunks = container.without_signature(container.split(media.data, media.mime), media.mime)
    return [chunk for chunk in chunks if _stray(chunk, media.mime) is None]


def _escaped(found: "re.Match[str]") -> str:
    return f"\\u{ord(found[0]):04x}"


def _stray(chunk: Chunk, mime: str) -> dict[str, str] | None:
    """A label outside the XMP packet: a PNG text chunk named AIGC, or JSON in an Exif comment."""
    if mime == "image/png" and chunk.name in _TEXTS:
        keyword, _, rest = chunk.data.partition(b"\0")
        return gb45438.from_json(_text(chunk.name, rest)) if gb45438.KEY.encode() in keyword else None
    if chunk.name != _EXIF[mime] or (mime == "image/jpeg" and not chunk.data.startswith(b"Exif\0")):
        return None
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):  # the comment's own encoding varies: look for the words
        start = chunk.data.find('{"'.encode(encoding))
        if start < 0 or gb45438.MEMBERS[1].encode(encoding) not in chunk.data:
            continue
        words = chunk.data[start : start + _MOST_TEXT].decode(encoding, "replace")
        try:
            raw, _ = json.JSONDecoder().raw_decode(words)
        except (ValueError, RecursionError):
            continue
        if found := gb45438.from_json(json.dumps(raw)):
            return found
    return None


def _text(name: bytes, rest: bytes) -> str:
    """The words of a PNG text chunk after its keyword."""
    packed = name == b"zTXt"
    if name == b"iTXt" and len(rest) >= 2:
        packed = rest[0] == 1
        rest = rest[2:].split(b"\0", 2)[-1]
    elif packed:
        rest = rest[1:]
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, _MOST_TEXT)
        except zlib.error:
            return ""
    return rest[:_MOST_TEXT].decode("utf-8", "replace")
