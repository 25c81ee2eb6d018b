"""Compares outputs with the copy index that their release carries (index/copies.py). Knows no policy.

Claims only what it measures: a run of so many words stands in the training data too.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.review import Context, Direction, Finding
from spearhead.core.sentence import said
from spearhead.index import near, pictures
from spearhead.index.copies import NAMES, opened
from spearhead.review import categories
from spearhead.review.scanner import place

MOST = 16
"""Runs that are reported of one text."""
WINDOW = 64
"""Words after which a stream looks again."""
RUN_SEVERITY, LIKENESS_SEVERITY = 0.7, 0.6


@dataclass(slots=True)
class _Scanner:
    """Follows a stream: from where a copy may have begun nothing leaves; the findings are those of the whole text."""

    check: "CopiesCheck"
    context: Context
    text: str = ""
    safe: int = 0
    """No copied run begins before here."""
    looked: int = 0
    caught: bool = False

    def feed(self, piece: str) -> list[Finding]:
        self.text += piece
        if self.caught or not self.check.looks(self.context):
            return []
        if self.check.index is None:
            self.caught = True
            return []
        if not self.looked or len(near.WORD.findall(self.text, self.looked)) >= WINDOW:
            self._look(self.check.index)
        return []

    def weighs(self, piece: str) -> bool:
        """See Weighing: whether enough words have come together to look again."""
        if self.caught or self.check.index is None or not self.check.looks(self.context):
            return False
        return not self.looked or len(near.WORD.findall(self.text[self.looked :] + piece)) >= WINDOW

    def pending(self) -> int:
        return self.safe if self.check.looks(self.context) else len(self.text)

    def finish(self) -> list[Finding]:
        return self.check.examine(self.text, self.context)

    def _look(self, folder: Path) -> None:
        """Look at what has not left; a run that may still grow to a copy began within the last `words` words."""
        tail = self.text[self.safe :]
        places = [found.start() for found in near.WORD.finditer(tail)]
        least = self.check.words
        self.looked = len(self.text)
        if len(places) < 2 * least:
            return
        match = opened(folder).nearest(tail)
        if match.words >= least:
            self.caught, self.safe = True, self.safe + tail.index(match.span)
        else:
            self.safe += places[-least]


@dataclass(frozen=True, slots=True)
class CopiesCheck:
    """Findings for runs of at least `words` words that the training data hold, and for texts that nearly repeat one.

    Options of a policy: `words` (8 to 500) and `similarity` (Jaccard of word pairs, 0.3 to 1). Without an index it
    cannot look, which holds the output.
    """

    words: int = 40
    similarity: float = 0.8
    index: Path | None = None
    pictures_only: bool = False
    """Of a release that learnt from pictures alone: the words in its pictures copy no text of its training."""
    name: str = field(default="copies", init=False)
    modality: str = field(default="text", init=False)

    @property
    def reach(self) -> int:
        """A word and the space after it take about six characters."""
        return 6 * self.words

    def configured(self, options: "dict[str, object]") -> "CopiesCheck":
        """This check with the options of a policy; raises InputError on anything it does not know."""
        if unknown := sorted(options.keys() - {"words", "similarity"}):
            raise InputError(f"check copies: option {unknown[0]!r} is unknown, there are similarity, words")
        words, similarity = options.get("words", self.words), options.get("similarity", self.similarity)
        if not isinstance(words, int) or isinstance(words, bool) or not 8 <= words <= 500:
            raise InputError(f"check copies: words is {words!r}: wanted a whole number from 8 to 500")
        if isinstance(similarity, bool) or not isinstance(similarity, int | float) or not 0.3 <= similarity <= 1:
            raise InputError(f"check copies: similarity is {similarity!r}: wanted a number from 0.3 to 1")
        return replace(self, words=words, similarity=float(similarity))

    def against(self, index: Path) -> "CopiesCheck":
        """This check with the index of a release; one of a release of pictures holds no text that could be copied.

        Raises InputError when the folder holds neither.
        """
        if (index / pictures.NAMES).is_file() and not (index / NAMES).is_file():
            return replace(self, pictures_only=True)
        opened(index)
        return replace(self, index=index)

    def looks(self, context: Context) -> bool:
        """Only outputs can copy: prompts are the user's own, and data are what is copied."""
        return context.direction is Direction.OUTPUT and not self.pictures_only

    def scanner_for(self, context: Context) -> _Scanner:
        """A scanner for one stream."""
        return _Scanner(self, context)

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        """Copied runs by their places, and the likeness of the whole."""
        try:
            return self.examine(item.text, context)
        except UnicodeDecodeError:
            return [Finding(self.name, categories.UNREADABLE, 1.0, said("review.not_text"))]

    def examine(self, text: str, context: Context) -> list[Finding]:
        """The findings of a text."""
        if not self.looks(context) or not near.WORD.search(text):
            return []
        if self.index is None:
            return [Finding(self.name, categories.UNREADABLE, 1.0, said("review.copies.no_index"))]
        index = opened(self.index)
        whole = index.nearest(text)
        found = []
        if whole.similarity >= self.similarity and len(near.words(text)) >= 8:
            reason = said("review.copies.like", similarity=float(whole.similarity), record=whole.id[:12])
            found.append(Finding(self.name, "intellectual-property", LIKENESS_SEVERITY, reason))
        parts = [(0, text)]
        while parts and len(found) < MOST:
            start, part = parts.pop()
            match = index.nearest(part) if start or part is not text else whole
            if match.words < self.words:
                continue
            at = part.index(match.span)
            end = at + len(match.span)
            reason = said("review.copies.run", words=match.words, record=match.span_id[:12])
            found.append(
                Finding(self.name, "intellectual-property", RUN_SEVERITY, reason, start=start + at, end=start + end)
            )
            parts += [(start, part[:at]), (start + end, part[end:])]
        return sorted(found, key=place)
