"""The invisible mark in the wording of a text: drawn by the sampler as the text is made, looked for here by its key.

Tokens are what it lies in, so beside the key it takes the tokenizers of the releases that draw it to look for it. It
says that this installation chose the words, not which output it was. Knows no sampler and writes nothing.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.media.text import MODALITY
from spearhead.media.text.keyed import Heard, Key, listen
from spearhead.provenance.signing import Keys
from spearhead.store import releases
from spearhead.store.home import Home

if TYPE_CHECKING:
    from spearhead.media.text.tokens import Tokenizer

LEAST = 200
"""Tokens that must tell before anything is claimed: below, chance has too much room and ordinary words too little."""
MOST = 100_000
"""Characters that are looked at."""
KEPT = 4
"""Tokenizers that stay in memory; one of 49 k tokens takes 15 to 60 MB."""


class Wording:
    """The mark of one secret; safe to share between threads."""

    name = "keyed choice of tokens"

    def __init__(self, secret: bytes, tokenizers: Callable[[], Mapping[str, Path]]) -> None:
        """`tokenizers` gives the files to look with, by the hash of their bytes; asked at each look."""
        self._key, self._tokenizers = Key(secret), tokenizers
        self._open: dict[str, Tokenizer] = {}
        self._lock = Lock()

    def read(self, media: Media) -> Heard | None:
        """What is found in a text, corrected for the number of tokenizers; None where there is none to look with."""
        try:
            text = MODALITY.words(media)
        except InputError:
            return None
        text = text[:MOST].replace("\r\n", "\n")
        found = [listen(one.encode(text, special=False), self._key) for one in self._known()]
        if not found:
            return None
        best = min(found, key=lambda heard: heard.p_value)
        return Heard(min(1.0, len(found) * best.p_value), best.scored)

    def _known(self) -> list["Tokenizer"]:
        from spearhead.media.text.tokens import Tokenizer

        with self._lock:
            files = dict(list(self._tokenizers().items())[-KEPT:])
            self._open = {name: one for name, one in self._open.items() if name in files}
            for name, path in files.items():
                if name not in self._open:
                    self._open[name] = Tokenizer.open(path)
            return list(self._open.values())


def opened(home: Home, keys: Keys) -> Wording:
    """The installation's mark, looked for with the tokenizers of its newest releases that draw it."""
    return Wording(secret_of(keys), _Tokenizers(home))


def secret_of(keys: Keys) -> bytes:
    """What tokens are drawn by: it follows from the installation's release key, and does not give it away."""
    return hmac.new(keys.release, b"spearhead text watermark", hashlib.sha256).digest()


class _Tokenizers:
    """The tokenizers of releases of text whose labels ask for the mark, the newest last; reads each manifest once."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._read: dict[Path, tuple[str, str, Path] | None] = {}

    def __call__(self) -> Mapping[str, Path]:
        there = set(self._home.releases.glob(f"*/*/{releases.MANIFEST}"))
        self._read = {path: self._read[path] if path in self._read else _marks(path.parent) for path in there}
        found = sorted(entry for entry in self._read.values() if entry is not None)
        return {name: path for _, name, path in found}


def _marks(folder: Path) -> tuple[str, str, Path] | None:
    """When a release was made, the hash of its tokenizer and the file; None for one that draws no mark in texts."""
    if folder.name.startswith("."):
        return None
    try:
        release = releases.read(folder)
        manifest = release.manifest
        if manifest.modality != "text" or not manifest.labels.get("watermark"):
            return None
        path = release.file("tokenizer")
    except InputError:  # a damaged release is for those to say who serve it
        return None
    (part,) = (part for part in manifest.parts if part.role == "tokenizer")
    return manifest.created, part.sha256, path
