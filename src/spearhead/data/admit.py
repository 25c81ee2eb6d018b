"""From items of sources to records: rights first, then pairs, then cleaning, language and checks.

Whatever is left out becomes a Refusal with its reason. Does not know splits or files.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from spearhead.core import media
from spearhead.core.errors import InputError
from spearhead.core.record import Record, role_of
from spearhead.core.review import Check, Context, Finding
from spearhead.core.rights import Licence, Right
from spearhead.data import licences, pictures
from spearhead.data.clean import Cleaner
from spearhead.data.config import PictureRules, Source
from spearhead.data.items import Item, Unread
from spearhead.data.language import Languages
from spearhead.data.refusal import Refusal

LIMITS: Mapping[str, float | None] = {"*": 0.5}
"""The severity from which a finding keeps a record out, by its category; `*`: of any other; None: none does."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A source by its label, and the licence that an item of it came under."""

    label: str
    licence: Licence


@dataclass(frozen=True, slots=True)
class Candidate:
    """Texts and pictures with the right to use them, not yet clean. A pair has two origins."""

    texts: Mapping[str, str]
    licence: Licence
    source: str
    origins: tuple[Origin, ...]
    pictures: Mapping[str, Any] = field(default_factory=dict)
    """As in `items.Item`."""


class Rights:
    """Reads licence expressions once each and remembers the answer; lives as long as one pass over a source."""

    def __init__(self, *, credit: str, wanted: Right) -> None:
        self.credit, self.wanted = credit, wanted
        self._known: dict[tuple[str, str], Licence | str] = {}

    def __call__(self, expression: str, *, credit: str = "") -> Licence | str:
        """The licence, or why it does not do; an item's own `credit` stands in place of the source's."""
        key = expression, credit or self.credit
        if key not in self._known:
            try:
                licence = licences.read(expression, credit=key[1], wanted=self.wanted)
                self._known[key] = licences.unfit(licence, self.wanted) or licence
            except ValueError as error:
                self._known[key] = str(error)
        return self._known[key]


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
        licence = rights(item.licence or source.licence, credit=item.credit)
        if isinstance(licence, str):
            yield Refusal("licence", licence, place)
        else:
            yield item.key, Candidate(item.texts, licence, place, (Origin(label, licence),), item.pictures)


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
            {**asked.pictures, **answered.pictures},
        )
    for key, answered in outputs.items():
        if key not in inputs:
            yield Refusal("no partner", "no input has this key", answered.source)


def named(item: Item | Unread, source: Source) -> Item | Unread:
    """The item with its key and its class as the scenario writes them."""
    if isinstance(item, Unread):
        return item
    if source.keys:
        item = replace(item, key=item.key.lower() if source.keys == "lower" else item.key.upper())
    if not source.classes or "input" not in item.texts:
        return item
    own = item.texts["input"].strip()
    if own not in source.classes:
        return Unread(item.key, f"class {own[:60]!r} is not among data.sources.classes")
    return replace(item, texts={**item.texts, "input": source.classes[own][0]})


_SAID = {"user": "input", "assistant": "output"}
"""Which part a message is where it is not said before another."""


def cleaned(candidate: Candidate, cleaner: Cleaner, rules: PictureRules) -> Record | Refusal:
    """The record of a candidate, or why its texts or pictures do not do."""
    parts = {}
    for part, raw in candidate.texts.items():
        rule = _SAID.get(role_of(part), part)  # said earlier, it is as clean as where it is learnt
        if part == "rejected" and part not in cleaner.drop:
            rule = "output"  # else what is dropped from the one answer would tell it from the other
        text = cleaner(rule, raw)
        if reason := cleaner.misfit(part, text):
            return Refusal("short" if len(text) < cleaner.shortest else "long", reason, candidate.source)
        parts[part] = media.text(text)
    if "rejected" in parts and parts["rejected"] == parts.get("output"):
        return Refusal("alike", "the answer that is preferred and the one that is not say the same", candidate.source)
    for part, found in candidate.pictures.items():
        try:
            parts[part] = pictures.plain(found, rules)
        except InputError as error:
            return Refusal("picture", f"{part}: {error}", candidate.source)
    if not ({"input", "output"} <= parts.keys() or parts.keys() == {"text"} or _drawn(parts)):
        found = " and ".join(parts)
        return Refusal("incomplete", f"has {found} alone: wanted input and output, or text", candidate.source)
    return Record(parts, candidate.licence, candidate.source)


def _drawn(parts: Mapping[str, media.Media]) -> bool:
    """Whether it is a picture without words, which is learnt by itself."""
    return parts.keys() == {"output"} and parts["output"].modality != "text"


def examined(
    record: Record,
    *,
    languages: Languages | None,
    checks: Sequence[Check],
    context: Context,
    limits: Mapping[str, float | None] = LIMITS,
    fine: set[str] | None = None,
) -> Refusal | None:
    """What speaks against a clean record: its language, then what the checks find, each looking at its own modality.

    `limits` say from which severity on a finding does, as LIMITS do; a category without one always does.
    `fine` holds ids of pieces that nothing spoke against before; it is added to.
    """
    fresh = {part: piece for part, piece in record.parts.items() if fine is None or piece.id not in fine}
    if languages is not None:
        for part, piece in fresh.items():
            if piece.modality != "text":
                continue
            if reason := languages.misfit(part, piece.text):
                return Refusal("language", reason, record.source, record.id)
    for check in checks:
        for part, piece in fresh.items():
            if check.modality != piece.modality:
                continue
            try:
                findings = check(piece, context)
            except Exception as error:  # unknown means no: a check that fails to look keeps the record out
                reason = f"the check failed to look at {part}: {type(error).__name__}"
                return Refusal(f"check:{check.name}", reason, record.source, record.id)
            # The finding's own words may quote what was found, so only its category is written down.
            if severe := [one for one in findings if _severe(one, limits)]:
                worst = max(severe, key=lambda one: one.severity)
                reason = f"{part}: {worst.category} ({worst.severity:.2f})"
                return Refusal(f"check:{check.name}", reason, record.source, record.id)
    if fine is not None:
        fine.update(piece.id for piece in fresh.values() if piece.modality == "text")
    return None


def _severe(finding: Finding, limits: Mapping[str, float | None]) -> bool:
    limit = limits.get(finding.category, limits.get("*", 0.0))
    return limit is not None and finding.severity >= limit
