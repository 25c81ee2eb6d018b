"""Folding: each character on its own, so that a stream folds like the whole; dress comes off, words stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spearhead.review.folding import BEYOND, Fold, chinese, compatible, latin


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Ｂ0мb", "bomb"),
        ("b\u200bo\u00adm\u0301b\ufe0f", "bomb"),
        ("\U0001d41b\U0001d428\U0001d426\U0001d41b", "bomb"),  # mathematical bold
        ("ⓑⓞⓜⓑ 🅱🅾🅼🅱", "bomb bomb"),
        ("don't-stop", "don t stop"),
        ("naïve Øre ﬁn", "naive ore fin"),
        ("炸", " "),
    ],
)
def test_words_come_out_of_their_dress(text: str, folded: str) -> None:
    assert text.translate(Fold(latin)) == folded


@pytest.mark.parametrize(
    ("text", "folded"), [("炸 彈*製\n作", "炸弹制作"), ("停。作", "停。作"), ("ＡＢ", "ab"), ("\U00020000", BEYOND)]
)
def test_chinese_is_simplified_and_joined(text: str, folded: str) -> None:
    assert text.translate(Fold(chinese)) == folded


@pytest.mark.parametrize(
    ("text", "folded"), [("１３８\u200b0", "1380"), ("a\u2013b\u3000c", "a-b c"), ("Bob＠x", "Bob@x"), ("x\ty", "x\ty")]
)
def test_numbers_keep_their_case_and_signs(text: str, folded: str) -> None:
    assert text.translate(Fold(compatible)) == folded


@given(st.characters())
def test_latin_folds_to_small_letters_digits_and_spaces_alone(character: str) -> None:
    assert set(latin(character)) <= set("abcdefghijklmnopqrstuvwxyz0123456789 ")


@given(st.characters())
def test_nothing_beyond_the_basic_plane_comes_out_of_the_chinese_folding(character: str) -> None:
    assert all(part <= "\uffff" for part in chinese(character))


def test_hostile_text_does_not_fill_memory() -> None:
    fold = Fold(latin)
    for code in range(0x10000, 0x10000 + 200_000):
        fold[code]
    assert len(fold) <= 70_000
