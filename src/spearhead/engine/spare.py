"""Work that can wait: done in turn while nobody is answered, and once it has waited long whoever is.

Knows nothing of what the work is. What is lost with the process was never promised: whoever puts work here can do
without it.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable

log = logging.getLogger("spearhead.engine")
MOST = 256
"""Pieces of work that may wait."""
PATIENCE = 60.0
"""Seconds after which a piece of work is done though answers run."""
LOOK = 0.02
"""Seconds between two looks whether an answer still runs."""
AFTER = 0.001
"""Seconds in which the last bytes of an answer leave before work wants the processor."""
PARTING = 5.0
"""Seconds that an end waits for what is left: whoever is to stop is killed soon after."""


class Spare:
    """A queue that is worked off while `busy` says no; one piece at a time."""

    def __init__(
        self, busy: Callable[[], bool], *, most: int = MOST, patience: float = PATIENCE, parting: float = PARTING
    ) -> None:
        self._busy, self._most, self._patience, self._parting = busy, most, patience, parting
        self._queue: deque[tuple[float, Callable[[], Awaitable[object]]]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._closing = False
        self._under_way = 0

    @property
    def waiting(self) -> int:
        """Pieces that are not done, the one at hand among them."""
        return len(self._queue) + self._under_way

    @property
    def full(self) -> bool:
        """Whether what comes now should be done at once by whoever brings it."""
        return self.waiting >= self._most

    def put(self, work: Callable[[], Awaitable[object]]) -> None:
        """Have `work` done later; what it raises is logged."""
        self._queue.append((time.monotonic() + self._patience, work))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())

    async def aclose(self) -> None:
        """Do at once what waits, as much of it as can be done soon; the rest is left, and told of."""
        self._closing = True
        if self._worker is None:
            return
        await asyncio.wait({self._worker}, timeout=self._parting)
        if not self._worker.done():
            log.warning("%d pieces of work that could wait are left undone", self.waiting)
            self._queue.clear()
            self._worker.cancel()

    async def _work(self) -> None:
        await asyncio.sleep(AFTER)
        while self._queue:
            due, work = self._queue[0]
            while self._busy() and not self._closing and time.monotonic() < due:
                await asyncio.sleep(LOOK)
            self._queue.popleft()
            self._under_way = 1
            try:
                await work()
            except Exception:
                log.exception("work that could wait failed")
            finally:
                self._under_way = 0
