"""How a check follows a stream: piece by piece, each character looked at once. Knows no particular check."""

from functools import cache
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from spearhead.core.media import Media
from spearhead.core.review import Check, Context, Finding


@runtime_checkable
class Scanner(Protocol):
    """The state of one check over one growing text. Offsets are in the whole text.

    Findings equal those of the check over the whole text, whatever the pieces were.
    """

    def feed(self, piece: str) -> list[Finding]:
        """Findings that are now certain, whatever follows."""
        ...

    def pending(self) -> int:
        """Offset of the first character that a later finding may still include; the length so far when none may."""
        ...

    def finish(self) -> list[Finding]:
        """Findings that the end of the text makes certain."""
        ...


@runtime_checkable
class Weighing(Protocol):
    """A scanner for which some pieces are long work (a model, an index): it says beforehand which.

    Whoever runs an event loop feeds those, and finishes, in a thread; the others take microseconds.
    """

    def weighs(self, piece: str) -> bool:
        """Whether `feed(piece)` may take milliseconds; changes nothing."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """A check that can follow a stream with a scanner of its own."""

    def scanner(self) -> Scanner: ...


@runtime_checkable
class Following(Protocol):
    """A check that can follow a stream and needs to know what it is about: the source, the language."""

    def scanner_for(self, context: Context) -> Scanner: ...


@runtime_checkable
class Reading(Protocol):
    """A check that finds text inside other media: the policy's text checks look at what it reads."""

    @property
    def name(self) -> str: ...
    def read(self, item: Media) -> str: ...


@runtime_checkable
class Comparing(Protocol):
    """A check that compares with what a release learnt from: it is given the folder of the release's copy index."""

    def against(self, index: Path) -> Check: ...


@runtime_checkable
class Needing(Protocol):
    """A check that cannot work without something to be installed; `need` raises InputError that says what."""

    def need(self) -> None: ...


@runtime_checkable
class Configurable(Protocol):
    """A check that takes options from a policy."""

    def configured(self, options: "dict[str, object]") -> Check: ...


def scan(scanner: Scanner, text: str) -> list[Finding]:
    """The findings of a whole text, in the order of their places."""
    return sorted([*scanner.feed(text), *scanner.finish()], key=place)


def place(finding: Finding) -> tuple[int, int, str]:
    """For sorting findings by where they are."""
    return (finding.start or 0, finding.end or 0, str(finding.reason))


def follow(check: Check, context: Context) -> Scanner:
    """A scanner for one stream: the check's own, else a window that moves along."""
    if can(type(check), Following):
        return cast(Following, check).scanner_for(context)
    return cast(Streaming, check).scanner() if can(type(check), Streaming) else WindowScanner(check, context)


@cache
def can(kind: type, protocol: type) -> bool:
    """Whether objects of a class have a protocol's methods: to ask each object takes tens of microseconds (3.11)."""
    return issubclass(kind, protocol)


class WindowScanner:
    """Follows a stream for a check that has no scanner: looks at the last two reaches of text again each time.

    A finding is certain once a whole reach of text follows its start. A finding without offsets is about the whole
    text, so it is certain only at the end.
    """

    def __init__(self, check: Check, context: Context) -> None:
        self.check, self.context, self.reach = check, context, max(1, check.reach)
        self.text, self.base, self.settled = "", 0, 0  # text[0] stands at offset base; all before settled is decided

    def feed(self, piece: str) -> list[Finding]:
        """See Scanner."""
        self.text += piece
        end = self.base + len(self.text)
        if end - self.settled < 2 * self.reach:
            return []
        return self._look(end - self.reach, final=False)

    def pending(self) -> int:
        """See Scanner."""
        return self.settled

    def finish(self) -> list[Finding]:
        """See Scanner."""
        return self._look(self.base + len(self.text), final=True)

    def _look(self, until: int, *, final: bool) -> list[Finding]:
        found: list[Finding] = []
        item = Media("text", "text/plain", self.text.encode("utf-8", "surrogatepass"))
        for finding in self.check(item, self.context):
            if finding.start is None or finding.end is None:
                found += [finding] if final else []
                continue
            start, end = finding.start + self.base, finding.end + self.base
            if self.settled <= start and (final or start < until):
                found.append(
                    Finding(finding.check, finding.category, finding.severity, finding.reason, start=start, end=end)
                )
        self.settled = until
        drop = max(0, self.settled - self.reach - self.base)  # a reach of what came before stays, for its context
        self.text, self.base = self.text[drop:], self.base + drop
        return found
