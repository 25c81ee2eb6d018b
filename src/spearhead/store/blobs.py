"""Bytes on disk, named by their sha256. Knows nothing of what the bytes are.

Bytes are there before the row that names them. Until somebody saw that row they have a mark, a file in `unnamed`, so
that what a kill left without a row is found among the marks, and not by asking for the row of everything.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spearhead.core import digest
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.files import draft_of, write_whole
from spearhead.store.database import StoreUnavailable

MARKS = "unnamed"


@dataclass(frozen=True, slots=True)
class Mark:
    """Bytes of which nobody saw yet that the row with the id `row` names them; marked `age` seconds ago."""

    sha: str
    row: str
    age: float


@dataclass(frozen=True, slots=True)
class Blobs:
    """The bytes under `folder`; each blob exists whole or not at all, and is checked when read."""

    folder: Path

    def put(self, data: bytes, *, row: str | None = None) -> str:
        """Keep `data` and return its sha256; keeping the same bytes again changes nothing, or mends a damaged copy.

        `row` is the id of the row that is going to name them: they are marked until `unmark`.
        """
        sha = digest.of_bytes(data)
        path = self._path(sha)
        try:
            if row is not None:
                mark = self._mark(sha, row)
                mark.parent.mkdir(parents=True, exist_ok=True)
                mark.touch(mode=0o600)
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

    def marks(self) -> Iterator[Mark]:
        """Every mark there is."""
        try:
            names = os.listdir(self.folder / MARKS)
        except FileNotFoundError:  # nothing was ever marked
            return
        except OSError as error:
            raise StoreUnavailable(f"The folder {self.folder} could not be read: {error.strerror}.") from error
        for name in names:
            if found := re.fullmatch(r"([0-9a-f]{64})\.([A-Za-z0-9_-]{1,100})", name):
                yield Mark(found[1], found[2], self._age(self.folder / MARKS / name))

    def unmark(self, sha: str, row: str) -> None:
        """The row was seen, or the bytes are gone: nobody need look again."""
        self._unlink(self._mark(sha, row))

    def delete(self, sha: str, *, row: str | None = None) -> None:
        """Forget the bytes named `sha`, and their mark for `row`; no error when there are none."""
        self._unlink(self._path(sha))
        if row is not None:
            self.unmark(sha, row)

    def clear(self, mark: Mark) -> int:
        """Forget marked bytes, and what a kill left of writing them; gives how many files that were.

        Those that were marked anew since stay.
        """
        path, found = self._path(mark.sha), 0
        if self._age(self._mark(mark.sha, mark.row)) < mark.age:
            return 0
        for file in (path, *path.parent.glob(f"{draft_of(path)}*")):
            found += file.exists()
            self._unlink(file)
        self.unmark(mark.sha, mark.row)
        return found

    def _age(self, file: Path) -> float:
        try:
            return time.time() - file.stat().st_mtime
        except OSError:  # another process took it away meanwhile
            return 0.0

    def _unlink(self, file: Path) -> None:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"The file {file.name} could not be deleted: {error.strerror}.") from error

    def _mark(self, sha: str, row: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", row):
            raise InputError(f"{row[:80]!r} is no id of a row: wanted letters, digits, _ and -.")
        return self.folder / MARKS / f"{sha}.{row}"

    def _path(self, sha: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", sha):
            raise InputError(f"{sha[:80]!r} is not a sha256: wanted 64 lower-case hexadecimal characters.")
        return self.folder / sha[:2] / sha
