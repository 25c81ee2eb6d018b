"""An ID3v2 tag (2.3 and 2.4, id3.org): its frames, and the words and objects in them. Knows no sound and no label.

Frames are kept as they are stored; only what is asked for is undone: unsynchronisation, compression, encodings.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spearhead.core.errors import InputError

MOST_FRAMES = 10_000
_HEADER, _MOST_BYTES = 10, 0x0FFF_FFFF
_MOST_TEXT = 256 * 1024
_WHOLE, _EXTENDED, _FOOTER = 0x80, 0x40, 0x10
_ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its name, its two bytes of flags, and what it holds, as stored."""

    name: bytes
    flags: bytes
    data: bytes
    at: int | None = None
    """Where its data begins in the file it was read from; None where they are not stored as they are."""


@dataclass(frozen=True, slots=True)
class Tag:
    """The tag at the head of a file: 2.3 or 2.4, its frames, and how many bytes it takes there."""

    version: int = 4
    frames: tuple[Frame, ...] = ()
    size: int = 0


def begins(data: bytes) -> bool:
    """Whether a tag begins here."""
    return len(data) >= _HEADER and data[:3] == b"ID3" and 2 <= data[3] <= 4 and max(data[6:10]) < 0x80


def read(data: bytes) -> Tag:
    """The tag at the head of a file, an empty one where there is none; raises InputError on one that is damaged."""
    if not begins(data):
        return Tag()
    version, flags, size = data[3], data[5], _seven(data, 6)
    if version == 2:
        raise InputError("the ID3 tag is of version 2.2, out of use since 2000: save it as 2.3 or 2.4")
    whole = _HEADER + size + (_HEADER if version == 4 and flags & _FOOTER else 0)
    if whole > len(data):
        raise _damaged()
    body, start = data[_HEADER : _HEADER + size], _HEADER
    unsynchronised = bool(flags & _WHOLE)
    if unsynchronised and version == 3:
        body = _synchronised(body)
    at = _extended(body, version) if flags & _EXTENDED else 0
    try:
        frames = _frames(body, at, _seven if version == 4 else _eight)
    except InputError:
        if version == 3:
            raise
        frames = _frames(body, at, _eight)  # sizes of 2.4 as iTunes wrote them for years
    if unsynchronised and version == 4:  # the flag of the tag is meant for every frame
        frames = [Frame(one.name, bytes([one.flags[0], one.flags[1] | 0x02]), one.data) for one in frames]
    elif not unsynchronised:
        frames = [Frame(one.name, one.flags, one.data, (one.at or 0) + start) for one in frames]
    return Tag(version, tuple(frames), whole)


def write(tag: Tag) -> bytes:
    """The tag as bytes, without padding, checksum or footer; nothing at all when it has no frame."""
    sized = _sevens if tag.version == 4 else lambda number: struct.pack(">I", number)
    if not tag.frames:
        return b""
    body = b"".join(one.name + sized(len(one.data)) + one.flags + one.data for one in tag.frames)
    return b"ID3" + bytes([tag.version, 0, 0]) + _sevens(len(body)) + body


def text(description: str, value: str) -> Frame:
    """A frame `TXXX` of characters that Latin-1 has, which both versions read."""
    return Frame(b"TXXX", b"\0\0", b"\0" + description.encode("latin-1") + b"\0" + value.encode("latin-1"))


def words(frame: Frame, version: int) -> tuple[str, str] | None:
    """Description and value of a frame `TXXX`; None when it is another or cannot be read."""
    if frame.name != b"TXXX" or not (data := plain(frame, version)) or data[0] >= len(_ENCODINGS):
        return None
    encoding = _ENCODINGS[data[0]]
    wide = 2 if encoding.startswith("utf-16") else 1
    end = _end(data, 1, wide)
    if end is None:
        return None
    description, value = (data[a:b].decode(encoding, "replace") for a, b in ((1, end), (end + wide, len(data))))
    return description.lstrip("\ufeff"), value.lstrip("\ufeff").rstrip("\0")


def object_in(frame: Frame) -> tuple[str, int, int] | None:
    """Media type of a frame `GEOB`, and from where to where its object lies in its data; None for another frame."""
    data = frame.data
    if frame.name != b"GEOB" or not data or data[0] >= len(_ENCODINGS) or (first := _end(data, 1, 1)) is None:
        return None
    at, wide = first + 1, 2 if _ENCODINGS[data[0]].startswith("utf-16") else 1
    for _ in ("file name", "description"):
        end = _end(data, at, wide)
        if end is None:
            return None
        at = end + wide
    return data[1:first].decode("latin-1"), at, len(data)


def _frames(body: bytes, at: int, number: "Callable[[bytes, int], int]") -> list[Frame]:
    out: list[Frame] = []
    while at + _HEADER <= len(body) and body[at]:  # a zero where a name should be: padding
        name, size = body[at : at + 4], number(body, at + 4)
        start = at + _HEADER
        if not name.isalnum() or name != name.upper() or start + size > len(body) or len(out) == MOST_FRAMES:
            raise _damaged()
        out.append(Frame(name, body[at + 8 : start], body[start : start + size], start))
        at = start + size
    return out


def _extended(body: bytes, version: int) -> int:
    """The bytes that an extended header takes; its checksum and wishes are not kept."""
    if len(body) < 4:
        raise _damaged()
    return _seven(body, 0) if version == 4 else 4 + _eight(body, 0)


def plain(frame: Frame, version: int) -> bytes | None:
    """What a frame holds, undone; None when it is encrypted or does not unpack."""
    flags, data = frame.flags[1], frame.data
    if version == 4:
        grouped, packed, secret, unsynchronised, sized = (flags & bit for bit in (0x40, 0x08, 0x04, 0x02, 0x01))
    else:
        packed, secret, grouped = (flags & bit for bit in (0x80, 0x40, 0x20))
        unsynchronised, sized = 0, packed
    data = data[(1 if grouped and version == 4 else 0) :]
    data = data[(4 if sized else 0) + (1 if grouped and version == 3 else 0) :]
    if secret:
        return None
    if unsynchronised:
        data = _synchronised(data)
    if not packed:
        return data[:_MOST_TEXT]
    try:
        return zlib.decompressobj().decompress(data, _MOST_TEXT)
    except zlib.error:
        return None


def _synchronised(data: bytes) -> bytes:
    return data.replace(b"\xff\0", b"\xff")


def _end(data: bytes, at: int, wide: int) -> int | None:
    """Where the zero that ends a string lies, of one or of two bytes."""
    found = data.find(b"\0" * wide, at)
    while wide == 2 and found >= 0 and (found - at) % 2:
        found = data.find(b"\0\0", found + 1)
    return None if found < 0 else found


def _seven(data: bytes, at: int) -> int:
    """A number of four bytes with seven bits each."""
    four: Sequence[int] = data[at : at + 4]
    if len(four) < 4 or max(four) > 0x7F:
        raise _damaged()
    return four[0] << 21 | four[1] << 14 | four[2] << 7 | four[3]


def _eight(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _sevens(number: int) -> bytes:
    if number > _MOST_BYTES:
        raise InputError(f"an ID3 tag holds {_MOST_BYTES:,} bytes, this would be {number:,}")
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def _damaged() -> InputError:
    return InputError("the ID3 tag of the audio/mpeg file is cut short or damaged")
