"""Releases on disk and their standing in the database: read, verify, choose the live one, promote, roll back, clear.

Knows nothing of how a release is made or served. A release is a folder (`home.releases/<scenario>/<version>/`); its row
says `passing`, `live` (promoted by a person) or `retired` (rolled back), and which withdrawn records it learnt from.
"""

import dataclasses
import difflib
import json
import os
import re
import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.manifest import Manifest, Part
from spearhead.core.sentence import LANGUAGES, said
from spearhead.store import tables
from spearhead.store.database import reading, writing
from spearhead.store.home import Home

MANIFEST, SIGNATURE, RECORDS = "manifest.json", "manifest.sig", "parts/records.txt"
LARGEST_MANIFEST = 16 << 20
STALE_SECONDS = 24 * 3600
"""Age from which an unfinished draft folder is what a crash left behind."""
CHANGES = 7370656174
"""The advisory lock of PostgreSQL that who enters or promotes a release holds."""
PICKLES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".bin"})
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Release:
    """A release's folder and what it declares; `state` and `affected` are its row's, where one was looked up."""

    folder: Path
    manifest: Manifest
    state: str = "passing"
    affected: tuple[str, ...] = ()
    """Ids of withdrawn records that it learnt from."""

    @property
    def name(self) -> str:
        """`scenario@version`."""
        return self.manifest.name

    def file(self, role: str) -> Path:
        """The one file of this role (`model`, `tokenizer`, `options`, ...); raises InputError when there is none."""
        found = [part for part in self.manifest.parts if part.role == role]
        if len(found) != 1:
            raise InputError(f"{self.name} has {len(found)} files of role {role!r}: wanted one; release it again")
        return self.folder / found[0].path

    def report(self, language: str = LANGUAGES[0]) -> Part | None:
        """Its report in this language, else the English one, which is all that older releases have; None without."""
        there = {part.path: part for part in self.manifest.parts}
        return there.get(report_name(language), there.get(report_name()))

    @property
    def adapter(self) -> Path | None:
        """The adapter over the model, in a release that has one."""
        adapted = any(part.role == "adapter" for part in self.manifest.parts)
        return self.file("adapter") if adapted else None


def report_name(language: str = LANGUAGES[0]) -> str:
    """The file of a run's report in a language.

    >>> report_name(), report_name("zh")
    ('report.html', 'report.zh.html')
    """
    return "report.html" if language == LANGUAGES[0] else f"report.{language}.html"


def read(folder: Path) -> Release:
    """What lies in `folder`; raises InputError when its manifest is missing, too large or not as it should be.

    Hashes are not looked at: `verify` does that.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > LARGEST_MANIFEST:
            raise InputError(f"{path} has more than 16 MiB: that is no manifest")
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{folder} holds no release: {MANIFEST} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text") from error
    manifest = Manifest.from_json(text)
    if not NAME.fullmatch(manifest.scenario) or not VERSION.fullmatch(manifest.version):
        raise InputError(f"{path}: {manifest.name!r} is no name of a release")
    for part in manifest.parts:
        if not _inside(part.path):
            raise InputError(f"{path}: the part {part.path!r} does not lie inside the release")
    return Release(folder, manifest)


def verify(folder: Path, *, public_key: bytes | None = None) -> list[str]:
    """Every problem as a sentence; an empty list means that the release is what its manifest says.

    With `public_key` (Ed25519, 32 raw bytes or PEM) the signature must be by that key; without one a signature
    proves nothing and is not looked at.
    """
    try:
        release = read(folder)
    except InputError as error:
        return [str(error)]
    problems: list[str] = []
    for part in release.manifest.parts:
        problems += _part_problems(folder, part)
    declared = {part.path for part in release.manifest.parts} | {MANIFEST, SIGNATURE}
    if len(release.manifest.parts) != len({part.path for part in release.manifest.parts}):
        problems.append(f"{MANIFEST} names a file twice")
    for name in _files(folder):
        if name not in declared:
            problems.append(f"{name} is in the folder and not in {MANIFEST}")
    records = [part for part in release.manifest.parts if part.path == RECORDS]
    if records and records[0].sha256 != release.manifest.records:
        problems.append(f"{RECORDS} is not the list of records that {MANIFEST} names")
    if public_key is not None and (problem := _signature_problem(folder, public_key)):
        problems.append(problem)
    return problems


def published(home: Home, *, scenario: str | None = None) -> list[Release]:
    """Every release on disk, by scenario and oldest first; raises InputError naming one that cannot be read."""
    pattern = f"{scenario or '*'}/*/{MANIFEST}"
    if scenario is not None and not NAME.fullmatch(scenario):
        return []
    found = [path.parent for path in home.releases.glob(pattern) if not path.parent.name.startswith(".")]
    releases = []
    for folder in found:
        try:
            release = read(folder)
        except InputError:
            if not folder.exists():  # another command has removed it since (see `gc`)
                continue
            raise
        if release.name != f"{folder.parent.name}@{folder.name}":
            raise InputError(f"{folder} holds {release.name}: a release lies under its own name; move it back")
        releases.append(release)
    return sorted(releases, key=_age)


def register(store: Engine | Connection, release: Release) -> Release:
    """Enter a release as `passing` if it has no row; records withdrawn before now mark it at once. Gives its row."""
    with writing(store) as connection:
        _in_turn(connection)
        if (row := _row(connection, release)) is None:
            withdrawn = [str(record) for (record,) in connection.execute(sa.select(tables.withdrawals.c.record))]
            affected = sorted(_learnt(release, set(withdrawn)))
            connection.execute(
                tables.releases.insert().values(
                    scenario=release.manifest.scenario,
                    version=release.manifest.version,
                    state="passing",
                    affected=digest.canonical(affected),
                    created=release.manifest.created,
                )
            )
            row = _row(connection, release)
        return _with(release, row)


def standing(home: Home, store: Engine | Connection, scenario: str) -> list[Release]:
    """The releases of a scenario with their rows, oldest first."""
    found = published(home, scenario=scenario)
    with reading(store) as connection:
        return [_with(release, _row(connection, release)) for release in found]


def answering(found: Sequence[Release]) -> Release | None:
    """Which of a scenario's releases, oldest first, answers to its name: the promoted, else the newest passing one.

    One that learnt from a record withdrawn since does not answer where its policy says so.
    """
    able = [r for r in found if not stopped(r)]
    chosen = [r for r in able if r.state == "live"] or [r for r in able if r.state == "passing"]
    return chosen[-1] if chosen else None


class Stopped(InputError):
    """A withdrawn record ended the serving of what was asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(said("store.release.stopped", release=name))


def stopped(release: Release) -> bool:
    """Whether a withdrawn record ends its serving, by the policy that it was released under."""
    return bool(release.affected) and release.manifest.policy.get("withdrawn") == "stop"


def expected(home: Home) -> None:
    """Raises InputError where a home holds no release at all; asked before anything is written there."""
    if not published(home):
        raise InputError(
            f"there is no release in {home.releases}: `spearhead run SCENARIO` makes one; "
            "--home or SPEARHEAD_HOME names another home"
        )


def live(home: Home, store: Engine | Connection, name: str) -> Release:
    """The release that answers to `name`: `scenario@version`, or for a scenario its promoted, else its newest passing
    one. Raises InputError with the nearest name when there is none, Stopped when withdrawn records ended it."""
    scenario, at, version = name.partition("@")
    if at:
        return _named(home, store, scenario, version)
    found = standing(home, store, scenario)
    if (chosen := answering(found)) is None:
        if ended := [release.name for release in found if stopped(release)]:
            raise Stopped(ended[-1])
        known = sorted({release.manifest.scenario for release in published(home)})
        near = difflib.get_close_matches(scenario, known, 1)
        if near:
            raise InputError(said("store.release.near", scenario=scenario, near=near[0]))
        some = said("store.release.known", scenario=scenario, known=tuple(known))
        raise InputError(some if known else said("store.release.none", scenario=scenario))
    return chosen


def promote(home: Home, store: Engine | Connection, name: str, *, public_key: bytes | None = None) -> Release:
    """Make `scenario@version` the one that answers to its scenario's name; refused when it does not verify."""
    scenario, at, version = name.partition("@")
    if not at:
        there = ", ".join(one.name for one in published(home, scenario=name)) or "none of it"
        raise InputError(f"promote {name!r}: which version? wanted SCENARIO@VERSION; there are: {there}")
    release = _named(home, store, scenario, version)
    if stopped(release):
        raise Stopped(name)
    _whole(release, public_key=public_key)
    with writing(store) as connection:
        register(connection, release)
        return _promoted(connection, release)


def rollback(home: Home, store: Engine, scenario: str, *, public_key: bytes | None = None) -> Release:
    """Retire the release that answers now and promote the newest passing one before it, which is returned.

    Refused when that one does not verify.
    """
    current, target = way_back(home, store, scenario, public_key=public_key)
    with writing(store) as connection:
        return go_back(home, connection, current, target)


def way_back(home: Home, store: Engine, scenario: str, *, public_key: bytes | None = None) -> tuple[Release, Release]:
    """What answers now, and what to go back to: verified here, where gigabytes of it keep no write waiting."""
    current, target = _before(home, store, scenario)
    _whole(target, public_key=public_key)
    return current, target


def go_back(home: Home, connection: Connection, current: Release, target: Release) -> Release:
    """Carry out what `way_back` found; raises InputError when it is so no more."""
    scenario = current.manifest.scenario
    _in_turn(connection)
    if [one.name for one in _before(home, connection, scenario)] != [current.name, target.name]:
        raise InputError(said("store.release.changed", scenario=scenario))
    for release in (current, target):
        register(connection, release)
    _set(connection, scenario, "retired", where=tables.releases.c.version == current.manifest.version)
    return _promoted(connection, target)


def gc(home: Home, store: Engine | Connection, *, keep: int = 3, scenario: str | None = None) -> list[str]:
    """Delete all but the `keep` newest releases of each scenario; gives the names of those that went.

    What answers now stays, and so does a release that made an output: `trace` walks back through it. Drafts that a
    crash left behind go too.
    """
    if keep < 1:
        raise InputError(f"--keep {keep}: wanted at least 1")
    scenarios = sorted({release.manifest.scenario for release in published(home, scenario=scenario)})
    gone: list[str] = []
    for each in scenarios:
        found = standing(home, store, each)
        serving = answering(found)
        kept = {release.name for release in [*found[-keep:], *([serving] if serving else [])]}
        for release in found:
            if release.name in kept or _made_outputs(store, release.name):
                continue
            with writing(store) as connection:
                register(connection, release)
                _set(connection, each, "retired", where=tables.releases.c.version == release.manifest.version)
            _remove(release.folder)
            gone.append(release.name)
        _sweep(home.releases / each)
    return gone


def mark_affected(home: Home, store: Engine | Connection, withdrawn: Collection[str]) -> list[str]:
    """Write down which releases learnt from the withdrawn records; gives the names of those that did."""
    ids, names = set(withdrawn), []
    for release in published(home):
        found = _learnt(release, ids)
        if not found:
            continue
        with writing(store) as connection:
            row = register(connection, release)
            affected = sorted(found | set(row.affected))
            connection.execute(
                tables.releases.update().where(*_is(release)).values(affected=digest.canonical(affected))
            )
        names.append(release.name)
    return names


def records(release: Release) -> Iterator[str]:
    """The ids of the records that a release learnt from; nothing when it learnt from none."""
    path = release.folder / RECORDS
    if not path.exists():
        return
    with path.open("r", encoding="ascii", errors="replace") as stream:
        while line := stream.readline(256):
            yield line.rstrip("\n")


# -- on disk -----------------------------------------------------------------------------------------------------


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    plain = bool(name) and "\\" not in name and "\0" not in name and not path.is_absolute() and len(name) <= 500
    return plain and ".." not in path.parts and str(path) == name and name not in (MANIFEST, SIGNATURE)


def _files(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        for name in sorted(names):
            yield (Path(place) / name).relative_to(folder).as_posix()
        for name in folders:
            if (Path(place) / name).is_symlink():
                yield (Path(place) / name).relative_to(folder).as_posix()
        folders.sort()


def _part_problems(folder: Path, part: Part) -> list[str]:
    path = folder / part.path
    try:
        if not stat.S_ISREG(path.lstat().st_mode) or not path.resolve().is_relative_to(folder.resolve()):
            return [f"{part.path} is not a plain file"]
        if path.stat().st_size != part.bytes:
            return [f"{part.path} has {path.stat().st_size} bytes and should have {part.bytes}"]
        if digest.of_file(path) != part.sha256:
            return [f"{part.path} has been changed: its sha256 is not the one in {MANIFEST}"]
        if _is_pickle(path):
            return [f"{part.path} is a pickle, which runs code when it is opened: no release holds one"]
    except OSError as error:
        return [f"{part.path} cannot be read ({error.strerror})"]
    return []


def _is_pickle(path: Path) -> bool:
    if path.suffix.lower() in PICKLES:
        return True
    with path.open("rb") as stream:
        head = stream.read(4)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    if head != b"PK\x03\x04":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).suffix.lower() in PICKLES for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _signature_problem(folder: Path, public_key: bytes) -> str | None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = (
            Ed25519PublicKey.from_public_bytes(public_key) if len(public_key) == 32 else load_pem_public_key(public_key)
        )
    except ValueError as error:
        raise InputError(f"the public key cannot be read: wanted Ed25519, 32 raw bytes or PEM ({error})") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError("the public key is of another kind: wanted Ed25519")
    try:
        signature = (folder / SIGNATURE).read_bytes()
    except OSError:
        return f"{SIGNATURE} is missing: nobody signed this release"
    try:
        key.verify(signature[:65], (folder / MANIFEST).read_bytes())
    except InvalidSignature:
        return f"{SIGNATURE} does not fit: the manifest was changed or signed with another key"
    return None


def _remove(folder: Path) -> None:
    """Out of sight in one step, then deleted, so that no half of a release is ever seen."""
    doomed = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name[:60]}.old."))
    with suppress(FileNotFoundError):  # another command was first
        os.replace(folder, doomed / folder.name)
    shutil.rmtree(doomed)


def _sweep(folder: Path) -> None:
    for draft in folder.glob(".*"):
        with suppress(FileNotFoundError):
            if draft.is_dir() and not draft.is_symlink() and time.time() - draft.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(draft)


def _age(release: Release) -> tuple[str, str, int, str]:
    version = release.manifest.version
    number = int(version) if version.isdecimal() else 0
    return release.manifest.scenario, release.manifest.created, number, version


def _learnt(release: Release, ids: set[str]) -> set[str]:
    return ids.intersection(records(release)) if ids else set()


def _whole(release: Release, *, public_key: bytes | None) -> None:
    if problems := verify(release.folder, public_key=public_key):
        first, more = problems[0], len(problems) - 1
        alone = said("store.release.unsound", release=release.name, problem=first)
        with_more = said("store.release.unsound_more", release=release.name, problem=first, more=more)
        raise InputError(with_more if more else alone)


# -- in the database ---------------------------------------------------------------------------------------------


def _in_turn(connection: Connection) -> None:
    """Two who enter a release at once would both find no row of it, and two who promote would both leave one live."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({CHANGES})"))


def _is(release: Release) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    columns = tables.releases.c
    return columns.scenario == release.manifest.scenario, columns.version == release.manifest.version


def _row(connection: Connection, release: Release) -> tuple[str, str] | None:
    columns = tables.releases.c
    row = connection.execute(sa.select(columns.state, columns.affected).where(*_is(release))).first()
    return None if row is None else (str(row[0]), str(row[1]))


def _with(release: Release, row: tuple[str, str] | None) -> Release:
    if row is None:
        return release
    return dataclasses.replace(release, state=row[0], affected=tuple(json.loads(row[1])))


def _set(connection: Connection, scenario: str, state: str, *, where: sa.ColumnElement[bool]) -> None:
    rows = tables.releases
    connection.execute(rows.update().where(rows.c.scenario == scenario, where).values(state=state))


def _promoted(connection: Connection, release: Release) -> Release:
    scenario = release.manifest.scenario
    _set(connection, scenario, "passing", where=tables.releases.c.state == "live")
    _set(connection, scenario, "live", where=tables.releases.c.version == release.manifest.version)
    return _with(release, _row(connection, release))


def _before(home: Home, store: Engine | Connection, scenario: str) -> tuple[Release, Release]:
    """What answers now and the newest before it that was not retired; raises InputError when there is none."""
    current = live(home, store, scenario)
    found = standing(home, store, scenario)
    older = [r for r in found if r.state != "retired" and _age(r) < _age(current) and not stopped(r)]
    if not older:
        raise InputError(said("store.release.first", scenario=scenario, release=current.name))
    return current, older[-1]


def _named(home: Home, store: Engine | Connection, scenario: str, version: str) -> Release:
    if not NAME.fullmatch(scenario) or not VERSION.fullmatch(version):
        raise InputError(f"{scenario}@{version} is no name of a release: wanted scenario@version")
    for release in standing(home, store, scenario):
        if release.manifest.version == version:
            return release
    known = [release.manifest.version for release in published(home, scenario=scenario)]
    there = f"there are {', '.join(known)}" if known else f"there is no release of {scenario!r}"
    raise InputError(f"{scenario}@{version} is not there: {there}")


def _made_outputs(store: Engine | Connection, name: str) -> bool:
    with reading(store) as connection:
        found = sa.select(tables.outputs.c.id).where(tables.outputs.c.release == name).limit(1)
        return connection.execute(found).first() is not None
