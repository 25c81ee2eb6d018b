"""A metric that is the mean over cases, as a percentage: its statistics and its reduction. Knows no metric."""

from collections.abc import Iterable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def rows(shares: Iterable[float]) -> Array:
    """One row (share, 1) a case."""
    values = np.fromiter(shares, dtype=np.float64)
    return np.stack([values, np.ones_like(values)], axis=1)  # (cases, 2)


def percent(totals: Array) -> float:
    """100 times the first total over the second; 0 where nothing was counted."""
    return float(100.0 * totals[0] / totals[1]) if totals[1] > 0 else 0.0
