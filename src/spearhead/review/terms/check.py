"""Looks for listed terms with one pass of an Aho-Corasick automaton a script. Knows no policy."""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import ahocorasick

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.review import Context, Finding
from spearhead.review import categories
from spearhead.review.folding import BEYOND, Fold, chinese, latin
from spearhead.review.scanner import place

_RUNS = re.compile("  +")


@dataclass(frozen=True, slots=True)
class Term:
    """One line of a list after its alternatives were written out."""

    category: str
    severity: float
    words: str


def read_terms(text: str, *, name: str) -> list[Term]:
    """The terms of a list; raises InputError that names the line.

    >>> [term.words for term in read_terms("hate\\t0.9\\t{all|no} x", name="list")]
    ['all x', 'no x']
    """
    terms = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split("\t")
        if len(parts) != 3 or not re.fullmatch(r"[01]\.\d+", parts[1]) or parts[0] not in categories.NAMES:
            raise InputError(f"{name} line {number}: wanted category, severity and term, parted by tabs; got {line!r}")
        terms += [Term(parts[0], float(parts[1]), words) for words in _written_out(parts[2])]
    return terms


def _written_out(pattern: str) -> Iterator[str]:
    pieces = [piece.split("|") for piece in re.split(r"[{}]", pattern)]
    for choice in itertools.product(*pieces):
        yield "".join(choice)


@dataclass(frozen=True, slots=True)
class _Script:
    """The automaton of one script, the folding that its terms and the texts go through, and whether words count."""

    fold: Fold
    words: bool
    automaton: Any
    longest: int
    """Characters of the longest folded term."""


def _script(terms: Iterable[Term], fold: Fold, *, words: bool) -> _Script:
    automaton, longest = ahocorasick.Automaton(), 1
    for term in terms:
        folded = term.words.translate(fold)
        if words:  # a term stands between spaces, so that it is never a part of another word
            folded = f" {_RUNS.sub(' ', folded).strip()} "
        if not folded.strip() or BEYOND in folded:
            raise InputError(f"the term {term.words!r} has no letters, or some that cannot be looked for")
        worst: Term | None = automaton.get(folded, None)
        if worst is None or worst.severity < term.severity:
            automaton.add_word(folded, term)
        longest = max(longest, len(folded))
    automaton.make_automaton()
    return _Script(fold, words, automaton, longest)


@cache
def _scripts(extra: tuple[Term, ...], allowed: frozenset[str]) -> tuple[_Script, ...]:
    """Latin and Chinese automata of the lists, with a policy's own terms and without those it allows."""
    folder = resources.files("spearhead.review.terms")
    listed = [
        term
        for name in ("en.txt", "zh.txt")
        for term in read_terms(folder.joinpath(name).read_text("utf-8"), name=name)
        if term.words not in allowed
    ]
    terms = [*listed, *extra]
    return tuple(
        _script([term for term in terms if is_latin(term.words) is words], fold, words=words)
        for fold, words in ((Fold(latin), True), (Fold(chinese), False))
        if any(is_latin(term.words) is words for term in terms)
    )


def is_latin(words: str) -> bool:
    """Whether a term is written in Latin letters, so that it matches whole words only."""
    return all(character.isascii() or unlike_chinese(character) for character in words)


def unlike_chinese(character: str) -> bool:
    """Whether the character is outside the scripts that write without spaces."""
    return ord(character) < 0x2E80


class _ScriptScanner:
    """Follows a text in one script: folds each character once and keeps the automaton's state."""

    def __init__(self, script: _Script, *, check: str) -> None:
        self.script, self.check = script, check
        self.folded = " " if script.words else ""  # the tail of the folded text; its first character stands at `base`
        self.places = [0] if script.words else []  # where each folded character of the tail stands in the raw text
        self.base, self.length = 0, 0
        self.walk = script.automaton.iter(self.folded)
        for _ in self.walk:  # a term is never as short as this; the state moves on
            pass

    def feed(self, piece: str) -> list[Finding]:
        added, places = [], []
        char, words = self.script.fold.char, self.script.words
        spaced = self.folded.endswith(" ")
        for offset, character in enumerate(piece, self.length):
            for plain in char(character):
                if words and plain == " ":
                    if spaced:
                        continue
                    spaced = True
                else:
                    spaced = False
                added.append(plain)
                places.append(offset)
        self.length += len(piece)
        return self._walk("".join(added), places)

    def _walk(self, added: str, places: list[int]) -> list[Finding]:
        if not added:
            return []
        self.folded += added
        self.places += places
        self.walk.set(added)
        found = [self._finding(end, term) for end, term in self.walk]
        if (drop := len(self.folded) - self.script.longest) > 0:
            self.folded, self.places, self.base = self.folded[drop:], self.places[drop:], self.base + drop
        return found

    def _finding(self, end: int, term: Term) -> Finding:
        folded = term.words.translate(self.script.fold)
        size = len(_RUNS.sub(" ", folded).strip()) if self.script.words else len(folded)
        last = end - self.base - (1 if self.script.words else 0)
        return _finding(self.check, term, start=self.places[last - size + 1], end=self.places[last] + 1)

    def pending(self) -> int:
        starts = range(len(self.folded))
        for start in starts:
            if self.script.words and self.folded[start] != " ":
                continue
            if self.script.automaton.match(self.folded[start:]):
                first = start + 1 if self.script.words else start
                return self.places[first] if first < len(self.places) else self.length
        return self.length

    def finish(self) -> list[Finding]:
        return self._walk(" ", [self.length]) if self.script.words and not self.folded.endswith(" ") else []


def _finding(check: str, term: Term, *, start: int, end: int) -> Finding:
    return Finding(check, term.category, term.severity, f"listed under {term.category}", start=start, end=end)


class TermsScanner:
    """Follows a text in every script that has terms."""

    def __init__(self, scripts: tuple[_Script, ...], *, check: str) -> None:
        self.parts = [_ScriptScanner(script, check=check) for script in scripts]

    def feed(self, piece: str) -> list[Finding]:
        """See Scanner."""
        return [finding for part in self.parts for finding in part.feed(piece)]

    def pending(self) -> int:
        """See Scanner."""
        return min(part.pending() for part in self.parts)

    def finish(self) -> list[Finding]:
        """See Scanner."""
        return [finding for part in self.parts for finding in part.finish()]


@dataclass(frozen=True, slots=True)
class TermsCheck:
    """Findings for listed terms. Options of a policy: `extra` (lines of category, severity, term) and `allow`."""

    extra: tuple[Term, ...] = ()
    allowed: frozenset[str] = frozenset()
    name: str = field(default="terms", init=False)
    modality: str = field(default="text", init=False)

    @property
    def reach(self) -> int:
        """Characters of the longest term as folded; hidden characters inside a term come on top."""
        return max(script.longest for script in self._scripts())

    def _scripts(self) -> tuple[_Script, ...]:
        return _scripts(self.extra, self.allowed)

    def configured(self, options: "dict[str, object]") -> "TermsCheck":
        """This check with the options of a policy; raises InputError on anything it does not know."""
        if unknown := sorted(options.keys() - {"extra", "allow"}):
            raise InputError(f"check terms: option {unknown[0]!r} is unknown, there are allow, extra")
        extra, allow = options.get("extra", []), options.get("allow", [])
        for key, value in (("extra", extra), ("allow", allow)):
            if not isinstance(value, (list, tuple)) or not all(isinstance(line, str) for line in value):
                raise InputError(f"check terms: option {key!r} wants a list of lines, got {value!r}")
        assert isinstance(extra, (list, tuple)) and isinstance(allow, (list, tuple))
        terms = read_terms("\n".join(extra), name="option 'extra' of check terms")
        return TermsCheck(tuple(terms), frozenset(allow))

    def scanner(self) -> TermsScanner:
        """A scanner for one stream."""
        return TermsScanner(self._scripts(), check=self.name)

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        """Every listed term in the text, in the order of their places."""
        try:
            text = item.text
        except UnicodeDecodeError:
            return [Finding(self.name, categories.UNREADABLE, 1.0, "the text is not UTF-8")]
        found: list[Finding] = []
        for script in self._scripts():
            if not script.words and text.isascii():
                continue
            folded = text.translate(script.fold)
            if script.words:
                folded = f" {_RUNS.sub(' ', folded)} "
                if folded.startswith("  "):
                    folded = folded[1:]
            if any(True for _ in script.automaton.iter(folded)):  # rare: only now the way back is worth walking
                part = _ScriptScanner(script, check=self.name)
                found += [*part.feed(text), *part.finish()]
        return sorted(found, key=place)
