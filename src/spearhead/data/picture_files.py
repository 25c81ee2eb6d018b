"""From the bytes of a picture file or of an IDX file to items. Knows these formats; decodes no picture.

IDX: the format of MNIST (Y. LeCun, "The MNIST database of handwritten digits"): two zero bytes, a type, the number of
dimensions, each dimension as 32 bits big-endian, then the values.
"""

import math
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from spearhead.core.media import Media
from spearhead.data.config import Source
from spearhead.data.items import Item, Unread, Unreadable
from spearhead.media.image import container

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MOST_BYTES = 1 << 30
"""Bytes an IDX file may unpack to."""
MOST_SIDE = 4096


def picture(name: str, data: bytes, source: Source) -> Iterator[Item | Unread]:
    """One picture file. Its folder is its class, unless the scenario says which part it fills.

    A picture that fills a part is joined by its file name without folder and suffix.
    """
    path = PurePosixPath(name)
    mime = container.recognise(data[:16])
    if mime is None:
        raise Unreadable("is no PNG, JPEG or WebP picture")
    found = Media("image", mime, data)
    if source.part:
        yield Item(path.stem, {}, pictures={source.part: found})
        return
    texts = {"input": path.parent.name} if path.parent.name else {}
    yield Item(name, texts, pictures={"output": found})


def idx(name: str, data: bytes, source: Source) -> Iterator[Item | Unread]:
    """Pictures (three dimensions, or four with channels last) or labels (one dimension) of one file.

    The key is the number, after the file's name without `-images...` or `-labels...`, so that a pair of files meets.
    """
    values = _values(_unpacked(data) if data[:2] == b"\x1f\x8b" else data)
    lead = re.sub(r"[-_.]?(images|labels)?[-_.]?idx\d?([-_.]ubyte)?(\.gz)?$", "", name)
    if values.ndim == 1:
        part = source.part or "input"
        for number, value in enumerate(values.tolist()):
            yield Item(f"{lead}:{number}", {part: str(value)})
        return
    for number, one in enumerate(values):
        yield Item(f"{lead}:{number}", {}, pictures={source.part or "output": one})


def is_idx(name: str) -> bool:
    """Whether a file is named as IDX files are.

    >>> is_idx("train-images-idx3-ubyte.gz"), is_idx("idx.txt")
    (True, False)
    """
    return re.search(r"(idx\d?[-_.]ubyte|\.idx\d?)(\.gz)?$", name.lower()) is not None


def _values(raw: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """(n,) labels or (n, h, w, channels) pixels."""
    if len(raw) < 8 or raw[:2] != b"\0\0":
        raise Unreadable("is no IDX file: it does not begin with two zero bytes, a type and a number of dimensions")
    kind, dimensions = raw[2], raw[3]
    if kind != 0x08:
        raise Unreadable(f"is an IDX file of type 0x{kind:02x}: wanted unsigned bytes (0x08)")
    if dimensions not in (1, 3, 4) or len(raw) < 4 + 4 * dimensions:
        raise Unreadable(f"is an IDX file of {dimensions} dimensions: wanted 1 (labels), 3 or 4 (pictures)")
    shape = struct.unpack(f">{dimensions}I", raw[4 : 4 + 4 * dimensions])
    if dimensions > 1 and (not all(0 < side <= MOST_SIDE for side in shape[1:3]) or shape[3:] not in ((), (1,), (3,))):
        raise Unreadable(f"says its pictures are {'x'.join(map(str, shape[1:]))}: wanted height, width and 1 or 3")
    body = len(raw) - 4 - 4 * dimensions
    if body != math.prod(shape):
        raise Unreadable(f"is corrupt or cut short: {body} bytes follow a head that says {'x'.join(map(str, shape))}")
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    return values[..., None] if dimensions == 3 else values


def _unpacked(data: bytes) -> bytes:
    box = zlib.decompressobj(wbits=31)
    try:
        raw = box.decompress(data, MOST_BYTES + 1)
    except zlib.error as error:
        raise Unreadable(f"is not a whole gzip file: {error}") from error
    if len(raw) > MOST_BYTES:
        raise Unreadable(f"unpacks to more than {MOST_BYTES} bytes: split it")
    if not box.eof:
        raise Unreadable("is not a whole gzip file: it is cut short")
    return raw
