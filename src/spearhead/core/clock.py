"""The time of day as a value that tests can set. Times are UTC and written as ISO 8601 with a Z."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """`2026-11-22T02:00:00Z`; raises ValueError on a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone")
    return moment.astimezone(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


def shown(stamp: str) -> str:
    """A stamp as people read it.

    >>> shown("2026-11-22T02:00:00Z")
    '2026-11-22 02:00 UTC'
    """
    return stamp.replace("T", " ").removesuffix("Z")[:16] + " UTC"
