"""A person's own files: one, a folder or a glob. Knows paths; formats are readers' work."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.data import readers
from spearhead.data.config import Source
from spearhead.data.items import Item, Unread
from spearhead.store.home import Home


@dataclass(frozen=True, slots=True)
class Files:
    """Reads `source.path`, relative to the scenario's folder; in a folder every file that is not hidden, or those of
    them that end as `source.endings` say. Where there is a `source.sha256`, the path is of one file with that sum."""

    name: str = "files"

    def label(self, source: Source) -> str:
        """`files:PATH` as the scenario names it; of a whole path the last name, since releases and traces tell it to
        everybody, and folders of a machine are nobody's business."""
        path = Path(source.path)
        return f"files:{path.name if path.is_absolute() else source.path}"

    def fault(self, source: Source, folder: Path | None) -> str:
        """A path is wanted, a sum as it can be, and with the scenario's folder a file there, which has that sum."""
        if not source.path:
            return "path: missing; a files source needs the path of a file or a folder"
        try:
            if folder is not None:
                _find(source, folder)
        except InputError as error:
            return f"path: {str(error).removeprefix('data.sources.path ')}"
        if (sentence := _misgiven(source, folder)) or folder is None or not source.sha256:
            return sentence
        return _other(source, digest.of_file(folder / source.path))

    def fingerprint(self, source: Source, *, home: Home, folder: Path) -> str:
        """Names and sha256 of every file; raises InputError also where one has another than it must have."""
        sums = [[name, digest.of_file(path)] for name, path in _found(source, folder)]
        if sentence := _other(source, sums[0][1]):
            raise InputError(f"data.sources.{sentence}")
        return digest.of_value(sums)

    def read(self, source: Source, *, home: Home, folder: Path) -> Iterator[Item | Unread]:
        """Items of every file, in the order of their names; InputError before the first of a file that is not meant."""
        found = _found(source, folder)
        for name, path in found:
            if path.stat().st_size > readers.MOST_BYTES:
                yield Unread(name, f"has {path.stat().st_size} bytes, at most {readers.MOST_BYTES} are read: split it")
                continue
            data = path.read_bytes()
            if source.sha256 and (sentence := _other(source, digest.of_bytes(data))):
                raise InputError(f"data.sources.{sentence}")
            yield from readers.read(name, data, source, alone=len(found) == 1)


def _misgiven(source: Source, folder: Path | None) -> str:
    """Why there cannot be a file with the sum that is given; empty when there can, or none is given."""
    if source.sha256 and not re.fullmatch("[0-9a-f]{64}", source.sha256):
        return f"sha256: of {source.path} is {source.sha256!r}: wanted 64 hexadecimal characters in lower case"
    if source.sha256 and folder is not None and not (folder / source.path).is_file():
        what = "a folder" if (folder / source.path).is_dir() else "a pattern"
        return f"sha256: {source.sha256} was given for {source.path}, which is {what}: wanted the path of one file"
    return ""


def _other(source: Source, got: str) -> str:
    """That a file with the sum `got` is not the one that is meant; empty when it is, or any would do."""
    if source.sha256 in ("", got):
        return ""
    return (
        f"sha256: {source.path} has {got}, the scenario says {source.sha256}: "
        "this is not the file that was meant; compare the two, then correct the scenario"
    )


def _found(source: Source, folder: Path) -> list[tuple[str, Path]]:
    """As `_find`; InputError also where a sum is given for what has none."""
    found = _find(source, folder)
    if sentence := _misgiven(source, folder):
        raise InputError(f"data.sources.{sentence}")
    return found


def _find(source: Source, folder: Path) -> list[tuple[str, Path]]:
    """Name (relative to what the scenario names) and path of each file, sorted; InputError when there is none."""
    if not source.path:
        raise InputError("data.sources.path is empty: a files source needs the path of a file or a folder")
    place = folder / source.path
    if place.is_file():
        return [(place.name, place)]
    if place.is_dir():
        root, found = place, place.rglob("*")
    elif any(sign in source.path for sign in "*?["):
        root = folder
        if Path(source.path).is_absolute():
            root = Path(Path(source.path).anchor)
        found = root.glob(str(Path(source.path).relative_to(root) if root != folder else source.path))
    else:
        raise InputError(f"data.sources.path {source.path!r} is not there: looked at {place}")
    files = [
        (path.relative_to(root).as_posix(), path)
        for path in found
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and (not source.endings or path.suffix.lower() in source.endings)
    ]
    if not files:
        of = f" that ends in {' or '.join(source.endings)}" if source.endings else ""
        raise InputError(f"data.sources.path {source.path!r} names no file{of}: looked at {place}")
    return sorted(files)


SOURCE = Files()
