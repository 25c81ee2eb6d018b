"""A counting language model: interpolated Witten-Bell over characters or words, with numpy. The bar that every trained
text model has to clear. Knows nothing of scores.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spearhead.core.errors import InputError
from spearhead.metrics.perplexity import Likelihoods
from spearhead.metrics.words import words

Codes = np.ndarray[Any, np.dtype[np.int64]]
Array = np.ndarray[Any, np.dtype[np.float64]]
Unit = Literal["character", "word"]
CODE_POINT = math.log(0x110000)
"""Nats that name one Unicode character."""


@dataclass(frozen=True, slots=True)
class _Level:
    """All n-grams of one length: sorted keys (context id x symbols + symbol), counts, and what follows a context."""

    keys: Codes
    counts: Array
    followers: Array
    """How often each context was continued."""
    kinds: Array
    """In how many different ways."""


@dataclass(frozen=True, slots=True)
class NGram:
    """A trained model; make one with `fit`. A symbol that training did not see counts as one unknown symbol."""

    order: int
    unit: Unit
    symbols: dict[str, int]
    levels: tuple[_Level, ...]

    @property
    def signature(self) -> str:
        """Names every option that moves its likelihoods."""
        return f"ngram|witten-bell,interpolated|order:{self.order}|unit:{self.unit}|symbols:{len(self.symbols)}+unknown"


def fit(texts: Sequence[str], *, order: int, unit: Unit = "character") -> NGram:
    """Count the n-grams of `texts` up to `order`; contexts do not cross from one text to the next.

    >>> round(float(nats(fit(["aab"], order=1), ["a"])[0][0]), 4)   # (2 + 2 * 1/3) / (3 + 2)
    0.6286
    """
    if order < 1:
        raise InputError(f"n-gram order {order}: wanted 1 or more")
    symbols: dict[str, int] = {}
    for text in texts:
        for symbol in _split(text, unit):
            symbols.setdefault(symbol, len(symbols))
    if not symbols:
        raise InputError("n-gram: the training texts are empty: give it some text")
    codes, place = _encode(texts, symbols, unit)
    size = len(symbols) + 1
    levels: list[_Level] = []
    context = np.zeros(len(codes), dtype=np.int64)  # the id of the symbols before each position; -1: there are too few
    contexts = 1
    for length in range(1, order + 1):
        inside = context >= 0
        keys, ids, counts = np.unique(context[inside] * size + codes[inside], return_inverse=True, return_counts=True)
        owner = keys // size
        levels.append(
            _Level(
                keys=keys,
                counts=counts.astype(np.float64),
                followers=np.bincount(owner, weights=counts, minlength=contexts).astype(np.float64),
                kinds=np.bincount(owner, minlength=contexts).astype(np.float64),
            )
        )
        gram = np.full(len(codes), -1, dtype=np.int64)
        gram[inside] = ids
        context, contexts = _shift(gram, place, length), len(keys)
    return NGram(order, unit, symbols, tuple(levels))


def nats(model: NGram, texts: Sequence[str]) -> list[Array]:
    """For every text the nats of each of its symbols, given those before it in the same text.

    Interpolated Witten-Bell (Chen and Goodman 1998, equation 16) down to the uniform distribution:
    p(w | h) = (c(h w) + t(h) p(w | shorter h)) / (c(h) + t(h)), where t(h) counts the different symbols after h.
    """
    codes, place = _encode(texts, model.symbols, model.unit)
    size = len(model.symbols) + 1
    chance = np.full(len(codes), 1.0 / size)
    context = np.zeros(len(codes), dtype=np.int64)
    for length, level in enumerate(model.levels, start=1):
        if not len(level.keys):  # no text that was counted is so long
            break
        known = np.flatnonzero(context >= 0)
        keys = context[known] * size + codes[known]
        found = np.minimum(np.searchsorted(level.keys, keys), len(level.keys) - 1)
        seen = level.keys[found] == keys
        count = np.where(seen, level.counts[found], 0.0)
        kinds, followers = level.kinds[context[known]], level.followers[context[known]]
        weight = followers + kinds
        backed = chance[known]
        chance[known] = np.where(weight > 0, (count + kinds * backed) / np.maximum(weight, 1.0), backed)
        gram = np.full(len(codes), -1, dtype=np.int64)
        gram[known[seen]] = found[seen]
        context = _shift(gram, place, length)
    ends = np.flatnonzero(place == 0)[1:]
    surprise = iter(np.split(-np.log(chance), ends))
    return [next(surprise) if _split(text, model.unit) else np.zeros(0) for text in texts]


def likelihoods(model: NGram, texts: Sequence[str]) -> Likelihoods:
    """The same summed per text, for perplexity and bits per byte; empty texts are refused there.

    Of characters only, since words leave out case, spaces and punctuation, which bits per byte must pay for. A
    character that training did not see pays for its code point besides: so the bits could be decoded.
    """
    if model.unit != "character":
        raise InputError("n-gram likelihoods: words do not hold every byte of a text: fit the model on characters")
    each = nats(model, texts)
    unknown = [sum(symbol not in model.symbols for symbol in text) for text in texts]
    return Likelihoods(
        nats=[float(part.sum()) + CODE_POINT * new for part, new in zip(each, unknown, strict=True)],
        tokens=[len(part) for part in each],
        bytes=[len(text.encode()) for text in texts],
        tokenizer=model.signature,
        context=f"same text, {model.order - 1} symbols",
    )


def _split(text: str, unit: Unit) -> Sequence[str]:
    return text if unit == "character" else words(text)


def _encode(texts: Sequence[str], symbols: dict[str, int], unit: Unit) -> tuple[Codes, Codes]:
    """All texts in a row as codes (unknown: the last code), and the position of each symbol in its text."""
    unknown = len(symbols)
    parts = [_split(text, unit) for text in texts]
    total = sum(len(part) for part in parts)
    codes = np.fromiter((symbols.get(symbol, unknown) for part in parts for symbol in part), np.int64, total)
    place = np.concatenate([np.arange(len(part), dtype=np.int64) for part in parts]) if parts else codes
    return codes, place


def _shift(gram: Codes, place: Codes, length: int) -> Codes:
    """The id of the `length` symbols before each position, -1 where the text has fewer or training never saw them."""
    before = np.full(len(gram), -1, dtype=np.int64)
    before[1:] = gram[:-1]
    before[place < length] = -1
    return before
