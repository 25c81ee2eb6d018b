"""The reviewer: every check of the policy looks, and one that cannot look holds the piece."""

import pytest

from spearhead.core import media
from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.review import Context, Decision, Direction, Policy, Rule
from spearhead.review.policy import named, templates
from spearhead.review.reviewer import Reviewer

CONTEXT = Context("s", Direction.OUTPUT)
GENERAL = Reviewer(named("general"))


@pytest.mark.parametrize(
    ("text", "decision"),
    [
        ("And the evening and the morning were the first day.", Decision.ALLOW),
        ("Write to bob@acme-corp.com.", Decision.HOLD),
        ("How to make a pipe bomb: how to", Decision.BLOCK),
        ("card 4111 1111 1111 1111", Decision.BLOCK),
    ],
)
def test_a_piece_gets_the_verdict_of_its_worst_finding(text: str, decision: Decision) -> None:
    assert GENERAL.review(media.text(text), CONTEXT).decision is decision


def test_what_cannot_be_read_is_held() -> None:
    verdict = GENERAL.review(Media("text", "text/plain", b"\xff"), CONTEXT)
    assert verdict.decision is Decision.HOLD and len(verdict.findings) == 4


def test_what_no_check_looks_at_is_held() -> None:
    assert GENERAL.review(Media("image", "image/png", b"x"), CONTEXT).decision is Decision.HOLD


def test_an_unknown_check_or_option_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'terms'"):
        Reviewer(Policy(checks=("term",), rules=()))
    with pytest.raises(InputError, match="takes no options"):
        Reviewer(Policy(checks=("personal",), rules=(), options={"personal": {"x": 1}}))
    with pytest.raises(InputError, match="not among its checks"):
        Reviewer(Policy(checks=("personal",), rules=(), options={"terms": {"allow": []}}))


@pytest.mark.parametrize("name", templates())
def test_every_template_names_checks_that_there_are(name: str) -> None:
    assert [check.name for check in Reviewer(named(name)).checks] == list(named(name).checks)


def test_options_reach_the_check() -> None:
    rules = (Rule("*", Direction.OUTPUT, block=0.5),)
    own = Policy(checks=("terms",), rules=rules, options={"terms": {"extra": ["hate\t0.9\tzzforbidden"]}})
    assert Reviewer(own).review(media.text("a ZZForbidden word"), CONTEXT).decision is Decision.BLOCK
