"""Finds that nobody has approved a piece: a policy that names this check lets nothing out before a person has."""

from dataclasses import dataclass, field

from spearhead.core.media import Media
from spearhead.core.review import Context, Direction, Finding
from spearhead.core.sentence import said
from spearhead.review import categories
from spearhead.review.example import Example


@dataclass(slots=True)
class _Scanner:
    """Finds it at the first character, so that a stream shows nothing of what waits."""

    check: str
    wanted: bool
    found: bool = False
    length: int = 0

    def feed(self, piece: str) -> list[Finding]:
        self.length += len(piece)
        return self._once() if piece else []

    def pending(self) -> int:
        return self.length

    def finish(self) -> list[Finding]:
        return self._once()

    def _once(self) -> list[Finding]:
        if self.found or not self.wanted:
            return []
        self.found = True
        return [_finding(self.check)]


def _finding(check: str) -> Finding:
    return Finding(check, categories.UNAPPROVED, 0.5, said("review.approval.wanted"), start=0, end=0)


@dataclass(frozen=True, slots=True)
class ApprovalCheck:
    """One finding for every output, none for a prompt or a record."""

    name: str = field(default="approval", init=False)
    modality: str = field(default="any", init=False)
    reach: int = field(default=1, init=False)

    def scanner_for(self, context: Context) -> _Scanner:
        """A scanner for one stream."""
        return _Scanner(self.name, context.direction is Direction.OUTPUT)

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        """That nobody has approved this output."""
        return [_finding(self.name)] if context.direction is Direction.OUTPUT else []


CHECK = ApprovalCheck()
EXAMPLE = Example("Anything at all.")
