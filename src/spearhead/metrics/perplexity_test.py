"""Perplexity and bits per byte, worked by hand."""

import math

import pytest

from spearhead.core.errors import InputError
from spearhead.metrics.perplexity import Likelihoods, likelihood_scores, likelihoods_measured

HAND = Likelihoods([2 * math.log(2), 6 * math.log(2)], [2, 2], [4, 12], tokenizer="tok", context="whole text")


def test_by_hand() -> None:
    # 8 bits over 4 tokens: 2 bits a token, perplexity 4; over 16 bytes: half a bit a byte
    perplexity, bits = likelihood_scores(HAND, seed=0, draws=200)
    assert perplexity.value == pytest.approx(4.0)
    assert bits.value == pytest.approx(0.5)
    # a draw holds the first case twice, the second twice, or both
    assert perplexity.interval == pytest.approx((2.0, 8.0))
    assert bits.interval == pytest.approx((0.5, 0.5))


def test_the_signature_says_sample_and_context() -> None:
    perplexity, bits = likelihood_scores(HAND, seed=0, draws=200)
    for said in ("context:whole text", "cases:2", "tokens:4", "tokenizer:tok"):
        assert said in perplexity.signature
    assert "bytes:16" in bits.signature and "tokenizer" not in bits.signature


def test_another_tokenizer_compares_in_bits_alone() -> None:
    worse = Likelihoods([9.0, 9.0], [4, 9], [4, 12], tokenizer="other", context="four characters")
    perplexity, bits = likelihoods_measured(HAND, {"ngram": worse}, seed=0, draws=200)
    assert perplexity.baselines == {} == perplexity.p_values
    assert bits.baselines == {"ngram": pytest.approx(18 / math.log(2) / 16)}
    assert 0 < bits.p_values["ngram"] <= 1


def test_a_clearly_better_model_is_significant() -> None:
    good = Likelihoods([1.0 + i % 3 * 0.1 for i in range(50)], [2] * 50, [9] * 50, tokenizer="t", context="c")
    bad = Likelihoods([2.0 + i % 5 * 0.1 for i in range(50)], [2] * 50, [9] * 50, tokenizer="t", context="c")
    for row in likelihoods_measured(good, {"base": bad, "self": good}, seed=0):
        assert row.value < row.baselines["base"] and row.p_values["base"] < 0.01
        assert row.p_values["self"] == 1.0


@pytest.mark.parametrize(
    "entries", [([], [], []), ([1.0], [1, 2], [1]), ([float("nan")], [1], [1]), ([1.0], [0], [1]), ([-1.0], [1], [1])]
)
def test_likelihoods_that_cannot_be_are_refused(entries: tuple[list[float], list[int], list[int]]) -> None:
    with pytest.raises(InputError, match="likelihoods"):
        Likelihoods(*entries, tokenizer="t", context="c")


def test_other_texts_are_refused() -> None:
    other = Likelihoods([1.0, 1.0], [2, 2], [4, 13], tokenizer="tok", context="whole text")
    with pytest.raises(InputError, match="base: .* other texts"):
        likelihoods_measured(HAND, {"base": other}, seed=0)
