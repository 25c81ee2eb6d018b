"""From items of sources to records: rights first, then pairs, then cleaning, language and checks.

Whatever is left out becomes a Refusal with its reason. Does not know splits or files.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from spearhead.core import media
from spearhead.core.record import Record
from spearhead.core.review import Check, Context
from spearhead.core.rights import Licence, Right
from spearhead.data import licences
from spearhead.data.clean import Cleaner
from spearhead.data.config import Source
from spearhead.data.items import Item, Unread
from spearhead.data.language import Languages
from spearhead.data.refusal import Refusal

SEVERE = 0.5
"""A finding from this severity on keeps a record out."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A source by its label, and the licence that an item of it came under."""

    label: str
    licence: Licence


@dataclass(frozen=True, slots=True)
class Candidate:
    """Texts with the right to use them, not yet clean. A pair has two origins."""

    texts: Mapping[str, str]
    licence: Licence
    source: str
    origins: tuple[Origin, ...]


class Rights:
    """Reads licence expressions once each and remembers the answer; lives as long as one pass over a source."""

    def __init__(self, *, credit: str, wanted: Right) -> None:
        self.credit, self.wanted = credit, wanted
        self._known: dict[str, Licence | str] = {}

    def __call__(self, expression: str) -> Licence | str:
        """The licence, or why it does not do."""
        if expression not in self._known:
            try:
                licence = licences.read(expression, credit=self.credit, wanted=self.wanted)
                self._known[expression] = licences.unfit(licence, self.wanted) or licence
            except ValueError as error:
                self._known[expression] = str(error)
        return self._known[expression]


def licensed(
    source: Source, label: str, items: Iterable[Item | Unread], wanted: Right
) -> Iterator[tuple[str, Candidate] | Refusal]:
    """Items with their key as candidates; an item's own licence stands in place of the source's."""
    rights = Rights(credit=source.credit, wanted=wanted)
    for item in items:
        place = f"{label}#{item.key}" if item.key else label
        if isinstance(item, Unread):
            yield Refusal("unread", item.reason, place)
            continue
        licence = rights(item.licence or source.licence)
        if isinstance(licence, str):
            yield Refusal("licence", licence, place)
        else:
            yield item.key, Candidate(item.texts, licence, place, (Origin(label, licence),))


def paired(inputs: Mapping[str, Candidate], outputs: Mapping[str, Candidate]) -> Iterator[Candidate | Refusal]:
    """Inputs and outputs of one key as pairs under both licences, in the order of the inputs."""
    joint: dict[tuple[Licence, Licence], Licence] = {}
    for key, asked in inputs.items():
        answered = outputs.get(key)
        if answered is None:
            yield Refusal("no partner", "no output has this key", asked.source)
            continue
        licence = joint.get((asked.licence, answered.licence))
        if licence is None:
            licence = joint.setdefault(
                (asked.licence, answered.licence), licences.both(asked.licence, answered.licence)
            )
        yield Candidate(
            {**asked.texts, **answered.texts},
            licence,
            f"{asked.source} + {answered.source}",
            asked.origins + answered.origins,
        )
    for key, answered in outputs.items():
        if key not in inputs:
            yield Refusal("no partner", "no input has this key", answered.source)


def cleaned(candidate: Candidate, cleaner: Cleaner) -> Record | Refusal:
    """The record of a candidate, or why its texts do not do."""
    parts = {}
    for part, raw in candidate.texts.items():
        text = cleaner(part, raw)
        if reason := cleaner.misfit(part, text):
            return Refusal("short" if len(text) < cleaner.shortest else "long", reason, candidate.source)
        parts[part] = media.text(text)
    return Record(parts, candidate.licence, candidate.source)


def examined(
    record: Record, *, languages: Languages | None, checks: Sequence[Check], context: Context
) -> Refusal | None:
    """What speaks against a clean record: its language, then what the checks find."""
    if languages is not None:
        for part, piece in record.parts.items():
            if reason := languages.misfit(part, piece.text):
                return Refusal("language", reason, record.source, record.id)
    for check in checks:
        for part, piece in record.parts.items():
            if check.modality != piece.modality:
                continue
            try:
                findings = check(piece, context)
            except Exception as error:  # unknown means no: a check that fails to look keeps the record out
                reason = f"the check failed to look at {part}: {type(error).__name__}"
                return Refusal(f"check:{check.name}", reason, record.source, record.id)
            # The finding's own words may quote what was found, so only its category is written down.
            if severe := [one for one in findings if one.severity >= SEVERE]:
                worst = max(severe, key=lambda one: one.severity)
                reason = f"{part}: {worst.category} ({worst.severity:.2f})"
                return Refusal(f"check:{check.name}", reason, record.source, record.id)
    return None
