"""Claims: numbers and names that the source does not hold, in English and Chinese."""

import pytest

from spearhead.core import media
from spearhead.core.media import Media
from spearhead.core.review import Context, Direction
from spearhead.review import categories
from spearhead.review.claims import CHECK


def added(source: str, output: str) -> list[str]:
    context = Context("s", Direction.OUTPUT, source=media.text(source))
    return [output[finding.start : finding.end] for finding in CHECK(media.text(output), context)]


@pytest.mark.parametrize(
    ("source", "output", "found"),
    [
        ("Anna paid twelve coins.", "Anna paid 12 coins and 3 goats to Boaz.", ["3", "Boaz"]),
        ("It costs 1,000 dollars.", "It costs 1000 dollars, or 1000.0, not 1001.", ["1001"]),
        ("Anna lives here.", "This is Anna's house. Peter came in.", []),  # a name that opens a sentence is not seen
        ("共三百二十件", "共320件，另有21件。", ["21"]),
        ("他来自北京", "他来自北京，在Google工作了5年", ["5", "Google"]),
        ("He said.", 'He said, "Come here." Then he left.', []),
        ("moses", "THEN MOSES WENT UP", []),
    ],
)
def test_only_what_the_source_does_not_hold_is_found(source: str, output: str, found: list[str]) -> None:
    assert sorted(added(source, output)) == sorted(found)


def test_there_is_nothing_to_compare_without_a_source_and_prompts_may_claim() -> None:
    text = media.text("In 1999 came Boaz.")
    assert CHECK(text, Context("s", Direction.OUTPUT)) == []
    assert CHECK(text, Context("s", Direction.PROMPT, source=media.text("x"))) == []


def test_a_source_that_cannot_be_read_holds() -> None:
    context = Context("s", Direction.OUTPUT, source=Media("text", "text/plain", b"\xff"))
    assert [finding.category for finding in CHECK(media.text("x"), context)] == [categories.UNREADABLE]
