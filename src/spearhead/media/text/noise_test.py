import numpy as np
import pytest

from spearhead.media.text.noise import neighbours, typos

TEXT = "In the beginning God created the heaven and the earth, 1611. " * 20


def noisy(rate: float, seed: int = 0, text: str = TEXT) -> str:
    return typos(text, rng=np.random.default_rng(seed), rate=rate)


def test_the_same_seed_gives_the_same_typos() -> None:
    assert noisy(0.1) == noisy(0.1) != noisy(0.1, seed=1)


def test_the_share_of_mistyped_letters_follows_the_rate() -> None:
    lone = "h " * 5000  # a letter between spaces cannot be swapped, and every other typo shows
    for rate in (0.02, 0.1):
        changed = sum(word != "h" for word in noisy(rate, text=lone).split(" ")[:-1])
        assert changed == pytest.approx(rate * 5000, rel=0.2)


def test_nothing_changes_at_rate_zero_and_words_stay_apart_at_rate_one() -> None:
    assert noisy(0.0) == TEXT
    assert [c for c in noisy(1.0) if not c.isalpha()] == [c for c in TEXT if not c.isalpha()]


def test_chinese_is_mistyped_without_latin_letters() -> None:
    changed = noisy(0.5, text="春眠不觉晓处处闻啼鸟" * 5)
    assert changed != "春眠不觉晓处处闻啼鸟" * 5
    assert set(changed) <= set("春眠不觉晓处处闻啼鸟")


def test_neighbouring_keys_are_those_of_the_keyboard() -> None:
    assert set(neighbours()["s"]) == set("adwezx") and set(neighbours()["q"]) == set("wa")


def test_a_rate_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted a probability"):
        noisy(1.5)
