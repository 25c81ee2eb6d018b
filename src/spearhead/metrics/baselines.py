"""The trivial answers that a trained model has to beat. Knows no metric and no model."""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.media import text
from spearhead.core.score import Case
from spearhead.metrics import parts
from spearhead.metrics.words import SINGLE, words

Pair = tuple[str, str]
"""Input and output of a training record."""

NAMES = {
    "copy": "the input as it is",
    "nearest": "the output of the training input with the greatest tf-idf cosine",
    "ngram": "each word replaced by its most likely counterpart, learnt from training pairs (IBM model 1 over the "
    "words that change)",
}
_WORD = re.compile(f"[{SINGLE}]|[^\\W_{SINGLE}]+(?:['’`][^\\W_{SINGLE}]+)*")


def copy(cases: Sequence[Case]) -> list[Case]:
    """The input as it is."""
    return _answered(cases, parts.inputs(cases, "copy"))


def reference(cases: Sequence[Case]) -> list[Case]:
    """The reference as the answer: no baseline to beat, but what a person's own answer scores where none is needed
    (truthfulness, diversity, memorisation).
    """
    return _answered(cases, parts.references(cases, "reference"))


def nearest(train_pairs: Sequence[Pair], cases: Sequence[Case]) -> list[Case]:
    """The output of the training pair whose input is nearest by cosine of tf-idf over words; the first of equals.

    An input that shares no word with any training input gets an empty answer. Of a conversation all of it is the input.
    """
    _some(train_pairs)
    vocabulary: dict[str, int] = {}
    codes: list[int] = []
    lengths: list[int] = []
    for given, _ in train_pairs:
        found = words(given)
        codes += [vocabulary.setdefault(word, len(vocabulary)) for word in found]
        lengths.append(len(found))
    size = max(len(vocabulary), 1)
    owner = np.repeat(np.arange(len(train_pairs)), lengths)
    keys, counts = np.unique(np.array(codes, dtype=np.int64) * len(train_pairs) + owner, return_counts=True)
    word, record = keys // len(train_pairs), keys % len(train_pairs)  # postings, sorted by word
    frequency = np.bincount(word, minlength=size)
    rarity = np.log((1 + len(train_pairs)) / (1 + frequency)) + 1
    weight = (1 + np.log(counts)) * rarity[word]
    norm = np.sqrt(np.bincount(record, weights=weight**2, minlength=len(train_pairs)))
    weight = weight / np.maximum(norm, 1e-12)[record]
    starts = np.concatenate([[0], np.cumsum(frequency)])
    answers = []
    for given in parts.sources(cases, "nearest"):
        score = np.zeros(len(train_pairs))
        for asked, times in Counter(words(given)).items():
            if (code := vocabulary.get(asked)) is not None:
                span = slice(starts[code], starts[code + 1])
                score[record[span]] += (1 + math.log(times)) * rarity[code] * weight[span]
        best = int(score.argmax())
        answers.append(train_pairs[best][1] if score[best] > 0 else "")
    return _answered(cases, answers)


def ngram(train_pairs: Sequence[Pair], cases: Sequence[Case]) -> list[Case]:
    """The input with each word replaced by its most likely counterpart; a strong baseline for rewriting in one
    language, a weak one for anything that must reorder or invent.
    """
    table = substitutions(train_pairs)
    answers = [_WORD.sub(lambda found: _like(found.group(), table), given) for given in parts.inputs(cases, "ngram")]
    return _answered(cases, answers)


def substitutions(train_pairs: Sequence[Pair], *, rounds: int = 10) -> dict[str, str]:
    """For each word (in lower case) that is more often replaced than kept, what it is replaced by.

    Words that both sides of a pair share are kept. What is left on either side is aligned by IBM model 1 (Brown et al.
    1993, section 4.2), with an empty word so that what has no counterpart pulls nothing along.
    """
    _some(train_pairs)
    kept: Counter[str] = Counter()
    source, target = _Names(), _Names()
    nowhere = source.code("")
    left: list[Any] = []
    right: list[Any] = []
    group: list[Any] = []
    groups = 0
    for given, wanted in train_pairs:
        before, after = Counter(_lower(given)), Counter(_lower(wanted))
        kept.update(before & after)
        gone = [source.code(word) for word in (before - after).elements()][:64]
        come = [target.code(word) for word in (after - before).elements()][:64]
        if gone and come:
            gone.append(nowhere)
            left.append(np.tile(np.array(gone), len(come)))
            right.append(np.repeat(np.array(come), len(gone)))
            group.append(np.repeat(np.arange(groups, groups + len(come)), len(gone)))
            groups += len(come)
    if not groups:
        return {}
    sources, groups_of = np.concatenate(left), np.concatenate(group)
    keys, link = np.unique(sources * len(target.codes) + np.concatenate(right), return_inverse=True)
    chance = np.ones(len(keys))
    for _ in range(rounds):
        share = chance[link]
        share /= np.bincount(groups_of, weights=share, minlength=groups)[groups_of]
        expected = np.bincount(link, weights=share, minlength=len(keys))
        chance = expected / np.bincount(keys // len(target.codes), weights=expected)[keys // len(target.codes)]
    table: dict[str, str] = {}
    most: dict[str, float] = {}
    old, new = list(source.codes), list(target.codes)
    for key, times in zip(keys.tolist(), expected.tolist(), strict=True):
        word = old[key // len(new)]
        if word and times > max(kept[word], most.get(word, 1.0)):  # once is no evidence
            table[word], most[word] = new[key % len(new)], times
    return table


class _Names:
    """Words numbered in the order in which they come."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    def code(self, word: str) -> int:
        return self.codes.setdefault(word, len(self.codes))


def _lower(given: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(given)]


def _like(word: str, table: dict[str, str]) -> str:
    """The counterpart in the word's own case; unknown words stay."""
    other = table.get(word.lower())
    if other is None:
        return word
    if len(word) > 1 and word.isupper():
        return other.upper()
    return other[0].upper() + other[1:] if word[0].isupper() else other


def _answered(cases: Sequence[Case], answers: Sequence[str]) -> list[Case]:
    return [dataclasses.replace(case, output=text(answer)) for case, answer in zip(cases, answers, strict=True)]


def _some(train_pairs: Sequence[Pair]) -> None:
    if not train_pairs:
        raise InputError("baselines: there are no training pairs to learn from: give at least one")
