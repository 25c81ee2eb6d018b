"""Which part of the data a record belongs to, for ever; and that nothing learnt from repeats what is judged by.

Knows records; not where they came from.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from spearhead.core.media import Media
from spearhead.core.record import Record, role_of
from spearhead.data import pictures
from spearhead.data.refusal import Refusal
from spearhead.index import near
from spearhead.index import pictures as near_pictures

SPLITS = ("train", "validation", "test")
HELD_OUT_FIRST = ("test", "validation", "train")
TELLING = 12
"""Word pairs from which on an exchange is not one that stands in any conversation, as thanks do."""


def place(record_id: str, *, validation: float, test: float) -> str:
    """`train`, `validation` or `test` by the content hash alone: more data never move a record.

    All of a conversation goes by the id of its first exchange (see `Record.exchanges`), so that it stays together.
    The hash is taken anew, so that the choice is independent of the order of ids (which `limit` goes by).
    """
    point = int.from_bytes(hashlib.sha256(f"split:{record_id}".encode()).digest()[:8], "big") / 2**64
    if point < test:
        return "test"
    return "validation" if point < test + validation else "train"


def _compared(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """All the text of each record, one part after the other, and what of it is given.

    A system message that several conversations share counts as one word: else it alone would make them alike.
    """
    systems = {
        (record.exchanges[0], piece.id)
        for record in records
        for name, piece in record.parts.items()
        if role_of(name) == "system"
    }
    shared = {piece for piece, count in Counter(piece for _, piece in systems).items() if count > 1}
    for record in records:
        texts = {
            name: piece.id if piece.id in shared and role_of(name) == "system" else piece.text
            for name, piece in sorted(record.parts.items())
        }
        given = [text for name, text in texts.items() if name == "input" or role_of(name)]
        yield "\n".join(texts.values()), "\n".join(given)


def apart(
    records: Sequence[Record], places: Sequence[str], *, threshold: float
) -> Iterator[tuple[int, Record, Refusal | None]]:
    """Each record with its number in `records` and the reason to leave it out, if any; test first, train last.

    A record is left out when its whole text nearly repeats one already kept, and when its input nearly repeats an
    input kept in another split: an equal question with another answer still gives away what is judged. Since held-out
    records come first, it is always the training record that goes, or of two held-out ones the validation record.
    What was said before an input belongs to it, and an exchange is looked at without it too; an answer repeats none of
    its own conversation, all of which is in one split.
    """
    order = sorted(range(len(records)), key=lambda n: (HELD_OUT_FIRST.index(places[n]), records[n].id))
    compared = list(_compared(records))
    wholes = near.NearIndex(threshold)
    whole_shingles = [near.shingles(whole) for whole, _ in compared]
    whole_sketches = near.sketches(whole_shingles)
    asked = [n for n, record in enumerate(records) if "input" in record.parts]
    looks = [_Look("its input is a ", {n: near.shingles(compared[n][1]) for n in asked}, threshold)]
    if any(record.before for record in records):
        looks.append(_Look("its exchange is a ", _exchanges(records, asked), threshold))
    for number in order:
        record, split = records[number], places[number]
        refusal = None
        if found := wholes.nearest(whole_shingles[number], whole_sketches[number], but=record.exchanges[0]):
            other, similarity = found
            refusal = _refusal(record, split, other, similarity, "")
        for look in looks:
            if refusal is None and (one := look.repeats(number, split)):
                refusal = _refusal(record, split, one[0], one[1], look.lead)
        if refusal is None:
            wholes.add((record.id, split), whole_shingles[number], whole_sketches[number], group=record.exchanges[0])
            for look in looks:
                look.keep(number, split, record.id)
        yield number, record, refusal


class _Look:
    """A part of the records' text that no split may share with a held-out one; lives as long as one pass."""

    def __init__(self, lead: str, shingles: Mapping[int, list[str]], threshold: float) -> None:
        self.lead, self._shingles = lead, shingles
        self._sketches = dict(zip(shingles, near.sketches(list(shingles.values())), strict=True))
        self._held = {split: near.NearIndex(threshold) for split in HELD_OUT_FIRST[:2]}

    def repeats(self, number: int, split: str) -> tuple[tuple[object, str], float] | None:
        """The id and the split of the held-out record that it nearly repeats, and how similar they are."""
        for held in HELD_OUT_FIRST[: HELD_OUT_FIRST.index(split)] if number in self._shingles else ():
            if found := self._held[held].nearest(self._shingles[number], self._sketches[number]):
                return (found[0], held), found[1]
        return None

    def keep(self, number: int, split: str, record_id: str) -> None:
        """Remember a record that stays."""
        if number in self._shingles and split in self._held:
            self._held[split].add(record_id, self._shingles[number], self._sketches[number])


def _exchanges(records: Sequence[Record], asked: Sequence[int]) -> dict[int, list[str]]:
    """The shingles of each input with its output, whatever was said before; of none that anybody could say."""
    found = {n: near.shingles(f"{records[n].parts['input'].text}\n{records[n].parts['output'].text}") for n in asked}
    return {n: shingles for n, shingles in found.items() if len(shingles) >= TELLING}


def pictures_apart(
    records: Sequence[Record], places: Sequence[str], *, threshold: float
) -> Iterator[tuple[int, Record, Refusal | None]]:
    """The same for records with a picture, by their pictures alone: thousands share the words of a class."""
    order = sorted(range(len(records)), key=lambda n: (HELD_OUT_FIRST.index(places[n]), records[n].id))
    found = near_pictures.thumbnails(pictures.pixels(_picture(records[n])) for n in order)
    alike: dict[int, list[tuple[int, float]]] = {}
    for one, others in near_pictures.pairs(found, threshold):
        for other, similarity in others:
            first, second = sorted((one, other))
            alike.setdefault(second, []).append((first, similarity))
    kept = [True] * len(order)
    for place, number in enumerate(order):
        record, split = records[number], places[number]
        # The most similar one that was kept; the first of equals.
        earlier = [(-similarity, other) for other, similarity in alike.get(place, ()) if kept[other]]
        refusal = None
        if earlier:
            similarity, other = min(earlier)
            kept[place] = False
            beside = order[other]
            refusal = _refusal(record, split, (records[beside].id, places[beside]), -similarity, "")
        yield number, record, refusal


def _picture(record: Record) -> Media:
    found = pictures.of(record)
    assert found is not None, "only records with a picture come here"
    return found


def _refusal(record: Record, split: str, other: object, similarity: float, lead: str) -> Refusal:
    assert isinstance(other, tuple)
    other_id, other_split = other
    held = other_split != split
    what = f"near-duplicate of {'held-out ' if held else ''}record {other_id} ({similarity:.2f})"
    kind = "near-duplicate of held-out" if held else "near-duplicate"
    return Refusal(kind, lead + what, record.source, record.id)
