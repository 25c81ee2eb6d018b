import functools
import http.server
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.store import packages
from spearhead.store.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path / "home", cache=tmp_path / "cache")


def wheel(folder: Path, name: str = "tiny", version: str = "1.0") -> Path:
    """The smallest wheel that pip downloads."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as box:
        box.writestr(f"{name}/words.txt", "in the beginning\n")
        box.writestr(
            f"{name}-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        box.writestr(
            f"{name}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        box.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return path


def tarball(entries: dict[str, bytes], *, mode: str = "w:gz", links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as box:  # type: ignore[call-overload]
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            box.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            box.addfile(info)
    return out.getvalue()


def debian(members: dict[str, bytes]) -> bytes:
    """An ar archive, as `man 5 ar` has it."""
    out = b"!<arch>\n"
    for name, data in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its index."""
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_pip_brings_a_package_once_and_the_cache_serves_it_after(
    home: Home, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = digest.of_file(wheel(shop))
    first = packages.fetch("pypi", "tiny", "1.0", sha, home=home)
    assert digest.of_file(first) == sha and first.is_relative_to(home.packages)
    shutil.rmtree(shop)
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    assert packages.fetch("pypi", "tiny", "1.0", sha, home=home) == first


def test_a_wrong_sha256_is_refused_with_both_sums_and_leaves_nothing(home: Home, shop: Path) -> None:
    sha = digest.of_file(wheel(shop))
    with pytest.raises(InputError) as error:
        packages.fetch("pypi", "tiny", "1.0", "0" * 64, home=home)
    assert sha in str(error.value) and "0" * 64 in str(error.value)
    assert list(home.packages.iterdir()) == []


def test_a_missing_package_is_said_in_one_line(home: Home, shop: Path) -> None:
    with pytest.raises(InputError, match="pip could not fetch pypi package nosuch 9.9: .*nosuch==9.9") as error:
        packages.fetch("pypi", "nosuch", "9.9", "0" * 64, home=home)
    assert "\n" not in str(error.value)


def test_a_missing_client_is_said_with_what_to_do(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(InputError, match="needs npm, which is not installed: install Node.js"):
        packages.fetch("npm", "tiny", "1.0.0", "0" * 64, home=home)
    with pytest.raises(InputError, match="needs apt-get, which is not installed"):
        packages.fetch("debian", "tiny", "1.0", "0" * 64, home=home)


@pytest.mark.parametrize(
    "names",
    [
        ("conda", "tiny", "1", "0" * 64),
        ("pypi", "--index-url=x", "1", "0" * 64),
        ("pypi", "tiny", "1 --pre", "0" * 64),
        ("npm", "../../etc", "1", "0" * 64),
        ("pypi", "tiny", "1", "XYZ"),
    ],
)
def test_names_that_could_be_options_or_paths_never_reach_a_client(home: Home, names: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        packages.fetch(*names, home=home)
    assert not home.packages.exists()


def test_a_damaged_archive_in_the_cache_is_fetched_again(home: Home, shop: Path) -> None:
    sha = digest.of_file(wheel(shop))
    kept = packages.fetch("pypi", "tiny", "1.0", sha, home=home)
    kept.write_bytes(kept.read_bytes()[:50])
    assert digest.of_file(packages.fetch("pypi", "tiny", "1.0", sha, home=home)) == sha


@pytest.mark.parametrize("damaged", [False, True])
def test_of_two_who_fetch_at_once_neither_takes_away_what_the_other_has(
    home: Home, shop: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    archive, asks, others = wheel(shop), packages._ask_client, list[tuple[Path, int]]()
    sha = digest.of_file(archive)
    if damaged:
        (home.packages / sha).mkdir(parents=True)
        (home.packages / sha / archive.name).write_bytes(archive.read_bytes()[:50])

    def overtaken(registry: str, package: str, version: str, drop: Path) -> None:
        monkeypatch.setattr(packages, "_ask_client", asks)
        first = packages.fetch(registry, package, version, sha, home=home)
        others.append((first, first.stat().st_ino))
        shutil.copy(archive, drop)  # as the client does

    monkeypatch.setattr(packages, "_ask_client", overtaken)
    own = packages.fetch("pypi", "tiny", "1.0", sha, home=home)
    assert [(own, own.stat().st_ino)] == others
    assert digest.of_file(own) == sha and [one.name for one in home.packages.iterdir()] == [sha]


def test_of_two_who_unpack_at_once_neither_takes_away_what_the_other_has(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, copies, others = wheel(tmp_path), packages._copy, list[int]()

    def overtaken(*given: Any) -> None:
        monkeypatch.setattr(packages, "_copy", copies)
        others.append(packages.extract_member(archive, "tiny/words.txt", home=home).stat().st_ino)
        copies(*given)

    monkeypatch.setattr(packages, "_copy", overtaken)
    own = packages.extract_member(archive, "tiny/words.txt", home=home)
    assert [own.stat().st_ino] == others and own.read_text() == "in the beginning\n"


@pytest.fixture
def npm_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    """A registry of one package on this machine, as npm's client asks for it; gives the tarball's bytes."""
    body = tarball({"package/package.json": b'{"name":"tiny","version":"1.0.0"}', "package/data.txt": b"hello\n"})
    root = tmp_path / "registry"
    root.mkdir()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
    )
    address = f"http://127.0.0.1:{server.server_port}"
    (root / "tiny-1.0.0.tgz").write_bytes(body)
    version = {"name": "tiny", "version": "1.0.0", "dist": {"tarball": f"{address}/tiny-1.0.0.tgz"}}
    document = {"name": "tiny", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    (root / "tiny").write_text(json.dumps(document))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("npm_config_registry", address)
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    yield body
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed")
def test_npm_brings_the_registrys_own_bytes(home: Home, npm_registry: bytes) -> None:
    path = packages.fetch("npm", "tiny", "1.0.0", digest.of_bytes(npm_registry), home=home)
    assert packages.open_member(path, "package/data.txt", limit=100) == b"hello\n"
    with pytest.raises(InputError, match="npm could not fetch npm package nosuch 1.0.0: .*404"):
        packages.fetch("npm", "nosuch", "1.0.0", "0" * 64, home=home)


@pytest.mark.skipif(not shutil.which("apt-get"), reason="apt-get is not installed")
def test_apt_brings_a_package_without_root(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository, state = tmp_path / "repository", tmp_path / "apt"
    repository.mkdir()
    for place in ("lists/partial", "archives/partial", "etc"):
        (state / place).mkdir(parents=True)
    body = debian({"debian-binary": b"2.0\n", "data.tar.xz": tarball({"./usr/share/tiny.txt": b"hi\n"}, mode="w:xz")})
    (repository / "tiny.deb").write_bytes(body)
    sha = digest.of_bytes(body)
    (repository / "Packages").write_text(
        "Package: tiny\nVersion: 1:1.0-1\nArchitecture: all\nFilename: ./tiny.deb\n"
        f"Size: {len(body)}\nSHA256: {sha}\nDescription: tiny\nMaintainer: x <x@example.org>\n"
    )
    (state / "sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    (state / "apt.conf").write_text(
        f'Dir::State "{state}"; Dir::State::lists "{state}/lists"; Dir::Cache "{state}"; Dir::Etc "{state}/etc";\n'
        f'Dir::Etc::sourcelist "{state}/sources.list"; Dir::Etc::sourceparts "-"; APT::Sandbox::User "";\n'
        f'Dir::State::status "{state}/status"; APT::Get::List-Cleanup "false";\n'
    )
    (state / "status").write_text("")
    monkeypatch.setenv("APT_CONFIG", str(state / "apt.conf"))
    subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True)
    path = packages.fetch("debian", "tiny", "1:1.0-1", sha, home=home)
    assert packages.members(path) == ["usr/share/tiny.txt"]
    assert packages.open_member(path, "usr/share/tiny.txt", limit=10) == b"hi\n"


# -- archives --------------------------------------------------------------------------------------------------------
def test_names_that_lead_outside_and_links_are_not_offered(tmp_path: Path) -> None:
    path = tmp_path / "x.tgz"
    entries = {
        "ok/a.txt": b"1",
        "../up.txt": b"2",
        "/abs.txt": b"3",
        "ok/../../b": b"4",
        "c:\\d": b"5",
        "./dot.txt": b"6",
    }
    path.write_bytes(tarball(entries, links={"ok/link": "/etc/passwd"}))
    assert packages.members(path) == ["dot.txt", "ok/a.txt"]
    other = tmp_path / "x.zip"
    with zipfile.ZipFile(other, "w") as box:
        box.writestr("../up.txt", "2")
        box.writestr("a.txt", "1")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        box.writestr(link, "/etc/passwd")
    assert packages.members(other) == ["a.txt"]


def test_a_member_longer_than_the_limit_is_refused_even_when_its_header_lies(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as box:
        box.writestr("a.txt", b"0" * 100_000)
    with pytest.raises(InputError, match="at most 999 are read"):
        packages.open_member(path, "a.txt", limit=999)
    lying = path.read_bytes().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(lying)
    with pytest.raises(InputError):
        packages.open_member(path, "a.txt", limit=999)


@pytest.mark.parametrize("suffix", ["zip", "tgz", "deb"])
def test_a_broken_archive_is_said_in_one_line(tmp_path: Path, suffix: str) -> None:
    whole = {"tgz": tarball({"a": os.urandom(5000)}), "deb": debian({"debian-binary": b"2.0\n", "data.tar.gz": b""})}
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(b"PK\x03\x04 nothing" if suffix == "zip" else whole[suffix][:3000])
    with pytest.raises(InputError, match=r"x\.(zip|tgz|deb)"):
        packages.members(path)
    path.write_bytes(b"neither of them")
    with pytest.raises(InputError, match="is not a whole zip, tar or Debian archive"):
        packages.members(path)


def test_a_member_that_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    path = tmp_path / "x.tgz"
    path.write_bytes(tarball({"a.txt": b"1"}))
    with pytest.raises(InputError, match=r"no member 'b.txt'; it holds a\.txt"):
        packages.open_member(path, "b.txt", limit=10)


def test_a_member_is_unpacked_once_for_an_archives_content(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "x.tgz"
    path.write_bytes(tarball({"deep/model.gguf": b"weights"}))
    first = packages.extract_member(path, "deep/model.gguf", home=home)
    assert first.read_bytes() == b"weights" and first.name == "model.gguf"
    renamed = path.rename(tmp_path / "y.tgz")
    stamp = first.stat().st_mtime_ns
    assert packages.extract_member(renamed, "deep/model.gguf", home=home) == first
    assert first.stat().st_mtime_ns == stamp


def test_globs_stay_in_a_folder_unless_doubled(tmp_path: Path) -> None:
    path = tmp_path / "x.tgz"
    path.write_bytes(tarball({"p/a.json": b"1", "p/q/b.json": b"2", "p/q/c.txt": b"3"}))

    def found(pattern: str) -> list[str]:
        return [name for name, _ in packages.read_members(path, pattern, limit=9)]

    assert found("p/*.json") == ["p/a.json"]
    assert found("p/**/*.json") == ["p/a.json", "p/q/b.json"]
    assert found("p/q/[bc].*") == ["p/q/b.json", "p/q/c.txt"]


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed")
def test_a_package_that_dpkg_packed_opens(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
    )
    (root / "usr").mkdir()
    (root / "usr/words.txt").write_text("words\n")
    for packing in ("xz", "zstd"):
        deb = tmp_path / f"{packing}.deb"
        made = subprocess.run(["dpkg-deb", f"-Z{packing}", "-b", str(root), str(deb)], capture_output=True)
        if made.returncode == 0:
            assert packages.open_member(deb, "usr/words.txt", limit=100) == b"words\n"
    assert (tmp_path / "xz.deb").exists()
