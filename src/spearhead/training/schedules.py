"""The learning rate's course over a run, as a factor of the plan's rate. Knows only progress."""

import math

from spearhead.training.plan import Plan


def factor(plan: Plan, progress: float) -> float:
    """The factor at `progress` (0 at the start, 1 at the end) for the plan's schedule.

    >>> [round(factor(Plan(schedule="wsd", warmup=0.1, decay=0.5), p), 2) for p in (0.05, 0.3, 0.75, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < plan.warmup:
        return progress / plan.warmup
    match plan.schedule:
        case "constant":
            return 1.0
        case "step":
            return float(0.1 ** int((progress - plan.warmup) / plan.decay)) if plan.decay > 0 else 1.0
        case "cosine":
            rest = 1.0 - plan.warmup
            return 0.5 * (1 + math.cos(math.pi * (progress - plan.warmup) / rest)) if rest > 0 else 1.0
        case "wsd":
            start = 1.0 - plan.decay
            return 1.0 if progress <= start else (1.0 - progress) / plan.decay
