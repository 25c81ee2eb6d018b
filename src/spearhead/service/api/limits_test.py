"""Promises of the limits."""

import pytest

from spearhead.service.api.errors import ApiError
from spearhead.service.api.limits import Gate, Limits, duration


class Time:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def refusal(gate: Gate, *, tokens: int = 1) -> ApiError:
    with pytest.raises(ApiError) as caught:
        gate.enter("key", tokens=tokens)
    assert caught.value.status == 429
    return caught.value


def test_requests_tokens_and_parallel_answers_are_counted_apart() -> None:
    time = Time()
    gate = Gate(Limits(requests=2, tokens=100, parallel=1), clock=time)
    first = gate.enter("key", tokens=60)
    assert refusal(gate).kind == "parallel"
    gate.leave(first, tokens=60)
    assert refusal(gate, tokens=50).kind == "tokens"  # 60 of 100 are gone
    gate.leave(gate.enter("key", tokens=40), tokens=40)
    assert refusal(gate).kind == "requests"
    time.now = 61
    gate.leave(gate.enter("key", tokens=100), tokens=0)


def test_what_was_held_and_not_used_may_be_had_in_the_same_minute() -> None:
    gate = Gate(Limits(tokens=100), clock=Time())
    ticket = gate.enter("key", tokens=100)
    gate.leave(ticket, tokens=10)
    assert gate.headers("key")["x-ratelimit-remaining-tokens"] == "90"


def test_a_refused_request_counts_for_nothing() -> None:
    gate = Gate(Limits(requests=1, tokens=10, parallel=1), clock=Time())
    for _ in range(3):
        gate.refused(gate.enter("key", tokens=10))
        refusal(gate, tokens=11)
    headers = gate.headers("key")
    assert headers["x-ratelimit-remaining-requests"] == "1" and headers["x-ratelimit-remaining-tokens"] == "10"


def test_a_refusal_says_when_to_come_again() -> None:
    time = Time()
    gate = Gate(Limits(requests=1), clock=time)
    gate.leave(gate.enter("key", tokens=1), tokens=1)
    time.now = 59.5
    assert refusal(gate).headers["retry-after"] == "1"  # whole seconds, at least one
    time.now = 12.25
    error = refusal(gate)
    assert error.headers["retry-after"] == "48" and error.headers["x-ratelimit-reset-requests"] == "47.75s"
    time.now = 60
    gate.enter("key", tokens=1)


def test_more_than_a_minute_ever_gives_is_not_to_be_tried_again() -> None:
    assert refusal(Gate(Limits(tokens=10)), tokens=11).headers["x-should-retry"] == "false"


def test_a_minute_that_ended_takes_nothing_back_from_the_next() -> None:
    time = Time()
    gate = Gate(Limits(tokens=100), clock=time)
    old = gate.enter("key", tokens=100)
    time.now = 61
    new = gate.enter("key", tokens=70)
    gate.leave(old, tokens=0)
    assert gate.headers("key")["x-ratelimit-remaining-tokens"] == "30"
    gate.leave(new, tokens=70)


def test_durations_are_written_as_the_api_writes_them() -> None:
    assert [duration(s) for s in (0, 0.012, 1, 47.75, 60, 360)] == ["0ms", "12ms", "1s", "47.75s", "1m0s", "6m0s"]
