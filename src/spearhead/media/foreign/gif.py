"""GIF 89a: the label in the XMP packet of an application extension (XMP part 3, section 1.1.2)."""

import struct
from collections.abc import Iterator

from spearhead.core.errors import InputError
from spearhead.media import xmp

MIME = "image/gif"
_XMP = b"\x21\xff\x0bXMP DataXMP"
_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
"""Bytes behind the packet by which a reader that knows no XMP, and takes it for blocks, finds the end."""
_MOST = 100_000


def recognise(data: bytes) -> str | None:
    """The mime type by the first bytes."""
    return MIME if data[:6] in (b"GIF87a", b"GIF89a") else None


def label(data: bytes) -> str | None:
    """The text of the label."""
    return xmp.read(_packet(data), xmp.AIGC)


def put(data: bytes, text: str) -> bytes:
    """The file with this label alone."""
    packet = xmp.put(_packet(data), {xmp.AIGC: text})
    head, *rest = (piece for piece in _pieces(data) if not piece.startswith(_XMP))
    return b"".join((b"GIF89a", head[6:], _XMP, packet, _TRAILER, *rest))  # 87a knows no extensions


def content(data: bytes) -> bytes:
    """Every block but XMP."""
    return b"".join(piece for piece in _pieces(data) if not piece.startswith(_XMP))[6:]


def _packet(data: bytes) -> bytes | None:
    found = next((piece for piece in _pieces(data) if piece.startswith(_XMP)), None)
    return None if found is None else found[len(_XMP) :].removesuffix(_TRAILER)


def _pieces(data: bytes) -> Iterator[bytes]:
    """The head with its colours, then each block, then what is behind the last."""
    try:
        at = 13 + _colours(data[10])
        yield data[:at]
        for _ in range(_MOST):
            start, kind = at, data[at]
            if kind == 0x3B:
                yield data[at:]
                return
            if kind == 0x21:
                at = _end(data, at + 2)
            elif kind == 0x2C:
                at = _end(data, at + 11 + _colours(data[at + 9]))
            else:
                raise InputError("the image/gif file is damaged")
            yield data[start:at]
    except (IndexError, struct.error) as error:
        raise InputError("the image/gif file is cut short") from error
    raise InputError(f"the image/gif file has more than {_MOST:,} blocks")


def _colours(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _end(data: bytes, at: int) -> int:
    while data[at]:
        at += data[at] + 1
    return at + 1
