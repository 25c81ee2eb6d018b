"""TIFF 6.0 and BigTIFF: the label in the XMP packet of tag 700 of the first directory (XMP part 3, section 1.1.3).

A labelled file is the old one, then the packet, then the first directory anew: nothing that offsets lead to moves.
"""

import struct
from dataclasses import dataclass

from spearhead.core.errors import InputError
from spearhead.media import xmp

MIME = "image/tiff"
_TAG, _BYTE = 700, 1
_TYPES = (1, 7)
"""Types of values, of one byte each, that a packet may have."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How numbers are laid out: order of bytes, and whether offsets have eight bytes (BigTIFF) or four."""

    order: str
    big: bool

    @property
    def head(self) -> int:
        """Where the first directory's offset stands; its end is the end of the head."""
        return 8 if self.big else 4

    @property
    def offset(self) -> struct.Struct:
        """An offset, or a length."""
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    @property
    def count(self) -> struct.Struct:
        """How many entries a directory has."""
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry(self) -> struct.Struct:
        """Tag, type, number of values, and where they lie."""
        return struct.Struct(self.order + ("HHQQ" if self.big else "HHII"))


@dataclass(frozen=True, slots=True)
class _File:
    form: _Form
    body: bytes
    """All before what we put at the end, without a packet and without the directory's offset."""
    entries: tuple[bytes, ...]
    """Of the first directory, as they are, but the packet's."""
    following: bytes
    packet: bytes | None


_FORMS = {
    b"II*\0": _Form("<", False),
    b"MM\0*": _Form(">", False),
    b"II+\0\x08\0\0\0": _Form("<", True),
    b"MM\0+\0\x08\0\0": _Form(">", True),
}


def recognise(data: bytes) -> str | None:
    """The mime type by the first bytes."""
    return MIME if data[:4] in _FORMS or data[:8] in _FORMS else None


def label(data: bytes) -> str | None:
    """The text of the label."""
    return xmp.read(_parsed(data).packet, xmp.AIGC)


def put(data: bytes, text: str) -> bytes:
    """The file with this label alone."""
    file = _parsed(data)
    form, packet, start = file.form, xmp.put(file.packet, {xmp.AIGC: text}), len(file.body)
    entry = form.entry.pack(_TAG, _BYTE, len(packet), start)
    entries = sorted((*file.entries, entry), key=lambda one: int(form.entry.unpack(one)[0]))
    packet += b"\0" * (len(packet) % 2)
    directory = form.count.pack(len(entries)) + b"".join(entries) + file.following
    if not form.big and start + len(packet) > 0xFFFF_FFFF:
        raise InputError("the image/tiff file would pass 4 GiB, which its offsets cannot tell: write it as BigTIFF")
    at = form.offset.pack(start + len(packet))
    return file.body[: form.head] + at + file.body[form.head + len(at) :] + packet + directory


def content(data: bytes) -> bytes:
    """Body and first directory without the packet."""
    file = _parsed(data)
    return file.body + b"".join(file.entries) + file.following


def _parsed(data: bytes) -> _File:
    form = _FORMS.get(data[:4]) or _FORMS.get(data[:8])
    if form is None:
        raise InputError(f"the file is not {MIME}: give it the type that it is")
    wide, width = form.offset.size, form.entry.size
    try:
        (at,) = form.offset.unpack_from(data, form.head)
        (count,) = form.count.unpack_from(data, at)
        first = at + form.count.size
        end = first + width * count
        if end + wide > len(data) or at < form.head + wide:
            raise InputError("the image/tiff file is cut short")
        entries = [data[place : place + width] for place in range(first, end, width)]
        following = data[end : end + wide]
        body, packet, kept = data, None, []
        for entry in entries:
            tag, kind, size, start = form.entry.unpack(entry)
            if tag != _TAG:
                kept.append(entry)
                continue
            if kind not in _TYPES or size <= wide or start < form.head + wide or start + size > len(data):
                raise InputError("the image/tiff file is damaged: its XMP lies outside of it")
            packet = data[start : start + size]
            ours = start + size + size % 2 == at and end + wide == len(data)
            body = data[:start] if ours else data[:start] + bytes(size) + data[start + size :]
    except (struct.error, OverflowError) as error:
        raise InputError("the image/tiff file is cut short") from error
    body += b"\0" * (len(body) % 2)
    return _File(form, body[: form.head] + bytes(wide) + body[form.head + wide :], tuple(kept), following, packet)
