"""An MP4 file as its boxes (ISO 14496-12), and the way back with the places of the samples put right. Knows no label.

Samples are never decoded: what is put in or taken out moves them, and the tables that say where they lie move along.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spearhead.core.errors import InputError

MIME = "video/mp4"
_Numbers = np.ndarray[Any, np.dtype[np.int64]]

MOST_BOXES = 4096
MOST_DEPTH = 8
_FARTHEST = 2**62  # a place that lies farther is none, and sums of what remains fit into 64 bits
CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"udta"})
_NESTING = CONTAINERS | {b"moof", b"traf", b"edts", b"tref", b"treg", b"mvex", b"mfra", b"meta", b"schi"}
"""Boxes that readers of C2PA look into; theirs take time by the square of how many there are, so all are counted."""
OFFSETS: Mapping[bytes, str] = {b"stco": ">u4", b"co64": ">u8"}
"""Tables of where chunks of samples lie in the file, and their numbers."""
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


def recognise(data: bytes) -> bool:
    """Whether the bytes begin as an MP4 film: by the brand that comes first."""
    brand = data[8:12]
    return data[4:8] == b"ftyp" and (brand in _BRANDS or brand[:3] in (b"iso", b"3gp", b"3g2"))


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
    if not recognise(data):
        raise InputError(f"the file is not {MIME}: give it the type that it is")
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


def join(movie: Movie, moov: Box, *, without: Callable[[Top], bool]) -> bytes:
    """The file with another `moov` in its place, and without some of its boxes; the places of all samples follow."""
    kept = [top for top in movie.tops if not without(top)]
    size = len(render(moov))
    places, at = {}, 0
    for top in kept:
        places[top.start] = at
        at += size if top.kind == b"moov" else top.size
    moved = replaced(movie, moov, {top.start: places[top.start] - top.start for top in kept if top.kind == b"mdat"})
    return b"".join(render(moved) if top.kind == b"moov" else movie.data[top.start : top.end] for top in kept)


def replaced(movie: Movie, box: Box, shifts: Mapping[int, int]) -> Box:
    """`box` with every place of a chunk moved by as much as the `mdat` that it lies in (the key is its start)."""
    moves = np.array([shifts.get(top.start, 0) for top in _mdats(movie)], np.int64)

    def moved(table: Box) -> Box:
        if table.kind not in OFFSETS:
            return table if table.inner is None else replace(table, inner=tuple(map(moved, table.inner)))
        places = offsets(table)
        new = places + moves[_which(movie, places, places)] if places.size else places
        form = np.dtype(OFFSETS[table.kind])
        if new.size and int(new.max()) > np.iinfo(form).max:
            raise InputError("the film would pass 4 GiB, which its tables cannot tell: write them as `co64`")
        return replace(table, data=table.data[:8] + new.astype(form).tobytes())

    return moved(box)


def _mdats(movie: Movie) -> list[Top]:
    return [top for top in movie.tops if top.kind == b"mdat"]


def _which(movie: Movie, starts: _Numbers, ends: _Numbers) -> _Numbers:
    """In which `mdat` each chunk lies, by number; raises InputError when one does not lie within one."""
    first = np.array([top.start + top.header for top in _mdats(movie)], np.int64)
    last = np.array([top.end for top in _mdats(movie)], np.int64)
    found = np.searchsorted(first, starts, "right") - 1
    if starts.size and (not first.size or found.min() < 0 or bool((ends > last[found]).any())):
        raise damaged("a table points to samples outside `mdat`")
    return found


def samples(movie: Movie) -> Iterator[tuple[bytes, bytes]]:
    """Of each track, in order: its kind (`vide`, `soun`) and all its samples, one behind the other.

    Raises InputError when a table lies about them, or when the tracks together hold more than the file.
    """
    left = len(movie.data)
    for trak in (box for box in movie.moov.inner or () if box.kind == b"trak"):
        mdia = trak.first(b"mdia")
        minf, handler = (mdia.first(b"minf"), mdia.first(b"hdlr")) if mdia else (None, None)
        stbl = minf.first(b"stbl") if minf else None
        if stbl is None or handler is None:
            raise damaged("a track has no table of samples")
        places, sizes = _chunks(stbl, most=len(movie.data))
        left -= int(sizes.sum())
        if left < 0:
            raise damaged("its tracks hold more than the file")
        _which(movie, places, places + sizes)
        pieces = zip(places.tolist(), sizes.tolist(), strict=True)
        yield handler.data[8:12], b"".join(movie.data[place : place + size] for place, size in pieces)


def _chunks(stbl: Box, *, most: int) -> tuple[_Numbers, _Numbers]:
    """Place and length of every chunk, by `stco` or `co64`, `stsc` and `stsz`: int64 (n) each."""
    table = next((box for box in stbl.inner or () if box.kind in OFFSETS), None)
    runs, lengths = stbl.first(b"stsc"), stbl.first(b"stsz")
    if table is None or runs is None or lengths is None or len(lengths.data) < 12:
        raise damaged("a track has no table of samples (`stco` or `co64`, `stsc`, `stsz`)")
    places = offsets(table)
    first, each = _table(runs.data, 8, ">u4", columns=3)[:, :2].T
    alike, count = struct.unpack_from(">II", lengths.data, 4)
    if places.size == 0 or count == 0:
        return places[:0], places[:0]
    spans = np.diff(np.append(first, places.size + 1))
    if first.size == 0 or first[0] != 1 or spans.min() < 0:
        raise damaged("its table of chunks is out of order")
    held = np.repeat(each, spans)  # samples in each chunk
    ends = np.cumsum(held)
    if ends[-1] != count:
        raise damaged("its tables of samples differ")
    if alike:
        if count > most // alike:
            raise damaged("its tracks hold more than the file")
        return places, held * alike
    total = np.concatenate([[0], np.cumsum(_table(lengths.data, 12, ">u4", columns=1)[:, 0])])
    if total.size != count + 1:
        raise damaged("its tables of samples differ")
    return places, np.diff(total[np.concatenate([[0], ends])])


def offsets(table: Box) -> _Numbers:
    """The numbers in a table of places: int64 (n)."""
    return _table(table.data, 8, OFFSETS[table.kind], columns=1)[:, 0]


def _table(data: bytes, start: int, form: str, *, columns: int) -> _Numbers:
    """The rows of a table, of which the four bytes before `start` are the number: int64 (rows, columns)."""
    width = np.dtype(form).itemsize * columns
    if len(data) < start or len(data) - start != int.from_bytes(data[start - 4 : start], "big") * width:
        raise damaged("a table of samples has another length than it says")
    values = np.frombuffer(data, form, offset=start)
    if values.size and int(values.max()) > _FARTHEST:
        raise damaged("a table points to samples outside `mdat`")
    return values.astype(np.int64).reshape(-1, columns)


def damaged(why: str) -> InputError:
    """What is said of a file that cannot be taken apart."""
    return InputError(f"the {MIME} file cannot be used: {why}")


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
