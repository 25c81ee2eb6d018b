"""Labelled files of answers, made and kept off the event loop by one thread of low priority. Knows nothing of callers.

One thread is back-pressure enough: an answer ends when its file is kept, so no more files wait than answers run.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from spearhead.core.media import Label, Media
from spearhead.store.blobs import Blobs

Seal = Callable[[Media, Label], Media]


class Sealer:
    """Seals pieces and keeps the files by the hash of their bytes."""

    def __init__(self, seal: Seal, *, blobs: Blobs) -> None:
        self._seal, self._blobs = seal, blobs
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="seals", initializer=_step_back)
        self.waiting = 0
        """Pieces that wait for their seal, the one at hand among them."""

    async def make(self, piece: Media, label: Label) -> tuple[str, Media]:
        """The labelled file of a piece, kept, and the name of its bytes."""
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._make, piece, label)
        finally:
            self.waiting -= 1

    async def file(self, blob: str, *, mime: str) -> Media:
        """A file that was kept."""
        return Media(mime.partition("/")[0], mime, await asyncio.to_thread(self._blobs.get, blob))

    def forget(self, blob: str) -> None:
        """Delete a file that nothing names."""
        self._blobs.delete(blob)

    def close(self) -> None:
        """Finish what waits."""
        self._thread.shutdown()

    def _make(self, piece: Media, label: Label) -> tuple[str, Media]:
        file = self._seal(piece, label)
        return self._blobs.put(file.data), file


def _step_back() -> None:
    """Let generation go first: on Linux a thread has a priority of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
