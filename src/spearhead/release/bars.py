"""What a release must reach. Plain values; judged in gate.py."""

from dataclasses import dataclass

from spearhead.core.bounds import Share, Whole


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar on one metric: a bound, or baselines that must be beaten by paired bootstrap, or both."""

    metric: str
    minimum: float | None = None
    maximum: float | None = None
    beats: tuple[str, ...] = ()
    p: Share = 0.05
    """Greatest p-value at which a baseline counts as beaten."""
    cases: Whole = 0
    """Fewest held-out cases that the figure must rest on."""
