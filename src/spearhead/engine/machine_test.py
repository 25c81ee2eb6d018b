"""Promises of the machine's shared time."""

from hypothesis import given
from hypothesis import strategies as st

from spearhead.engine.machine import Machine


def test_two_that_run_together_share_the_time_and_one_alone_has_it_all() -> None:
    moments = iter([0.0, 4.0, 8.0, 9.0])
    machine = Machine(seconds=lambda: next(moments))
    first = machine.begin()  # at 0
    second = machine.begin()  # at 4
    assert machine.end(first) == 4000 + 2000  # at 8: four alone, half of four
    assert machine.end(second) == 2000 + 1000  # at 9


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 50)), min_size=1, max_size=12))
def test_the_shares_of_all_sum_to_the_time_in_which_any_ran(spans: list[tuple[float, float]]) -> None:
    events = sorted(
        [(start, 1, n) for n, (start, _) in enumerate(spans)]
        + [(start + length, 0, n) for n, (start, length) in enumerate(spans)]
    )
    at = 0.0
    machine, begun, shares, busy, running, last = Machine(seconds=lambda: at), dict[int, float](), 0, 0.0, 0, 0.0
    for moment, begins, number in events:
        at = moment
        busy += (moment - last) if running else 0.0
        last = moment
        if begins:
            begun[number] = machine.begin()
            running += 1
        else:
            shares += machine.end(begun[number])
            running -= 1
    assert abs(shares - busy * 1000) <= len(spans)  # each share is rounded to a millisecond
