"""Promises of the studio's words."""

import re
from pathlib import Path

import pytest

from spearhead.service.studio import words

PLACES = re.compile(r"{(\w+)}")


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_every_language_says_the_same_things_with_the_same_places(language: str) -> None:
    english, other = words.book("en"), words.book(language)
    assert english.keys() == other.keys()
    assert {key: set(PLACES.findall(text)) for key, text in other.items()} == {
        key: set(PLACES.findall(text)) for key, text in english.items()
    }


def test_every_sentence_that_a_template_or_page_asks_for_is_written() -> None:
    asked = set()
    for file in Path(words.__file__).parent.rglob("*.html"):
        asked |= set(re.findall(r"""\bt\(["']([\w.]+)["'][,)]""", file.read_text("utf-8")))
    assert len(asked) > 20
    assert asked <= words.book("en").keys()


@pytest.mark.parametrize(
    ("cookie", "accepted", "chosen"),
    [
        ("", "", "en"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "de;q=1, en;q=0.3, zh-TW;q=0.7", "zh"),
        ("en", "zh-CN", "en"),
        ("../../etc", "fr", "en"),
        ("", "zh;q=0, en;q=0.1", "en"),
    ],
)
def test_the_language_is_the_visitors_choice_then_the_browsers(cookie: str, accepted: str, chosen: str) -> None:
    assert words.choose(cookie, accepted) == chosen
