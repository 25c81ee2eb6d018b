"""Truthfulness: the share of outputs that hold no number and no name that their input does not hold.

A name is a capitalised word inside a sentence or, in a text that is mainly Chinese, a word in Latin letters: a name
that opens a sentence, a Chinese name and a number in words are not seen. So it finds inventions, and proves nothing.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spearhead.core.score import Better, Case
from spearhead.media.text.numerals import in_digits, in_words
from spearhead.metrics import parts
from spearhead.metrics.mean import percent, rows
from spearhead.metrics.words import is_mainly_han, words

_WORD = re.compile(r"[^\W\d_]{2,}")
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]{2,}")
_OPENING = " \t\"'“”‘’«»(（[「『《*_#>"
"""What may stand between the end of one sentence and the first word of the next."""
_ENDS = ".!?:…。！？：\r\n-–—"


@dataclass(frozen=True, slots=True)
class Truthfulness:
    """Numbers count by value (`1,000` is `1000`, `twelve` and `十二` in the input allow `12`), names without case."""

    name: ClassVar[str] = "truthfulness"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "higher"

    @property
    def signature(self) -> str:
        """What is looked for and where it may come from."""
        options = "numbers:digits,input-words-read|names:capitalised-inside-sentence,latin-if-han|source:input"
        return f"truthfulness|outputs-without-additions|{options}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): whether nothing was added, and 1."""
        pairs = zip(parts.sources(cases, self.name), parts.outputs(cases, self.name), strict=True)
        return rows(float(not additions(given, made)) for given, made in pairs)

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Outputs without additions per 100."""
        return percent(totals)


def additions(given: str, made: str) -> list[str]:
    """The numbers and names in `made` that `given` does not hold, as they stand there.

    >>> additions("He paid twelve coins to Anna.", "Anna was paid 12 coins and 3 goats by Boaz.")
    ['3', 'Boaz']
    """
    known_numbers = {value for value, _ in in_digits(given)} | in_words(given)
    known_words = set(words(given))
    added = [text for value, text in in_digits(made) if value not in known_numbers]
    return added + [name for name in _names(made) if words(name)[0] not in known_words]


def _names(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text)
    if is_mainly_han(text):
        return _LATIN.findall(text)
    if text.upper() == text:  # nothing stands out among capitals
        return []
    return [
        found.group()
        for found in _WORD.finditer(text)
        if found.group()[0].isupper() and not _opens_a_sentence(text, found.start())
    ]


def _opens_a_sentence(text: str, at: int) -> bool:
    before = text[max(0, at - 16) : at]
    bare = before.rstrip(_OPENING)
    quoted = len(bare) < len(before.rstrip(" \t"))  # a quotation opens like a sentence
    return quoted or not bare or bare[-1] in _ENDS


METRIC = Truthfulness()
