"""Options against shares worked by hand: x has logit 2, y has 1, the rest are far below."""

import dataclasses

import numpy as np
import pytest

from spearhead.media.text.keyed import DEPTH, Key, listen
from spearhead.runtimes.openvino.sampling import Sampler, Wishes, largest, logprobs, wishes

X, Y, SIZE = 70, 100, 259


def row() -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    out = np.full(SIZE, -30, np.float32)
    out[X], out[Y] = 2, 1
    return out


@pytest.mark.parametrize(
    ("wish", "share"),
    [
        (Wishes(), 0.7311),  # e^2 / (e^2 + e)
        (Wishes(temperature=0.5), 0.8808),  # e^4 / (e^4 + e^2)
        (Wishes(temperature=2.0, top_k=2), 0.6225),
        (Wishes(temperature=0.0), 1.0),
        (Wishes(top_k=1), 1.0),
        (Wishes(top_p=0.7), 1.0),
        (Wishes(top_p=0.74), 0.7311),
        (Wishes(min_p=0.5), 1.0),  # y is 0.37 times as likely as x
        (Wishes(min_p=0.3, top_k=40), 0.7311),
        (Wishes(bias=((Y, 1.0),)), 0.5),
        (Wishes(bias=((X, -100.0), (10**6, 5.0))), 0.0),  # a token that is not there changes nothing
    ],
)
def test_options_do_what_they_are_named(wish: Wishes, share: float) -> None:
    draws = 2000
    seen = [Sampler(dataclasses.replace(wish, seed=n), []).pick(row()) for n in range(draws)]
    assert set(seen) <= {X, Y}
    assert seen.count(X) / draws == pytest.approx(share, abs=4 * (share * (1 - share) / draws) ** 0.5 + 1e-9)


def test_penalties_weigh_the_last_tokens_by_the_formulas() -> None:
    def first(seen: list[int], **penalties: float) -> int:
        return Sampler(Wishes(top_k=1, **penalties), seen).pick(row())  # type: ignore[arg-type]

    assert first([X], presence_penalty=1.5) == Y and first([X], presence_penalty=0.5) == X
    assert first([X, X], frequency_penalty=0.6) == Y and first([X], frequency_penalty=0.6) == X
    assert first([X], repeat_penalty=2.5) == Y  # 2 / 2.5 is below 1
    assert first([X] + [3] * 64, repeat_penalty=2.5) == X, "64 tokens back are out of sight"
    negative = row()
    negative -= 5  # x at -3: a repetition is multiplied, y at -4 wins
    assert Sampler(Wishes(top_k=1, repeat_penalty=2.5), [X]).pick(negative) == Y
    running = Sampler(Wishes(top_k=1, presence_penalty=1.5), [])
    assert [running.pick(row()) for _ in range(3)] == [X, Y, X], "what was drawn weighs too"


def test_a_seed_decides_alone() -> None:
    def draws(seed: int) -> list[int]:
        sampler = Sampler(Wishes(seed=seed), [])
        return [sampler.pick(row()) for _ in range(20)]

    assert draws(7) == draws(7)
    assert len({tuple(draws(seed)) for seed in range(20)}) > 10


@pytest.mark.parametrize(
    ("wish", "share"),
    [
        (Wishes(), 0.7311),
        (Wishes(temperature=0.5, top_k=20), 0.8808),
        (Wishes(min_p=0.5), 1.0),
        (Wishes(bias=((Y, 1.0),)), 0.5),
    ],
)
def test_over_many_keys_options_mean_what_they_mean_without_one(wish: Wishes, share: float) -> None:
    draws, found = 1500, 0
    for n in range(draws):
        sampler = Sampler(dataclasses.replace(wish, seed=n, key=Key(n.to_bytes(4, "big"))), [])
        found += [sampler.pick(row()) for _ in range(DEPTH + 1)][-1] == X
    assert found / draws == pytest.approx(share, abs=4 * (share * (1 - share) / draws) ** 0.5 + 1e-9)


def test_a_key_is_heard_in_what_it_drew_and_has_no_say_where_the_likeliest_token_is_taken() -> None:
    key, logits = Key(b"ours"), np.random.default_rng(1).normal(size=500).astype(np.float32)

    def said(seed: int, **options: float) -> list[int]:
        sampler = Sampler(Wishes(seed=seed, key=key, **options), [5, 6])  # type: ignore[arg-type]
        return [sampler.pick(logits.copy()) for _ in range(120)]

    assert listen(said(1), key).p_value < 1e-15 and listen(said(1), Key(b"another")).p_value > 1e-3
    assert listen(said(2, repeat_penalty=1.2), key).p_value < 1e-15
    assert said(1) == said(1) != said(2)
    assert set(said(1, temperature=0.0)) == {int(logits.argmax())}
    assert "ours" not in repr(Wishes(key=key)) and "Key" not in repr(Wishes(key=key))


def test_no_request_names_a_key() -> None:
    assert wishes({"key": 5}).key is None


@pytest.mark.parametrize("size", [10, 64, 1000, 49_152])
def test_the_largest_are_those_of_a_whole_sort(size: int) -> None:
    values = np.random.default_rng(size).normal(size=size).astype(np.float32)
    for count in (1, 5, 256, size):
        assert largest(values, count).tolist() == np.argsort(-values, kind="stable")[:count].tolist()
    assert len(largest(values, 0)) == size


def test_log_probabilities_are_normal() -> None:
    found = logprobs(row())
    assert np.exp(found).sum() == pytest.approx(1)
    assert found[X] == pytest.approx(-0.31326, abs=1e-5)  # ln(e^2 / (e^2 + e))


@pytest.mark.parametrize("body", [{"top_k": 1.5}, {"temperature": "hot"}, {"seed": True}, {"logit_bias": [["a", 1]]}])
def test_nonsense_is_refused(body: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        wishes(body)
