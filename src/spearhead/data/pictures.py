"""Pictures as records keep them: plain PNG files of their pixels and nothing else. Knows no sources and no rights.

What a file says besides its pixels (place, camera, author, thumbnails) is left behind. The bytes are not compressed, so
that they, and with them a record's id and its split, depend on the pixels alone and not on the version of a library.
"""

import struct
import zlib
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.record import Record
from spearhead.data.config import PictureRules
from spearhead.media.image import codec

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = {1: 0, 3: 2, 4: 6}
"""Channels to the colour type of PNG (ISO 15948, table 9)."""
STORED = 65_535
"""Bytes of one stored block of deflate (RFC 1951, section 3.2.4)."""
HEAD, TAIL = 8 + 25 + 8, 4 + 12
"""Bytes of our files before and after the pixels."""


def plain(found: Media | Pixels, rules: PictureRules) -> Media:
    """A picture file, or pixels uint8 (h, w, 1, 3 or 4), as a plain PNG; raises InputError where it does not do.

    Equal channels become one grey channel, and a transparency that hides nothing is dropped.
    """
    pixels = codec.read(found, channels=4) if isinstance(found, Media) else found
    height, width = pixels.shape[:2]
    if min(height, width) < rules.smallest:
        raise InputError(f"has {width}x{height} pixels, wanted at least {rules.smallest} on each side")
    if rules.size and (height, width) != (rules.size, rules.size):
        source = found if isinstance(found, Media) else png(pixels)
        pixels = codec.read(source, size=(rules.size, rules.size), channels=4)
    elif not rules.size and max(height, width) > rules.largest:
        raise InputError(
            f"has {width}x{height} pixels, wanted at most {rules.largest} on a side; set data.pictures.size to cut and "
            "resample all pictures to one size"
        )
    return png(_simplest(pixels))


def png(pixels: Pixels) -> Media:
    """uint8 (h, w, 1, 3 or 4) as an uncompressed PNG; equal pixels give equal bytes everywhere.

    >>> png(np.zeros((2, 3, 1), np.uint8)).id == png(np.zeros((2, 3, 1), np.uint8)).id
    True
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in COLOURS or 0 in pixels.shape:
        raise InputError(f"got {pixels.dtype} {pixels.shape}: wanted uint8 (height, width, 1, 3 or 4)")
    height, width, channels = pixels.shape
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # each line begins with its filter: 0, none
    lines[:, 1:] = pixels.reshape(height, -1)
    raw = lines.tobytes()
    blocks = [raw[at : at + STORED] for at in range(0, len(raw), STORED)]
    packed = b"".join(
        struct.pack("<BHH", number == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for number, block in enumerate(blocks)
    )
    body = b"\x78\x01" + packed + struct.pack(">I", zlib.adler32(raw))
    head = struct.pack(">IIBBBBB", width, height, 8, COLOURS[channels], 0, 0, 0)
    data = SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")
    return Media("image", "image/png", data)


def pixels(media: Media) -> Pixels:
    """The pixels of what `png` wrote, uint8 (h, w, c), without a decoder; any other picture goes through the codec."""
    data = media.data
    if data[: len(SIGNATURE)] != SIGNATURE or data[37:41] != b"IDAT" or len(data) < HEAD + TAIL:
        return codec.read(media, channels=4)
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    channels = {kind: count for count, kind in COLOURS.items()}.get(colour, 0)
    total = height * (1 + width * channels)
    blocks = -(-total // STORED)
    if depth != 8 or len(data) != HEAD + 2 + total + 5 * blocks + 4 + TAIL or data[HEAD : HEAD + 2] != b"\x78\x01":
        return codec.read(media, channels=4)
    raw = zlib.decompress(data[HEAD:-TAIL])
    lines = np.frombuffer(raw, np.uint8).reshape(height, 1 + width * channels)
    return lines[:, 1:].reshape(height, width, channels)


def of(record: Record) -> Media | None:
    """The picture of a record (its `output` before any other), or None when it has none."""
    names = sorted(record.parts, key=lambda part: (part != "output", part))
    return next((record.parts[part] for part in names if record.parts[part].modality == "image"), None)


def _simplest(found: Pixels) -> Pixels:
    """Without channels that say nothing."""
    if found.shape[2] == 4 and (found[..., 3] == 255).all():
        found = found[..., :3]
    if found.shape[2] == 3 and (found[..., :1] == found).all():
        found = found[..., :1]
    return found


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
