"""Packages from PyPI, npm and Debian, fetched by the person's own client and kept by the hash of their bytes.

Knows archives and members. Does not know what a member means, and never runs or imports what is inside.
"""

import fnmatch
import io
import lzma
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.files import whole_folder
from spearhead.store.home import Home

NAMES = {
    "pypi": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}"),
    "npm": re.compile(r"(@[a-z0-9][a-z0-9._-]{0,100}/)?[a-z0-9][a-z0-9._-]{0,100}"),
    "debian": re.compile(r"[a-z0-9][a-z0-9+.-]{1,100}"),
}
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~:!_-]{0,100}")
MOST_MEMBERS = 2_000_000
MOST_BYTES = 64 << 30
"""What all members together may unpack to."""
PATIENCE = 3600
"""Seconds a client may take."""
BROKEN = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, NotImplementedError, OSError)


def fetch(registry: str, package: str, version: str, sha256: str, *, home: Home) -> Path:
    """The package's archive in the cache, fetched when it is not there; its sha256 is checked on every call.

    Raises InputError when the client or the package is missing, or when the bytes have another sha256.
    """
    if wrong := fault(registry, package, version, sha256):
        raise InputError(wrong)
    shelf = home.packages / sha256
    if cached := _sound(shelf, sha256):
        return cached
    home.packages.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.packages, prefix=".fetch.") as name:
        drop = Path(name)
        _ask_client(registry, package, version, drop)
        files = sorted(path for path in drop.iterdir() if path.is_file())
        if len(files) != 1:
            raise InputError(f"{registry} gave {len(files)} files for {package} {version}: wanted one")
        got = digest.of_file(files[0])
        if got != sha256:
            raise InputError(
                f"{registry} package {package} {version} has sha256 {got}, the scenario says {sha256}: "
                "these are not the bytes that were meant; compare the version and the sum, then correct the scenario"
            )
        with whole_folder(shelf, stays=lambda there: _sound(there, sha256) is not None) as draft:
            shutil.move(str(files[0]), draft / files[0].name)
    return _on_shelf(shelf) or shelf / files[0].name


def members(archive: Path) -> list[str]:
    """Names of the regular files inside, sorted; links, devices and names that lead outside are left out."""
    with _opened(archive) as box:
        return sorted(name for name, _, _ in box)


def open_member(archive: Path, name: str, *, limit: int) -> bytes:
    """The bytes of one member; raises InputError when it is not there or longer than `limit`."""
    with _opened(archive) as box:
        for found, size, stream in box:
            if found == name:
                return _read(archive, name, size, stream(), limit)
    raise _absent(archive, name)


def read_members(archive: Path, pattern: str, *, limit: int) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every member that matches a path or glob, in one pass over the archive, in its order.

    A `*` does not cross a `/`, a `**` does. Raises InputError when a member is longer than `limit`.
    """
    wanted = glob(pattern)
    with _opened(archive) as box:
        for name, size, stream in box:
            if name == pattern or wanted.fullmatch(name):
                yield name, _read(archive, name, size, stream(), limit)


def extract_member(archive: Path, name: str, *, home: Home, limit: int = MOST_BYTES) -> Path:
    """One member as a file in the cache, unpacked once for an archive's content."""
    inside = archive.parent.parent == home.packages and re.fullmatch("[0-9a-f]{64}", archive.parent.name)
    source = archive.parent.name if inside else digest.of_file(archive)
    shelf = home.packages / "members" / digest.of_value([source, name])
    if cached := _on_shelf(shelf):
        return cached
    with _opened(archive) as box:
        for found, size, stream in box:
            if found != name:
                continue
            if size > limit:
                raise InputError(f"{archive.name}: {name} has {size} bytes, at most {limit} are unpacked")
            unpacked = whole_folder(shelf, stays=lambda there: _on_shelf(there) is not None)
            with unpacked as draft, stream() as source_bytes:
                target = draft / PurePosixPath(name).name
                with target.open("wb") as out:
                    _copy(source_bytes, out, limit, f"{archive.name}: {name}")
            return shelf / target.name
    raise _absent(archive, name)


def glob(pattern: str) -> "re.Pattern[str]":
    """A path pattern as a regular expression: `*` and `?` stay inside one folder, `**` crosses folders.

    >>> bool(glob("a/**/*.txt").fullmatch("a/b/c/d.txt")), bool(glob("a/*.txt").fullmatch("a/b/d.txt"))
    (True, False)
    """
    out = []
    for piece in re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern):
        if piece == "**/":
            out.append("(?:.*/)?")
        elif piece == "**":
            out.append(".*")
        elif piece == "*":
            out.append("[^/]*")
        elif piece == "?":
            out.append("[^/]")
        elif piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
            out.append(fnmatch.translate(piece).removeprefix("(?s:").removesuffix(r")\Z").removesuffix(r")\z"))
        else:
            out.append(re.escape(piece))
    return re.compile("".join(out), re.DOTALL)


# -- the client ------------------------------------------------------------------------------------------------------
def fault(registry: str, package: str, version: str, sha256: str) -> str:
    """What of a package's name cannot be, as `key: sentence`; empty when it may be asked for."""
    if registry not in NAMES:
        return f"registry: {registry!r} is unknown: wanted pypi, npm or debian"
    if not NAMES[registry].fullmatch(package):
        return f"package: {package!r} is not the name of a {registry} package"
    if not VERSION.fullmatch(version):
        return f"version: {version!r} is not a version of {registry} package {package}: name one exactly, as in 1.2.3"
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        return f"sha256: of {package} is {sha256!r}: wanted 64 hexadecimal characters in lower case"
    return ""


def _ask_client(registry: str, package: str, version: str, drop: Path) -> None:
    """Let pip, npm or apt put one file into `drop`."""
    if registry == "pypi":
        # Wheels only: preparing a source archive would run its code.
        line = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet",
                "--disable-pip-version-check", "--no-input", "--dest", str(drop), f"{package}=={version}"]  # fmt: skip
        client, hint = "pip", "run `python -m ensurepip` for this Python"
    elif registry == "npm":
        line = [
            "npm",
            "pack",
            "--loglevel=error",
            "--ignore-scripts",
            "--pack-destination",
            str(drop),
            f"{package}@{version}",
        ]
        client, hint = "npm", "install Node.js with npm"
    else:
        line = ["apt-get", "download", "-q", f"{package}={version}"]
        client, hint = "apt-get", "Debian packages need a Debian-like system; run `apt-get update` once"
    program = shutil.which(line[0])
    if program is None:
        raise InputError(f"{registry} package {package} needs {client}, which is not installed: {hint}")
    try:
        done = subprocess.run(
            [program, *line[1:]], cwd=drop, capture_output=True, text=True, errors="replace", timeout=PATIENCE,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{client} did not finish fetching {package} {version} within {PATIENCE} s") from error
    if done.returncode:
        if "No module named pip" in done.stderr:
            raise InputError(f"{registry} package {package} needs pip, which is not installed: {hint}")
        raise InputError(
            f"{client} could not fetch {registry} package {package} {version}: "
            f"{_last_words(done.stderr or done.stdout)}; check the name, the version and the connection"
        )


def _last_words(output: str) -> str:
    """The line of a client's output that says most, without any credentials of an address."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"(ERROR|E:|npm (ERR!|error) (404|code|notarget))", line)] or lines
    last = telling[-1] if telling else "it gave no reason"
    return re.sub(r"//[^/@\s]+@", "//", last)[:300]


def _sound(shelf: Path, sha256: str) -> Path | None:
    """The archive in the cache; None where it is not there, was cut short or is damaged."""
    try:
        cached = _on_shelf(shelf)
        return cached if cached is not None and digest.of_file(cached) == sha256 else None
    except FileNotFoundError:  # another replaces a damaged one at this moment
        return None


def _on_shelf(shelf: Path) -> Path | None:
    """The one file of a cache folder, or None."""
    if not shelf.is_dir():
        return None
    files = [path for path in shelf.iterdir() if path.is_file()]
    return files[0] if len(files) == 1 else None


# -- archives --------------------------------------------------------------------------------------------------------
Entry = tuple[str, int, "Opener"]


class Opener:
    """Opens one member when called; only the member at hand can be opened."""

    __slots__ = ("_open",)

    def __init__(self, box: zipfile.ZipFile | tarfile.TarFile, entry: zipfile.ZipInfo | tarfile.TarInfo) -> None:
        self._open = (box, entry)

    def __call__(self) -> IO[bytes]:
        box, entry = self._open
        if isinstance(box, zipfile.ZipFile):
            assert isinstance(entry, zipfile.ZipInfo)
            return box.open(entry)
        assert isinstance(entry, tarfile.TarInfo)
        stream = box.extractfile(entry)
        assert stream is not None, "only regular files are offered"
        return stream


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[Entry]]:
    """The regular files of a zip, tar or Debian archive; whatever is broken becomes an InputError."""
    try:
        with archive.open("rb") as stream:
            head = stream.read(8)
            stream.seek(0)
            if head.startswith(b"PK"):
                with zipfile.ZipFile(stream) as box:
                    yield _zip_entries(box, archive)
            elif head == b"!<arch>\n":
                with _debian_tar(archive, stream) as tar:
                    yield _tar_entries(tar, archive)
            else:
                with tarfile.open(fileobj=stream, mode="r|*") as tar:
                    yield _tar_entries(tar, archive)
    except FileNotFoundError as error:
        raise InputError(f"{archive} is not there") from error
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the archive
        raise InputError(f"{archive.name} is not a whole zip, tar or Debian archive: {error}") from error


def _zip_entries(box: zipfile.ZipFile, archive: Path) -> Iterator[Entry]:
    infos = box.infolist()
    total = sum(info.file_size for info in infos)
    _bound(archive, len(infos), total)
    for info in infos:
        name = _safe(info.filename)
        link = (info.external_attr >> 16) & 0o170000 == 0o120000
        if name and not info.is_dir() and not link:
            yield name, info.file_size, Opener(box, info)


def _tar_entries(box: tarfile.TarFile, archive: Path) -> Iterator[Entry]:
    total = 0
    for number, info in enumerate(box):
        total += info.size
        _bound(archive, number, total)
        name = _safe(info.name)
        if name and info.isreg():
            yield name, info.size, Opener(box, info)


def _bound(archive: Path, count: int, total: int) -> None:
    if count > MOST_MEMBERS or total > MOST_BYTES:
        raise InputError(
            f"{archive.name} would unpack to more than {MOST_MEMBERS} files or {MOST_BYTES >> 30} GiB: it is not read"
        )


def _safe(name: str) -> str:
    """A member's name without a leading `./`; empty when it is absolute or leads outside."""
    while name.startswith("./"):
        name = name[2:]
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or ":" in parts[0] or len(name) > 1000:
        return ""
    return name


@contextmanager
def _debian_tar(archive: Path, stream: IO[bytes]) -> Iterator[tarfile.TarFile]:
    """The data.tar of a Debian package (ar archive: 60-byte headers, even offsets)."""
    stream.seek(8)
    while len(header := stream.read(60)) == 60:
        name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), header[48:58].strip()
        if not size.isdigit():
            break
        if not name.startswith("data.tar"):
            stream.seek(int(size) + int(size) % 2, io.SEEK_CUR)
            continue
        if name == "data.tar.zst":  # not in the standard library before Python 3.14
            with _dpkg_tar(archive) as tar:
                yield tar
            return
        with tarfile.open(fileobj=io.BufferedReader(_Window(stream, int(size))), mode="r|*") as tar:
            yield tar
        return
    raise InputError(f"{archive.name} is not a whole Debian package: it has no data.tar")


@contextmanager
def _dpkg_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    program = shutil.which("dpkg-deb")
    if program is None:
        raise InputError(f"{archive.name} is packed with zstd: install dpkg-deb to open it")
    with subprocess.Popen([program, "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                yield tar
        finally:
            process.kill()


class _Window(io.RawIOBase):
    """`size` bytes of a stream from where it stands."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self.stream, self.left = stream, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        data = self.stream.read(min(len(buffer), self.left))
        buffer[: len(data)] = data
        self.left -= len(data)
        return len(data)


def _read(archive: Path, name: str, size: int, stream: IO[bytes], limit: int) -> bytes:
    if size > limit:
        raise InputError(f"{archive.name}: {name} has {size} bytes, at most {limit} are read")
    with stream:
        data = stream.read(limit + 1)  # a header may lie about the size
    if len(data) > limit:
        raise InputError(f"{archive.name}: {name} unpacks to more than {limit} bytes")
    return data


def _copy(source: IO[bytes], target: IO[bytes], limit: int, what: str) -> None:
    done = 0
    while block := source.read(1 << 20):
        done += len(block)
        if done > limit:
            raise InputError(f"{what} unpacks to more than {limit} bytes")
        target.write(block)


def _absent(archive: Path, name: str) -> InputError:
    return InputError(f"{archive.name} has no member {name!r}; it holds {', '.join(members(archive)[:5])}, ...")
