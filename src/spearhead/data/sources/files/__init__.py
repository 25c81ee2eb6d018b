"""A person's own files: one, a folder or a glob. Knows paths; formats are readers' work."""

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
    them that end as `source.endings` say."""

    name: str = "files"

    def label(self, source: Source) -> str:
        """`files:PATH` as the scenario names it; of a whole path the last name, since releases and traces tell it to
        everybody, and folders of a machine are nobody's business."""
        path = Path(source.path)
        return f"files:{path.name if path.is_absolute() else source.path}"

    def fault(self, source: Source, folder: Path | None) -> str:
        """A path is wanted, and with the scenario's folder a file there."""
        if not source.path:
            return "path: missing; a files source needs the path of a file or a folder"
        try:
            if folder is not None:
                _find(source, folder)
        except InputError as error:
            return f"path: {str(error).removeprefix('data.sources.path ')}"
        return ""

    def fingerprint(self, source: Source, *, home: Home, folder: Path) -> str:
        """Names and sha256 of every file."""
        return digest.of_value([[name, digest.of_file(path)] for name, path in _find(source, folder)])

    def read(self, source: Source, *, home: Home, folder: Path) -> Iterator[Item | Unread]:
        """Items of every file, in the order of their names."""
        found = _find(source, folder)
        for name, path in found:
            if path.stat().st_size > readers.MOST_BYTES:
                yield Unread(name, f"has {path.stat().st_size} bytes, at most {readers.MOST_BYTES} are read: split it")
                continue
            yield from readers.read(name, path.read_bytes(), source, alone=len(found) == 1)


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
