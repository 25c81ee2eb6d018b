"""A picture file as the list of its chunks, and the XMP packet among them. Knows no pixels and no labels.

The pixels are never decoded here, so what is put in or taken out leaves every other byte as it was.
PNG (ISO 15948), JPEG (ISO 10918-1, XMP part 3), WebP (RFC 9649).
"""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spearhead.core.errors import InputError
from spearhead.media import riff

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"  # keyword, not compressed, no language, no translated keyword
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_MOST = 65_533  # bytes a JPEG segment holds
_WEBP_XMP_FLAG = 0x04
_MOST_CHUNKS = 100_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk: its name (four letters, or a JPEG marker's second byte) and what it holds."""

    name: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Format:
    """How one file format is taken apart and put together, and which of its chunks are what."""

    split: Callable[[bytes], list[Chunk]]
    join: Callable[[Sequence[Chunk]], bytes]
    packet: Callable[[Chunk], bytes | None]
    """The XMP packet when the chunk is one."""
    insert: Callable[[list[Chunk], bytes], list[Chunk]]
    """The chunks, which hold no packet, with this one."""
    signed: Callable[[Chunk], bool]
    """Whether the chunk is of a C2PA manifest store."""
    frame: frozenset[bytes] = frozenset()
    """Names of chunks that only say which other chunks there are."""
    padded: bool = False
    """Whether a chunk of odd length is followed by a byte that is not its own."""


def recognise(data: bytes) -> str | None:
    """The mime type by the first bytes, or None when it is none of the three."""
    if data.startswith(PNG_SIGNATURE):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if riff.recognise(data, b"WEBP"):
        return "image/webp"
    return None


def split(data: bytes, mime: str) -> list[Chunk]:
    """The chunks in their order; raises InputError on a file that is not whole or not of this type."""
    if recognise(data) != mime or mime not in FORMATS:
        raise InputError(f"the file is not a {mime} picture: wanted {', '.join(FORMATS)}, named as what it is")
    try:
        chunks = FORMATS[mime].split(data)
    except (struct.error, IndexError) as error:
        raise InputError(f"the {mime} file is cut short or damaged") from error
    return chunks


def join(chunks: Sequence[Chunk], mime: str) -> bytes:
    """The file of these chunks."""
    return FORMATS[mime].join(chunks)


def packet(chunks: Sequence[Chunk], mime: str) -> bytes | None:
    """The first XMP packet, or None."""
    return next((found for chunk in chunks if (found := FORMATS[mime].packet(chunk)) is not None), None)


def with_packet(chunks: Sequence[Chunk], mime: str, xmp: bytes | None) -> list[Chunk]:
    """The chunks with this XMP packet alone, or with none; raises InputError when the format cannot hold it."""
    form = FORMATS[mime]
    bare = [chunk for chunk in chunks if form.packet(chunk) is None]
    return bare if xmp is None else form.insert(bare, xmp)


def without_signature(chunks: Sequence[Chunk], mime: str) -> list[Chunk]:
    """The chunks without any C2PA manifest store."""
    return [chunk for chunk in chunks if not FORMATS[mime].signed(chunk)]


def signature(chunks: Sequence[Chunk], mime: str) -> tuple[int, int] | None:
    """First byte and length of the C2PA store in the file of these chunks; None without one, or if it is scattered."""
    form = FORMATS[mime]
    numbers = [number for number, chunk in enumerate(chunks) if form.signed(chunk)]
    if not numbers or numbers[-1] - numbers[0] + 1 != len(numbers):
        return None
    start = len(form.join(chunks[: numbers[0]]))
    padding = len(chunks[numbers[-1]].data) % 2 if form.padded else 0
    return start, len(form.join(chunks[: numbers[-1] + 1])) - start - padding


def content(chunks: Sequence[Chunk], mime: str) -> bytes:
    """The bytes that make the picture: every chunk but XMP, C2PA and those that only announce others."""
    form = FORMATS[mime]
    kept = (c for c in chunks if c.name not in form.frame and form.packet(c) is None and not form.signed(c))
    return b"".join(c.name + struct.pack("!I", len(c.data)) + c.data for c in kept)


# -- PNG -------------------------------------------------------------------------------------------------------------
def _png_split(data: bytes) -> list[Chunk]:
    chunks: list[Chunk] = []
    at = len(PNG_SIGNATURE)
    while at < len(data):
        size, name = struct.unpack_from("!I4s", data, at)
        if at + size + 12 > len(data) or len(chunks) == _MOST_CHUNKS:
            raise InputError("the image/png file is cut short or damaged")
        chunks.append(Chunk(name, data[at + 8 : at + 8 + size]))
        at += size + 12
        if name == b"IEND":
            break
    if not chunks or chunks[0].name != b"IHDR" or chunks[-1].name != b"IEND":
        raise InputError("the image/png file is cut short or damaged")
    return chunks


def _png_join(chunks: Sequence[Chunk]) -> bytes:
    parts = [PNG_SIGNATURE]
    for chunk in chunks:
        body = chunk.name + chunk.data
        parts.append(struct.pack("!I", len(chunk.data)) + body + struct.pack("!I", zlib.crc32(body)))
    return b"".join(parts)


def _png_packet(chunk: Chunk) -> bytes | None:
    if chunk.name != b"iTXt" or not chunk.data.startswith(_PNG_XMP[:18]):
        return None
    # A packet that is compressed or has a language is against the XMP rules; it counts as an empty one and is replaced.
    return chunk.data[len(_PNG_XMP) :] if chunk.data.startswith(_PNG_XMP) else b""


def _png_insert(chunks: list[Chunk], xmp: bytes) -> list[Chunk]:
    return [chunks[0], Chunk(b"iTXt", _PNG_XMP + xmp), *chunks[1:]]


# -- JPEG ------------------------------------------------------------------------------------------------------------
_SCAN = b"\xda"


def _jpeg_split(data: bytes) -> list[Chunk]:
    """Segments up to the first scan; the last chunk is the scan with everything that follows it."""
    chunks: list[Chunk] = []
    at = 2
    while True:
        if data[at] != 0xFF:
            raise InputError("the image/jpeg file is cut short or damaged")
        while data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = data[at + 1 : at + 2]
        if marker == _SCAN:
            chunks.append(Chunk(_SCAN, data[at + 2 :]))
            return chunks
        (size,) = struct.unpack_from("!H", data, at + 2)
        if size < 2 or at + 2 + size > len(data) or len(chunks) == _MOST_CHUNKS:
            raise InputError("the image/jpeg file is cut short or damaged")
        chunks.append(Chunk(marker, data[at + 4 : at + 2 + size]))
        at += 2 + size


def _jpeg_join(chunks: Sequence[Chunk]) -> bytes:
    parts = [b"\xff\xd8"]
    for chunk in chunks:
        size = b"" if chunk.name == _SCAN else struct.pack("!H", len(chunk.data) + 2)
        parts.append(b"\xff" + chunk.name + size + chunk.data)
    return b"".join(parts)


def _jpeg_packet(chunk: Chunk) -> bytes | None:
    if chunk.name != b"\xe1" or not chunk.data.startswith(_JPEG_XMP):
        return None
    return chunk.data[len(_JPEG_XMP) :]


def _jpeg_insert(chunks: list[Chunk], xmp: bytes) -> list[Chunk]:
    if len(_JPEG_XMP) + len(xmp) > _JPEG_MOST:
        raise InputError(f"a JPEG holds {_JPEG_MOST - len(_JPEG_XMP):,} bytes of XMP, this would be {len(xmp):,}")
    at = 0  # after JFIF and Exif, which other readers want first
    while chunks[at].name == b"\xe0" or (chunks[at].name == b"\xe1" and chunks[at].data.startswith(b"Exif\0")):
        at += 1
    return [*chunks[:at], Chunk(b"\xe1", _JPEG_XMP + xmp), *chunks[at:]]


# -- WebP ------------------------------------------------------------------------------------------------------------
def _webp_split(data: bytes) -> list[Chunk]:
    chunks = [Chunk(name, body) for name, body in riff.split(data, "image/webp")]
    if not any(chunk.name in (b"VP8 ", b"VP8L", b"ANMF") for chunk in chunks):
        raise InputError("the image/webp file is cut short or damaged")
    return chunks


def _webp_join(chunks: Sequence[Chunk]) -> bytes:
    return riff.join([(chunk.name, chunk.data) for chunk in chunks], b"WEBP")


def _webp_packet(chunk: Chunk) -> bytes | None:
    return chunk.data if chunk.name == b"XMP " else None


def _webp_insert(chunks: list[Chunk], xmp: bytes) -> list[Chunk]:
    if chunks[0].name != b"VP8X":
        chunks = [_webp_header(chunks[0]), *chunks]
    header = chunks[0].data
    flagged = Chunk(b"VP8X", bytes([header[0] | _WEBP_XMP_FLAG]) + header[1:])
    return [flagged, *chunks[1:], Chunk(b"XMP ", xmp)]


def _webp_header(picture: Chunk) -> Chunk:
    """The extended header of a simple file, from the head of its only chunk."""
    data, alpha = picture.data, 0
    if picture.name == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 1)
        width, height, alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bits >> 28 & 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 6))
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return Chunk(b"VP8X", bytes([alpha << 4, 0, 0, 0]) + sides)


FORMATS: Mapping[str, Format] = {
    "image/png": Format(_png_split, _png_join, _png_packet, _png_insert, lambda chunk: chunk.name == b"caBX"),
    "image/jpeg": Format(
        _jpeg_split,
        _jpeg_join,
        _jpeg_packet,
        _jpeg_insert,
        lambda chunk: chunk.name == b"\xeb" and chunk.data.startswith(b"JP"),
    ),
    "image/webp": Format(
        _webp_split,
        _webp_join,
        _webp_packet,
        _webp_insert,
        lambda chunk: chunk.name == b"C2PA",
        frozenset({b"VP8X"}),
        padded=True,
    ),
}
