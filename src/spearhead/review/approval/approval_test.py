"""Approval: nothing leaves before a person has said so, not one character of a stream, whatever the policy's rules."""

import pytest

from spearhead.core import media
from spearhead.core.media import Media
from spearhead.core.review import Context, Decision, Direction, Policy, Rule
from spearhead.review.policy import named
from spearhead.review.reviewer import Reviewer
from spearhead.review.stream import StreamReview

OUTPUT = Context("s", Direction.OUTPUT)


@pytest.mark.parametrize("mode", ["strict", "fast"])
def test_a_stream_shows_nothing_and_its_verdict_is_that_of_the_whole(mode: str) -> None:
    reviewer = Reviewer(Policy(("terms", "approval"), (Rule("*", Direction.OUTPUT),), stream=mode))  # type: ignore[arg-type]
    stream = StreamReview(reviewer, OUTPUT)
    assert [stream.feed(piece) for piece in ("", "All ", "is well. ")] == ["", "", ""]
    assert stream.finish() == ("", reviewer.review(media.text("All is well. "), OUTPUT))
    assert reviewer.review(media.text("x"), OUTPUT).decision is Decision.HOLD


def test_prompts_and_data_need_no_approval_and_pictures_do() -> None:
    reviewer = Reviewer(Policy(("terms", "approval"), tuple(Rule("*", d, block=0.9) for d in Direction)))
    for direction in (Direction.PROMPT, Direction.DATA):
        assert reviewer.review(media.text("x"), Context("s", direction)).decision is Decision.ALLOW
    seen = reviewer.review(Media("image", "image/png", b"x"), OUTPUT).findings
    assert {finding.category for finding in seen} == {"unapproved", "unreadable"}


@pytest.mark.parametrize("name", ["medicine", "finance"])
def test_the_templates_that_want_a_person_hold_a_harmless_answer(name: str) -> None:
    rules = named(name)
    light = Policy(tuple(c for c in rules.checks if c != "harm"), rules.rules, people=rules.people)
    assert Reviewer(light).review(media.text("Drink enough water."), OUTPUT).decision is Decision.HOLD
