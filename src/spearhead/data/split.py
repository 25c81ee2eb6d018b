"""Which part of the data a record belongs to, for ever; and that nothing learnt from repeats what is judged by.

Knows records; not where they came from.
"""

import hashlib
from collections.abc import Iterator, Sequence

from spearhead.core.media import Media
from spearhead.core.record import Record
from spearhead.data import pictures
from spearhead.data.refusal import Refusal
from spearhead.index import near
from spearhead.index import pictures as near_pictures

SPLITS = ("train", "validation", "test")
HELD_OUT_FIRST = ("test", "validation", "train")


def place(record_id: str, *, validation: float, test: float) -> str:
    """`train`, `validation` or `test` by the content hash alone: more data never move a record.

    The hash is taken anew, so that the choice is independent of the order of ids (which `limit` goes by).
    """
    point = int.from_bytes(hashlib.sha256(f"split:{record_id}".encode()).digest()[:8], "big") / 2**64
    if point < test:
        return "test"
    return "validation" if point < test + validation else "train"


def whole_text(record: Record) -> str:
    """All parts of a record, one after the other."""
    return "\n".join(record.parts[name].text for name in sorted(record.parts))


def apart(
    records: Sequence[Record], places: Sequence[str], *, threshold: float
) -> Iterator[tuple[int, Record, Refusal | None]]:
    """Each record with its number in `records` and the reason to leave it out, if any; test first, train last.

    A record is left out when its whole text nearly repeats one already kept, and when its input nearly repeats an
    input kept in another split: an equal question with another answer still gives away what is judged. Since held-out
    records come first, it is always the training record that goes, or of two held-out ones the validation record.
    """
    order = sorted(range(len(records)), key=lambda n: (HELD_OUT_FIRST.index(places[n]), records[n].id))
    wholes, inputs = near.NearIndex(threshold), {split: near.NearIndex(threshold) for split in HELD_OUT_FIRST[:2]}
    whole_shingles = [near.shingles(whole_text(record)) for record in records]
    whole_sketches = near.sketches(whole_shingles)
    asked = [n for n, record in enumerate(records) if "input" in record.parts]
    input_shingles = {n: near.shingles(records[n].parts["input"].text) for n in asked}
    input_sketches = dict(zip(asked, near.sketches([input_shingles[n] for n in asked]), strict=True))
    for number in order:
        record, split = records[number], places[number]
        refusal = None
        if found := wholes.nearest(whole_shingles[number], whole_sketches[number]):
            other, similarity = found
            refusal = _refusal(record, split, other, similarity, "")
        elif number in input_shingles:
            for held in HELD_OUT_FIRST[: HELD_OUT_FIRST.index(split)]:
                if found := inputs[held].nearest(input_shingles[number], input_sketches[number]):
                    refusal = _refusal(record, split, (found[0], held), found[1], "its input is a ")
                    break
        if refusal is None:
            wholes.add((record.id, split), whole_shingles[number], whole_sketches[number])
            if number in input_shingles and split != "train":
                inputs[split].add(record.id, input_shingles[number], input_sketches[number])
        yield number, record, refusal


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
