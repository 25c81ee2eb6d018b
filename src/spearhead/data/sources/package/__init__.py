"""Data inside a PyPI, npm or Debian package, named by version and sha256. Knows packages; formats are readers' work."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.data import readers
from spearhead.data.config import Source
from spearhead.data.items import Item, Unread
from spearhead.store import packages
from spearhead.store.home import Home


@dataclass(frozen=True, slots=True)
class Package:
    """Reads the members that `source.member` names (a path or a glob; empty: every member that has a reader)."""

    name: str = "package"

    def label(self, source: Source) -> str:
        """`pypi:name==version`, `npm:name@version` or `debian:name=version`."""
        joint = {"pypi": "==", "npm": "@", "debian": "="}.get(source.registry, " ")
        return f"{source.registry}:{source.package}{joint}{source.version}"

    def fault(self, source: Source, folder: Path | None) -> str:
        """Registry, name, version and sum are wanted, each as it can be."""
        for field in ("registry", "package", "version", "sha256"):
            if not getattr(source, field):
                return f"{field}: missing; a package source needs {field}"
        return packages.fault(source.registry, source.package, source.version, source.sha256)

    def fingerprint(self, source: Source, *, home: Home, folder: Path) -> str:
        """The package's sha256 stands for its content, so nothing is fetched for it."""
        for field in ("registry", "package", "version", "sha256"):
            if not getattr(source, field):
                raise InputError(f"data.sources.{field} is empty: a package source needs {field}")
        return digest.of_value([source.sha256, source.member])

    def read(self, source: Source, *, home: Home, folder: Path) -> Iterator[Item | Unread]:
        """Items of every member that matches, in the order of the archive."""
        archive = packages.fetch(source.registry, source.package, source.version, source.sha256, home=home)
        pattern = source.member or "**"
        known = packages.glob(pattern)
        names = [name for name in packages.members(archive) if name == pattern or known.fullmatch(name)]
        if not names:
            some = ", ".join(packages.members(archive)[:5])
            raise InputError(f"{self.label(source)} has no member {source.member!r}: it holds {some}, ...")
        for name, data in packages.read_members(archive, pattern, limit=readers.MOST_BYTES):
            yield from readers.read(name, data, source, alone=len(names) == 1)


SOURCE = Package()
