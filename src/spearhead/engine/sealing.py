"""Labelled files of answers, made and kept off the event loop by one thread of low priority. Knows nothing of callers.

One thread is back-pressure enough: an answer ends when its file is kept, so no more files wait than answers run.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

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
        """The labelled file of a piece, kept, and the name of its bytes; nothing is kept when the wait is cancelled."""
        self.waiting += 1
        made = self._thread.submit(self._make, piece, label)
        try:
            return await asyncio.wrap_future(made)
        except asyncio.CancelledError:
            # No row will name it, so no erasure would find it.
            made.add_done_callback(partial(self._forget_made, label.produce_id))
            raise
        finally:
            self.waiting -= 1

    async def file(self, blob: str, *, mime: str) -> Media:
        """A file that was kept."""
        return Media(mime.partition("/")[0], mime, await asyncio.to_thread(self._blobs.get, blob))

    def forget(self, blob: str, *, row: str) -> None:
        """Delete a file that was made for this row, and that it does not name."""
        self._blobs.delete(blob, row=row)

    def close(self) -> None:
        """Finish what waits."""
        self._thread.shutdown()

    def _forget_made(self, row: str, made: "Future[tuple[str, Media]]") -> None:
        if not made.cancelled() and made.exception() is None:
            self.forget(made.result()[0], row=row)

    def _make(self, piece: Media, label: Label) -> tuple[str, Media]:
        file = self._seal(piece, label)
        return self._blobs.put(file.data, row=label.produce_id), file


def _step_back() -> None:
    """Let generation go first: on Linux a thread has a priority of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
