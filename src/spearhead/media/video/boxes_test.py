"""MP4 files as boxes: whatever is put in or taken out, every sample stays where its table says."""

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.media.video import MODALITY, boxes, tiny
from spearhead.media.video.tiny import SAMPLES, box, film

LABEL = Label("maker", "n-1", "s@1", "2026-11-22T02:00:00Z")
LAYOUTS = ("moov mdat", "mdat moov", "free moov free mdat mdat", "mdat moov mdat", "mdat free mdat moov")


def samples(data: bytes) -> tuple[bytes, ...]:
    """What lies where the table of places says, found by its name alone."""
    name, form = (b"stco", ">I") if b"stco" in data else (b"co64", ">Q")
    at = data.index(name) + 12
    places = struct.unpack_from(f"{form[0]}{len(SAMPLES)}{form[1]}", data, at)
    return tuple(data[place : place + len(one)] for place, one in zip(places, SAMPLES, strict=True))


@pytest.mark.parametrize("table", [b"stco", b"co64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_table_follows_its_samples(layout: str, table: bytes) -> None:
    piece = film(layout=layout, table=table)
    assert samples(piece.data) == SAMPLES
    labelled = MODALITY.embed(piece, LABEL)
    assert len(labelled.data) > len(piece.data) + 200 and samples(labelled.data) == SAMPLES
    assert [kind for kind, _, _ in MODALITY.boxes(labelled)] == ["ftyp", *layout.split()]
    assert MODALITY.embed(labelled, LABEL) == labelled


def test_the_digest_is_of_the_samples_wherever_they_lie() -> None:
    front, back = film(layout="moov mdat"), film(layout="mdat free moov")
    assert MODALITY.content(front) == MODALITY.content(back) == MODALITY.content(MODALITY.embed(back, LABEL))
    words = b"".join(SAMPLES)
    assert MODALITY.content(front) == b"vide" + len(words).to_bytes(8, "big") + words
    swapped = bytearray(front.data)
    at = front.data.index(b"stco") + 12
    swapped[at : at + 8] = front.data[at + 4 : at + 8] + front.data[at : at + 4]
    assert MODALITY.content(Media("video", boxes.MIME, bytes(swapped))) != MODALITY.content(front)


HEAD, WORDS = box(b"ftyp", b"isom\0\0\2\0isom"), b"ccccAAAABBBBaaaabbbb"
START = len(HEAD) + 8


def table(kind: bytes, *numbers: int, form: str = "I") -> bytes:
    """A box of numbers behind a version."""
    return box(kind, bytes(4), struct.pack(">I", numbers[0]), struct.pack(f">{len(numbers) - 1}{form}", *numbers[1:]))


RUNS = table(b"stsc", 2, 1, 2, 1, 3, 1, 1)
SIZES = box(b"stsz", struct.pack(">III", 0, 4, 5))
PLACES = table(b"co64", 3, START + 12, START + 4, START, form="Q")


def sound(*tables: bytes) -> Media:
    """A film of one track of these tables, whose `mdat` holds `WORDS`."""
    minf = box(b"minf", box(b"stbl", *tables))
    trak = box(b"trak", box(b"mdia", box(b"hdlr", bytes(8), b"soun", bytes(13)), minf))
    moov = box(b"moov", box(b"mvhd", bytes(12), struct.pack(">II", 1, 1)), trak)
    return Media("video", boxes.MIME, HEAD + box(b"mdat", WORDS) + moov)


def test_chunks_of_several_samples_are_counted_by_runs() -> None:
    # Chunks of two, two and one samples of four bytes each, back to front in the file.
    wanted = b"soun" + (20).to_bytes(8, "big") + b"aaaabbbbAAAABBBBcccc"
    each = box(b"stsz", struct.pack(">III5I", 0, 0, 5, 4, 4, 4, 4, 4))
    for piece in (sound(RUNS, SIZES, PLACES), sound(RUNS, each, PLACES)):
        assert MODALITY.measure(piece) == 1
        assert MODALITY.content(piece) == wanted == MODALITY.content(MODALITY.embed(piece, LABEL))
    nothing = sound(table(b"stsc", 0), box(b"stsz", bytes(12)), table(b"stco", 0))
    assert MODALITY.content(nothing) == b"soun" + bytes(8)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ((RUNS, SIZES), "no table of samples"),
        ((RUNS, PLACES), "no table of samples"),
        ((SIZES, PLACES), "no table of samples"),
        ((RUNS, box(b"stsz"), PLACES), "no table of samples"),
        ((RUNS, SIZES, table(b"stco", 1)), "another length"),
        ((RUNS, SIZES, table(b"stco", 2**32 - 1, 1)), "another length"),
        ((RUNS, box(b"stsz", struct.pack(">III", 0, 4, 6)), PLACES), "tables of samples differ"),
        ((RUNS, box(b"stsz", struct.pack(">III", 0, 2**31, 5)), PLACES), "more than the file"),
        ((RUNS, box(b"stsz", struct.pack(">III", 0, 0, 5)), PLACES), "another length"),
        ((RUNS, box(b"stsz", struct.pack(">III5I", 0, 0, 5, *[2**32 - 1] * 5)), PLACES), "more than the file"),
        ((table(b"stsc", 2, 2, 2, 1, 3, 1, 1), SIZES, PLACES), "out of order"),
        ((table(b"stsc", 2, 1, 2, 1, 9, 1, 1), SIZES, PLACES), "out of order"),
        ((table(b"stsc", 0), SIZES, PLACES), "out of order"),
        ((table(b"stsc", 1, 1, 2**32 - 1, 1), SIZES, PLACES), "tables of samples differ"),
        ((RUNS, SIZES, table(b"stco", 3, 5, START, START)), "outside `mdat`"),
        ((RUNS, SIZES, table(b"stco", 3, 2**31, START, START)), "outside `mdat`"),
        ((RUNS, SIZES, table(b"stco", 3, START + 13, START, START)), "outside `mdat`"),  # its end lies in the next box
        ((RUNS, SIZES, table(b"co64", 3, 2**64 - 1, START, START, form="Q")), "outside `mdat`"),
        ((RUNS, SIZES, table(b"co64", 3, 2**63 - 1, START, START, form="Q")), "outside `mdat`"),
        ((table(b"stz2", 0), RUNS, SIZES, PLACES), "packed"),
        ((table(b"saio", 0), RUNS, SIZES, PLACES), "encrypted"),
    ],
)
def test_tables_that_lie_are_refused_in_one_line(tables: tuple[bytes, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        MODALITY.measure(sound(*tables))
    assert MODALITY.extract(sound(*tables)) is None


def test_tracks_that_share_their_samples_without_end_are_refused() -> None:
    one = box(b"stsz", struct.pack(">III", 0, 20_000, 1)), table(b"stsc", 1, 1, 1, 1), table(b"stco", 1, START)
    minf = box(b"minf", box(b"stbl", *one))
    trak = box(b"trak", box(b"mdia", box(b"hdlr", bytes(8), b"soun", bytes(13)), minf))
    for tracks, words in ((1, None), (300, "more than the file")):
        moov = box(b"moov", box(b"mvhd", bytes(12), struct.pack(">II", 1, 1)), trak * tracks)
        piece = Media("video", boxes.MIME, HEAD + box(b"mdat", bytes(20_000)) + moov)
        if words is None:
            assert len(MODALITY.content(piece)) == 20_012
            continue
        with pytest.raises(InputError, match=words):
            MODALITY.content(piece)


def test_long_headers_and_a_last_box_without_length_are_read() -> None:
    piece = film(layout="moov mdat")
    at = piece.data.index(b"mdat") - 4
    open_ended = piece.data[:at] + bytes(4) + piece.data[at + 4 :]
    assert samples(MODALITY.embed(Media("video", boxes.MIME, open_ended), LABEL).data) == SAMPLES
    size = struct.unpack_from(">I", piece.data, at)[0]
    long = film(layout="mdat moov").data
    start = len(box(b"ftyp", b"isom\0\0\2\0isomiso2mp41"))
    wide = long[:start] + struct.pack(">I4sQ", 1, b"mdat", size + 8) + long[start + 8 : start + size]
    moov = bytearray(long[start + size :])
    table = moov.index(b"stco") + 12
    for number in range(len(SAMPLES)):
        (place,) = struct.unpack_from(">I", moov, table + 4 * number)
        struct.pack_into(">I", moov, table + 4 * number, place + 8)
    labelled = MODALITY.embed(Media("video", boxes.MIME, wide + moov), LABEL)
    assert samples(labelled.data) == SAMPLES and MODALITY.measure(labelled) == 3


@pytest.mark.parametrize(("length", "wanted"), [(1000, 1), (1001, 2), (3, 1)])
def test_seconds_are_the_length_of_the_film_rounded_up(length: int, wanted: int) -> None:
    assert MODALITY.measure(film(length=length)) == wanted


def test_seconds_are_read_from_the_long_header_too() -> None:
    data = film(layout="mdat moov").data  # nothing moves when the tables at the end grow
    moov, at = data.index(b"moov") - 4, data.index(b"mvhd") - 4
    (size,) = struct.unpack_from(">I", data, at)
    new = box(b"mvhd", b"\1\0\0\0", struct.pack(">QQIQ", 0, 0, 90_000, 90_000 * 3600 + 1), data[at + 28 : at + size])
    whole = struct.unpack_from(">I", data, moov)[0] + len(new) - size
    longer = data[:moov] + struct.pack(">I", whole) + data[moov + 4 : at] + new + data[at + size :]
    assert MODALITY.measure(Media("video", boxes.MIME, longer)) == 3601


def test_what_cannot_be_handled_is_refused_in_one_line() -> None:
    good = film().data
    head = box(b"ftyp", b"isom\0\0\2\0isom")
    nested = b""
    for _ in range(3000):
        nested = box(b"udta", nested)
    cases = {
        b"": "is not video/mp4",
        good[:-1]: "cut short",
        head: "0 boxes `moov`",
        good + box(b"moov"): "2 boxes `moov`",
        good + box(b"moof"): "fragmented",
        film(extra=box(b"mvex")).data: "fragmented",
        head + box(b"moov", box(b"cmov")): "compressed",
        good + box(b"meta", b"\0\0\0\0", box(b"iloc")): "items",
        film(dref=b"\0\0\0\0").data: "another file",
        film(length=0).data: "how long",
        film(length=0xFFFFFFFF).data: "how long",
        head + box(b"moov"): "header is cut short",
        head + box(b"moov", nested): "deep",
        film(extra=box(b"meta") * 17).data: "16 boxes `meta`",
        good.replace(struct.pack(">I", len(good) - good.index(b"mdat") + 4) + b"mdat", b"\0\0\0\7mdat"): "a length",
    }
    for data, words in cases.items():
        piece = Media("video", boxes.MIME, data)
        with pytest.raises(InputError, match=words) as caught:
            MODALITY.measure(piece)
        assert "\n" not in str(caught.value)


def test_a_million_boxes_are_refused_at_once() -> None:
    head, crowd = box(b"ftyp", b"isom\0\0\2\0isom"), b"\0\0\0\x08free" * 1_000_000
    start = time.process_time()
    for data in (
        head + crowd,
        head + box(b"moov", crowd),
        film(extra=box(b"udta", box(b"meta", bytes(4), crowd))).data,
        film(extra=box(b"edts", crowd)).data,
        film().data + box(b"mfra", crowd),
        film(extra=box(b"edts", box(b"tref", b"\0\0\0\x08free") * 3000)).data,
    ):
        with pytest.raises(InputError, match="more than 4,096 boxes"):
            MODALITY.content(Media("video", boxes.MIME, data))
        assert MODALITY.extract(Media("video", boxes.MIME, data)) is None
    assert time.process_time() - start < 2


@given(st.data())
def test_a_changed_file_gives_an_answer_or_one_sentence(data: st.DataObject) -> None:
    layout = data.draw(st.sampled_from(LAYOUTS))
    whole = bytearray(MODALITY.embed(film(layout=layout), LABEL).data)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=6)):
        whole[place] = data.draw(st.integers(0, 255))
    piece = Media("video", boxes.MIME, bytes(whole[: data.draw(st.integers(8, len(whole)))]))
    MODALITY.recognise(piece.data)
    MODALITY.extract(piece)
    MODALITY.signature(piece)
    try:
        assert MODALITY.measure(piece) > 0
        again = MODALITY.embed(piece, LABEL)
    except InputError:
        return
    assert (MODALITY.extract(again) or {})["ProduceID"] == "n-1"


def test_other_files_are_no_film() -> None:
    for data in (b"", b"words", b"\0\0\0\x1cftypheic", b"\0\0\0\x1cftypM4A "):
        assert MODALITY.recognise(data) is None
    for mime in ("video/mp4", "video/quicktime"):
        assert MODALITY.recognise(tiny.sample(mime).data) == mime
