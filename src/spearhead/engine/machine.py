"""Whose the machine's time was: each moment is shared by the answers that run in it. Knows nothing of money.

The shares of all answers sum to the time in which at least one ran, so that a rate an hour is charged once however many
run at once. One process: two that share a machine each count its time as theirs.
"""

import time
from collections.abc import Callable


class Machine:
    """A clock that runs slower the more work shares it: with n at work, 1/n of a second in a second."""

    def __init__(self, *, seconds: Callable[[], float] = time.perf_counter) -> None:
        self._seconds = seconds
        self.running = 0
        """Answers that run."""
        self._since = 0.0
        self._shared = 0.0

    def begin(self) -> float:
        """Work begins; give what this returns to `end`."""
        self._go_on()
        self.running += 1
        return self._shared

    def end(self, begun: float) -> int:
        """Work ends: its share in milliseconds."""
        self._go_on()
        self.running -= 1
        return round((self._shared - begun) * 1000)

    def _go_on(self) -> None:
        now = self._seconds()
        if self.running:
            self._shared += (now - self._since) / self.running
        self._since = now
