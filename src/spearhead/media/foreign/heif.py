"""HEIF (HEIC) and AVIF: the label in the XMP packet that is an item of the file (ISO 23008-12, A.3; ISO 14496-12).

The packet gets a box `mdat` of its own behind `meta`, and what tells where items lie (`iloc`) is written anew: all else
stays as it is. Of a sequence of pictures a label is read, none is written.
"""

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, count

from spearhead.core.errors import InputError
from spearhead.media import xmp

HEIF, HEIC, AVIF = "image/heif", "image/heic", "image/avif"
_BRANDS: Mapping[bytes, str] = {
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis"), HEIC),
    **dict.fromkeys((b"hevc", b"hevx", b"hevm", b"hevs"), "image/heic-sequence"),
}
_ANY: Mapping[bytes, str] = {b"mif1": HEIF, b"mif2": HEIF, b"msf1": "image/heif-sequence"}
"""Brands that do not say how pictures are coded: one that does may stand beside them."""
_XMP, _DESCRIBES = b"application/rdf+xml", b"cdsc"
_SIGNATURE = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""The extended type of the box that holds C2PA manifests."""
_FILM = (b"moov", b"moof", b"sidx", b"mfra")
"""Boxes of sequences, which point into the file in ways that are not followed here."""
_PADDING = (b"free", b"skip")
_WRITTEN = (b"iinf", b"iloc", b"iref", b"idat", *_PADDING)
"""Boxes in `meta` that a label changes, or that say nothing."""
_MOST_BOXES, _MOST_ITEMS, _MOST_EXTENTS, _MOST_PACKETS = 10_000, 10_000, 100_000, 100
_SHARED = 4
"""How many times as much as the file all items together may hold: some share their bytes."""
_FARTHEST = 0xFFF0_0000
"""Files of so many bytes, less what a label adds, need places of eight bytes."""
_IN_FILE, _IN_META, _IN_ITEM = range(3)
"""How the place of an item is told: by its place in the file, in the box `idat`, or in another item."""

Range = tuple[int, int]
"""The first byte and the first behind the last."""


@dataclass(frozen=True, slots=True)
class _Box:
    """A box as it lies in the file."""

    kind: bytes
    start: int
    body: int
    end: int


@dataclass(frozen=True, slots=True)
class _Item:
    """What `iinf` says of an item, with the bytes that say it."""

    number: int
    packet: bool
    """Whether it is XMP."""
    encoded: bool
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an item lies: by which method, and index, place and length of every piece."""

    method: int
    extents: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Table:
    """What `iloc` says, and how it says it: its version, and the bytes that an index has."""

    version: int
    index: int
    places: Mapping[int, _Place]


@dataclass(frozen=True, slots=True)
class _Reference:
    """An entry of `iref`, with the bytes that it is."""

    kind: bytes
    item: int
    to: tuple[int, ...]
    raw: bytes


@dataclass(frozen=True, slots=True)
class _File:
    """A file taken apart: its boxes, those in `meta`, and what these say."""

    data: bytes
    tops: tuple[_Box, ...]
    meta: _Box
    inner: tuple[_Box, ...]
    primary: int
    items: tuple[_Item, ...]
    table: _Table
    references: tuple[_Reference, ...]

    def first(self, kind: bytes) -> _Box | None:
        """The first box of this kind in `meta`."""
        return next((box for box in self.inner if box.kind == kind), None)


class _Numbers:
    """Reads numbers of any width, one behind the other, to the end of a box."""

    def __init__(self, data: bytes, box: _Box) -> None:
        self._data, self.at, self._end = data, box.body, box.end

    def version(self) -> int:
        """The first of a box that has a version, and flags that are passed over."""
        return self.take(4) >> 24

    def take(self, width: int) -> int:
        """The next, of so many bytes."""
        start, self.at = self.at, self.at + width
        if self.at > self._end:
            raise _cut()
        return int.from_bytes(self._data[start : self.at], "big")


def recognise(data: bytes) -> str | None:
    """The mime type by the brands in the first box."""
    brand = data[8:12]
    if data[4:8] != b"ftyp" or brand not in _ANY:
        return _BRANDS.get(brand) if data[4:8] == b"ftyp" else None
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    return next((_BRANDS[one] for at in range(16, end, 4) if (one := data[at : at + 4]) in _BRANDS), _ANY[brand])


def label(data: bytes) -> str | None:
    """The text of the label."""
    file = _parsed(data)
    found = (xmp.read(_packet(file, item.number), xmp.AIGC) for item in file.items if item.packet)
    return next((text for text in found if text is not None), None)


def put(data: bytes, text: str) -> bytes:
    """The file with this label alone."""
    file = _parsed(data)
    for box in file.tops:
        if box.kind in _FILM:
            raise InputError("no label is written into a HEIF or AVIF file that holds a sequence of pictures")
        if box.kind == b"uuid" and data[box.body : box.body + 16] == _SIGNATURE:
            raise InputError("the HEIF or AVIF file is signed with C2PA: label it before it is signed")
    if any(item.packet and item.encoded for item in file.items):
        raise InputError("the XMP of the HEIF or AVIF file is compressed: write it anew as plain XMP")
    packets = {item.number: _packet(file, item.number) for item in file.items if item.packet}
    described = (number for number in packets if _is_of_primary(file, number))
    home = next(described, _fresh(file))
    labelled = [number for number, packet in packets.items() if xmp.read(packet, xmp.AIGC) is not None]
    new = {number: xmp.put(packets[number], {xmp.AIGC: None}) for number in labelled if number != home}
    return _joined(file, {home: xmp.put(packets.get(home), {xmp.AIGC: text})} | new)


def content(data: bytes) -> bytes:
    """What is told of the items that are no XMP, and their bytes; and every box of the file but padding."""
    file = _parsed(data)
    packets = {item.number for item in file.items if item.packet}
    told = [box for box in file.tops if box.kind not in (b"meta", b"mdat", *_PADDING)]
    told += [box for box in file.inner if box.kind not in _WRITTEN]
    out = [_box(box.kind, data[box.body : box.end]) for box in told]
    out += [item.raw for item in file.items if not item.packet]
    out += [one.raw for one in file.references if one.item not in packets]
    left = _SHARED * len(data)
    for number, place in sorted(file.table.places.items()):
        if number not in packets:
            pieces = _pieces(file, number)
            size = sum(end - start for start, end in pieces)
            left -= size
            if left < 0:
                raise _damaged("its items hold more than the file")
            within = repr(place.extents).encode() if place.method == _IN_ITEM else b""
            out += [struct.pack(">IQ", number, size), *(data[start:end] for start, end in pieces), within]
    return b"".join(out)


def _joined(file: _File, new: Mapping[int, bytes]) -> bytes:
    """The file with these packets in place of those of the same items, and all places where they are now."""
    data, places = bytearray(file.data), dict(file.table.places)
    old = _given_up(file, new)
    for start, end in old:
        data[start:end] = bytes(end - start)
    tops = [box for box in file.tops if box.kind != b"mdat" or (box.body, box.end) not in old]
    packed = b"".join(_box(b"mdat", packet) for packet in new.values())
    wide = 4 if len(data) + len(packed) < _FARTHEST else 8
    size = len(_meta(file, data, places | dict.fromkeys(new, _Place(_IN_FILE, ((0, 0, 0),))), wide=wide))
    sizes = [size + len(packed) if box is file.meta else box.end - box.start for box in tops]
    shifts = {box.start: at - box.start for box, at in zip(tops, [0, *accumulate(sizes)], strict=False)}
    for number, place in places.items():
        if number not in new and place.method == _IN_FILE:
            places[number] = _shifted(file, place, shifts)
    at = file.meta.start + shifts[file.meta.start] + size + 8
    for number, packet in new.items():
        places[number] = _Place(_IN_FILE, ((0, at, len(packet)),))
        at += len(packet) + 8
    meta = _meta(file, data, places, wide=wide)
    return b"".join(meta + packed if box is file.meta else bytes(data[box.start : box.end]) for box in tops)


def _shifted(file: _File, place: _Place, shifts: Mapping[int, int]) -> _Place:
    """The place of an item after the boxes have moved by so much (the key is where one began)."""
    moved = [(start, shifts[_around(file, start, start + length).start]) for _, start, length in place.extents]
    told = zip(place.extents, moved, strict=True)
    return _Place(place.method, tuple((index, start + shift, length) for (index, _, length), (start, shift) in told))


def _given_up(file: _File, new: Mapping[int, bytes]) -> set[Range]:
    """The bytes of the items that are written anew, which are no other item's; raises InputError where they are."""
    old, places = set[Range](), file.table.places
    for number in new.keys() & places.keys():
        pieces = _pieces(file, number)
        if places[number].method == _IN_FILE and any(_around(file, *piece).kind != b"mdat" for piece in pieces):
            raise _damaged("its XMP does not lie in a box `mdat`")
        if places[number].method == _IN_ITEM:
            raise _damaged("its XMP lies within another item")
        old.update(pieces)
    others = sorted(piece for number in places.keys() - new.keys() for piece in _pieces(file, number))
    starts, ends = [start for start, _ in others], [0, *accumulate((end for _, end in others), max)]
    if any(ends[bisect_left(starts, end)] > start for start, end in old):
        raise _damaged("its XMP lies within another item")
    return old


def _around(file: _File, start: int, end: int) -> _Box:
    """The box of the file, another than `meta`, that these bytes lie in."""
    box = file.tops[bisect_right(file.tops, start, key=lambda one: one.start) - 1]
    if box is file.meta or not box.body <= start <= end <= box.end:
        raise _damaged("an item lies across its boxes")
    return box


def _meta(file: _File, data: bytearray, places: Mapping[int, _Place], *, wide: int) -> bytes:
    """The box `meta` that tells these places; an item with a place that it does not know is XMP of the primary one."""
    items, references = [item.raw for item in file.items], [one.raw for one in file.references]
    refers = file.first(b"iref")
    version = data[refers.body] if refers else int(file.primary > 0xFFFF)
    for number in places.keys() - file.table.places.keys() - {item.number for item in file.items}:
        said = struct.pack(">BBHHH4s", 2, 0, 0, number, 0, b"mime")
        items.append(_box(b"infe", said + b"XMP\0" + _XMP + b"\0"))
        if version == 0 and file.primary > 0xFFFF:
            raise _damaged("its table of references has no room for its first picture")
        ends = [one.to_bytes(4 if version else 2, "big") for one in (number, file.primary)]
        references.append(_box(_DESCRIBES, ends[0] + b"\0\1" + ends[1]))
    referring = _box(b"iref", bytes([version, 0, 0, 0]) + b"".join(references))
    out = [bytes(data[file.meta.body : file.meta.body + 4])]
    for box in file.inner:
        if box.kind == b"iinf":
            many = len(items).to_bytes(4 if data[box.body] else 2, "big")
            out.append(_box(b"iinf", bytes(data[box.body : box.body + 4]) + many + b"".join(items)))
        elif box.kind == b"iloc":
            out.append(_located(file.table, places, wide=wide))
        else:
            out.append(referring if box is refers else _box(box.kind, bytes(data[box.body : box.end])))
    return _box(b"meta", b"".join(out if refers or not references else [*out, referring]))


def _located(table: _Table, places: Mapping[int, _Place], *, wide: int) -> bytes:
    """The box `iloc` that tells these places, in so many bytes each."""
    width = 4 if table.version == 2 else 2
    out = [bytes([table.version, 0, 0, 0, wide << 4 | wide, table.index]), len(places).to_bytes(width, "big")]
    for number, place in places.items():
        method = place.method.to_bytes(2, "big") if table.version else b""
        out += [number.to_bytes(width, "big"), method, b"\0\0", len(place.extents).to_bytes(2, "big")]
        for index, start, length in place.extents:
            out += [index.to_bytes(table.index, "big"), start.to_bytes(wide, "big"), length.to_bytes(wide, "big")]
    return _box(b"iloc", b"".join(out))


def _pieces(file: _File, number: int) -> list[Range]:
    """Where in the file the bytes of an item lie; none when they lie in another item."""
    place, out = file.table.places[number], list[Range]()
    first, last = 0, len(file.data)
    if place.method == _IN_META:
        box = file.first(b"idat")
        first, last = (box.body, box.end) if box else (0, 0)
    for _, start, length in place.extents if place.method != _IN_ITEM else ():
        if place.method == _IN_FILE and not length:
            raise _damaged("an item does not tell its length")
        end = first + start + length if length else last
        if not first + start <= end <= last:
            raise _damaged("an item lies outside of it")
        out.append((first + start, end))
    return out


def _packet(file: _File, number: int) -> bytes | None:
    """The XMP that an item is; None when it is nowhere, or is longer than one that is read."""
    pieces = _pieces(file, number) if number in file.table.places else []
    if not pieces or sum(end - start for start, end in pieces) > xmp.MOST:
        return None
    return b"".join(file.data[start:end] for start, end in pieces)


def _is_of_primary(file: _File, number: int) -> bool:
    """Whether XMP describes the primary picture, or does not say which."""
    described = [one.to for one in file.references if one.kind == _DESCRIBES and one.item == number]
    return not described or any(file.primary in one for one in described)


def _fresh(file: _File) -> int:
    """The lowest number that no item has, and no group of items; nor does anything refer to it."""
    taken = {item.number for item in file.items} | file.table.places.keys()
    taken.update(number for one in file.references for number in (one.item, *one.to))
    groups = file.first(b"grpl")
    for box in _boxes(file.data, groups.body, groups.end) if groups else ():
        taken.add(int.from_bytes(file.data[box.body + 4 : box.body + 8], "big"))
    return next(number for number in count(1) if number not in taken)


def _parsed(data: bytes) -> _File:
    """The file taken apart within bounds; raises InputError."""
    if recognise(data) is None:
        raise InputError("the file is not HEIF or AVIF: give it the type that it is")
    tops = tuple(_boxes(data, 0, len(data)))
    metas = [box for box in tops if box.kind == b"meta"]
    if len(metas) != 1:
        raise _damaged(f"it has {len(metas)} boxes `meta`, one is wanted")
    (meta,) = metas
    inner = tuple(_boxes(data, min(meta.body + 4, meta.end), meta.end))
    held = {kind: [box for box in inner if box.kind == kind] for kind in (b"iinf", b"iloc", b"pitm", b"iref", b"idat")}
    if any(len(held[kind]) != 1 for kind in (b"iinf", b"iloc", b"pitm")) or max(map(len, held.values())) > 1:
        raise _damaged("it does not tell once what its items are, where they lie and which comes first")
    first = _Numbers(data, held[b"pitm"][0])
    primary = first.take(4 if first.version() else 2)
    items = tuple(_items(data, held[b"iinf"][0]))
    references = tuple(_references(data, held[b"iref"][0])) if held[b"iref"] else ()
    if len({item.number for item in items}) != len(items) or sum(item.packet for item in items) > _MOST_PACKETS:
        raise _damaged("it holds an item twice, or too many of XMP")
    return _File(data, tops, meta, inner, primary, items, _table(data, held[b"iloc"][0]), references)


def _items(data: bytes, box: _Box) -> Iterator[_Item]:
    """What `iinf` says."""
    told = _Numbers(data, box)
    many = told.take(4 if told.version() else 2)
    boxes = list(_boxes(data, told.at, box.end))
    if many != len(boxes) or many > _MOST_ITEMS:
        raise _damaged(f"it tells of {many:,} items, and holds {len(boxes):,} of at most {_MOST_ITEMS:,}")
    for one in boxes:
        entry = _Numbers(data, one)
        version = entry.version()
        number = entry.take(4 if version == 3 else 2)
        entry.take(2)
        kind = entry.take(4) if version in (2, 3) else 0
        words = data[entry.at : one.end].split(b"\0") if kind == int.from_bytes(b"mime", "big") else []
        packet = words[1:2] == [_XMP]
        yield _Item(number, packet, packet and any(words[2:3]), _box(one.kind, data[one.body : one.end]))


def _references(data: bytes, box: _Box) -> Iterator[_Reference]:
    """What `iref` says."""
    told, left = _Numbers(data, box), _MOST_EXTENTS
    width = 4 if told.version() else 2
    for one in _boxes(data, told.at, box.end):
        entry = _Numbers(data, one)
        item, many = entry.take(width), entry.take(2)
        left -= many
        if left < 0:
            raise _damaged(f"its items refer to each other more than {_MOST_EXTENTS:,} times")
        to = tuple(entry.take(width) for _ in range(many))
        yield _Reference(one.kind, item, to, _box(one.kind, data[one.body : one.end]))


def _table(data: bytes, box: _Box) -> _Table:
    """What `iloc` says; where it counts from a base, that is added."""
    told, places, left = _Numbers(data, box), dict[int, _Place](), _MOST_EXTENTS
    version, sizes = told.version(), told.take(2)
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    index, width = index if version else 0, 4 if version == 2 else 2
    if version > 2 or not {offset, length, base, index} <= {0, 4, 8}:
        raise _damaged("it tells in no known way where its items lie")
    for _ in range(told.take(width)):
        number, method = told.take(width), told.take(2) & 15 if version else _IN_FILE
        if told.take(2):
            raise _damaged("an item lies in another file: put it into this one")
        start, many = told.take(base), told.take(2)
        left -= many + 1
        if method > _IN_ITEM or number in places or left < 0:
            raise _damaged("it tells twice, in too many pieces or in no known way where an item lies")
        extents = ((told.take(index), start + told.take(offset), told.take(length)) for _ in range(many))
        places[number] = _Place(method, tuple(extents))
    return _Table(version, index, places)


def _boxes(data: bytes, at: int, end: int) -> Iterator[_Box]:
    """The boxes between two places, which they fill; raises InputError when they do not."""
    for _ in range(_MOST_BOXES):
        if at == end:
            return
        size, kind, body = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if size == 1:
            size, body = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        elif size == 0:  # to the end
            size = end - at
        if body > end or not body - at <= size <= end - at:
            raise _cut()
        yield _Box(kind, at, body, at + size)
        at += size
    raise _damaged(f"it has more than {_MOST_BOXES:,} boxes")


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, kind) + body


def _cut() -> InputError:
    return InputError("the HEIF or AVIF file is cut short, or a box says a length that it has not")


def _damaged(why: str) -> InputError:
    return InputError(f"the HEIF or AVIF file cannot be used: {why}")
