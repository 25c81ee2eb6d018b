"""How often somebody may try, counted in this process's memory. Knows neither what is tried nor how often it may be."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

MOST_KNOWN = 20_000
"""Subjects that are remembered; past it those that began longest ago are forgotten."""


class Tries:
    """Counts what happens to a subject within a window that begins with the first."""

    def __init__(self, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def left(self, subject: str, *, most: int) -> float:
        """Seconds to wait; 0 when there is room."""
        start, count = self._counts.get(subject, (0.0, 0))
        rest = start + self._seconds - self._clock()
        return rest if count >= most and rest > 0 else 0.0

    def count(self, subject: str) -> None:
        """One more."""
        moment = self._clock()
        start, count = self._counts.pop(subject, (moment, 0))
        if moment - start >= self._seconds:
            start, count = moment, 0
        self._counts[subject] = (start, count + 1)
        while len(self._counts) > MOST_KNOWN:
            self._counts.popitem(last=False)

    def forgive(self, subject: str) -> None:
        """One less: it was no failure."""
        if found := self._counts.get(subject):
            self._counts[subject] = (found[0], max(0, found[1] - 1))

    def forget(self, subject: str) -> None:
        """Begin anew."""
        self._counts.pop(subject, None)


def whole(address: str) -> str:
    """An address as it is counted: IPv6 by its /64, for one customer has all of that."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network(f"{found}/64", strict=False))
    return str(found)
