"""A C2PA manifest inside a text: invisible variation selectors at its end, bound to every other byte.

C2PA 2.4 `C2PATextManifestWrapper`: U+FEFF, then one variation selector a byte of magic, version, length and store.
The hash is over the text in NFC, without the wrapper.
"""

import base64
import binascii
import hashlib
import io
import re
import struct
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.provenance.labels import manifest
from spearhead.provenance.signer import Signer

MAGIC, VERSION = b"C2PATXT\0", 1

_HEADER = struct.Struct("!8sBI")
_MOST = 4 * 1024 * 1024  # bytes of a store that are looked at
_SELECTORS = np.array([0xFE00 + code if code < 16 else 0xE0100 + code - 16 for code in range(256)], dtype="<u4")
_WRAPPER = re.compile("\ufeff([\ufe00-\ufe0f\U000e0100-\U000e01ef]{13,})")


def embed(media: Media, label: Label, *, signer: Signer, training: str = "notAllowed") -> Media:
    """The text in NFC with a signed manifest at its end; a manifest that was there is replaced.

    `training` is what others may do with it: allowed, notAllowed or constrained.
    """
    body = unicodedata.normalize("NFC", without(media.text)).encode()

    def bind(size: int) -> tuple[bytes, list[tuple[int, int]]]:
        return hashlib.sha256(body).digest(), [(len(body), _room(size))]

    store = signer.sign(manifest.definition(label, mime=media.mime, training=training), bind)
    return Media("text", media.mime, body + wrap(store).encode())


def wrap(store: bytes) -> str:
    """The wrapper of a store, padded to `_room` of its size, so that its length does not hang on its content."""
    bare = "\ufeff" + _selectors(_HEADER.pack(MAGIC, VERSION, len(store)) + store)
    gap = _room(len(store)) - len(bare.encode())
    threes = -gap % 4  # selectors of the low sixteen take three bytes, the others four: gap = 3a + 4b
    return bare + _selectors(b"\0" * threes + b"\xff" * ((gap - 3 * threes) // 4))


def _selectors(data: bytes) -> str:
    return _SELECTORS[np.frombuffer(data, np.uint8)].tobytes().decode("utf-32-le")


def _bytes(selectors: str) -> bytes:
    codes = np.frombuffer(selectors.encode("utf-32-le"), "<u4")
    return np.where(codes < 0xE0100, codes - 0xFE00, codes - 0xE0100 + 16).astype(np.uint8).tobytes()


def _room(size: int) -> int:
    """UTF-8 bytes that a padded wrapper of a store of `size` bytes takes: four a byte, and six that padding needs.

    Six is the least gap from which every length is 3a + 4b; other readers expect just this much.
    """
    return 3 + 4 * (_HEADER.size + size) + 6


def without(text: str) -> str:
    """The text without any wrapper."""
    return _WRAPPER.sub("", text)


def find(text: str) -> tuple[bytes, int, int] | None:
    """The store in a text and where its wrapper begins and ends, in characters; None when there is none.

    Raises InputError when there are several: then no one can say which one counts.
    """
    found = list(_WRAPPER.finditer(text))
    if not found:
        return None
    if len(found) > 1:
        raise InputError(f"the text holds {len(found)} C2PA wrappers, one is allowed")
    raw = _bytes(found[0].group(1)[: _HEADER.size + _MOST])
    magic, version, length = _HEADER.unpack_from(raw)
    if magic != MAGIC or version != VERSION or len(raw) < _HEADER.size + length:
        return None
    return raw[_HEADER.size : _HEADER.size + length], found[0].start(), found[0].end()


def read(media: Media) -> manifest.Manifest | None:
    """The manifest in a text, checked against the text; None when there is none. Fetches nothing."""
    text = unicodedata.normalize("NFC", media.text)
    try:
        place = find(text)
    except InputError:
        return manifest.broken("manifest.multiple")
    if place is None:
        return None
    store, first, last = place
    start, length = len(text[:first].encode()), len(text[first:last].encode())
    import c2pa

    try:
        with c2pa.Reader("application/c2pa", io.BytesIO(text.encode()), store, manifest.context()) as reader:
            report = manifest.parse(reader.detailed_json())
    except c2pa.C2paError:
        return manifest.broken("manifest.unreadable")
    # The library does not know where a wrapper lies in a text, so it finds the place of the exclusion wrong always.
    # The place and the hash are therefore checked here.
    return manifest.judge(report, bound=_bound(report, text.encode(), start=start, length=length))


def _bound(report: Mapping[str, Any], data: bytes, *, start: int, length: int) -> bool:
    """Whether the hard binding leaves out exactly the wrapper and its hash is that of the rest."""
    binding = manifest.hard_binding(report)
    if binding.get("exclusions") != [{"start": start, "length": length}] or binding.get("alg") != "sha256":
        return False
    try:
        wanted = base64.b64decode(str(binding.get("hash")), validate=True)
    except binascii.Error:
        return False
    return hashlib.sha256(data[:start] + data[start + length :]).digest() == wanted
