"""What a release must reach. Plain values; judged in gate.py."""

from dataclasses import dataclass

from spearhead.core.bounds import Share, Whole


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar on one metric: a bound, or baselines that must be beaten by paired bootstrap, or both."""

    metric: str
    """Its name, as in evaluation.metrics."""
    minimum: float | None = None
    """The score must be at least this."""
    maximum: float | None = None
    """The score must be at most this."""
    beats: tuple[str, ...] = ()
    """Baselines that it must be better than."""
    p: Share = 0.05
    """Greatest p-value at which a baseline counts as beaten."""
    cases: Whole = 0
    """Fewest held-out cases that the figure must rest on."""
