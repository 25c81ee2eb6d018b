"""The trivial answers: copying, the nearest training input, word-for-word substitution."""

import math
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from spearhead.core.errors import InputError
from spearhead.core.media import text
from spearhead.core.score import Case
from spearhead.metrics import baselines
from spearhead.metrics.words import words

PAIRS = [
    ("thou hast a house", "you have a house"),
    ("thou hast seen it", "you have seen it"),
    ("thou art the man", "you are the man"),
    ("the man hath seen thee", "the man has seen you"),
    ("he hath a house", "he has a house"),
    ("she hath seen it", "she owns and has seen it"),
    ("thou house is seen", "you tent is seen"),
    ("thou house is the man", "you tent is the man"),
]


def asked(*inputs: str) -> list[Case]:
    return [Case(text(given), text("old"), text("wanted")) for given in inputs]


def answers(cases: list[Case]) -> list[str]:
    return [case.output.text for case in cases]


def test_copy_gives_the_input_back_and_keeps_the_rest() -> None:
    [case] = baselines.copy(asked("thou hast"))
    assert (case.input, case.output, case.reference) == (text("thou hast"), text("thou hast"), text("wanted"))
    assert answers(baselines.reference(asked("x"))) == ["wanted"]


def test_words_are_replaced_by_what_they_become() -> None:
    got = baselines.ngram(PAIRS, asked("Thou hast seen the house; HE HATH it.", "never seen", ""))
    assert baselines.substitutions(PAIRS)["hath"] == "has"
    assert "house" not in baselines.substitutions(PAIRS)  # twice a tent, three times kept
    assert answers(got) == ["You have seen the house; HE HAS it.", "never seen", ""]


def test_chinese_is_replaced_by_characters() -> None:
    pairs = [("吾爱花", "我爱花"), ("吾见山", "我见山"), ("吾往", "我往")]
    assert answers(baselines.ngram(pairs, asked("吾见花。"))) == ["我见花。"]


def test_pairs_that_never_change_teach_no_substitution() -> None:
    assert baselines.substitutions([("a b", "a b")]) == {}


def test_nearest_is_the_greatest_cosine() -> None:
    rng = np.random.default_rng(0)
    vocabulary = [f"w{at}" for at in range(40)]
    pairs = [(" ".join(rng.choice(vocabulary, 8)), str(at)) for at in range(200)]
    queries = [" ".join(rng.choice(vocabulary, 6)) for _ in range(20)]
    frequency = Counter(word for given, _ in pairs for word in set(words(given)))

    def vector(given: str) -> dict[str, float]:
        return {
            word: (1 + math.log(times)) * (math.log((1 + len(pairs)) / (1 + frequency[word])) + 1)
            for word, times in Counter(words(given)).items()
        }

    def cosine(one: dict[str, float], other: dict[str, float]) -> float:
        return (
            sum(one[word] * other.get(word, 0) for word in one)
            / math.hypot(*one.values())
            / math.hypot(*other.values())
        )

    vectors = [vector(given) for given, _ in pairs]
    wanted = [str(int(np.argmax([cosine(vector(query), each) for each in vectors]))) for query in queries]
    assert answers(baselines.nearest(pairs, asked(*queries))) == wanted
    assert answers(baselines.nearest(pairs, asked("unknown", ""))) == ["", ""]


def test_nearest_takes_seconds_over_thirty_thousand_pairs() -> None:
    rng = np.random.default_rng(0)
    ranks = 1 / np.arange(1, 5001)
    drawn = rng.choice(5000, size=(30_000, 20), p=ranks / ranks.sum())
    pairs = [(" ".join(f"w{code}" for code in row), "x") for row in drawn.tolist()]
    start = time.process_time()
    baselines.nearest(pairs, asked(*(given for given, _ in pairs[:100])))
    assert time.process_time() - start < 5


@pytest.mark.parametrize("learn", [baselines.nearest, baselines.ngram])
def test_nothing_to_learn_from_is_refused(learn: Callable[..., list[Case]]) -> None:
    with pytest.raises(InputError, match="no training pairs"):
        learn([], asked("x"))
