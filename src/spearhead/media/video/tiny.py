"""A film of a few bytes, made by hand: for trying things out. Its pictures are numbers that no player shows."""

import struct

from spearhead.core.media import Media
from spearhead.media.video.boxes import MIME, QUICKTIME, Box, render

SAMPLES = (b"the first picture", b"a second", b"and the third one")
_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box as bytes."""
    return render(Box(kind, b"".join(parts)))


def film(
    *,
    layout: str = "moov mdat",
    table: bytes = b"stco",
    length: int = 2500,
    extra: bytes = b"",
    dref: bytes = b"\0\0\0\1",
    mime: str = MIME,
) -> Media:
    """Three samples, a chunk each, 1000 to the second, `length` long; `layout` is the order of its boxes.

    Two `mdat` share the samples; `extra` goes into `moov`; `dref` are the flags of where the samples lie.
    """
    kinds = layout.split()
    size = len(_moov([0] * len(SAMPLES), table, length, extra, dref))
    head = box(b"ftyp", b"qt  \0\0\2\0qt  " if mime == QUICKTIME else b"isom\0\0\2\0isomiso2mp41")
    at, places, left = len(head), list[int](), list(SAMPLES)
    mdats = []
    for number, kind in enumerate(kinds):
        if kind == "mdat":
            more = "mdat" in kinds[number + 1 :]
            mine, left = (left[:1], left[1:]) if more else (left, [])
            mdats.append(box(b"mdat", *mine))
            places += [at + 8 + sum(map(len, mine[:one])) for one in range(len(mine))]
            at += len(mdats[-1])
        else:
            at += size if kind == "moov" else 24
    parts = {"moov": _moov(places, table, length, extra, dref), "free": box(b"free", bytes(16))}
    body = [mdats.pop(0) if kind == "mdat" else parts[kind] for kind in kinds]
    return Media("video", mime, head + b"".join(body))


def sample(mime: str) -> Media:
    """Two and a half seconds in this format."""
    return film(mime=mime)


def _moov(places: list[int], table: bytes, length: int, extra: bytes, dref: bytes) -> bytes:
    form = ">I" if table == b"stco" else ">Q"
    count = struct.pack(">II", 0, len(places))
    entry = struct.pack(">6xH16xHHII4xH32xHh", 1, 64, 48, 0x480000, 0x480000, 1, 24, -1)
    stbl = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), box(b"raw ", entry)),
        box(b"stts", struct.pack(">IIII", 0, 1, len(places), length // len(places))),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1)),
        box(b"stsz", struct.pack(">III3I", 0, 0, len(places), *map(len, SAMPLES))),
        box(table, count, *(struct.pack(form, place) for place in places)),
    )
    dinf = box(b"dinf", box(b"dref", struct.pack(">II", 0, 1), box(b"url ", dref)))
    minf = box(b"minf", box(b"vmhd", bytes(3), b"\1", bytes(8)), dinf, stbl)
    mdhd = box(b"mdhd", struct.pack(">5IHH", 0, 0, 0, 1000, length, 0x55C4, 0))
    mdia = box(b"mdia", mdhd, box(b"hdlr", bytes(8), b"vide", bytes(13)), minf)
    tkhd = box(b"tkhd", struct.pack(">6I16x", 3, 0, 0, 1, 0, length), _MATRIX, struct.pack(">II", 64 << 16, 48 << 16))
    mvhd = box(b"mvhd", struct.pack(">5IIH10x", 0, 0, 0, 1000, length, 0x10000, 0x100), _MATRIX, bytes(24), b"\0\0\0\2")
    return box(b"moov", mvhd, box(b"trak", tkhd, mdia), extra)
