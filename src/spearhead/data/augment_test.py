import numpy as np
import pytest

from spearhead.core.errors import InputError
from spearhead.data.augment import WAYS, augment, drop_words, swap_words

TEXT = "And God said, Let there be light: and there was light. " * 10


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", list(WAYS))
def test_each_way_changes_the_text_and_the_same_seed_changes_it_alike(name: str) -> None:
    once = augment(TEXT, {name: 1.0}, rng=rng())
    assert once == augment(TEXT, {name: 1.0}, rng=rng()) != TEXT
    assert augment(TEXT, {name: 0.0}, rng=rng()) == TEXT


def test_swapping_keeps_every_word_and_every_mark_in_place() -> None:
    changed = swap_words(TEXT, rng())
    assert sorted(changed.replace(",", "").split()) != changed.split()
    words = [word.strip(",.:") for word in TEXT.split()]
    assert sorted(word.strip(",.:") for word in changed.split()) == sorted(words)
    assert [c for c in changed if c in ",.:"] == [c for c in TEXT if c in ",.:"]


def test_dropping_leaves_out_about_a_tenth_and_never_everything() -> None:
    left = len(drop_words(TEXT, rng()).split()) / len(TEXT.split())
    assert 0.8 < left < 0.98
    assert all(drop_words("word", rng(seed)) == "word" for seed in range(50))
    assert drop_words("...", rng()) == "..."


def test_chinese_is_augmented_by_characters() -> None:
    text = "春眠不觉晓，处处闻啼鸟。" * 5
    assert len(drop_words(text, rng())) < len(text)
    assert sorted(swap_words(text, rng())) == sorted(text) and swap_words(text, rng()) != text


def test_an_unknown_way_and_an_impossible_chance_are_named() -> None:
    with pytest.raises(InputError, match="'typo' is unknown: wanted typos"):
        augment(TEXT, {"typo": 0.1}, rng=rng())
    with pytest.raises(InputError, match="typos is 3: wanted a probability"):
        augment(TEXT, {"typos": 3}, rng=rng())
