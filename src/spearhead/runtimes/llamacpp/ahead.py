"""A worker that is started before anybody knows what it will hold: it imports what it needs while its parent does.

Knows no model. Only OpenVINO's worker gains by it; llama.cpp's imports next to nothing.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from spearhead.runtimes.llamacpp import engines
from spearhead.runtimes.llamacpp.engines import Engine

_KEPT = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
)
"""What the worker sees of our environment: no secrets."""


async def begun(engine: Engine) -> asyncio.subprocess.Process:
    """The engine's process, which waits for its settings."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *engine.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: os.environ[name] for name in _KEPT if name in os.environ},
        start_new_session=True,  # ctrl-C is for the parent, which drains first
    )


class Ahead:
    """One process of OpenVINO's at most, for the first model that takes it. `aclose` ends it when none did."""

    def __init__(self, process: asyncio.subprocess.Process | None) -> None:
        """Use `start`."""
        self._process = process

    @classmethod
    async def start(cls, releases: Path) -> "Ahead":
        """With a process where a folder of releases holds a model that OpenVINO would compute here; else without."""
        sizes = list(_sizes(releases))
        chosen = engines.eligible(engines.wished(""), bytes=max(sizes, default=0), adapter=False, notes=[])
        return cls(await begun(engines.OPENVINO) if chosen[0] is engines.OPENVINO and sizes else None)

    @property
    def pid(self) -> int | None:
        """The process that nobody took yet."""
        return None if self._process is None else self._process.pid

    def take(self, engine: Engine) -> asyncio.subprocess.Process | None:
        """The process, if it is the engine's, lives and nobody has it."""
        if engine is not engines.OPENVINO or self._process is None or self._process.returncode is not None:
            return None
        taken, self._process = self._process, None
        return taken

    async def aclose(self) -> None:
        """End the process that nobody took."""
        if self._process is not None:
            process, self._process = self._process, None
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _sizes(releases: Path) -> Iterator[int]:
    """Bytes of every model there; other commands make and remove releases meanwhile."""
    for folder in releases.glob("*/*"):
        if not folder.name.startswith("."):  # a release that is being made
            with contextlib.suppress(FileNotFoundError):
                yield from [file.stat().st_size for file in (folder / "parts").glob("*.gguf")]
