"""RIFF: a form of named chunks, each with its length before it. Knows no sound, no picture and no label."""

import struct
from collections.abc import Iterable

from spearhead.core.errors import InputError

MOST_CHUNKS = 100_000
_MOST_BYTES = 0xFFFF_FFFF


def recognise(data: bytes, form: bytes) -> bool:
    """Whether the bytes begin as a file of this form (`WAVE`, `WEBP`)."""
    return data[:4] == b"RIFF" and data[8:12] == form


def split(data: bytes, mime: str) -> list[tuple[bytes, bytes]]:
    """Name and content of every chunk of a RIFF file, in order; what lies behind the form is no part of it.

    Raises InputError, which names `mime`, on a length that leads out of the file.
    """
    if len(data) < 12 or (end := struct.unpack_from("<I", data, 4)[0] + 8) > len(data):
        raise damaged(mime)
    chunks: list[tuple[bytes, bytes]] = []
    at = 12
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, at)
        if at + 8 + length > end or len(chunks) == MOST_CHUNKS:
            raise damaged(mime)
        chunks.append((name, data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return chunks


def join(chunks: Iterable[tuple[bytes, bytes]], form: bytes) -> bytes:
    """The file of these chunks; raises InputError when its length does not fit into the four bytes for it."""
    parts = [name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks]
    size = len(form) + sum(map(len, parts))
    if size > _MOST_BYTES:
        raise InputError(f"a RIFF file holds {_MOST_BYTES:,} bytes, this would be {size:,}: cut it into shorter ones")
    return b"".join([b"RIFF", struct.pack("<I", size), form, *parts])


def damaged(mime: str) -> InputError:
    """What is said of a file that cannot be taken apart."""
    return InputError(f"the {mime} file is cut short or damaged")
