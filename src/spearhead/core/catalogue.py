"""A package's folders as a lazy read-only mapping: a folder is a plug-in, nothing registers itself on import."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from spearhead.core.errors import InputError


class Catalogue(Mapping[str, Any]):
    """`Catalogue("spearhead.metrics", "METRIC")["bleu"]` imports `spearhead.metrics.bleu` and gives its `METRIC`.

    Folders whose name starts with an underscore are left out. Third parties join through the entry-point group
    that has the package's name (`[project.entry-points."spearhead.metrics"]`). Raises InputError with the nearest
    name for one that is not there.
    """

    def __init__(self, package: str, attribute: str) -> None:
        self.package, self.attribute = package, attribute

    def _folders(self) -> set[str]:
        paths = importlib.import_module(self.package).__path__
        return {m.name for m in pkgutil.iter_modules(paths) if m.ispkg and not m.name.startswith("_")}

    def _outside(self) -> dict[str, metadata.EntryPoint]:
        return {point.name: point for point in metadata.entry_points(group=self.package)}

    def __getitem__(self, name: str) -> Any:
        if name in self._folders():
            return getattr(importlib.import_module(f"{self.package}.{name}"), self.attribute)
        if point := self._outside().get(name):
            return point.load()
        near = difflib.get_close_matches(name, list(self), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"{self.package.rpartition('.')[2]}: {name!r} is unknown, there are {', '.join(self)}{hint}")

    def __contains__(self, name: object) -> bool:
        return name in self._folders() or name in self._outside()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._folders() | self._outside().keys()))

    def __len__(self) -> int:
        return len(self._folders() | self._outside().keys())
