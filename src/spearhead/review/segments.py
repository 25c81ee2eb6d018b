"""A text as sentences of bounded length, cut where a stream can cut them too, for checks that judge meaning.

Where a text is cut depends on what stands before the cut alone (and on one space after a full stop). Knows no check.
"""

from collections.abc import Callable
from dataclasses import replace

from spearhead.core.review import Finding

LONGEST = 240
"""Characters after which a sentence is cut, at a space where there is one in its second half."""
_ENDS = frozenset("。！？!?\n…；")
_SHORTEST = 24
"""A sentence shorter than this goes on with the next: too little to judge. A Chinese character counts as three."""

Judge = Callable[[str], list[Finding]]
"""Findings about one sentence, with offsets inside it."""


class SegmentScanner:
    """Follows a text sentence by sentence; what is not yet a whole sentence is pending."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.text, self.start = "", 0  # the sentence under way, and where it began
        self.weight, self.looked = 0, 0  # of what was looked at of it

    def feed(self, piece: str) -> list[Finding]:
        """See Scanner."""
        self.text += piece
        found: list[Finding] = []
        while (end := self._end()) is not None:
            found += self._judged(self.text[:end])
            self.text, self.start = self.text[end:], self.start + end
            self.weight, self.looked = 0, 0
        return found

    def weighs(self, piece: str) -> bool:
        """See Weighing: whether the piece may end a sentence, which is then judged."""
        joint = self.text[-1:] + piece
        return len(self.text) + len(piece) >= LONGEST or "." in joint or not _ENDS.isdisjoint(piece)

    def pending(self) -> int:
        """See Scanner."""
        return self.start

    def finish(self) -> list[Finding]:
        """See Scanner."""
        found = self._judged(self.text) if self.text else []
        self.start, self.text = self.start + len(self.text), ""
        return found

    def _end(self) -> int | None:
        """Where the first sentence of `text` ends, when that is certain."""
        text = self.text
        while self.looked < min(len(text), LONGEST):
            character = text[self.looked]
            stops = character in _ENDS
            if character == ".":
                if self.looked + 1 == len(text):
                    return None  # a full stop ends a sentence when a space follows
                stops = text[self.looked + 1].isspace()
            self.weight += 3 if ord(character) >= 0x2E80 else 1
            self.looked += 1
            if stops and self.weight >= _SHORTEST:
                return self.looked
        if len(text) < LONGEST:
            return None
        space = text.rfind(" ", LONGEST // 2, LONGEST)
        return LONGEST if space < 0 else space + 1

    def _judged(self, sentence: str) -> list[Finding]:
        return [_moved(finding, self.start) for finding in self.judge(sentence)]


def _moved(finding: Finding, by: int) -> Finding:
    if finding.start is None or finding.end is None:
        return finding
    return replace(finding, start=finding.start + by, end=finding.end + by)
