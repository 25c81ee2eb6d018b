"""Truthfulness finds numbers and names that the input does not hold, in English and in Chinese."""

import pytest

from spearhead.core.media import text
from spearhead.core.score import Case
from spearhead.media.text.numerals import in_words
from spearhead.metrics.evaluate import evaluate
from spearhead.metrics.truthfulness import METRIC, additions


@pytest.mark.parametrize(
    ("given", "made", "wanted"),
    [
        ("And Moses went up.", "Then Moses went up with Aaron.", ["Aaron"]),
        ("And Moses went up.", "Aaron went up.", []),  # a name that opens a sentence is not seen, and we say so
        ("He said.", 'He said, "Come here." Then: Go! I\'m here.', []),
        ("MOSES went", "so Moses's people", []),
        ("It costs 1,000 dollars.", "It costs 1000 dollars, or 1000.0.", []),
        ("It costs 1,000 dollars.", "It costs 10 dollars.", ["10"]),
        ("twenty-five men and two hundred and three", "25 men, 203", []),
        ("one two, ten five", "3, 15 or 2, 10, 5", ["3", "15"]),
        ("售价１２元，共三百二十件", "共320件，售价12元。", []),
        ("他来自北京", "他来自北京，在Google工作了5年", ["5", "Google"]),
        ("", "", []),
        ("", "ALL CAPITALS HERE", []),
    ],
)
def test_only_what_the_input_does_not_hold_is_an_addition(given: str, made: str, wanted: list[str]) -> None:
    assert additions(given, made) == wanted


@pytest.mark.parametrize(
    ("text_", "value"),
    [
        ("twelve", "12"),
        ("three hundred", "300"),
        ("six hundred thousand and three thousand and five hundred and fifty", "603550"),
        ("十", "10"),
        ("二十一", "21"),
        ("一万二千", "12000"),
        ("两亿", "200000000"),
        ("二〇二四", "2024"),
        ("一千零一", "1001"),
    ],
)
def test_number_words_have_their_value(text_: str, value: str) -> None:
    assert in_words(text_) == {value}


def test_the_score_is_the_share_of_outputs_without_additions() -> None:
    given = text("Moses had 3 sons.")
    made = ["He had 3 sons.", "He had 4 sons.", "We know that Moses had sons.", "We know that Aaron had sons."]
    [score] = evaluate([Case(given, text(each), None) for each in made], [METRIC], seed=0)
    assert score.value == 50.0
