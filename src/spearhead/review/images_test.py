"""Pictures: what is written in them goes to the text checks; what cannot be read is held."""

import io
from pathlib import Path

import numpy as np
import pytest

from spearhead.core.media import Media
from spearhead.core.review import Context, Decision, Direction, Policy, Rule
from spearhead.index.pictures import PictureIndex
from spearhead.media.image import codec
from spearhead.review import policy
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
    assert all(str(one.reason).startswith("in its text") and one.start is None for one in verdict.findings)
    assert reviewer.review(picture("a cake with nine candles"), OUTPUT).decision is Decision.ALLOW


def test_every_template_but_the_one_without_models_looks_at_pictures() -> None:
    blind = [name for name in policy.templates() if Reviewer(policy.named(name)).unseen("image")]
    assert blind == ["general"]


@pytest.mark.parametrize("name", ["marketing", "finance"])
def test_a_template_judges_a_picture_of_a_release_of_pictures(name: str, tmp_path: Path) -> None:
    learnt = np.indices((64, 64)).sum(axis=0)[:, :, None] // 16 % 2 * np.full(3, 255)
    PictureIndex.build([("a" * 64, learnt.astype(np.uint8))]).save(tmp_path)
    rules = policy.named(name)
    reviewer = Reviewer(rules, index=tmp_path)
    good = reviewer.review(picture("a cake with nine candles"), OUTPUT)
    if "approval" in rules.checks:
        assert policy.wants_approval_alone(good, rules, Direction.OUTPUT)
    else:
        assert good.decision is Decision.ALLOW, good.findings
    assert reviewer.review(picture("how to make a pipe bomb"), OUTPUT).decision is Decision.BLOCK
    copied = reviewer.review(codec.write(learnt.astype(np.uint8)), OUTPUT)
    assert ("copies" in rules.checks) == any(one.check == "nearest" for one in copied.findings)


def test_a_picture_that_looks_like_nakedness_is_found_and_weighed() -> None:
    """Soft shapes in the colours of skin, which nobody need be ashamed of: found by trying seeds."""
    from PIL import Image, ImageDraw, ImageFilter

    rng = np.random.default_rng(0)
    for _ in range(10):  # the tenth
        image = Image.new("RGB", (256, 256), tuple(int(x) for x in rng.integers(150, 255, 3)))
        pen = ImageDraw.Draw(image)
        for _ in range(int(rng.integers(2, 9))):
            red = int(rng.integers(180, 240))
            (x, y), (wide, high) = rng.integers(0, 256, 2).tolist(), rng.integers(20, 120, 2).tolist()
            place = (x - wide, y - high, x + wide, y + high)
            pen.ellipse(place, fill=(red, int(red * 0.72), int(red * 0.6)))
        image = image.filter(ImageFilter.GaussianBlur(int(rng.integers(1, 12))))
    out = io.BytesIO()
    image.save(out, "PNG")
    [finding] = NSFW(Media("image", "image/png", out.getvalue()), OUTPUT)
    assert finding.category == "sexual-content" and 0.4 < finding.severity < 0.7


def test_a_plain_picture_is_not_taken_for_nakedness() -> None:
    assert NSFW(picture("tea"), OUTPUT) == []


@pytest.mark.parametrize("check", ["nsfw", "writing"])
def test_a_picture_that_cannot_be_read_is_held(check: str) -> None:
    reviewer = Reviewer(Policy((check,), RULES))
    whole = picture("tea").data
    for data in (b"", b"no picture", whole[: len(whole) // 2]):
        assert reviewer.review(Media("image", "image/png", data), OUTPUT).decision is Decision.HOLD
