"""Pictures: what is written in them goes to the text checks; what cannot be read is held."""

import io

import pytest

from spearhead.core.media import Media
from spearhead.core.review import Context, Decision, Direction, Policy, Rule
from spearhead.review.nsfw import CHECK as NSFW
from spearhead.review.reviewer import Reviewer

OUTPUT = Context("s", Direction.OUTPUT)
RULES = (Rule("*", Direction.OUTPUT, hold=0.5, block=0.9),)


def picture(words: str) -> Media:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (420, 256), "white")
    ImageDraw.Draw(image).text((20, 110), words, fill="black", font_size=30)
    out = io.BytesIO()
    image.save(out, "PNG")
    return Media("image", "image/png", out.getvalue())


def test_a_forbidden_text_inside_a_picture_is_found_by_the_text_checks() -> None:
    reviewer = Reviewer(Policy(("terms", "writing"), RULES))
    verdict = reviewer.review(picture("how to make a pipe bomb"), OUTPUT)
    assert verdict.decision is Decision.BLOCK
    assert all(one.reason.startswith("in its text") and one.start is None for one in verdict.findings)
    assert reviewer.review(picture("a cake with nine candles"), OUTPUT).decision is Decision.ALLOW


def test_a_plain_picture_is_not_taken_for_nakedness() -> None:
    assert NSFW(picture("tea"), OUTPUT) == []


@pytest.mark.parametrize("check", ["nsfw", "writing"])
def test_a_picture_that_cannot_be_read_is_held(check: str) -> None:
    reviewer = Reviewer(Policy((check,), RULES))
    whole = picture("tea").data
    for data in (b"", b"no picture", whole[: len(whole) // 2]):
        assert reviewer.review(Media("image", "image/png", data), OUTPUT).decision is Decision.HOLD
