"""A WAV file (RIFF form WAVE): its label in a chunk `AIGC`, its length in seconds. Never decodes a sample."""

import struct
from collections.abc import Sequence

from spearhead.core.errors import InputError
from spearhead.media import gb45438, riff

MIME = "audio/wav"
_LABEL, _SIGNATURE = gb45438.KEY.encode(), b"C2PA"
_BY_FRAME = (1, 3, 0xFFFE)  # integers, floats, and those with more channels: one block holds one frame
_SOUND = (b"fmt ", b"data")
_LONG = (b"RF64", b"BW64")
_MOST_LABEL = 64 * 1024

Chunks = Sequence[tuple[bytes, bytes]]


def recognise(data: bytes) -> bool:
    """Whether the bytes begin as a WAV file, a long one too."""
    return riff.recognise(data, b"WAVE") or (data[:4] in _LONG and data[8:12] == b"WAVE")


def seconds(data: bytes) -> int:
    """The length in seconds, rounded up, by the chunks `fmt ` and `data`."""
    chunks = dict(reversed(_split(data)))
    form, size = chunks[b"fmt "], len(chunks[b"data"])
    tag, _, rate, byte_rate, block = struct.unpack_from("<HHIIH", form)
    if tag in _BY_FRAME:
        size, byte_rate = size // max(block, 1), rate if block else 0
    if byte_rate == 0:
        raise InputError(f"the {MIME} file gives no sampling rate: it says how long nothing is")
    return int(-(-size // byte_rate))


def label(data: bytes) -> dict[str, str] | None:
    """The first label; None when there is none."""
    texts = (body[:_MOST_LABEL] for name, body in _split(data) if name == _LABEL)
    found = (gb45438.from_json(text.decode("utf-8", "replace").strip("\0 \r\n\t")) for text in texts)
    return next((one for one in found if one), None)


def put(data: bytes, text: str | None) -> bytes:
    """The file with this label alone, or none, behind the samples, where naive players do not meet it; unsigned."""
    added = [] if text is None else [(_LABEL, text.encode())]
    return riff.join([*_bare(data), *added], b"WAVE")


def content(data: bytes) -> bytes:
    """The chunks `fmt ` and `data`: the form of the samples and the samples."""
    kept = (chunk for chunk in _split(data) if chunk[0] in _SOUND)
    return b"".join(name + struct.pack("<I", len(body)) + body for name, body in kept)


def signature(data: bytes) -> tuple[int, int] | None:
    """First byte and length of the C2PA chunk, its header counted, its padding not; None unless there is just one."""
    chunks = _split(data)
    numbers = [number for number, (name, _) in enumerate(chunks) if name == _SIGNATURE]
    if len(numbers) != 1:
        return None
    return len(riff.join(chunks[: numbers[0]], b"WAVE")), 8 + len(chunks[numbers[0]][1])


def _bare(data: bytes) -> Chunks:
    return [chunk for chunk in _split(data) if chunk[0] not in (_LABEL, _SIGNATURE)]


def _split(data: bytes) -> list[tuple[bytes, bytes]]:
    if data[:4] in _LONG:
        raise InputError(f"this {MIME} file is RF64, for more than 4 GiB: save it as a plain WAV file")
    if not recognise(data):
        raise InputError(f"the file is not {MIME}: give it the type that it is")
    chunks = riff.split(data, MIME)
    forms = [body for name, body in chunks if name == b"fmt "]
    if not forms or len(forms[0]) < 16 or not any(name == b"data" for name, _ in chunks):
        raise riff.damaged(MIME)
    return chunks
