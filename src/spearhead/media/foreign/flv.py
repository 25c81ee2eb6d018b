"""FLV: the label as the string AIGC in the script data `onMetaData` (Adobe FLV 10.1, E.4 and E.5; AMF 0).

What tells where tags lie (an index of key frames, the size of the file) follows when the metadata grows.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from spearhead.core.errors import InputError

MIME = "video/x-flv"
_NAME = b"AIGC"
_ABOUT = b"\x02\x00\x0aonMetaData"
_SCRIPT, _NUMBER, _STRING, _OBJECT, _MIXED, _LIST, _LONG = 18, 0, 2, 3, 8, 10, 12
_END = b"\0\0\x09"
_PLAIN = {_NUMBER: 8, 1: 1, 5: 0, 6: 0, 7: 2, 11: 10}
"""Bytes of the values that always have so many."""
_PLACES = (b"filepositions", b"filesize", b"lastkeyframelocation")
_DEEPEST, _MOST = 8, 4_000_000
Pair = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class _Tag:
    """One tag with the length behind it, as it is."""

    kind: int
    start: int
    head: bytes
    body: bytes
    behind: bytes

    @property
    def about(self) -> bool:
        """Whether it is the file's own metadata."""
        return self.kind == _SCRIPT and self.body.startswith(_ABOUT)

    @property
    def size(self) -> int:
        return len(self.head) + len(self.body) + len(self.behind)


@dataclass(frozen=True, slots=True)
class _About:
    """What `onMetaData` says: an object or an array with names, and what is behind it."""

    kind: int
    pairs: tuple[Pair, ...]
    rest: bytes

    def render(self) -> bytes:
        """As the body of a tag."""
        count = struct.pack(">I", len(self.pairs)) if self.kind == _MIXED else b""
        named = b"".join(struct.pack(">H", len(name)) + name + value for name, value in self.pairs)
        return _ABOUT + bytes([self.kind]) + count + named + _END + self.rest


def recognise(data: bytes) -> str | None:
    """The mime type by the first bytes."""
    return MIME if data[:4] == b"FLV\x01" else None


def label(data: bytes) -> str | None:
    """The text of the label."""
    for tag in _tags(data)[1]:
        for name, value in _about(tag.body).pairs if tag.about else ():
            if name == _NAME and value[:1] in (bytes([_STRING]), bytes([_LONG])):
                return value[3 if value[0] == _STRING else 5 :].decode("utf-8", "replace")
    return None


def put(data: bytes, text: str) -> bytes:
    """The file with this label alone, in the first metadata that it has, else in a tag of its own before all others."""
    head, old = _tags(data)
    words = text.encode()
    if len(words) > 0xFFFF:
        raise InputError("the label is longer than FLV can hold")
    pair = (_NAME, bytes([_STRING]) + struct.pack(">H", len(words)) + words)
    new, done = list[_Tag](), False
    for tag in old:
        if tag.about:
            told = _about(tag.body)
            kept = tuple(one for one in told.pairs if one[0] != _NAME)
            if not done or len(kept) != len(told.pairs):
                tag = _with(tag, replace(told, pairs=kept if done else (*kept, pair)).render())
            done = True
        new.append(tag)
    first = (
        []
        if done
        else [_with(_Tag(_SCRIPT, 0, bytes([_SCRIPT]) + bytes(10), b"", b""), _About(_MIXED, (pair,), b"").render())]
    )
    starts = [tag.start for tag in old]
    at, shifts = len(head) + sum(tag.size for tag in first), list[int]()
    for before, after in zip(old, new, strict=True):
        shifts.append(at - before.start)
        at += after.size

    def moved(place: float) -> float:
        if place == len(data):
            return float(at)
        number = bisect_right(starts, place) - 1
        return place + shifts[number] if number >= 0 and place < len(data) else place

    out = [_with(tag, _moved(_about(tag.body), moved).render()) if tag.about else tag for tag in (*first, *new)]
    return head + b"".join(tag.head + tag.body + tag.behind for tag in out)


def content(data: bytes) -> bytes:
    """Every tag but the metadata: a label, a title or an index changes none of them."""
    return b"".join(tag.head + tag.body for tag in _tags(data)[1] if not tag.about)


def _tags(data: bytes) -> tuple[bytes, list[_Tag]]:
    """The head with the length behind it, and every tag."""
    if recognise(data) is None or len(data) < 13:
        raise InputError("the video/x-flv file is cut short")
    at = int.from_bytes(data[5:9], "big") + 4
    if not 13 <= at <= len(data):
        raise InputError("the video/x-flv file is damaged: its first tag lies outside of it")
    head, out = data[:at], list[_Tag]()
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        body = at + 11
        if body + size + 4 > len(data):
            raise InputError("the video/x-flv file is cut short")
        if len(out) == _MOST:
            raise InputError(f"the video/x-flv file has more than {_MOST:,} tags")
        behind = body + size
        out.append(_Tag(data[at] & 31, at, data[at:body], data[body:behind], data[behind : behind + 4]))
        at = behind + 4
    return head, out


def _with(tag: _Tag, body: bytes) -> _Tag:
    """The tag with another body."""
    if len(body) > 0xFF_FFFF:
        raise InputError("the metadata of the video/x-flv file would be longer than a tag can be")
    head = tag.head[:1] + len(body).to_bytes(3, "big") + tag.head[4:]
    return replace(tag, head=head, body=body, behind=struct.pack(">I", len(head) + len(body)))


def _about(body: bytes) -> _About:
    try:
        kind = body[len(_ABOUT)]
        if kind not in (_OBJECT, _MIXED):
            raise InputError("the video/x-flv file is damaged: its metadata has no names")
        at = len(_ABOUT) + (5 if kind == _MIXED else 1)
        pairs = tuple(_pairs(body, at, depth=1))
        end = at + sum(2 + len(name) + len(value) for name, value in pairs)
    except (IndexError, struct.error) as error:
        raise InputError("the video/x-flv file is damaged: its metadata are cut short") from error
    return _About(kind, pairs, body[end + 3 :])  # some leave the end of a list out where it ends the tag


def _pairs(body: bytes, at: int, *, depth: int) -> Iterator[Pair]:
    """Each name with its value, as bytes."""
    if depth > _DEEPEST:
        raise InputError(f"the metadata of the video/x-flv file lie more than {_DEEPEST} deep")
    while at < len(body) and body[at : at + 3] != _END:
        start = at + 2 + int.from_bytes(body[at : at + 2], "big")
        end = _end(body, start, depth=depth)
        yield body[at + 2 : start], body[start:end]
        at = end


def _end(body: bytes, at: int, *, depth: int) -> int:
    """The first byte behind the value that begins here."""
    kind = body[at]
    at += 1
    if kind in _PLAIN:
        end = at + _PLAIN[kind]
    elif kind == _STRING:
        end = at + 2 + struct.unpack_from(">H", body, at)[0]
    elif kind == _LONG:
        end = at + 4 + struct.unpack_from(">I", body, at)[0]
    elif kind in (_OBJECT, _MIXED):
        end = at + (4 if kind == _MIXED else 0)
        end += sum(2 + len(name) + len(value) for name, value in _pairs(body, end, depth=depth + 1)) + 3
    elif kind == _LIST:
        if depth >= _DEEPEST:
            raise InputError(f"the metadata of the video/x-flv file lie more than {_DEEPEST} deep")
        (count,) = struct.unpack_from(">I", body, at)
        end = at + 4
        for _ in range(count):
            end = _end(body, end, depth=depth + 1)
    else:
        raise InputError("the video/x-flv file is damaged: its metadata hold a value of no known kind")
    if end > len(body):
        raise InputError("the video/x-flv file is damaged: its metadata are cut short")
    return end


def _moved(told: _About, moved: Callable[[float], float]) -> _About:
    """The same with every number that is a place in the file where that place is now."""

    def value(name: bytes, raw: bytes) -> bytes:
        if name == b"keyframes" and raw[0] in (_OBJECT, _MIXED):
            start = 5 if raw[0] == _MIXED else 1
            inner = [(key, value(key, one)) for key, one in _pairs(raw, start, depth=2)]
            body = b"".join(struct.pack(">H", len(key)) + key + one for key, one in inner)
            return raw[:start] + body + raw[start + len(body) :]
        if name in _PLACES and raw[0] == _NUMBER:
            return raw[:1] + struct.pack(">d", moved(struct.unpack(">d", raw[1:])[0]))
        if name in _PLACES and raw[0] == _LIST and (len(raw) - 5) % 9 == 0:
            numbers = [raw[at : at + 9] for at in range(5, len(raw), 9)]
            return raw[:5] + b"".join(value(name, one) for one in numbers)
        return raw

    return replace(told, pairs=tuple((name, value(name, raw)) for name, raw in told.pairs))
