"""A C2PA manifest inside a file whose format has a place for one: pictures, and whatever else the library can write.

The library writes and reads; where a modality can say where the manifest lies, the binding is checked by our own count.
"""

import base64
import binascii
import hashlib
import io
from typing import Protocol, runtime_checkable

from spearhead.core.media import Label, Media
from spearhead.provenance.labels import manifest
from spearhead.provenance.labels.gb45438 import modality
from spearhead.provenance.signer import Signer

_SIGN = b"c2pa"


@runtime_checkable
class Placed(Protocol):
    """A modality that knows where in a file a manifest lies: its first byte and its length."""

    def signature(self, media: Media) -> tuple[int, int] | None: ...


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
    start, length = place
    binding = manifest.hard_binding(report)
    if binding.get("exclusions") != [{"start": start, "length": length}] or binding.get("alg") != "sha256":
        return False
    try:
        wanted = base64.b64decode(str(binding.get("hash")), validate=True)
    except binascii.Error:
        return False
    return hashlib.sha256(media.data[:start] + media.data[start + length :]).digest() == wanted


def _report(media: Media) -> "dict[str, object] | manifest.Manifest | None":
    """The library's report; a broken manifest, or None, where it gives none."""
    import c2pa

    try:
        with c2pa.Reader(media.mime, io.BytesIO(media.data), context=manifest.context()) as reader:
            return dict(manifest.parse(reader.detailed_json()))
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError:
        # A file that is damaged says nothing, unless it had something to say.
        return manifest.broken("manifest.unreadable") if _SIGN in media.data else None
