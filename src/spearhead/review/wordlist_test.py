"""Listed words in every dress: spelled apart, cut elsewhere; and numbers that only look like words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spearhead.core import media
from spearhead.core.review import Context, Direction
from spearhead.review.scanner import scan
from spearhead.review.wordlist import ListCheck, Term

CONTEXT = Context("s", Direction.OUTPUT)
TERMS = (
    Term("hate", 0.9, "zig"),
    Term("hate", 0.9, "big zag"),
    Term("hate", 0.9, "big swag"),
    Term("privacy", 0.5, "the long forbidden phrase"),
    Term("hate", 0.9, "坏词"),
    Term("hate", 0.9, "1488"),
)
CHECK = ListCheck("own", "spearhead.review", files=(), extra=TERMS)


def spans(text: str) -> list[str]:
    return [text[finding.start : finding.end] for finding in CHECK(media.text(text), CONTEXT)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a z i g b", ["z i g"]),
        ("z.i.g and z-i-g", ["z.i.g", "z-i-g"]),
        ("b i g z a g", ["b i g z a g"]),
        ("big z a g", ["big z a g"]),
        ("b-ig zag", []),  # of three letters a sign may be an accident
        ("big swag, big sw-ag, b\u200big s.wag", ["big swag", "big sw-ag", "b\u200big s.wag"]),
        ("big swa\u200b*-g", ["big swa\u200b*-g"]),
        ("big sw'ag, big sw- ag, big s-wa-g, big sw\u2019ag", []),
        ("bigzag", []),  # six letters in one word may be another word
        ("thelong forbid denphrase", ["thelong forbid denphrase"]),
        ("the long forbidden phrase", ["the long forbidden phrase"]),  # found once
        ("z\u200b i\u200b g", ["z\u200b i\u200b g"]),
        ("ｚ ｉ ｇ", ["ｚ ｉ ｇ"]),
        ("坏 | 词", ["坏 | 词"]),
        ("216 and 2 1 6, but 14 88 and 1488", ["1488"]),
    ],
)
def test_terms_are_found_however_they_are_parted(text: str, found: list[str]) -> None:
    assert spans(text) == found


@pytest.mark.parametrize(
    "text", ["zi g", "z ig", "a zigzag", "athe long forbidden phrases", "big zags", "z i gs", "az i g"]
)
def test_parts_of_other_words_are_left_alone(text: str) -> None:
    assert spans(text) == []


@settings(max_examples=300, deadline=None)
@given(st.text("zigbswaZ.' -坏词148", max_size=30))
def test_the_quick_look_at_a_whole_text_misses_nothing(text: str) -> None:
    assert CHECK(media.text(text), CONTEXT) == scan(CHECK.scanner(), text)
