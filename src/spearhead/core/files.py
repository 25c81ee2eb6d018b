"""Files that exist whole or not at all. Knows nothing of what is in them."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_whole(path: Path, data: bytes | str, *, mode: int = 0o644) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part; survives a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=draft_of(path))
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def draft_of(path: Path) -> str:
    """How the names of the files begin, beside `path`, that `write_whole` renames to it; a kill may leave one."""
    return f".{path.name[:60]}."


@contextmanager
def whole_folder(path: Path, *, stays: Callable[[Path], bool] = lambda there: False) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes `path` when the block ends well, and vanishes when it does not.

    An existing `path` is replaced. Nothing that was there is lost when the block raises. Others may do the same at the
    same moment; where one was first, and `stays` says of its folder that it may stay, it does: whoever reads in it
    already goes on undisturbed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=draft_of(path)))
    os.chmod(draft, 0o755)
    try:
        yield draft
        _sync_tree(draft)
        aside: list[Path] = []
        while not _placed(draft, path):
            if stays(path):
                shutil.rmtree(draft)
                break
            aside.append(Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{draft_of(path)}old.")))
            with suppress(FileNotFoundError):  # another took it away first, and puts its own there
                os.replace(path, aside[-1] / path.name)
        for old in aside:
            shutil.rmtree(old)
        _sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _placed(draft: Path, path: Path) -> bool:
    """Whether `draft` is `path` now; False where something else is."""
    try:
        os.replace(draft, path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    return True


def _sync_tree(root: Path) -> None:
    for folder, _, names in os.walk(root):
        for name in names:
            with open(os.path.join(folder, name), "rb") as stream:
                os.fsync(stream.fileno())
        _sync_folder(Path(folder))


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
