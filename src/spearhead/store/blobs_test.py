"""Promises of the folder of bytes."""

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from spearhead.core.errors import InputError, SpearheadError
from spearhead.store.blobs import Blobs


def files(folder: Path) -> list[Path]:
    """Every file there, hidden ones too."""
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("data", [b"", b"hello", bytes(range(256)) * 4096])
def test_bytes_come_back_under_their_sha256(tmp_path: Path, data: bytes) -> None:
    blobs = Blobs(tmp_path / "blobs")
    sha = blobs.put(data)
    assert sha == hashlib.sha256(data).hexdigest()
    assert blobs.has(sha) and blobs.get(sha) == data
    assert blobs.put(data) == sha and len(files(tmp_path)) == 1


def test_deleted_bytes_are_gone_and_deleting_again_is_no_error(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    sha = blobs.put(b"hello")
    blobs.delete(sha)
    blobs.delete(sha)
    assert not blobs.has(sha)
    with pytest.raises(InputError, match=f"no bytes named {sha}"):
        blobs.get(sha)


def test_changed_bytes_are_never_handed_out_and_are_mended_by_the_true_ones(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    sha = blobs.put(b"hello")
    files(tmp_path)[0].write_bytes(b"jello")
    with pytest.raises(SpearheadError, match="is damaged"):
        blobs.get(sha)
    blobs.put(b"hello")
    assert blobs.get(sha) == b"hello"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n", "/" * 64])
def test_a_name_that_is_no_sha256_reaches_no_file(tmp_path: Path, name: str) -> None:
    blobs = Blobs(tmp_path)
    for act in (blobs.get, blobs.has, blobs.delete):
        with pytest.raises(InputError, match="is not a sha256"):
            act(name)


def test_blobs_are_for_their_owner_alone(tmp_path: Path) -> None:
    Blobs(tmp_path).put(b"hello")
    assert files(tmp_path)[0].stat().st_mode & 0o777 == 0o600


def test_many_threads_that_keep_the_same_bytes_keep_them_once(tmp_path: Path) -> None:
    blobs, shas = Blobs(tmp_path), list[str]()
    threads = [threading.Thread(target=lambda: shas.append(blobs.put(b"x" * 100_000))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(shas)) == 1 and len(shas) == 16 and len(files(tmp_path)) == 1
    assert blobs.get(shas[0]) == b"x" * 100_000


def test_bytes_that_do_not_fit_leave_nothing_behind_and_say_so(tmp_path: Path) -> None:
    code = (
        "import resource, signal; from pathlib import Path; from spearhead.store.blobs import Blobs\n"
        "from spearhead.store.database import StoreUnavailable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        f"blobs = Blobs(Path({str(tmp_path)!r}))\n"
        "print(blobs.put(b'small'))\n"
        "try: blobs.put(b'x' * 20_000)\n"
        "except StoreUnavailable as error: print(error)\n"
    )
    small, words = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "20000 bytes could not be kept" in words
    assert [path.name for path in files(tmp_path)] == [small]
