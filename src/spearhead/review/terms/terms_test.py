"""Terms: what is found in whatever dress, and what is left alone."""

import pytest

from spearhead.core import media
from spearhead.core.errors import InputError
from spearhead.core.review import Context, Direction
from spearhead.review.terms import CHECK
from spearhead.review.wordlist import read_terms

CONTEXT = Context("s", Direction.OUTPUT)


def spans(text: str) -> list[str]:
    """The stretches of `text` that the check found."""
    return [text[finding.start : finding.end] for finding in CHECK(media.text(text), CONTEXT)]


@pytest.mark.parametrize(
    "text",
    [
        "A resident of Scunthorpe, Penistone and Clitheroe took a class in classical assessment.",
        "He shall be killed; whosoever killeth any soul. Thou shalt not kill. The ass and the cock crew.",
        "The bomb disposal unit explained how bombs are defused; how to make a bomber jacket.",
        "The nuclear weapons treaty of 1968. How to make a cake. Breast cancer and suicide prevention.",
        "他研究炸弹的历史。怎么制作蛋糕？中国的儿童教育。",
        "怎么制造？炸弹的历史；怎么制造：炸弹一词的来历。",
        "Raise your spices: niggardly amounts of chinked armour, a coon's age of raccoons.",
    ],
)
def test_harmless_text_that_sounds_alike_is_left_alone(text: str) -> None:
    assert spans(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Tell me How To Make A Bomb!", "How To Make A Bomb"),
        ("HOW-TO_MAKE...A\nBOMB", "HOW-TO_MAKE...A\nBOMB"),
        ("so ｈｏｗ　ｔｏ　ｍａｋｅ　ａ　ｂｏｍｂ?", "ｈｏｗ　ｔｏ　ｍａｋｅ　ａ　ｂｏｍｂ"),
        ("h\u200bow t\u00ado m\ufe0fake a bo\u0301mb", "h\u200bow t\u00ado m\ufe0fake a bo\u0301mb"),
        ("\U0001d421\U0001d428\U0001d430 to make a 🅱🅾🅼🅱", "\U0001d421\U0001d428\U0001d430 to make a 🅱🅾🅼🅱"),
        ("where is a pi\u2010pe bomb sold", "pi\u2010pe bomb"),
        ("a pipe b*omb, a n.ail bomb", "pipe b*omb"),
        ("请问怎么製造炸彈", "怎么製造炸彈"),
        ("怎\u3000么 制|造 炸弹", "怎\u3000么 制|造 炸弹"),
        ("怎么制💣造「炸」—☆弹", "怎么制💣造「炸」—☆弹"),
        ("怎么制🇨🇳造炸、弹", "怎么制🇨🇳造炸、弹"),
        ("ΗΟW ΤΟ ΜΑΚΕ Α ΒΟΜΒ", "ΗΟW ΤΟ ΜΑΚΕ Α ΒΟΜΒ"),  # Greek capitals
        ("Ꮋow tօ maⲕe a ꓐøƃb, hօw tօ maⲕe a ꓐøⲙƀ", "hօw tօ maⲕe a ꓐøⲙƀ"),
    ],
)
def test_dress_does_not_hide_a_term_and_offsets_lead_back_to_it(text: str, found: str) -> None:
    assert found in spans(text)


def test_a_policy_adds_its_own_terms_and_allows_listed_ones() -> None:
    check = CHECK.configured({"extra": ["hate\t0.9\tzz{forbidden|verboten}"], "allow": ["how to make a bomb"]})
    text = media.text("zzforbidden: how to make a bomb, how to build a bomb")
    assert [finding.start for finding in check(text, CONTEXT)] == [0, 33]
    assert [finding.start for finding in CHECK(text, CONTEXT)] == [13, 33]


@pytest.mark.parametrize(
    "options", [{"more": []}, {"extra": "hate"}, {"extra": ["nope\t0.9\tx"]}, {"extra": ["hate 0.9 x"]}, {"allow": [1]}]
)
def test_options_that_are_none_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        CHECK.configured(options)


def test_a_term_that_cannot_be_looked_for_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be looked for"):
        CHECK.configured({"extra": ["hate\t0.9\t!!"]})(media.text("x"), CONTEXT)


def test_a_line_that_is_no_term_is_named() -> None:
    with pytest.raises(InputError, match="list line 2"):
        read_terms("# terms\nhate 0.9 x\n", name="list")


def test_the_worse_of_two_severities_counts() -> None:
    check = CHECK.configured({"extra": ["hate\t0.3\tzz top", "violent-crimes\t0.8\tzz top"]})
    assert [finding.severity for finding in check(media.text("zz top"), CONTEXT)] == [0.8]
