"""What a check of texts exports as `EXAMPLE`: a text that it finds something in, so that anyone can see it work."""

from dataclasses import dataclass

from spearhead.core import media
from spearhead.core.review import Context, Direction


@dataclass(frozen=True, slots=True)
class Example:
    """A text and what it is about. A check that compares with training data finds it when it was trained on."""

    text: str
    direction: Direction = Direction.OUTPUT
    language: str | None = None
    source: str | None = None

    @property
    def context(self) -> Context:
        """What the check is told besides the text."""
        return Context(
            "example", self.direction, self.language, None if self.source is None else media.text(self.source)
        )
