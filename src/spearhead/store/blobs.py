"""Bytes on disk, named by their sha256. Knows nothing of what the bytes are."""

import re
from dataclasses import dataclass
from pathlib import Path

from spearhead.core import digest
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.files import write_whole
from spearhead.store.database import StoreUnavailable


@dataclass(frozen=True, slots=True)
class Blobs:
    """The bytes under `folder`; each blob exists whole or not at all, and is checked when read."""

    folder: Path

    def put(self, data: bytes) -> str:
        """Keep `data` and return its sha256; keeping the same bytes again changes nothing, or mends a damaged copy."""
        sha = digest.of_bytes(data)
        path = self._path(sha)
        try:
            if not (path.is_file() and digest.of_file(path) == sha):
                write_whole(path, data, mode=0o600)
        except OSError as error:
            raise StoreUnavailable(
                f"{len(data)} bytes could not be kept in {self.folder}: {error.strerror}."
            ) from error
        return sha

    def get(self, sha: str) -> bytes:
        """The bytes named `sha`; raises InputError when there are none, SpearheadError when they were changed."""
        path = self._path(sha)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise InputError(f"There are no bytes named {sha} in {self.folder}.") from None
        except OSError as error:
            raise StoreUnavailable(f"The bytes named {sha} could not be read: {error.strerror}.") from error
        if digest.of_bytes(data) != sha:
            raise SpearheadError(f"The file {path} is damaged: its bytes are not those it is named after.")
        return data

    def has(self, sha: str) -> bool:
        """Whether bytes named `sha` are kept; does not read them."""
        return self._path(sha).is_file()

    def delete(self, sha: str) -> None:
        """Forget the bytes named `sha`; no error when there are none."""
        try:
            self._path(sha).unlink(missing_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"The bytes named {sha} could not be deleted: {error.strerror}.") from error

    def _path(self, sha: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", sha):
            raise InputError(f"{sha[:80]!r} is not a sha256: wanted 64 lower-case hexadecimal characters.")
        return self.folder / sha[:2] / sha
