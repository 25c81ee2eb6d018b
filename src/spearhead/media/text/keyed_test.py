"""The mark changes no distribution, is heard by its key alone, and its p-value means what it says."""

import math
import random

import numpy as np
import pytest

from spearhead.media.text.keyed import DEPTH, SHARE, Draws, Floats, Key, gamma_tail, listen, luck

P = np.array([0.5, 0.2, 0.15, 0.1, 0.05])


def drawn(key: Key, length: int, *, seed: int = 0, p: Floats = P) -> list[int]:
    """A text of tokens that are independent, as the sampler draws them."""
    draws, coins, tokens = Draws(key), random.Random(seed), np.arange(len(p))
    out: list[int] = []
    for _ in range(length):
        noise = draws.noise(tokens, coin=coins.random())
        own = np.searchsorted(np.cumsum(p), coins.random() * p.sum(), side="right")
        out.append(int(np.argmax(np.log(p) + noise)) if noise is not None else int(own))
        draws.took(out[-1])
    return out


def wide(size: int = 400) -> Floats:
    """About five nats a token."""
    return np.asarray(np.random.default_rng(1).dirichlet(np.full(size, 1.0)))


def test_over_many_keys_every_token_is_as_likely_as_without_the_mark() -> None:
    # Pearson's chi-square over 4 degrees of freedom: 18.5 is passed by one in a thousand.
    context, tokens = (1, 2, 3, 4), np.arange(5)
    counts = np.zeros(5)
    for number in range(4000):
        draws = Draws(Key(number.to_bytes(4, "big")))
        for token in context:
            draws.took(token)
        noise = draws.noise(tokens, coin=0.0)
        assert noise is not None
        counts[np.argmax(np.log(P) + noise)] += 1
    assert ((counts - 4000 * P) ** 2 / (4000 * P)).sum() < 18.5


def test_over_many_keys_a_whole_answer_is_as_likely_as_without_the_mark() -> None:
    # Contexts of four halves repeat at once: without their masking the last tokens would follow the first ones.
    p = np.array([0.5, 0.5])
    counts: dict[tuple[int, ...], int] = {}
    for number in range(4096):
        text = tuple(drawn(Key(number.to_bytes(4, "big")), DEPTH + 4, seed=number, p=p))
        counts[text] = counts.get(text, 0) + 1
    found = sum((counts.get(tuple(map(int, f"{n:08b}")), 0) - 16) ** 2 / 16 for n in range(256))
    assert found < 255 + 3.1 * math.sqrt(2 * 255)  # one in a thousand


def test_its_own_key_hears_a_text_and_another_hears_nothing() -> None:
    p = wide()
    text = drawn(Key(b"ours"), 200, p=p)
    assert listen(text, Key(b"ours")).p_value < 1e-20
    assert listen(text, Key(b"another")).p_value > 1e-3
    assert listen(drawn(Key(b"ours"), 200, seed=1, p=p)[50:100], Key(b"ours")).p_value < 1e-4, "a part of it is enough"
    assert listen(text, Key(b"ours")).scored == 200 - DEPTH


def test_p_values_of_other_texts_are_uniform() -> None:
    rng = np.random.default_rng(0)
    values = [listen(list(rng.choice(400, 60, p=wide())), Key(bytes([n % 256, n // 256]))).p_value for n in range(400)]
    # Kolmogorov's distance: 1.95 / sqrt(n) is passed by one in a thousand.
    distance = np.abs(np.sort(values) - (np.arange(400) + 0.5) / 400).max() + 0.5 / 400
    assert distance < 1.95 / math.sqrt(400)


def test_a_repeated_text_counts_once() -> None:
    text = drawn(Key(b"ours"), 30, p=wide())
    once, often = listen(text, Key(b"ours")), listen(text * 20, Key(b"ours"))
    assert often.scored == 30, "the seams are new"
    assert abs(math.log10(often.p_value) - math.log10(once.p_value)) < 3


def test_asking_twice_gives_two_answers_and_the_same_seed_the_same() -> None:
    texts = {tuple(drawn(Key(b"ours"), 40, seed=seed, p=wide())) for seed in (1, 2, 3, 3)}
    assert len(texts) == 3
    assert 0.5 < SHARE < 1


@pytest.mark.parametrize(
    ("shape", "value", "wanted"),
    [
        (1, 2.0, math.exp(-2)),
        (3, 2.0, math.exp(-2) * (1 + 2 + 2)),  # Poisson(2): 0, 1 or 2 events
        (2, 0.0, 1.0),
        (200, 200.0, 0.490597),  # scipy.stats.gamma.sf
        (5, 800.0, 6.295e-338),  # below what a float holds
    ],
)
def test_the_tail_is_that_of_the_gamma_distribution(shape: int, value: float, wanted: float) -> None:
    assert gamma_tail(shape, value) == pytest.approx(wanted, rel=2e-5, abs=1e-300)


def test_luck_is_uniform_and_the_secret_does_not_show() -> None:
    seeds = np.array([Key(b"a").seed((n, 0, 0, n)) for n in range(50)], np.uint64)
    grid = np.stack([luck(seeds[at : at + 1], np.arange(1000)) for at in range(50)])
    assert grid.mean() == pytest.approx(0.5, abs=0.01) and grid.var() == pytest.approx(1 / 12, rel=0.02)
    beside = np.corrcoef(grid.ravel()[:-1], grid.ravel()[1:])[0, 1]
    across = np.corrcoef(grid[:-1].ravel(), grid[1:].ravel())[0, 1]
    assert abs(beside) < 0.02 and abs(across) < 0.02
    assert "secret" not in repr(Key(b"secret"))
