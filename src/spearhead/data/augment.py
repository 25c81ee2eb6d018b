"""Changed copies of a text for training: plain functions with their randomness passed in. Knows no records."""

from collections.abc import Mapping

import numpy as np

from spearhead.core.ways import Way, take
from spearhead.index.near import WORD
from spearhead.media.text import noise


def typos(text: str, rng: np.random.Generator) -> str:
    """One letter in twenty is mistyped."""
    return noise.typos(text, rng=rng, rate=0.05)


def drop_words(text: str, rng: np.random.Generator) -> str:
    """One word in ten is left out, never the last one that is there."""
    spans = [found.span() for found in WORD.finditer(text)]
    gone = [span for span in spans if rng.random() < 0.1]
    if len(gone) == len(spans):
        gone = gone[1:]
    for start, end in reversed(gone):
        text = text[:start] + text[end + 1 if text[end : end + 1] == " " else end :]
    return text.strip()


def swap_words(text: str, rng: np.random.Generator) -> str:
    """One pair of neighbouring words in ten changes places; the punctuation stays where it is."""
    spans = [found.span() for found in WORD.finditer(text)]
    pieces = [text[start:end] for start, end in spans]
    at = 0
    while at + 1 < len(pieces):
        if rng.random() < 0.1:
            pieces[at], pieces[at + 1] = pieces[at + 1], pieces[at]
            at += 1  # a word moves once
        at += 1
    for (start, end), piece in zip(reversed(spans), reversed(pieces), strict=True):
        text = text[:start] + piece + text[end:]
    return text


def lower_case(text: str, rng: np.random.Generator) -> str:
    """Without capitals, as people type."""
    return text.lower()


WAYS: Mapping[str, Way[str]] = {
    "typos": typos,
    "drop_words": drop_words,
    "swap_words": swap_words,
    "lower_case": lower_case,
}


def augment(text: str, ways: Mapping[str, float], *, rng: np.random.Generator) -> str:
    """`text` after each named way, in the order of `WAYS`, with its probability; raises InputError on an unknown one.

    >>> augment("Let there be LIGHT", {"lower_case": 1.0}, rng=np.random.default_rng(0))
    'let there be light'
    """
    return take(text, ways, WAYS, rng=rng)
