"""Hugging Face `datasets`: by name and revision when online, or a local copy. Knows the library, nothing of formats."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.data import readers
from spearhead.data.config import Source
from spearhead.data.items import Item, Unread
from spearhead.store.home import Home


@dataclass(frozen=True, slots=True)
class Hub:
    """Reads one split. A local copy is a folder written by `save_to_disk`, or one of csv, json or parquet files."""

    name: str = "hub"

    def label(self, source: Source) -> str:
        """`hub:name@revision` or `hub:folder`; of a whole path the last name (see `files`)."""
        name = Path(source.dataset).name if Path(source.dataset).is_absolute() else source.dataset
        return f"hub:{name}@{source.revision}" if source.revision else f"hub:{name}"

    def fault(self, source: Source, folder: Path | None) -> str:
        """A name is wanted, and a revision where no local copy lies in the scenario's folder."""
        if not source.dataset:
            return "dataset: missing; a hub source needs a name, or the folder of a local copy"
        try:
            if folder is not None:
                _local(source, folder)
        except InputError as error:
            key, _, rest = str(error).removeprefix("data.sources.").partition(" ")
            return f"{key}: {rest}"
        return ""

    def fingerprint(self, source: Source, *, home: Home, folder: Path) -> str:
        """The revision stands for a data set of the hub; a local copy is hashed file by file."""
        if local := _local(source, folder):
            files = sorted(path for path in local.rglob("*") if path.is_file())
            return digest.of_value([[path.relative_to(local).as_posix(), digest.of_file(path)] for path in files])
        return digest.of_value([source.dataset, source.revision, source.split])

    def read(self, source: Source, *, home: Home, folder: Path) -> Iterator[Item | Unread]:
        """Every row of the split."""
        table = _load(source, home=home, local=_local(source, folder))
        yield from readers.rows(_plain(table, source), source)


def saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder: a data set, or its splits."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def first(folder: Path, *, most: int) -> tuple[str, tuple[str, ...], list[Mapping[str, Any]]]:
    """Of a saved data set the split that is learnt from, the columns, and the first rows without pictures and sounds.

    Raises InputError where it cannot be read, or has several splits and none is named train.
    """
    source = Source("hub", licence="", credit="", dataset=str(folder))
    found = _opened(folder, source)
    splits = list(found) if isinstance(found, dict) else []
    if splits and "train" not in splits and len(splits) > 1:
        raise InputError(f"{folder}: which split? Name its folder, one of {', '.join(splits)}")
    split = "" if not splits else "train" if "train" in splits else splits[0]
    table = found[split] if split else found
    plain = [name for name, kind in table.features.items() if type(kind).__name__ not in ("Image", "Audio", "Video")]
    try:
        rows = list(table.select_columns(plain).select(range(min(most, len(table)))))
    except Exception as error:  # of many kinds
        raise _unreadable(source, error) from error
    return split, tuple(table.column_names), rows


def _opened(folder: Path, source: Source) -> Any:
    """A saved data set, or a dictionary of its splits."""
    try:
        import datasets
    except ImportError as error:
        raise InputError("a hub source needs `datasets`: pip install '.[hub]'") from error
    try:
        return datasets.load_from_disk(str(folder))
    except Exception as error:  # the library raises dozens of kinds
        raise _unreadable(source, error) from error


def _local(source: Source, folder: Path) -> Path | None:
    """The local copy's folder, or None when the name is one of the hub; raises InputError when it is neither."""
    if not source.dataset:
        raise InputError("data.sources.dataset is empty: a hub source needs a name, or the folder of a local copy")
    place = folder / source.dataset
    if place.is_dir():
        return place
    if source.dataset.startswith((".", "/")) or source.dataset.count("/") > 1:
        raise InputError(f"data.sources.dataset {source.dataset!r} is not there: looked at {place}")
    if not source.revision:
        raise InputError(
            f"data.sources.revision of {source.dataset!r} is empty: name the commit, so that the data stay the same"
        )
    return None


def _load(source: Source, *, home: Home, local: Path | None) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise InputError("a hub source needs `datasets`: pip install '.[hub]'") from error
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    cache = str(home.cache / "hub")
    try:
        if local is None:
            return datasets.load_dataset(
                source.dataset, revision=source.revision, split=source.split, cache_dir=cache, streaming=True
            )
        if saved(local):
            loaded = datasets.load_from_disk(str(local))
            if not isinstance(loaded, datasets.DatasetDict):
                return loaded
            if source.split not in loaded:
                raise InputError(f"{source.dataset} has no split {source.split!r}: it has {', '.join(loaded)}")
            return loaded[source.split]
        return datasets.load_dataset(str(local), split=source.split, cache_dir=cache)
    except InputError:
        raise
    except Exception as error:  # the library raises dozens of kinds, network errors among them
        raise _unreadable(source, error) from error


def _plain(table: Any, source: Source) -> Iterator[Mapping[str, Any]]:
    """Rows with the wanted columns alone, so that pictures and sounds beside them are not decoded.

    Raises InputError where a row cannot be had: it is read, or fetched, when its turn comes.
    """
    wanted = readers.needed(source)
    names = table.column_names
    if source.columns and names:
        table = table.select_columns([name for name in names if name in wanted])
    try:
        yield from table
    except Exception as error:  # of as many kinds as before
        raise _unreadable(source, error) from error


def _unreadable(source: Source, error: Exception) -> InputError:
    first = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
    return InputError(f"{Hub().label(source)} cannot be read: {first}")


SOURCE = Hub()
