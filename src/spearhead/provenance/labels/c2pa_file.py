"""A C2PA manifest inside a file whose format has a place for one: pictures, and whatever else the library can write.

The library writes and reads; where a modality can say where the manifest lies, the binding is checked by our own count.
"""

import base64
import binascii
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.provenance.labels import manifest
from spearhead.provenance.labels.gb45438 import Bare, modality
from spearhead.provenance.signer import Signer

_SIGN = b"c2pa"
_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""The extended type of the box that holds a manifest in a file of boxes."""
_OUTSIDE = (
    {"xpath": "/uuid", "data": [{"offset": 8, "value": base64.b64encode(_BOX).decode()}]},
    {"xpath": "/ftyp"},
    {"xpath": "/mfra"},
    {"xpath": "/free"},
    {"xpath": "/skip"},
)
"""What a manifest may leave out of a file of boxes: itself, the type, filling; never tables or samples."""


@runtime_checkable
class Placed(Protocol):
    """A modality that knows where in a file a manifest lies: its first byte and its length."""

    def signature(self, media: Media) -> tuple[int, int] | None: ...


@runtime_checkable
class Boxed(Protocol):
    """A modality whose files are boxes: the kind of each, its first byte and its length, in order."""

    def boxes(self, media: Media) -> Sequence[tuple[str, int, int]]: ...


def embed(media: Media, label: Label, *, signer: Signer, training: str = "notAllowed") -> Media:
    """A copy with a signed manifest inside, as the last thing that is done to the file."""
    claims = manifest.definition(label, mime=media.mime, training=training)
    return Media(media.modality, media.mime, signer.sign_file(claims, media.data, mime=media.mime))


def read(media: Media) -> manifest.Manifest | None:
    """The manifest inside, checked against the file; None when there is none. Fetches nothing."""
    report = _report(media)
    return manifest.judge(report) if isinstance(report, dict) else report


def bound(media: Media) -> bool:
    """Whether, by our own count, the manifest leaves out itself alone and its hash is that of all other bytes."""
    report, kind = _report(media), modality(media.modality)
    place = kind.signature(media) if isinstance(kind, Placed) else None
    if not isinstance(report, dict) or place is None:
        return False
    binding = manifest.hard_binding(report)
    try:
        wanted = base64.b64decode(str(binding.get("hash")), validate=True)
        parts = list(_boxes(media, kind, binding) if isinstance(kind, Boxed) else _ranges(media, place, binding))
    except (binascii.Error, InputError):
        return False
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part)
    return bool(parts) and binding.get("alg") == "sha256" and hasher.digest() == wanted


def _ranges(media: Media, place: tuple[int, int], binding: Mapping[str, Any]) -> Iterator[bytes]:
    """What `c2pa.hash.data` is the hash of; nothing when more is left out than the manifest."""
    start, length = place
    if binding.get("exclusions") == [{"start": start, "length": length}]:
        yield media.data[:start]
        yield media.data[start + length :]


def _boxes(media: Media, kind: Boxed, binding: Mapping[str, Any]) -> Iterator[bytes]:
    """What `c2pa.hash.bmff.v3` is the hash of: each box behind its place; nothing when more is left out than may be."""
    left_out = binding.get("exclusions")
    if not isinstance(left_out, list) or not all(one in _OUTSIDE for one in left_out):
        return
    names = [one["xpath"] for one in left_out]
    for name, start, length in kind.boxes(media):
        itself = name == "uuid" and media.data[start + 8 : start + 24] == _BOX
        if itself or (name != "uuid" and f"/{name}" in names):
            continue
        yield start.to_bytes(8, "big")
        yield media.data[start : start + length]


def _report(media: Media) -> "dict[str, object] | manifest.Manifest | None":
    """The library's report; a broken manifest, or None, where it gives none."""
    import c2pa

    kind = modality(media.modality)
    try:
        # The library meets only what we can take apart ourselves, within bounds: 40,000 boxes take it 12 seconds.
        if isinstance(kind, Bare):
            kind.content(media)
        with c2pa.Reader(media.mime, io.BytesIO(media.data), context=manifest.context()) as reader:
            return dict(manifest.parse(reader.detailed_json()))
    except c2pa.C2paError.ManifestNotFound:
        return None
    except (c2pa.C2paError, InputError):
        # A file that is damaged says nothing, unless it had something to say.
        return manifest.broken("manifest.unreadable") if _SIGN in media.data else None
