"""AVI: the label as a chunk AIGC among the INFO chunks (practice guide TC260-PG-20257A)."""

import struct

from spearhead.media import riff

MIME = "video/x-msvideo"
_FORM, _LIST, _INFO, _NAME = b"AVI ", b"LIST", b"INFO", b"AIGC"
_MOST = 64 * 1024
Chunk = tuple[bytes, bytes]


def recognise(data: bytes) -> str | None:
    """The mime type by the first bytes."""
    return MIME if riff.recognise(data, _FORM) else None


def label(data: bytes) -> str | None:
    """The text of the label."""
    for name, body in riff.split(data, MIME):
        for inner, words in _info(name, body) or ():
            if inner == _NAME:
                return words[:_MOST].rstrip(b"\0").decode("utf-8", "replace")
    return None


def put(data: bytes, text: str) -> bytes:
    """The file with this label alone, in a list of its own at the end, where no offset of the frames changes."""
    own = _INFO + _joined([(_NAME, text.encode() + b"\0")])
    return riff.join([*_bare(data), (_LIST, own)], _FORM)


def content(data: bytes) -> bytes:
    """Every chunk but the label."""
    return riff.join(_bare(data), _FORM)


def _bare(data: bytes) -> list[Chunk]:
    """The chunks without a label; a list that held nothing else goes."""
    out: list[Chunk] = []
    for name, body in riff.split(data, MIME):
        inner = _info(name, body)
        kept = [one for one in inner or () if one[0] != _NAME]
        if inner is None or len(kept) == len(inner):
            out.append((name, body))
        elif kept:
            out.append((name, _INFO + _joined(kept)))
    return out


def _info(name: bytes, body: bytes) -> list[Chunk] | None:
    """The chunks of a list of INFO; None when it is another chunk."""
    if name != _LIST or body[:4] != _INFO:
        return None
    return riff.split(b"RIFF" + struct.pack("<I", len(body)) + body, MIME)


def _joined(chunks: list[Chunk]) -> bytes:
    return riff.join(chunks, _INFO)[12:]
