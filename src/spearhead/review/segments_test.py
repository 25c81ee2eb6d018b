"""Sentences: cut alike however the text comes, bounded, and nothing lost."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from spearhead.core.review import Finding
from spearhead.review.segments import LONGEST, SegmentScanner

PIECES = st.sampled_from(["word ", "3.14", ". ", ".", "! ", "?", "。", "中文字", "\n", " ", "a" * 90, "…", "e.g. "])


def cut(pieces: list[str]) -> list[str]:
    """The sentences that are judged."""
    seen: list[str] = []

    def judge(sentence: str) -> list[Finding]:
        seen.append(sentence)
        return []

    scanner = SegmentScanner(judge)
    for piece in pieces:
        scanner.feed(piece)
    scanner.finish()
    return seen


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join), st.lists(st.integers(0, 500), max_size=8))
def test_the_pieces_make_no_difference_and_nothing_is_lost(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(at % (len(text) + 1) for at in cuts), len(text)]
    sentences = cut([text[a:b] for a, b in itertools.pairwise(edges)])
    assert "".join(sentences) == text
    assert sentences == cut([text]) == cut(list(text))
    assert all(len(sentence) <= LONGEST for sentence in sentences)


def test_sentences_end_where_a_reader_ends_them() -> None:
    text = "It costs 3.14 euros in all shops. How do I get there by bus? 今天的天气非常好。我们去公园散步吧！"
    assert cut([text]) == [
        "It costs 3.14 euros in all shops.",
        " How do I get there by bus?",
        " 今天的天气非常好。",
        "我们去公园散步吧！",
    ]


def test_what_is_too_short_to_judge_goes_with_the_next() -> None:
    assert cut(["Yes. No! Tell me how it is done, please. Ok."]) == ["Yes. No! Tell me how it is done, please.", " Ok."]


def test_findings_stand_where_the_sentence_stands() -> None:
    scanner = SegmentScanner(lambda sentence: [Finding("x", "hate", 1.0, "r", start=1, end=3)])
    first = scanner.feed("This is the first of two. And ")
    assert [(f.start, f.end) for f in first] == [(1, 3)]
    assert scanner.pending() == 25
    assert [(f.start, f.end) for f in scanner.finish()] == [(26, 28)]
