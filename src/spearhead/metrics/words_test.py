"""Words: the same as rouge-score's on ASCII, characters in Chinese."""

import random
import string

import pytest

from spearhead.metrics import words


def test_on_ascii_they_are_those_of_rouge_score() -> None:
    from rouge_score.tokenize import tokenize

    rng = random.Random(0)
    for _ in range(200):
        text = "".join(rng.choices(string.ascii_letters + string.digits + " '-_.,;\t\n", k=60))
        assert words.words(text) == tokenize(text, None)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("今天天气很好。", list("今天天气很好")),
        ("用GPT写3篇", ["用", "gpt", "写", "3", "篇"]),
        ("ＧＰＴ１２", ["gpt12"]),
        ("𠀀𠀁", ["𠀀", "𠀁"]),
        ("", []),
        ("。，!?", []),
    ],
)
def test_each_chinese_character_is_a_word(text: str, wanted: list[str]) -> None:
    assert words.words(text) == wanted


def test_mainly_han_counts_words_not_letters() -> None:
    assert words.is_mainly_han("我们使用 international 标准")
    assert not words.is_mainly_han("the sign 道 means way")
    assert not words.is_mainly_han("")
