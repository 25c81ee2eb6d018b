"""Finds personal data in text, whole or as a stream. Never repeats what it found: a finding holds kind and place."""

import re
from dataclasses import dataclass, field

from spearhead.core.media import Media
from spearhead.core.review import Context, Finding
from spearhead.core.sentence import said
from spearhead.review import categories
from spearhead.review.folding import Fold, compatible
from spearhead.review.personal import kinds
from spearhead.review.scanner import scan

# What every kind has: an @, or six digits with at most some signs between. Most texts have neither.
_WORTH_A_LOOK = re.compile(r"@|\d(?:[^A-Za-z\d]{0,4}[A-Za-z]{0,4}[^A-Za-z\d]{0,1}\d){5}")
_BETWEEN = frozenset("·•‧∙⋅・~*")
"""Signs that stand between the parts of a number as a hyphen does."""
_FOLD = Fold(lambda character: "-" if character in _BETWEEN else compatible(character))
_HINT = 24
"""Characters before a number in which a word may say what it is."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int


class PersonalScanner:
    """Follows a text token by token; keeps the tokens that a number in several parts may have begun with."""

    def __init__(self, *, check: str) -> None:
        self.check = check
        self.length = 0
        self.token: list[str] = []
        self.places: list[int] = []
        self.chain: list[_Token] = []  # complete tokens, single spaces between, that may begin a number
        self.spaces = 0  # folded characters since the last complete token, when all were spaces
        self.hint = ""

    def feed(self, piece: str) -> list[Finding]:
        """See Scanner."""
        found: list[Finding] = []
        for offset, character in enumerate(piece, self.length):
            for plain in _FOLD.char(character):
                if plain in kinds.TOKEN_CHARACTERS:
                    self.token.append(plain)
                    self.places.append(offset)
                    if len(self.token) > 2 * kinds.LONGEST_TOKEN:
                        del self.token[: -kinds.LONGEST_TOKEN], self.places[: -kinds.LONGEST_TOKEN]
                    continue
                if self.token:
                    found += self._complete()
                self.hint = (self.hint + plain)[-_HINT:]
                self.spaces += 1
                if self.spaces > 1 or plain != " ":
                    self.chain = []
        self.length += len(piece)
        return found

    def pending(self) -> int:
        """See Scanner."""
        if not self.token:
            return self.chain[0].start if self.chain else self.length
        if self.chain:
            token = "".join(self.token[:64])
            if kinds.may_continue(token) or kinds.may_continue(kinds.ends_sentence(token)):
                return self.chain[0].start
        return self.places[-kinds.LONGEST_TOKEN :][0]

    def finish(self) -> list[Finding]:
        """See Scanner."""
        return self._complete() if self.token else []

    def _complete(self) -> list[Finding]:
        text, places = "".join(self.token[-kinds.LONGEST_TOKEN :]), self.places[-kinds.LONGEST_TOKEN :]
        self.token, self.places, self.spaces = [], [], 0
        before, self.hint = self.hint, (self.hint + text)[-_HINT:]
        if text.isalpha() and not (self.chain and kinds.may_continue(text)):  # a plain word, as most tokens are
            self.chain = []
            return []
        found = [
            self._finding(kind, start=places[start], end=places[end - 1] + 1)
            for kind, start, end in kinds.in_token(text, before=before)
        ]
        # The last token of a number may carry the full stop of its sentence.
        last = kinds.ends_sentence(text)
        goes_on = kinds.may_continue(text)
        if found or not (goes_on or kinds.may_continue(last)):
            self.chain = []
            return found
        if text.startswith(("+", "(+")):  # a country code begins a number
            self.chain = []
        if self.chain and last and (seen := self._with(last)):
            kind, start = seen
            found = [self._finding(kind, start=start, end=places[len(last) - 1] + 1)]
        self.chain = [*self.chain, _Token(text, places[0])][-kinds.MOST_TOKENS :] if goes_on and not found else []
        return found

    def _with(self, last: str) -> tuple[kinds.Kind, int] | None:
        """The kind of a number that ends with `last` and the place where it begins."""
        texts = [token.text for token in self.chain]
        for first in range(len(texts)):
            if kind := kinds.in_tokens([*texts[first:], last]):
                return kind, self.chain[first].start
        return None

    def _finding(self, kind: kinds.Kind, *, start: int, end: int) -> Finding:
        return Finding(
            self.check,
            "privacy",
            kind.severity,
            said("review.personal.looks_like", what=kind.words),
            start=start,
            end=end,
        )


@dataclass(frozen=True, slots=True)
class PersonalCheck:
    """Findings for personal data by its form; severity grows with the harm that its leaving does."""

    name: str = field(default="personal", init=False)
    modality: str = field(default="text", init=False)
    reach: int = field(default=kinds.LONGEST_TOKEN, init=False)

    def scanner(self) -> PersonalScanner:
        """A scanner for one stream."""
        return PersonalScanner(check=self.name)

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        """Every number and address in the text that has the form of personal data."""
        try:
            text = item.text
        except UnicodeDecodeError:
            return [Finding(self.name, categories.UNREADABLE, 1.0, said("review.not_text"))]
        if not _WORTH_A_LOOK.search(text.translate(_FOLD)):
            return []
        return scan(self.scanner(), text)
