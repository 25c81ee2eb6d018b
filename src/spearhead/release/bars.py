"""What a release must reach. Plain values; judged in gate.py."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar on one metric: a bound, or baselines that must be beaten by paired bootstrap, or both."""

    metric: str
    minimum: float | None = None
    maximum: float | None = None
    beats: tuple[str, ...] = ()
    p: float = 0.05
    """Greatest p-value at which a baseline counts as beaten."""
    cases: int = 0
    """Fewest held-out cases that the figure must rest on."""
