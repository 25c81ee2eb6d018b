"""An MP4 or QuickTime file as its boxes (ISO 14496-12), taken apart within bounds. Knows no samples and no label."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from spearhead.core.errors import InputError

MIME, QUICKTIME = "video/mp4", "video/quicktime"
MOST_BOXES = 4096
MOST_DEPTH = 8
CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"udta"})
_NESTING = CONTAINERS | {b"moof", b"traf", b"edts", b"tref", b"treg", b"mvex", b"mfra", b"meta", b"schi"}
"""Boxes that readers of C2PA look into; theirs take time by the square of how many there are, so all are counted."""
_BRANDS = frozenset({b"isom", b"mp41", b"mp42", b"avc1", b"M4V ", b"M4VH", b"M4VP", b"MSNV", b"mmp4", b"f4v "})
_FOREIGN = "its samples lie in another file: put them into this one"
_REFUSED = {
    b"moof": "it is fragmented: write it in one piece (`ffmpeg -i IN -c copy OUT`)",
    b"mvex": "it is fragmented: write it in one piece (`ffmpeg -i IN -c copy OUT`)",
    b"cmov": "its tables are compressed: write it anew (`ffmpeg -i IN -c copy OUT`)",
    b"stz2": "its table of sizes is a packed one: write it anew (`ffmpeg -i IN -c copy OUT`)",
    b"saio": "it is encrypted: label it before it is",
    b"iloc": "it holds pictures as items: take those out",
}
"""Boxes that point into the file in ways that are not followed here."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box within `moov`: what it holds as bytes, or the boxes in it and the bytes behind the last of them."""

    kind: bytes
    data: bytes = b""
    inner: "tuple[Box, ...] | None" = None

    def first(self, kind: bytes) -> "Box | None":
        """The first box of this kind in it."""
        return next((box for box in self.inner or () if box.kind == kind), None)


@dataclass(frozen=True, slots=True)
class Top:
    """A box of the file itself: where it begins, how long it is, and how much of that is its header."""

    kind: bytes
    start: int
    size: int
    header: int

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Movie:
    """A file taken apart: its own boxes in order, and what its one `moov` holds."""

    data: bytes
    tops: tuple[Top, ...]
    moov: Box

    def bytes_of(self, top: Top) -> bytes:
        """What a box of the file holds, without its header."""
        return self.data[top.start + top.header : top.end]


def recognise(data: bytes) -> str | None:
    """The mime type of a film, by the brand that comes first; None when it is none."""
    brand = data[8:12]
    if data[4:8] != b"ftyp":
        return None
    if brand == b"qt  ":
        return QUICKTIME
    return MIME if brand in _BRANDS or brand[:3] in (b"iso", b"3gp", b"3g2") else None


def tops(data: bytes) -> tuple[Top, ...]:
    """The boxes of the file itself, which fill it to its last byte; raises InputError when they do not."""
    out: list[Top] = []
    at = 0
    while at < len(data):
        if len(out) == MOST_BOXES:
            raise damaged(f"it has more than {MOST_BOXES:,} boxes")
        kind, size, header = _head(data, at, len(data))
        out.append(Top(kind, at, size, header))
        at += size
    return tuple(out)


def parse(data: bytes) -> Movie:
    """The file taken apart; raises InputError on one that is damaged, or laid out in a way that is not handled."""
    if recognise(data) is None:
        raise InputError(f"the file is not {MIME} or {QUICKTIME}: give it the type that it is")
    found = tops(data)
    _count(data, 0, len(data), [MOST_BOXES], depth=0)
    moovs = [top for top in found if top.kind == b"moov"]
    for top in found:
        _refuse(top.kind)
        if top.kind == b"meta" and b"iloc" in data[top.start : top.end]:
            _refuse(b"iloc")
    if len(moovs) != 1:
        raise damaged(f"it has {len(moovs)} boxes `moov`, one is wanted")
    (top,) = moovs
    left = [MOST_BOXES]
    return Movie(data, found, _inside(data[top.start + top.header : top.end], b"moov", left, depth=1))


def children(data: bytes, left: list[int] | None = None) -> tuple[tuple[Box, ...], bytes]:
    """The boxes that these bytes are, not looked into, and up to seven bytes (or zeros) that are left behind them."""
    left = left if left is not None else [MOST_BOXES]
    out, at = [], 0
    while at + 8 <= len(data) and any(data[at : at + 8]):
        left[0] -= 1
        if left[0] < 0:
            raise damaged(f"it has more than {MOST_BOXES:,} boxes")
        kind, size, header = _head(data, at, len(data))
        out.append(Box(kind, data[at + header : at + size]))
        at += size
    return tuple(out), data[at:]


def render(box: Box) -> bytes:
    """A box as bytes."""
    body = box.data if box.inner is None else b"".join(map(render, box.inner)) + box.data
    if len(body) + 8 > 0xFFFF_FFFF:
        raise InputError("the tables of the film would pass 4 GiB")
    return struct.pack(">I4s", len(body) + 8, box.kind) + body


def damaged(why: str) -> InputError:
    """What is said of a file that cannot be taken apart."""
    return InputError(f"the film cannot be used: {why}")


def _inside(data: bytes, kind: bytes, left: list[int], *, depth: int) -> Box:
    if depth > MOST_DEPTH:
        raise damaged(f"its boxes lie more than {MOST_DEPTH} deep")
    inner, rest = children(data, left)
    return Box(kind, rest, tuple(_looked_into(box, left, depth=depth) for box in inner))


def _looked_into(box: Box, left: list[int], *, depth: int) -> Box:
    _refuse(box.kind)
    if box.kind == b"dref" and _elsewhere(box.data):
        raise damaged(_FOREIGN)
    return _inside(box.data, box.kind, left, depth=depth + 1) if box.kind in CONTAINERS else box


def _elsewhere(data: bytes) -> bool:
    """Whether an entry of a `dref` names another file: the lowest bit of its flags is not set."""
    entries: Sequence[Box] = children(data[8:])[0]
    return any(len(entry.data) < 4 or not entry.data[3] & 1 for entry in entries)


def _count(data: bytes, at: int, end: int, left: list[int], *, depth: int) -> None:
    """Raise InputError when there are too many boxes, or boxes too deep, for whoever looks into every one."""
    if depth > MOST_DEPTH:
        raise damaged(f"its boxes lie more than {MOST_DEPTH} deep")
    while at + 8 <= end:
        left[0] -= 1
        if left[0] < 0:
            raise damaged(f"it has more than {MOST_BOXES:,} boxes")
        size, kind = struct.unpack_from(">I4s", data, at)
        header = 16 if size == 1 else 8
        size = int.from_bytes(data[at + 8 : at + 16], "big") if size == 1 else size or end - at
        if size < header or size > end - at:
            return  # what follows is no box, here and for others
        if kind in _NESTING:
            _count(data, at + header + (4 if kind == b"meta" else 0), at + size, left, depth=depth + 1)
        at += size


def _refuse(kind: bytes) -> None:
    if kind in _REFUSED:
        raise damaged(_REFUSED[kind])


def _head(data: bytes, at: int, end: int) -> tuple[bytes, int, int]:
    """Kind of the box at this place, its length and that of its header; raises InputError when it does not fit."""
    if at + 8 > end:
        raise damaged("it is cut short")
    size, kind = struct.unpack_from(">I4s", data, at)
    header = 8
    if size == 1 and at + 16 <= end:
        (size,), header = struct.unpack_from(">Q", data, at + 8), 16
    elif size == 0:  # to the end
        size = end - at
    if size < header or size > end - at:
        raise damaged("it is cut short, or a box says a length that it has not")
    return kind, size, header
