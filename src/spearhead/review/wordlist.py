"""Looks for listed words and phrases, whatever they are dressed in, with one pass of an Aho-Corasick automaton a
script. Knows no list and no policy: a check brings its lists.

Words in Latin letters match whole words only. They are also found when they are spelled apart (`b o m b`, `b.o.m.b`),
cut by a sign (`b-omb`) or cut elsewhere (`how tomake abomb`); Chinese is found wherever its characters stand.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

import ahocorasick

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.review import Context, Finding
from spearhead.core.sentence import said
from spearhead.review import categories
from spearhead.review.folding import BEYOND, Fold, chinese, latin
from spearhead.review.scanner import place

_RUNS = re.compile("  +")
_LONG = 10
"""Letters from which a phrase is no accident, wherever its spaces are."""
_CUT = 4
"""Letters from which a word that a sign cuts in two is no accident."""
_APOSTROPHES = frozenset("'\u2019\u02bc`\u00b4")
"""Signs that words have of themselves: `coon's` is no plural."""


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


def is_latin(words: str) -> bool:
    """Whether a term is written in Latin letters, so that it matches whole words only."""
    return all(ord(character) < 0x2E80 for character in words)  # below the scripts that write without spaces


# -- automata --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Script:
    """The automaton of one script, the folding that its terms and the texts go through, and whether words count."""

    fold: Fold
    words: bool
    automaton: Any
    longest: int
    """Characters of the longest folded term."""


@dataclass(frozen=True, slots=True)
class _Joined:
    """Latin terms without their spaces."""

    fold: Fold
    automaton: Any
    longest: int


def _folded(term: Term, fold: Fold, *, words: bool) -> str:
    folded = term.words.translate(fold)
    if words:
        folded = _RUNS.sub(" ", folded).strip()
    if not folded.strip() or BEYOND in folded:
        raise InputError(f"the term {term.words!r} has no letters, or some that cannot be looked for")
    return folded


def _script(terms: Iterable[Term], fold: Fold, *, words: bool) -> _Script:
    automaton, longest = ahocorasick.Automaton(), 1
    for term in terms:
        folded = _folded(term, fold, words=words)
        if words:  # a term stands between spaces, so that it is never a part of another word
            folded = f" {folded} "
        worst: Term | None = automaton.get(folded, None)
        if worst is None or worst.severity < term.severity:
            automaton.add_word(folded, term)
        longest = max(longest, len(folded))
    automaton.make_automaton()
    return _Script(fold, words, automaton, longest)


def _joined(terms: Iterable[Term], fold: Fold) -> _Joined:
    # The value of a key: every term that is written with these letters, with the lengths of its words.
    held: dict[str, dict[tuple[int, ...], Term]] = {}
    for term in terms:
        parts = _folded(term, fold, words=True).split(" ")
        ways = held.setdefault("".join(parts), {})
        lengths = tuple(map(len, parts))
        if lengths not in ways or ways[lengths].severity < term.severity:
            ways[lengths] = term
    automaton = ahocorasick.Automaton()
    for letters, ways in held.items():
        automaton.add_word(letters, (len(letters), tuple(ways.items())))
    automaton.make_automaton()
    return _Joined(fold, automaton, max(map(len, held)))


@cache
def _automata(
    folder: str, files: tuple[str, ...], extra: tuple[Term, ...], allowed: frozenset[str]
) -> tuple[tuple[_Script, ...], _Joined | None]:
    """Latin and Chinese automata of the lists, with a policy's own terms and without those it allows."""
    place = resources.files(folder)
    listed = [
        term
        for name in files
        for term in read_terms(place.joinpath(name).read_text("utf-8"), name=name)
        if term.words not in allowed
    ]
    terms = [*listed, *extra]
    in_latin = [term for term in terms if is_latin(term.words)]
    others = [term for term in terms if not is_latin(term.words)]
    fold = Fold(latin)
    scripts = [_script(in_latin, fold, words=True)] if in_latin else []
    scripts += [_script(others, Fold(chinese), words=False)] if others else []
    return tuple(scripts), _joined(in_latin, fold) if in_latin else None


# -- following a text ------------------------------------------------------------------------------------------------
class _ScriptScanner:
    """Follows a text in one script: folds each character once and keeps the automaton's state."""

    def __init__(self, script: _Script, *, check: str) -> None:
        self.script, self.check = script, check
        self.folded = " " if script.words else ""  # the tail of the folded text; its first character stands at `base`
        self.places = [0] if script.words else []  # where each folded character of the tail stands in the raw text
        self.digits = [False] if script.words else []  # whether it was written as a digit
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
                self.digits.append(character.isdigit())
        self.length += len(piece)
        return self._walk("".join(added), places)

    def _walk(self, added: str, places: list[int]) -> list[Finding]:
        if not added:
            return []
        self.folded += added
        self.places += places
        self.walk.set(added)
        found = [finding for end, term in self.walk if (finding := self._finding(end, term))]
        if (drop := len(self.folded) - self.script.longest) > 0:
            self.folded, self.places, self.base = self.folded[drop:], self.places[drop:], self.base + drop
            self.digits = self.digits[drop:]
        return found

    def _finding(self, end: int, term: Term) -> Finding | None:
        folded = term.words.translate(self.script.fold)
        size = len(_RUNS.sub(" ", folded).strip()) if self.script.words else len(folded)
        last = end - self.base - (1 if self.script.words else 0)
        first = last - size + 1
        if _is_number(self.digits[first : last + 1], term):
            return None
        return _finding(self.check, term, start=self.places[first], end=self.places[last] + 1)

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
        if not self.script.words or self.folded.endswith(" "):
            return []
        self.digits.append(False)
        return self._walk(" ", [self.length])


class _JoinedScanner:
    """Follows the letters of a text alone, and remembers where its words began."""

    def __init__(self, joined: _Joined, *, check: str) -> None:
        self.joined, self.check = joined, check
        self.letters = ""  # the tail; its first letter has number `base`
        self.places: list[int] = []
        self.begins: list[bool] = []
        self.cuts: list[bool] = []  # whether a word begins there after signs alone, without a space
        self.digits: list[bool] = []
        self.base, self.length = 0, 0
        self.gap = True  # nothing but signs since the last letter
        self.space = True  # a space among them, or what else parts words
        self.ended: list[tuple[int, Any]] = []  # matches that end with the last letter: does a word end there?
        self.walk = joined.automaton.iter("")

    def feed(self, piece: str) -> list[Finding]:
        char, added = self.joined.fold.char, []
        for offset, character in enumerate(piece, self.length):
            for plain in char(character):
                if plain == " ":
                    self.gap = True
                    self.space |= character.isspace() or character.isalnum() or character in _APOSTROPHES
                    continue
                added.append(plain)
                self.places.append(offset)
                self.begins.append(self.gap)
                self.cuts.append(self.gap and not self.space)
                self.digits.append(character.isdigit())
                self.gap = self.space = False
        self.length += len(piece)
        return self._walk("".join(added))

    def pending(self) -> int:
        for start, begins in enumerate(self.begins):
            if begins and self.joined.automaton.match(self.letters[start:]):
                return self.places[start]
        return self.length

    def finish(self) -> list[Finding]:
        self.gap = True
        return self._walk("")

    def _walk(self, added: str) -> list[Finding]:
        self.letters += added
        matches = self.ended
        if added:
            self.walk.set(added)
            matches = [*matches, *self.walk]
        last = self.base + len(self.letters) - 1
        self.ended, found = [], []
        for end, held in matches:
            if end == last and not self.gap:
                self.ended.append((end, held))
            elif end == last or self.begins[end + 1 - self.base]:
                found += self._findings(end - self.base, *held)
        if (drop := len(self.letters) - self.joined.longest) > 0:
            self.letters, self.places, self.base = self.letters[drop:], self.places[drop:], self.base + drop
            self.begins, self.digits = self.begins[drop:], self.digits[drop:]
            self.cuts = self.cuts[drop:]
        return found

    def _findings(self, last: int, size: int, ways: tuple[tuple[tuple[int, ...], Term], ...]) -> list[Finding]:
        first = last - size + 1
        if not self.begins[first]:
            return []
        begins = [n for n in range(size) if self.begins[first + n]]
        tokens = tuple(after - before for before, after in itertools.pairwise([*begins, size]))
        cuts = tuple(self.cuts[first + n] for n in begins)
        start, end = self.places[first], self.places[last] + 1
        # What is written as it is listed was found with its spaces.
        return [
            _finding(self.check, term, start=start, end=end)
            for lengths, term in ways
            if tokens != lengths
            and (size >= _LONG or _is_spelled(tokens, lengths) or _is_cut(tokens, lengths, cuts))
            and not _is_number(self.digits[first : last + 1], term)
        ]


def _is_spelled(tokens: tuple[int, ...], lengths: tuple[int, ...]) -> bool:
    """Whether every word of a term is one token, or single letters.

    >>> _is_spelled((1, 1, 1, 2), (3, 2)), _is_spelled((1, 3), (4,))
    (True, False)
    """
    left = list(tokens)
    for length in lengths:
        if left[:length] == [1] * length:
            del left[:length]
        elif left[:1] == [length]:
            del left[:1]
        else:
            return False
    return not left


def _is_cut(tokens: tuple[int, ...], lengths: tuple[int, ...], cuts: tuple[bool, ...]) -> bool:
    """Whether every word of a term is one token, but for one of at least `_CUT` letters that a sign cuts in two.

    >>> _is_cut((4, 1, 3), (4, 4), (False, False, True)), _is_cut((1, 3), (4,), (False, False))
    (True, False)
    """
    for at, length in enumerate(lengths):
        if tokens[at] != length:
            whole = (*tokens[:at], sum(tokens[at : at + 2]), *tokens[at + 2 :])
            return whole == lengths and length >= _CUT and cuts[at + 1]
    return False


def _is_number(digits: list[bool], term: Term) -> bool:
    """Whether most of a match was written in digits and of its term is not: `455` is a number, `4ss` is a word."""
    return 2 * sum(digits) > len(digits) and 2 * sum(map(str.isdigit, term.words)) <= len(term.words)


def _finding(check: str, term: Term, *, start: int, end: int) -> Finding:
    return Finding(
        check, term.category, term.severity, said("review.listed", category=term.category), start=start, end=end
    )


class ListScanner:
    """Follows a text in every script that has terms."""

    def __init__(self, check: "ListCheck") -> None:
        scripts, joined = check.automata()
        self.parts: list[_ScriptScanner | _JoinedScanner] = [
            _ScriptScanner(script, check=check.name) for script in scripts
        ]
        if joined:
            self.parts.append(_JoinedScanner(joined, check=check.name))

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
class ListCheck:
    """Findings for listed terms. Options of a policy: `extra` (lines of category, severity, term) and `allow`."""

    name: str
    folder: str
    """The package that the lists lie in."""
    files: tuple[str, ...] = ("en.txt", "zh.txt")
    extra: tuple[Term, ...] = ()
    allowed: frozenset[str] = frozenset()
    modality: str = field(default="text", init=False)

    @property
    def reach(self) -> int:
        """Characters of the longest term as folded; hidden characters inside a term come on top."""
        return max(script.longest for script in self.automata()[0])

    def automata(self) -> tuple[tuple[_Script, ...], _Joined | None]:
        """What is looked for, made once for equal lists."""
        return _automata(self.folder, self.files, self.extra, self.allowed)

    def configured(self, options: "dict[str, object]") -> "ListCheck":
        """This check with the options of a policy; raises InputError on anything it does not know."""
        if unknown := sorted(options.keys() - {"extra", "allow"}):
            raise InputError(f"check {self.name}: option {unknown[0]!r} is unknown, there are allow, extra")
        extra, allow = options.get("extra", []), options.get("allow", [])
        for key, value in (("extra", extra), ("allow", allow)):
            if not isinstance(value, (list, tuple)) or not all(isinstance(line, str) for line in value):
                raise InputError(f"check {self.name}: option {key!r} wants a list of lines, got {value!r}")
        assert isinstance(extra, (list, tuple)) and isinstance(allow, (list, tuple))
        terms = read_terms("\n".join(extra), name=f"option 'extra' of check {self.name}")
        made = replace(self, extra=tuple(terms), allowed=frozenset(allow))
        made.automata()  # a term that cannot be looked for is refused now, not at the first text
        return made

    def scanner(self) -> ListScanner:
        """A scanner for one stream."""
        return ListScanner(self)

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        """Every listed term in the text, in the order of their places."""
        try:
            text = item.text
        except UnicodeDecodeError:
            return [Finding(self.name, categories.UNREADABLE, 1.0, said("review.not_text"))]
        found: list[Finding] = []
        scripts, joined = self.automata()
        for script in scripts:
            if not script.words and text.isascii():
                continue
            folded = text.translate(script.fold)
            if script.words:
                folded = f" {_RUNS.sub(' ', folded)} "
                if folded.startswith("  "):
                    folded = folded[1:]
            parts: list[_ScriptScanner | _JoinedScanner] = []
            # Rare: only now the way back to the places is worth walking.
            if any(True for _ in script.automaton.iter(folded)):
                parts.append(_ScriptScanner(script, check=self.name))
            if script.words and joined and _is_apart(joined, folded):
                parts.append(_JoinedScanner(joined, check=self.name))
            found += [finding for part in parts for finding in (*part.feed(text), *part.finish())]
        return sorted(found, key=place)


def _is_apart(joined: _Joined, folded: str) -> bool:
    """Whether a term stands in the text from the beginning of a word to the end of one, whatever spaces are in it."""
    words = folded.split()
    ends: set[int] | None = None
    for last, (size, _) in joined.automaton.iter("".join(words)):
        if ends is None:
            ends = {0, *itertools.accumulate(map(len, words))}
        if last + 1 in ends and last + 1 - size in ends:
            return True
    return False
