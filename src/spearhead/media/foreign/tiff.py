"""TIFF 6.0: the label in the XMP packet of tag 700 of the first directory (XMP part 3, section 1.1.3).

A labelled file is the old one, then the packet, then the first directory anew: nothing that offsets lead to moves.
"""

import struct
from dataclasses import dataclass

from spearhead.core.errors import InputError
from spearhead.media import xmp

MIME = "image/tiff"
_TAG, _BYTE = 700, 1
_SIZES = {1: 1, 7: 1}
"""Bytes of one value, of the types that a packet may have."""


@dataclass(frozen=True, slots=True)
class _File:
    order: str
    body: bytes
    """All before what we put at the end, without a packet and without the directory's offset."""
    entries: tuple[bytes, ...]
    """Of the first directory, twelve bytes each, but the packet's."""
    following: bytes
    packet: bytes | None


def recognise(data: bytes) -> str | None:
    """The mime type by the first bytes; of files with offsets of eight bytes nothing is known."""
    return MIME if data[:4] in (b"II*\0", b"MM\0*") else None


def label(data: bytes) -> str | None:
    """The text of the label."""
    return xmp.read(_parsed(data).packet, xmp.AIGC)


def put(data: bytes, text: str) -> bytes:
    """The file with this label alone."""
    file = _parsed(data)
    packet = xmp.put(file.packet, {xmp.AIGC: text})
    start = len(file.body)
    entry = struct.pack(f"{file.order}HHII", _TAG, _BYTE, len(packet), start)
    entries = sorted((*file.entries, entry), key=lambda one: struct.unpack(f"{file.order}H", one[:2]))
    packet += b"\0" * (len(packet) % 2)
    directory = struct.pack(f"{file.order}H", len(entries)) + b"".join(entries) + file.following
    at = struct.pack(f"{file.order}I", start + len(packet))
    return file.body[:4] + at + file.body[8:] + packet + directory


def content(data: bytes) -> bytes:
    """Body and first directory without the packet."""
    file = _parsed(data)
    return file.body + b"".join(file.entries) + file.following


def _parsed(data: bytes) -> _File:
    order = "<" if data[:1] == b"I" else ">"
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        end = at + 2 + 12 * count
        entries = [data[place : place + 12] for place in range(at + 2, end, 12)]
        following = data[end : end + 4]
        if end + 4 > len(data) or at < 8:
            raise InputError("the image/tiff file is cut short")
        body, packet, kept = data, None, []
        for entry in entries:
            tag, kind, size, start = struct.unpack(f"{order}HHII", entry)
            if tag != _TAG:
                kept.append(entry)
                continue
            if kind not in _SIZES or size < 5 or start < 8 or start + size > len(data):
                raise InputError("the image/tiff file is damaged: its XMP lies outside of it")
            packet = data[start : start + size]
            ours = start + size + size % 2 == at and end + 4 == len(data)
            body = data[:start] if ours else data[:start] + bytes(size) + data[start + size :]
    except struct.error as error:
        raise InputError("the image/tiff file is cut short") from error
    body += b"\0" * (len(body) % 2)
    return _File(order, body[:4] + bytes(4) + body[8:], tuple(kept), following, packet)
