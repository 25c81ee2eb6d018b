"""Matroska and WebM: the label as a SimpleTag AIGC of the whole file (RFC 9559, 5.1.8; practice guide TC260-PG-20257A).

It stands before the first cluster, where a reader that cannot seek meets it. What tells where elements lie (seek heads,
cues, positions of clusters) follows when the tags grow.
"""

import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

from spearhead.core.errors import InputError

MIME, WEBM = "video/matroska", "video/webm"
_EBML, _DOCTYPE, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x42\x82", b"\x18\x53\x80\x67"
_VOID, _CRC = b"\xec", b"\xbf"
_EMPTY = (_VOID, _CRC)
_SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = b"\x11\x4d\x9b\x74", b"\x4d\xbb", b"\x53\xab", b"\x53\xac"
_CUES, _CUE_POINT, _CUE_TRACK, _CUE_REFERENCE = b"\x1c\x53\xbb\x6b", b"\xbb", b"\xb7", b"\xdb"
_TAGS, _TAG, _TARGETS = b"\x12\x54\xc3\x67", b"\x73\x73", b"\x63\xc0"
_SIMPLE, _NAME, _STRING = b"\x67\xc8", b"\x45\xa3", b"\x44\x87"
_INFO, _TRACKS = b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b"
_CHAPTERS, _ATTACHMENTS = b"\x10\x43\xa7\x70", b"\x19\x41\xa4\x69"
_CLUSTER, _POSITION = b"\x1f\x43\xb6\x75", b"\xa7"
_TOPS = frozenset({_SEEK_HEAD, _INFO, _TRACKS, _CHAPTERS, _ATTACHMENTS, _CLUSTER, _CUES, _TAGS, _EBML, _SEGMENT})
"""What a cluster whose length is not told ends before."""
_TREES: Mapping[bytes, frozenset[bytes]] = {
    _SEEK_HEAD: frozenset({_SEEK}),
    _CUES: frozenset({_CUE_POINT, _CUE_TRACK, _CUE_REFERENCE}),
    _TAGS: frozenset({_TAG, _SIMPLE}),
}
"""Elements that are written anew, and what is looked into within them."""
_PLACES: Mapping[bytes, frozenset[bytes]] = {
    _SEEK_HEAD: frozenset({_SEEK_POSITION}),
    _CUES: frozenset({b"\xf1", b"\xea", b"\x97", b"\xeb"}),
}
"""Of those, the numbers that are places, counted from the segment's first byte."""
_LABEL = b"AIGC"
_DEEPEST, _ROUNDS, _MOST, _HELD = 8, 50, 3_000_000, 8
"""The last two: how many elements are looked at; one that is not passed over, as blocks are, counts as so many."""


@dataclass(frozen=True, slots=True)
class _Element:
    """One element as it lies in the file; `inner` are those in a cluster that are of its place, or of nothing."""

    kind: bytes
    start: int
    body: int
    end: int
    inner: "tuple[_Element, ...]" = ()


@dataclass(frozen=True, slots=True)
class _Film:
    """A file taken apart: its segment, and the elements in it in order."""

    data: bytes
    segment: _Element
    told: bool
    """Whether the segment tells its length."""
    parts: tuple[_Element, ...]


@dataclass(frozen=True, slots=True)
class _Node:
    """An element that is written anew: its bytes, or the elements in it. Its length takes `wide` bytes or more."""

    kind: bytes
    body: bytes = b""
    inner: "tuple[_Node, ...] | None" = None
    wide: int = 1

    def render(self) -> bytes:
        """As bytes; a checksum that it begins with is counted anew."""
        if self.inner is None:
            return self.kind + _length(len(self.body), self.wide) + self.body
        parts = [node.render() for node in self.inner]
        body = _summed(parts) if self.inner[:1] and self.inner[0].kind == _CRC else b"".join(parts)
        return self.kind + _length(len(body), self.wide) + body


_Part = tuple[_Element, _Node | None]
"""An element of the segment, and what is written in its stead."""


@dataclass(frozen=True, slots=True)
class _Moves:
    """Where the elements of a segment were, and where they are; both count from the segment's first byte."""

    old: list[int]
    new: list[int]
    end: int

    def place(self, old: int) -> int:
        """Where what was there is now."""
        number = bisect_right(self.old, old) - 1
        return old + self.new[number] - self.old[number] if number >= 0 and old < self.end else old


def recognise(data: bytes) -> str | None:
    """The mime type by what the file's head says that it is."""
    if data[:4] != _EBML:
        return None
    try:
        _, size, at = _head(data, 0, len(data))
        inside = _inside(data, at, min(at + (size or 0), len(data)), [999])
        found = {one.kind: data[one.body : one.end] for one in inside}
    except InputError:
        return None
    return {b"matroska": MIME, b"webm": WEBM}.get(found.get(_DOCTYPE, b"").rstrip(b"\0"))


def label(data: bytes) -> str | None:
    """The text of the label."""
    left = [_MOST]
    for part in _parsed(data, left).parts:
        for node in _walk(_tree(data, part, left)) if part.kind == _TAGS else ():
            if _is_label(node):
                text = next((one.body for one in node.inner or () if one.kind == _STRING), b"")
                return text.rstrip(b"\0").decode("utf-8", "replace")
    return None


def put(data: bytes, text: str) -> bytes:
    """The file with this label alone, in the tags that stand before its clusters, else in new ones there."""
    left = [_MOST]
    film, parts = _parsed(data, left), list[_Part]()
    words = (_Node(_NAME, _LABEL), _Node(_STRING, text.encode()))
    tag = _Node(_TAG, inner=(_Node(_TARGETS), _Node(_SIMPLE, inner=words)))
    written = False
    for part in film.parts:
        tree, bare = (_tree(data, part, left) if part.kind in _TREES else None), None
        if not written and part.kind == _CLUSTER:
            parts.append((_Element(_TAGS, part.start, part.start, part.start), _Node(_TAGS, inner=(tag,))))
            written = True
        if tree is None:
            parts.append((part, None))
        elif part.kind == _TAGS and not written:
            bare = _without(tree) or replace(tree, inner=tuple(one for one in tree.inner or () if one.kind in _EMPTY))
            parts.append((part, replace(bare, inner=(*(bare.inner or ()), tag))))
            written = True
        elif bare := _without(tree):
            parts.append((part, bare))
    if not written:
        end = film.segment.end
        parts.append((_Element(_TAGS, end, end, end), _Node(_TAGS, inner=(tag,))))
    return _joined(film, parts)


def content(data: bytes) -> bytes:
    """Every element but tags, indexes, checksums and padding; of clusters all but these and where they lie."""
    film = _parsed(data, [_MOST])
    out = [data[: film.segment.start]]
    for part in film.parts:
        if part.kind == _CLUSTER:
            edges = [part.body, *(edge for one in part.inner for edge in (one.start, one.end)), part.end]
            kept = b"".join(data[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
            out += [part.kind, struct.pack(">Q", len(kept)), kept]
        elif part.kind not in _TREES and part.kind not in _EMPTY:
            out.append(data[part.start : part.end])
    return b"".join((*out, data[film.segment.end :]))


def _joined(film: _Film, parts: list[_Part]) -> bytes:
    """The file of these parts, with every place where that part is now.

    A place may take more bytes than it did, which moves others: they grow until all fit, and none shrinks.
    """
    first = film.segment.body
    old = [part.start - first for part, _ in parts]
    gone = {part.start - first for part in film.parts}.difference(old)
    sizes = [len(node.render()) if node else part.end - part.start for part, node in parts]
    for _ in range(_ROUNDS):
        moves = _Moves(old, [0, *accumulate(sizes)], film.segment.end - first)
        out = [_written(film.data, one, moves, gone) for one in parts]
        before, sizes = sizes, [len(one) for one in out]
        if before == sizes:
            break
    else:
        raise _damaged("its places move each other without end")
    body = _summed(out) if parts[0][0].kind == _CRC else b"".join(out)
    told = film.segment.start + len(_SEGMENT)
    length = _length(len(body), first - told) if film.told else film.data[told:first]
    return film.data[:told] + length + body + film.data[film.segment.end :]


def _written(data: bytes, part: _Part, moves: _Moves, gone: set[int]) -> bytes:
    """A part as bytes; nothing leads to what is gone. A cluster keeps its length: a place that is too long goes."""
    element, node = part
    if node is not None:
        return _moved(node, _PLACES.get(node.kind, frozenset()), moves, gone).render()
    out = bytearray(data[element.start : element.end])
    for one in element.inner:
        if one.kind == _POSITION:
            place, width = moves.place(int.from_bytes(data[one.body : one.end], "big")), one.end - one.body
            if place < 1 << 8 * width:
                out[one.body - element.start : one.end - element.start] = place.to_bytes(width, "big")
            else:
                out[one.start - element.start] = _VOID[0]
    if element.inner and element.inner[0].kind == _CRC and element.inner[0].start == element.body:
        head, end = element.body - element.start, element.inner[0].end - element.start
        return bytes(out[:head]) + _summed([bytes(out[head:end]), bytes(out[end:])])
    return bytes(out)


def _moved(node: _Node, kinds: frozenset[bytes], moves: _Moves, gone: set[int]) -> _Node:
    """The same with every number of these kinds that is a place where that place is now."""
    if node.kind in kinds:
        place = moves.place(int.from_bytes(node.body[-8:], "big"))
        return replace(node, body=place.to_bytes(max(len(node.body), (place.bit_length() + 7) // 8), "big"))
    if node.inner is None or not kinds:
        return node
    kept = (one for one in node.inner if one.kind != _SEEK or not _leads_to(one, gone))
    return replace(node, inner=tuple(_moved(one, kinds, moves, gone) for one in kept))


def _leads_to(seek: _Node, places: set[int]) -> bool:
    found = (one for one in seek.inner or () if one.kind == _SEEK_POSITION)
    return any(int.from_bytes(one.body, "big") in places for one in found)


def _is_label(node: _Node) -> bool:
    names = (one.body.rstrip(b"\0").upper() for one in node.inner or () if one.kind == _NAME)
    return node.kind == _SIMPLE and _LABEL in names


def _without(node: _Node) -> _Node | None:
    """The same without a label; None when it was one, or held nothing else."""
    if node.inner is None:
        return node
    if _is_label(node):
        return None
    inner = tuple(one for one in map(_without, node.inner) if one)
    without = {_TAGS: _EMPTY, _TAG: (*_EMPTY, _TARGETS)}.get(node.kind)
    bare = without is not None and len(inner) < len(node.inner) and all(one.kind in without for one in inner)
    return None if bare else replace(node, inner=inner)


def _walk(node: _Node) -> Iterator[_Node]:
    yield node
    for one in node.inner or ():
        yield from _walk(one)


def _parsed(data: bytes, left: list[int]) -> _Film:
    """The file taken apart; every element that is looked at takes one from `left`."""
    if recognise(data) is None:
        raise InputError(f"the file is not {MIME} or {WEBM}: give it the type that it is")
    kind, start, body, end, size = b"", 0, 0, 0, None
    while kind != _SEGMENT:
        start = end
        kind, size, body = _head(data, start, len(data))
        end = len(data) if size is None else body + size
        if kind not in (_VOID, _SEGMENT) and start > 0 or kind != _SEGMENT and size is None:
            raise _damaged("it has no segment")
        if end > len(data):
            raise _cut()
    if data.find(_EBML, end) >= 0:
        raise _damaged("another film begins behind the first: give one at a time")
    return _Film(data, _Element(kind, start, body, end), size is not None, tuple(_parts(data, body, end, left)))


def _parts(data: bytes, at: int, end: int, left: list[int]) -> Iterator[_Element]:
    """The elements of a segment."""
    while at < end:
        kind, size, body = _counted(data, at, end, left, count=_HELD)
        if kind in (_EBML, _SEGMENT):
            raise _damaged("another film begins within the first: give one at a time")
        stop, inner = end if size is None else body + size, list[_Element]()
        if kind == _CLUSTER:
            stop = _cluster(data, body, stop, left, told=size is not None, inner=inner)
        elif size is None:
            raise _damaged("an element does not tell its length")
        yield _Element(kind, at, body, stop, tuple(inner))
        at = stop


def _cluster(data: bytes, at: int, end: int, left: list[int], *, told: bool, inner: list[_Element]) -> int:
    """The first byte behind a cluster; what in it tells where it is, or nothing, goes to `inner`."""
    while at < end:
        kind, size, body = _counted(data, at, end, left)
        if not told and kind in _TOPS:
            return at
        if size is None:
            raise _damaged("an element does not tell its length")
        if kind == _POSITION or kind in _EMPTY:
            left[0] -= _HELD
            inner.append(_Element(kind, at, body, body + size))
        at = body + size
    return at


def _tree(
    data: bytes, one: _Element, left: list[int], *, kinds: frozenset[bytes] = frozenset(), depth: int = 0
) -> _Node:
    """An element of a segment with all that is in it, as far as it is looked into."""
    kinds, wide = kinds or _TREES[one.kind], one.body - one.start - len(one.kind)
    if depth and one.kind not in kinds:
        return _Node(one.kind, data[one.body : one.end], None, wide)
    if depth > _DEEPEST:
        raise _damaged(f"its tags lie more than {_DEEPEST} deep")
    inner = _inside(data, one.body, one.end, left)
    return _Node(one.kind, b"", tuple(_tree(data, child, left, kinds=kinds, depth=depth + 1) for child in inner), wide)


def _inside(data: bytes, at: int, end: int, left: list[int]) -> Iterator[_Element]:
    """The elements between two places, each of which tells its length."""
    while at < end:
        kind, size, body = _counted(data, at, end, left, count=_HELD)
        if size is None:
            raise _damaged("an element does not tell its length")
        yield _Element(kind, at, body, body + size)
        at = body + size


def _counted(data: bytes, at: int, end: int, left: list[int], *, count: int = 1) -> tuple[bytes, int | None, int]:
    """As `_head`, of an element that ends before `end`; fewer are left."""
    kind, size, body = _head(data, at, end)
    left[0] -= count
    if left[0] < 0:
        raise _damaged(f"it has more than {_MOST:,} elements")
    if size is not None and body + size > end:
        raise _cut()
    return kind, size, body


def _head(data: bytes, at: int, end: int) -> tuple[bytes, int | None, int]:
    """What an element is, its length (None: it does not tell), and its first byte (RFC 8794, sections 4 to 6)."""
    if at >= end:
        raise _cut()
    told = at + 9 - data[at].bit_length()
    if told - at > 4:
        raise _damaged("there is no element where one is wanted")
    if told >= end:
        raise _cut()
    body = told + 9 - data[told].bit_length()
    if body - told > 8 or body > end:
        raise _cut()
    top = 1 << 7 * (body - told)
    size = int.from_bytes(data[told:body], "big") - top
    return data[at:told], None if size == top - 1 else size, body


def _length(size: int, wide: int) -> bytes:
    """A length in so many bytes, or as many as it takes."""
    while size >= (1 << 7 * wide) - 1:
        wide += 1
    return (size | 1 << 7 * wide).to_bytes(wide, "big")


def _summed(parts: list[bytes]) -> bytes:
    """These bytes, the first of which are the element that holds the checksum of the rest (RFC 8794, 11.3.1)."""
    rest = b"".join(parts[1:])
    return parts[0][:-4] + zlib.crc32(rest).to_bytes(4, "little") + rest if len(parts[0]) > 5 else parts[0] + rest


def _cut() -> InputError:
    return InputError("the Matroska or WebM file is cut short")


def _damaged(why: str) -> InputError:
    return InputError(f"the Matroska or WebM file is damaged: {why}")
