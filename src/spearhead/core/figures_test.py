"""Promises of numbers that people read."""

import math

import pytest

from spearhead.core import figures
from spearhead.core.sentence import said, say


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (61.23456, "61.23"),
        (0.04321, "0.04321"),
        (-1234.56, "-1,235"),
        (9999.4, "9,999"),
        (9999.6, "10,000"),
        (55_262.3, "55,262"),
        (-123_456_789, "-123,456,789"),
        (0, "0"),
        (1e18, "1e+18"),
        (math.inf, "inf"),
    ],
)
def test_no_digit_before_the_point_hides_in_an_exponent(value: float, shown: str) -> None:
    assert figures.show(value) == shown


def test_a_sentence_says_large_numbers_so_in_every_language() -> None:
    got = said("release.bar.against", value=55_262.3, theirs=60_000.0, p=0.3)
    assert str(got) == "55,262 against 60,000, p = 0.3" and say(got, "zh").startswith("55,262，对方 60,000")
