"""Promises of sentences: each is written in every language, what is read is bounded, and saying one never fails."""

import json
import math
import string
from dataclasses import asdict
from typing import Any

import pytest

from spearhead.core import sentence
from spearhead.core.sentence import Sentence, said, say

MISSED = said(
    "release.verdict.misses",
    bar="chrf",
    wanted=said("release.bar.beats", baseline="copy", p=0.05),
    got=said("release.bar.against", value=41.236, theirs=50.0, p=0.3),
)


def places(words: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(words) if name is not None}


@pytest.mark.parametrize("language", sentence.LANGUAGES)
def test_every_language_says_the_same_sentences_with_the_same_facts(language: str) -> None:
    english, other = sentence.book("en"), sentence.book(language)
    assert len(english) > 100 and english.keys() == other.keys()
    assert {name: places(words) for name, words in other.items()} == {
        name: places(words) for name, words in english.items()
    }


def test_a_sentence_is_said_in_the_language_of_whoever_reads_it() -> None:
    assert str(MISSED) == "it misses chrf: wanted better than copy (p < 0.05), got 41.24 against 50, p = 0.3"
    assert say(MISSED, "zh") == "未达到 chrf：要求胜过 copy（p < 0.05），结果：41.24，对方 50，p = 0.3"
    assert say("said by a person", "zh") == "said by a person"
    income = said("release.cost.income", prompts=3, prompt=500_000, completions=1, completion=0, unit="token",
                  currency="EUR", income=2)  # fmt: skip
    assert "a million tokens = 0.000000002" in str(income) and "每百万词元" in say(income, "zh")
    other = said("review.language.other", language="fr", wanted=("de", "en"))
    assert (str(other), say(other, "zh")) == ("looks like fr, wanted de or en", "疑似语言 fr，要求 de或en")


def test_what_is_written_is_read_back_the_same_and_stays_english_text_where_it_was() -> None:
    for one in (MISSED, said("review.findings", found=("a", said("review.not_text"), None, 1.5)), "in English"):
        raw = one if isinstance(one, str) else asdict(one)
        assert sentence.read(json.loads(json.dumps(raw))) == one
    assert len({MISSED, MISSED, said("review.not_text")}) == 2


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"baseline": None, "p": "not a number"},
        {"baseline": ("a", said("nobody.wrote.this", x=(1, 2))), "p": math.nan},
        {"baseline": "{p.__class__}", "p": True, "more": 1},
        {"cost": "abc", "income": None, "currency": 3},
    ],
)
@pytest.mark.parametrize("words", ["release.bar.beats", "release.verdict.pays", "no.such.words", "release.bar"])
@pytest.mark.parametrize("language", sentence.LANGUAGES)
def test_saying_never_fails(words: str, facts: dict[str, Any], language: str) -> None:
    told = say(Sentence(words, facts), language)
    assert told and "<class" not in told and "Sentence(" not in told


def deep(levels: int) -> Any:
    return {"words": "a.b", "facts": {"x": deep(levels - 1)}} if levels else 1


@pytest.mark.parametrize(
    "raw",
    [
        None,
        3,
        ["a", "b"],
        {"words": "a.b"},
        {"words": "a.b", "facts": {}, "more": 1},
        {"words": "A b", "facts": {}},
        {"words": "a." + "b" * 100, "facts": {}},
        {"words": "../secrets.x", "facts": {}},
        {"words": "a.b", "facts": []},
        {"words": "a.b", "facts": {"A": 1}},
        {"words": "a.b", "facts": {"x": {"y": 1}}},
        {"words": "a.b", "facts": {"x": 1 << 63}},
        {"words": "a.b", "facts": {f"x{'_' * n}": 1 for n in range(32)} | {"y": 1}},
        deep(6),
        {"words": "a.b", "facts": {"x": [[[[[1]]]]]}},
    ],
)
def test_what_is_no_sentence_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError):
        sentence.read(raw)
    assert sentence.read(deep(4)) != ""
