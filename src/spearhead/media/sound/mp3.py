"""An MP3 file: its label in the ID3v2 frame `TXXX` named AIGC, its length in seconds. Never decodes a sample.

Frame headers after ISO 11172-3 and 13818-3, layer III alone.
"""

from dataclasses import dataclass

from spearhead.core.errors import InputError
from spearhead.media import gb45438
from spearhead.media.sound import id3

MIME = "audio/mpeg"
_RATES = (44_100, 48_000, 32_000)
_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_TRAILERS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"3DI", b"ID3", b"\0")
_STORE = ("application/c2pa", "application/x-c2pa-manifest-store")


@dataclass(frozen=True, slots=True)
class _Head:
    """A frame of sound: bytes it takes, samples it holds, samples a second, and where its first data lie."""

    size: int
    samples: int
    rate: int
    side: int


def recognise(data: bytes) -> bool:
    """Whether the bytes begin as an MP3 file: with an ID3v2 tag, or with a frame of layer III."""
    return id3.begins(data) or _head(data, 0) is not None


def seconds(data: bytes) -> int:
    """The length in seconds, rounded up: the frames counted, less what the encoder says that it added at the ends."""
    at = _parted(data)[1]
    first = _head(data, at)
    if first is None:
        raise _damaged()
    samples, added = 0, _added(data, at, first)
    if added is not None:  # the first frame holds tables, not sound
        at += first.size
    while (head := _head(data, at)) is not None:
        if at + head.size > len(data) or head.rate != first.rate:
            raise _damaged()
        samples += head.samples
        at += head.size
    if at < len(data) and not data.startswith(_TRAILERS, at):
        raise _damaged()
    if added is not None and added < samples:
        samples -= added
    return -(-samples // first.rate)


def label(data: bytes) -> dict[str, str] | None:
    """The first label; None when there is none."""
    tag, _ = _parted(data)
    return next((found for frame in tag.frames if (found := _label(frame, tag.version))), None)


def put(data: bytes, text: str | None) -> bytes:
    """The file with this label alone, or none; every other frame of the tag stays, the signature goes."""
    tag, start = _parted(data)
    kept = [one for one in tag.frames if not _named(one, tag.version) and not _signature(one)]
    added = [] if text is None else [id3.text(gb45438.KEY, text)]
    return id3.write(id3.Tag(tag.version, (*kept, *added))) + data[start:]


def content(data: bytes) -> bytes:
    """Every byte of sound and behind it. Tag and tables are written anew by whoever signs or copies the file."""
    at = _parted(data)[1]
    head = _head(data, at)
    return data[at + head.size :] if head is not None and _added(data, at, head) is not None else data[at:]


def signature(data: bytes) -> tuple[int, int] | None:
    """First byte and length of the C2PA store in its frame `GEOB`; None unless there is just one."""
    stores = [one for one in _parted(data)[0].frames if _signature(one)]
    found = id3.object_in(stores[0]) if len(stores) == 1 else None
    if found is None or stores[0].at is None or any(stores[0].flags):
        return None
    _, first, last = found
    return stores[0].at + first, last - first


def _parted(data: bytes) -> tuple[id3.Tag, int]:
    """The tag, and where the sound begins."""
    tag = id3.read(data)
    at = len(data) - len(data[tag.size :].lstrip(b"\0"))  # there may be padding that the tag does not count
    if _head(data, at) is None:
        if id3.begins(data[at : at + 10]):
            raise InputError(f"the {MIME} file has two ID3v2 tags at its head: save it with one")
        raise _damaged()
    return tag, at


def _named(frame: id3.Frame, version: int) -> bool:
    said = id3.words(frame, version)
    return said is not None and said[0].upper() == gb45438.KEY


def _label(frame: id3.Frame, version: int) -> dict[str, str] | None:
    said = id3.words(frame, version)
    return gb45438.from_json(said[1]) if said is not None and said[0].upper() == gb45438.KEY else None


def _signature(frame: id3.Frame) -> bool:
    found = id3.object_in(frame)
    return found is not None and found[0] in _STORE


def _head(data: bytes, at: int) -> _Head | None:
    """The header of the frame at this place; None where there is none, or one whose size it does not tell."""
    four = data[at : at + 4]
    if len(four) < 4 or four[0] != 0xFF or four[1] & 0xE6 != 0xE2:  # eleven ones, then layer III
        return None
    version, kbits, rate, padding = four[1] >> 3 & 3, four[2] >> 4, four[2] >> 2 & 3, four[2] >> 1 & 1
    if version == 1 or kbits in (0, 15) or rate == 3:
        return None
    newest = version == 3  # MPEG-1; 2 is MPEG-2, 0 its extension to still lower rates
    hertz = _RATES[rate] // (1 if newest else 2 if version == 2 else 4)
    samples = 1152 if newest else 576
    mono = four[3] >> 6 == 3
    side = (17 if mono else 32) if newest else (9 if mono else 17)
    size = samples // 8 * (_KBITS_1 if newest else _KBITS_2)[kbits] * 1000 // hertz + padding
    return _Head(size, samples, hertz, 4 + side)


def _added(data: bytes, at: int, head: _Head) -> int | None:
    """Samples that were added at both ends, if the frame is one of tables (Xing, Info, VBRI); None if it is sound."""
    if data[at + 36 : at + 40] == b"VBRI":
        return 0
    place = at + head.side
    if data[place : place + 4] not in (b"Xing", b"Info"):
        return None
    flags = int.from_bytes(data[place + 4 : place + 8], "big")
    place += 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    ends = data[place + 21 : place + 24]  # LAME's extension: twelve bits each
    if len(ends) < 3 or not data[place : place + 4].isalpha():
        return 0
    return (ends[0] << 4 | ends[1] >> 4) + ((ends[1] & 15) << 8 | ends[2])


def _damaged() -> InputError:
    return InputError(f"the {MIME} file is cut short or damaged: wanted frames of MPEG layer III behind its ID3v2 tag")
