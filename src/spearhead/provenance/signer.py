"""Signs C2PA manifests with an installation's keys. Knows nothing of text, pictures or labels.

The Python binding of the C2PA library offers no call for a manifest over a hash of the caller's own, which a text
needs; the library itself does (`c2pa_builder_sign_data_hashed_embeddable`), so it is called through the binding's
handle.
"""

import ctypes
import io
import json
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from spearhead.core.errors import InputError, SpearheadError
from spearhead.provenance.signing import Keys

Bind = Callable[[int], tuple[bytes, Sequence[tuple[int, int]]]]
"""Told the size of a store, gives the SHA-256 of the piece and the ranges (start, length) that it leaves out."""

_FORMAT = b"application/c2pa"  # a bare manifest store; whoever asked puts it into the file
# Nothing is ever fetched for a hostile file's sake; no thumbnails; what was signed is read back by `seal`.
SETTINGS: dict[str, Any] = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_after_sign": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
}


class Signer:
    """A chain and its key, loaded once. Safe to share between threads; signing takes about a millisecond.

    With `time_stamps`, the URL of an authority (RFC 3161), each signature is stamped with the time by it, which takes a
    question and an answer over the network, one after the other. Where it does not answer (within half a minute)
    nothing is signed: a SpearheadError says so.
    """

    def __init__(self, keys: Keys, *, time_stamps: str | None = None) -> None:
        import c2pa
        from c2pa import c2pa as binding

        if time_stamps is not None and not _is_address(time_stamps):
            raise InputError(f"{time_stamps[:200]!r} is no time-stamp authority: wanted its http or https URL")
        self.time_stamps = time_stamps
        info = c2pa.C2paSignerInfo(alg=b"es256", sign_cert=keys.chain, private_key=keys.c2pa, ta_url=time_stamps)
        self._lock = Lock()
        try:
            self._signer = c2pa.Signer.from_info(info)
            self._context = c2pa.Context(c2pa.Settings.from_dict(SETTINGS))
        except c2pa.C2paError as error:
            raise SpearheadError(f"the C2PA keys cannot be used: {error}") from error
        self._builder, self._failure = c2pa.Builder, c2pa.C2paError
        self._library, self._last_error = binding._lib, binding._read_native_error
        out = ctypes.POINTER(ctypes.c_void_p)
        names = ("c2pa_builder_data_hashed_placeholder", "c2pa_builder_sign_data_hashed_embeddable", "c2pa_free")
        if missing := [name for name in names if not hasattr(self._library, name)]:
            raise SpearheadError(f"this build of c2pa-python lacks {missing[0]}: install the version spearhead names")
        self._placeholder = _function(
            self._library.c2pa_builder_data_hashed_placeholder,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_char_p,
            out,
        )
        self._sign = _function(
            self._library.c2pa_builder_sign_data_hashed_embeddable,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.c_void_p,
            out,
        )

    def sign(self, definition: Mapping[str, Any], bind: Bind) -> bytes:
        """A signed manifest store; `bind` is told its size and gives the hash and the excluded ranges."""
        with self._lock:
            try:
                with self._builder(json.dumps(definition), self._context) as builder:
                    size = len(self._call(self._placeholder, builder._handle, self._signer.reserve_size(), _FORMAT))
                    digest, exclusions = bind(size)
                    data_hash = {
                        "exclusions": [{"start": start, "length": length} for start, length in exclusions],
                        "name": "jumbf manifest",
                        "alg": "sha256",
                        "hash": list(digest),
                        "pad": [],
                    }
                    handles = builder._handle, self._signer._handle
                    store = self._call(self._sign, *handles, json.dumps(data_hash).encode(), _FORMAT, None)
            except self._failure as error:
                raise self._unsigned(error) from error
        if len(store) > size:
            raise SpearheadError("the C2PA manifest came out larger than its place; nothing was written")
        return store

    def sign_file(self, definition: Mapping[str, Any], data: bytes, *, mime: str) -> bytes:
        """The file with a signed manifest inside, put there by the library; a manifest that was there is replaced."""
        out = io.BytesIO()
        with self._lock:
            try:
                with self._builder(json.dumps(definition), self._context) as builder:
                    builder.sign(self._signer, mime, io.BytesIO(data), out)
            except self._failure as error:
                raise self._unsigned(error) from error
        return out.getvalue()

    def _unsigned(self, error: object) -> SpearheadError:
        asked = f" (the time is asked of {self.time_stamps})" if self.time_stamps else ""
        return SpearheadError(f"the C2PA manifest could not be signed: {error}{asked}")

    def _call(self, function: Any, *arguments: Any) -> bytes:
        pointer = ctypes.c_void_p()
        size = function(*arguments, ctypes.byref(pointer))
        if size < 0:
            raise self._unsigned(self._last_error())
        try:
            return ctypes.string_at(pointer, size)
        finally:
            self._library.c2pa_free(pointer)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and url.isascii()
            and " " not in url
            and url.isprintable()
        )
    except ValueError:
        return False


def _function(function: Any, *arguments: Any) -> Any:
    function.argtypes, function.restype = list(arguments), ctypes.c_int64
    return function
