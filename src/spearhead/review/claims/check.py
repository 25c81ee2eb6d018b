"""Looks for numbers and names that the source does not hold. It finds inventions and proves nothing.

A name is a capitalised word inside a sentence or, in Chinese, a word in Latin letters: a name that opens a sentence, a
Chinese name and a number in words are not seen. Numbers count by value: `1,000` is `1000`, `twelve` in the source
allows `12`. The metric `truthfulness` asks the same of held-out answers.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from spearhead.core.media import Media
from spearhead.core.review import Context, Direction, Finding
from spearhead.core.sentence import Sentence, said
from spearhead.media.text import numerals
from spearhead.review import categories
from spearhead.review.scanner import scan
from spearhead.review.segments import SegmentScanner

SEVERITY = 0.5
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[A-Za-zÀ-ɏ]{2,}|[^\W\d_A-Za-zÀ-ɏ]{2,}")
_LATIN = re.compile("[A-Za-zÀ-ɏ]{2,}")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_OPENING = " \t\"'“”‘’«»(（[「『《*_#>-–—"
_ENDS = ".!?:…。！？：\r\n"


@dataclass(frozen=True, slots=True)
class _Known:
    """What the source holds."""

    numbers: frozenset[str]
    words: frozenset[str]


def _known(source: str) -> _Known:
    numbers = {value for value, _ in numerals.in_digits(source)} | numerals.in_words(source)
    return _Known(frozenset(numbers), frozenset(_words(source)))


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


@dataclass(frozen=True, slots=True)
class ClaimsCheck:
    """One finding a number or name; none where there is no source to compare with, and none for prompts and data."""

    name: str = field(default="claims", init=False)
    modality: str = field(default="text", init=False)
    reach: int = field(default=240, init=False)

    def scanner_for(self, context: Context) -> SegmentScanner:
        """A scanner for one stream."""
        if context.direction is not Direction.OUTPUT or context.source is None or context.source.modality != "text":
            return SegmentScanner(lambda sentence: [])
        known = _known(context.source.text)
        return SegmentScanner(lambda sentence: list(self._judge(sentence, known)))

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        """Every number and name of the output that its source does not hold."""
        try:
            return scan(self.scanner_for(context), item.text)
        except UnicodeDecodeError:
            return [Finding(self.name, categories.UNREADABLE, 1.0, said("review.not_text"))]

    def _judge(self, sentence: str, known: _Known) -> Iterator[Finding]:
        for found in _NUMBER.finditer(sentence):
            values = {value for value, _ in numerals.in_digits(found.group())}
            if values - known.numbers:
                yield self._finding(said("review.claims.new_number"), found)
        in_chinese = len(_HAN.findall(sentence)) * 2 > len(_WORD.findall(sentence))
        shouts = sentence.upper() == sentence and not in_chinese
        for name in [] if shouts else (_LATIN if in_chinese else _WORD).finditer(sentence):
            meant = in_chinese or _is_name(sentence, name)
            if meant and not known.words.issuperset(_words(name.group())):
                yield self._finding(said("review.claims.new_name"), name)

    def _finding(self, reason: Sentence, found: "re.Match[str]") -> Finding:
        return Finding(self.name, "unsupported-claims", SEVERITY, reason, start=found.start(), end=found.end())


def _is_name(text: str, found: "re.Match[str]") -> bool:
    if not found.group()[0].isupper():
        return False
    before = text[max(0, found.start() - 16) : found.start()]
    bare = before.rstrip(_OPENING)
    quoted = len(bare) < len(before.rstrip(" \t"))  # a quotation opens like a sentence
    return not (quoted or not bare or bare[-1] in _ENDS)
