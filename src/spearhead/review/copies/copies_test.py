"""Copies: what stands in the training data is found, held back in a stream, and nothing else is."""

from pathlib import Path

import pytest

from spearhead.core import media
from spearhead.core.errors import InputError
from spearhead.core.review import Context, Decision, Direction, Policy, Rule
from spearhead.index.copies import CopyIndex
from spearhead.review import categories
from spearhead.review.copies import CHECK
from spearhead.review.reviewer import Reviewer
from spearhead.review.stream import StreamReview

OUTPUT = Context("s", Direction.OUTPUT)
LEARNT = " ".join(f"learnt{n} thing{n}" for n in range(30))
POLICY = Policy(checks=("copies",), rules=(Rule("*", Direction.OUTPUT, hold=0.5),), options={"copies": {"words": 12}})


@pytest.fixture
def index(tmp_path: Path) -> Path:
    CopyIndex.build(
        [("first", LEARNT), ("second", "a short verse about the sea and the wind and the rain at night")]
    ).save(tmp_path)
    return tmp_path


def own(start: int, count: int) -> str:
    """Words that nobody learnt."""
    return " ".join(f"own{n}" for n in range(start, start + count))


def test_every_copied_run_is_found_with_its_place_and_its_record(index: Path) -> None:
    words = LEARNT.split()
    first, second = " ".join(words[3:20]), " ".join(words[30:45])
    text = f"{own(0, 5)} {first} {own(5, 5)} {second} {own(10, 5)}"
    check = CHECK.configured({"words": 12}).against(index)
    found = check(media.text(text), OUTPUT)
    assert [text[one.start : one.end] for one in found] == [first, second]
    assert "17 words" in str(found[0].reason) and "first" in str(found[0].reason)
    assert all(one.category == "intellectual-property" for one in found)


def test_a_run_that_is_a_word_too_short_is_no_copy(index: Path) -> None:
    text = f"{own(0, 5)} {' '.join(LEARNT.split()[:11])} {own(5, 5)}"
    assert CHECK.configured({"words": 12}).against(index)(media.text(text), OUTPUT) == []


def test_a_short_record_said_again_is_found_by_its_likeness(index: Path) -> None:
    text = "a short verse about the sea and the wind and the rain at noon"
    [found] = CHECK.against(index)(media.text(text), OUTPUT)
    assert found.start is None and "second" in str(found.reason)


def test_prompts_and_data_may_say_what_was_learnt(index: Path) -> None:
    check = CHECK.configured({"words": 12}).against(index)
    for direction in (Direction.PROMPT, Direction.DATA):
        assert check(media.text(LEARNT), Context("s", direction)) == []


def test_without_an_index_outputs_are_held(index: Path) -> None:
    bare = Reviewer(POLICY)
    verdict = bare.review(media.text("anything"), OUTPUT)
    assert (verdict.decision, verdict.findings[0].category) == (Decision.HOLD, categories.UNREADABLE)
    stream = StreamReview(bare, OUTPUT)
    assert stream.feed("anything ") == "" and stream.finish()[1] == bare.review(media.text("anything "), OUTPUT)
    assert Reviewer(POLICY, index=index).review(media.text("anything"), OUTPUT).decision is Decision.ALLOW
    with pytest.raises(InputError, match="no copy index"):
        Reviewer(POLICY, index=index / "nothing")


def test_a_stream_shows_nothing_of_a_copy_and_everything_before_it(index: Path) -> None:
    reviewer = Reviewer(POLICY, index=index)
    before, copied = own(0, 150) + " ", " ".join(LEARNT.split()[:30])
    text = before + copied + " " + own(150, 100)
    for size in (1, 7, 64):
        stream = StreamReview(reviewer, OUTPUT)
        left = "".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size))
        rest, verdict = stream.finish()
        assert rest == "" and before.startswith(left) and len(left) > len(before) // 2
        assert verdict == reviewer.review(media.text(text), OUTPUT) and verdict.decision is Decision.HOLD


def test_a_stream_of_own_words_leaves_whole_and_in_a_bounded_window(index: Path) -> None:
    stream, text = StreamReview(Reviewer(POLICY, index=index), OUTPUT), own(0, 600)
    left, most = "", 0
    for number, character in enumerate(text, 1):
        left += stream.feed(character)
        most = max(most, number - len(left))
    rest, verdict = stream.finish()
    assert left + rest == text and verdict.decision is Decision.ALLOW
    assert most < 7 * (64 + 2 * 12 + 12)


@pytest.mark.parametrize("options", [{"words": 7}, {"words": True}, {"similarity": 2}, {"more": 1}])
def test_options_that_are_none_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match="check copies"):
        CHECK.configured(options)
