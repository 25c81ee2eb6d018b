"""Judges every sentence by the head. Knows neither how it was trained nor any policy."""

from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from spearhead.core.media import Media
from spearhead.core.review import Context, Finding
from spearhead.core.sentence import said
from spearhead.review import categories
from spearhead.review.folding import Fold, compatible
from spearhead.review.harm import embeddings
from spearhead.review.harm.head import Head
from spearhead.review.scanner import scan
from spearhead.review.segments import LONGEST, SegmentScanner

HINT = 0.3
"""Severity below which nothing is said."""
_FOLD = Fold(compatible)


@cache
def shipped() -> Head:
    """The head in the package."""
    with resources.as_file(resources.files("spearhead.review.harm")) as folder:
        return Head.load(folder)


@dataclass(frozen=True, slots=True)
class HarmCheck:
    """One finding a sentence, of the category that fits best."""

    name: str = field(default="harm", init=False)
    modality: str = field(default="text", init=False)
    reach: int = field(default=LONGEST, init=False)

    def need(self) -> None:
        """Raises InputError when the embeddings are not installed."""
        embeddings.need()

    def scanner(self) -> SegmentScanner:
        """A scanner for one stream."""
        return SegmentScanner(self._judge)

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        """Sentences that mean harm."""
        try:
            text = item.text
        except UnicodeDecodeError:
            return [Finding(self.name, categories.UNREADABLE, 1.0, said("review.not_text"))]
        return scan(self.scanner(), text)

    def _judge(self, sentence: str) -> list[Finding]:
        plain = sentence.translate(_FOLD).strip()
        if sum(map(str.isalpha, plain)) < 2:
            return []
        head = shipped()
        scores = head.scores(embeddings.embed(plain), plain)
        best = int(scores.argmax())
        severity = head.severity(float(scores[best]))
        if severity < HINT:
            return []
        category = head.categories[best]
        start = len(sentence) - len(sentence.lstrip())
        end = len(sentence.rstrip())
        return [
            Finding(self.name, category, severity, said("review.harm.means", category=category), start=start, end=end)
        ]
