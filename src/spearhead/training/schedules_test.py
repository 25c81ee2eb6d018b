"""Schedules against values worked by hand."""

import pytest

from spearhead.training.plan import Plan
from spearhead.training.schedules import factor


@pytest.mark.parametrize(
    ("schedule", "progress", "wanted"),
    [
        ("constant", 0.05, 0.5),
        ("constant", 0.9, 1.0),
        ("step", 0.3, 1.0),
        ("step", 0.5, 0.1),
        ("step", 0.95, 0.01),
        ("cosine", 0.1, 1.0),
        ("cosine", 0.55, 0.5),
        ("cosine", 1.0, 0.0),
        ("wsd", 0.6, 1.0),
        ("wsd", 0.8, 0.5),
        ("wsd", 1.0, 0.0),
        ("wsd", 7.0, 0.0),
    ],
)
def test_a_schedule_has_the_value_worked_by_hand(schedule: str, progress: float, wanted: float) -> None:
    plan = Plan(schedule=schedule, warmup=0.1, decay=0.4)  # type: ignore[arg-type]
    assert factor(plan, progress) == pytest.approx(wanted)
