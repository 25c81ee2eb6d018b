"""A C2PA manifest inside a text: invisible variation selectors at its end, bound to every other byte.

C2PA 2.4 `C2PATextManifestWrapper`: U+FEFF, then one variation selector a byte of magic, version, length and store.
The hash is over the text in NFC, without the wrapper.
"""

import base64
import binascii
import hashlib
import io
import json
import re
import struct
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from spearhead import __version__
from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.provenance.signer import SETTINGS, Signer

MAGIC, VERSION = b"C2PATXT\0", 1
RELEASE = "org.spearhead.release"
"""Our own assertion: release, produce id and time of making."""
USES = ("cawg.ai_inference", "cawg.ai_generative_training", "cawg.ai_training", "cawg.data_mining")

_HEADER = struct.Struct("!8sBI")
_MOST = 4 * 1024 * 1024  # bytes of a store that are looked at
_SELECTORS = np.array([0xFE00 + code if code < 16 else 0xE0100 + code - 16 for code in range(256)], dtype="<u4")
_WRAPPER = re.compile("\ufeff([\ufe00-\ufe0f\U000e0100-\U000e01ef]{13,})")
_LOCATION = "assertion.dataHash.mismatch"
UNTRUSTED = "signingCredential.untrusted"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says and whether it holds. `state` is Valid, Trusted or Invalid; `failures` are C2PA codes.

    A manifest by an installation's own certificate is Valid, and its one failure is `signingCredential.untrusted`.
    """

    state: str
    failures: tuple[str, ...]
    issuer: str
    generator: str
    digital_source_type: str
    release: str
    produce_id: str
    created: str
    training: Mapping[str, str]

    @property
    def valid(self) -> bool:
        """Whether signature and content hold, whoever signed."""
        return self.state in ("Valid", "Trusted")


def embed(media: Media, label: Label, *, signer: Signer, training: str = "notAllowed") -> Media:
    """The text in NFC with a signed manifest at its end; a manifest that was there is replaced.

    `training` is what others may do with it: allowed, notAllowed or constrained.
    """
    if training not in ("allowed", "notAllowed", "constrained"):
        raise InputError(f"training {training!r}: wanted allowed, notAllowed or constrained")
    body = unicodedata.normalize("NFC", without(media.text)).encode()

    def bind(size: int) -> tuple[bytes, list[tuple[int, int]]]:
        return hashlib.sha256(body).digest(), [(len(body), _room(size))]

    store = signer.sign(_definition(label, mime=media.mime, training=training), bind)
    return Media("text", media.mime, body + wrap(store).encode())


def _definition(label: Label, *, mime: str, training: str) -> dict[str, Any]:
    action = {"action": "c2pa.created", "digitalSourceType": label.digital_source_type, "when": label.created}
    release = {"release": label.release, "produce_id": label.produce_id, "created": label.created}
    assertions = {
        "c2pa.actions.v2": {"actions": [action]},
        RELEASE: release,
        "cawg.training-mining": {"entries": {use: {"use": training} for use in USES}},
    }
    return {
        "claim_version": 2,
        "claim_generator_info": [{"name": "spearhead", "version": __version__}],
        "title": label.produce_id,
        "format": mime,
        "assertions": [{"label": name, "data": data, "created": True} for name, data in assertions.items()],
    }


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


def read(media: Media) -> Manifest | None:
    """The manifest in a text, checked against the text; None when there is none. Fetches nothing."""
    text = unicodedata.normalize("NFC", media.text)
    try:
        place = find(text)
    except InputError:
        return _broken("manifest.multiple")
    if place is None:
        return None
    store, first, last = place
    start, length = len(text[:first].encode()), len(text[first:last].encode())
    import c2pa

    try:
        with c2pa.Reader("application/c2pa", io.BytesIO(text.encode()), store, _context()) as reader:
            report = json.loads(reader.detailed_json())
    except (c2pa.C2paError, ValueError):
        return _broken("manifest.unreadable")
    return _judged(report, text.encode(), start=start, length=length)


@cache
def _context() -> Any:
    """The reader's settings, made once."""
    import c2pa

    return c2pa.Context(c2pa.Settings.from_dict(SETTINGS))


def _judged(report: Mapping[str, Any], data: bytes, *, start: int, length: int) -> Manifest:
    manifest = _mapping(_mapping(report.get("manifests")).get(str(report.get("active_manifest"))))
    assertions = manifest.get("assertion_store", {})
    results = report.get("validation_results", {}).get("activeManifest", {})
    failures = {str(status["code"]) for status in results.get("failure", [])}
    passed = {str(status["code"]) for status in results.get("success", [])}
    # The library does not know where a wrapper lies in a text, so it finds the place of the exclusion wrong always.
    # The place and the hash are therefore checked here, and its finding about them is replaced by ours.
    failures.discard(_LOCATION)
    if not _bound(assertions.get("c2pa.hash.data"), data, start=start, length=length):
        failures.add(_LOCATION)
    if "claimSignature.validated" not in passed:
        failures.add("claimSignature.mismatch")
    bad = failures - {UNTRUSTED}
    state = "Invalid" if bad else "Valid" if failures else "Trusted"
    actions = _mapping(_first(_mapping(assertions.get("c2pa.actions.v2")).get("actions")))
    release = _mapping(assertions.get(RELEASE))
    entries = _mapping(_mapping(assertions.get("cawg.training-mining")).get("entries"))
    return Manifest(
        state=state,
        failures=tuple(sorted(failures)),
        issuer=_words(_mapping(manifest.get("signature")).get("issuer")),
        generator=_generator(_mapping(manifest.get("claim")).get("claim_generator_info")),
        digital_source_type=_words(actions.get("digitalSourceType")),
        release=_words(release.get("release")),
        produce_id=_words(release.get("produce_id")),
        created=_words(release.get("created")),
        training={_words(use): _words(_mapping(entry).get("use")) for use, entry in entries.items()},
    )


def _bound(assertion: Any, data: bytes, *, start: int, length: int) -> bool:
    """Whether the hard binding leaves out exactly the wrapper and its hash is that of the rest."""
    binding = _mapping(assertion)
    if binding.get("exclusions") != [{"start": start, "length": length}] or binding.get("alg") != "sha256":
        return False
    try:
        wanted = base64.b64decode(str(binding.get("hash")), validate=True)
    except binascii.Error:
        return False
    return hashlib.sha256(data[:start] + data[start + length :]).digest() == wanted


def _broken(code: str) -> Manifest:
    return Manifest("Invalid", (code,), "", "", "", "", "", "", {})


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None


def _words(value: Any) -> str:
    return value[:500] if isinstance(value, str) else ""


def _generator(value: Any) -> str:
    info = _mapping(_first(value) if isinstance(value, list) else value)
    return f"{_words(info.get('name'))} {_words(info.get('version'))}".strip()
