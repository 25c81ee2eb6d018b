import random
from collections.abc import Hashable
from itertools import combinations, pairwise

import pytest

from spearhead.core.errors import InputError
from spearhead.index import near


def overlaps(texts: list[str], threshold: float) -> dict[tuple[int, int], float]:
    """Pairs by the Jaccard similarity of their word pairs, written independently of the code under test."""
    sets = [set(pairwise(text.lower().split())) for text in texts]
    values = {(i, j): len(sets[i] & sets[j]) / len(sets[i] | sets[j]) for i, j in combinations(range(len(sets)), 2)}
    return {pair: value for pair, value in values.items() if value >= threshold}


def corpus(count: int, *, seed: int) -> list[str]:
    """Sentences of which many are others with a few words changed."""
    rng = random.Random(seed)
    lexicon = [f"w{n}" for n in range(300)]
    texts = [" ".join(rng.choices(lexicon, k=rng.randint(8, 40))) for _ in range(count // 2)]
    for source in rng.choices(texts, k=count - len(texts)):
        words = source.split()
        for _ in range(rng.randint(0, 4)):
            words[rng.randrange(len(words))] = rng.choice(lexicon)
        texts.append(" ".join(words))
    return texts


def nearest(texts: list[str], threshold: float) -> dict[int, tuple[Hashable, float]]:
    """Each text that repeats an earlier one: which is most similar, and how similar."""
    index, found = near.NearIndex(threshold), {}
    cut = [near.shingles(text) for text in texts]
    for number, (own, sketch) in enumerate(zip(cut, near.sketches(cut), strict=True)):
        if (best := index.nearest(own, sketch)) is not None:
            found[number] = best
        index.add(number, own, sketch)
    return found


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_what_is_nearest_is_what_comparing_everything_with_everything_finds(threshold: float) -> None:
    texts = corpus(400, seed=1)
    wanted: dict[int, tuple[int, float]] = {}
    for (i, j), value in overlaps(texts, threshold).items():  # of equals the first
        if j not in wanted or value > wanted[j][1]:
            wanted[j] = (i, value)
    assert len(wanted) > 40
    found = nearest(texts, threshold)
    assert {j: i for j, (i, _) in found.items()} == {j: i for j, (i, _) in wanted.items()}
    assert [value for _, value in found.values()] == pytest.approx([wanted[j][1] for j in found])


def test_bands_find_a_pair_at_the_threshold_almost_surely() -> None:
    for threshold in (0.3, 0.5, 0.7, 0.8, 0.9, 1.0):
        count = near.bands(threshold)
        rows = near.HASHES // count
        assert near.HASHES % count == 0
        assert 1 - (1 - threshold**rows) ** count >= 0.999 or rows == 1


def test_case_and_punctuation_do_not_tell_texts_apart() -> None:
    assert nearest(["God said, Let there be light.", "god said: let there be light"], 1.0) == {1: (0, 1.0)}


def test_chinese_is_compared_by_characters() -> None:
    # Five of seven pairs of neighbouring characters are shared (one character of six changed in the middle).
    assert near.words("春眠不觉晓 ok") == ["春", "眠", "不", "觉", "晓", "ok"]
    assert near.jaccard(near.shingles("处处闻啼鸟吗"), near.shingles("处处闻啼鸟呢")) == pytest.approx(4 / 6)


def test_texts_without_a_word_are_equal_only_when_they_are() -> None:
    assert nearest(["!!!", "!!!", "???"], 0.8) == {1: (0, 1.0)}
    assert nearest(["yes", "no", "Yes."], 0.8) == {2: (0, 1.0)}


def test_the_index_gives_the_most_similar_text_and_of_equals_the_first() -> None:
    texts = ["a b c d e f g h", "a b c d e f g x", "a b c d e f g h"]
    cut = [near.shingles(text) for text in texts]
    index = near.NearIndex(0.5)
    for name, (own, sketch) in zip("pqr", zip(cut, near.sketches(cut), strict=True), strict=True):
        index.add(name, own, sketch)
    asked = near.shingles("a b c d e f g h")
    assert index.nearest(asked, near.sketches([asked])[0]) == ("p", 1.0)
    other = near.shingles("nothing of this kind at all")
    assert index.nearest(other, near.sketches([other])[0]) is None


def test_a_threshold_that_nothing_can_have_is_refused() -> None:
    with pytest.raises(InputError, match="wanted above 0, at most 1"):
        near.NearIndex(0.0)
