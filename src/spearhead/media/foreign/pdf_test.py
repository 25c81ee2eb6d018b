"""Promises of PDF: a label behind every byte that was there, one at a time, and nothing to gain by hostile files."""

import importlib
import io
import re
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable

import pytest
from pypdf import PdfReader, PdfWriter

from spearhead.core.errors import InputError
from spearhead.media.foreign import pdf, tiny

LABEL = '{"Label":"1","ContentProducer":"a (b) \\\\ c"}'


def drawn(**entries: str) -> bytes:
    out = io.BytesIO()
    canvas = importlib.import_module("reportlab.pdfgen.canvas").Canvas(out, invariant=True)
    for name, words in entries.items():
        getattr(canvas, f"set{name}")(words)
    canvas.drawString(72, 72, "made by hand")
    canvas.save()
    return out.getvalue()


def packed(info: bytes = b"<< /Title (sea) /AIGC (old words) >>", *, table: bytes = b"", rows: bytes = b"") -> bytes:
    """A file whose objects are in a compressed stream of objects, and whose table is a stream."""
    bodies = (b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>", info)
    places = [sum(len(body) + 1 for body in bodies[:number]) for number in range(3)]
    head = b" ".join(b"%d %d" % (number, place) for number, place in enumerate(places, 1)) + b"\n"
    objects = zlib.compress(head + b"\n".join(bodies))
    out = b"%PDF-1.7\n"
    first = len(out)
    out += b"4 0 obj\n<< /Type /ObjStm /N 3 /First %d /Filter /FlateDecode /Length %d >>\n" % (len(head), len(objects))
    out += b"stream\n" + objects + b"\nendstream\nendobj\n"
    start = len(out)
    told = [(0, 0, 0), (2, 4, 0), (2, 4, 1), (2, 4, 2), (1, first, 0), (1, start, 0)]
    rows = rows or zlib.compress(b"".join(struct.pack(">BHB", *one) for one in told))
    table = table or b"/Size 6 /W [1 2 1]"
    out += b"5 0 obj\n<< /Type /XRef %b /Root 1 0 R /Info 3 0 R /Filter /FlateDecode /Length %d >>\n" % (
        table,
        len(rows),
    )
    return out + b"stream\n" + rows + b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n" % start


def made(writer: PdfWriter) -> bytes:
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


FILES = {
    "by reportlab": drawn(Title="The sea (a draft)", Author="演示"),
    "by hand": tiny.page(),
    "without information": tiny.page().replace(b"/Info 3 0 R", b"           "),
    "with identifiers": tiny.page(more=b"/ID [<00ff> <00ff>] "),
    "with objects in streams": packed(),
    "of pypdf": made(PdfWriter(clone_from=io.BytesIO(drawn(Title="x")))),
}


@pytest.mark.parametrize("name", FILES)
def test_every_byte_stays_and_another_label_takes_the_place_of_the_first(name: str) -> None:
    data = FILES[name]
    labelled = pdf.put(data, LABEL)
    assert labelled.startswith(data) and pdf.content(labelled) == data and pdf.label(labelled) == LABEL
    assert pdf.put(labelled, LABEL) == labelled
    again = pdf.put(labelled, "other")
    assert pdf.label(again) == "other" and again.startswith(data) and again.count(b"%AIGC") == 1
    before, after = (PdfReader(io.BytesIO(one), strict=True) for one in (data, labelled))
    said = {key: str(value) for key, value in (before.metadata or {}).items()}
    assert {key: str(value) for key, value in (after.metadata or {}).items()} == said | {"/AIGC": LABEL}
    assert len(after.pages) == len(before.pages)
    assert after.trailer.raw_get("/Root").idnum == before.trailer.raw_get("/Root").idnum


def test_the_first_identifier_stays_and_the_second_is_new() -> None:
    found = re.findall(rb"/ID \[<(\w+)> <(\w+)>\]", pdf.put(FILES["with identifiers"], LABEL))
    assert found[0] == (b"00ff", b"00ff") and found[1][0] == b"00ff" and len(found[1][1]) == 32


def test_a_label_in_compressed_objects_is_read_and_overridden() -> None:
    data = packed()
    assert b"AIGC" not in data and pdf.label(data) == "old words"
    labelled = pdf.put(data, LABEL)
    assert PdfReader(io.BytesIO(labelled)).trailer["/Info"]["/AIGC"] == LABEL  # type: ignore[index]
    assert b"/Type /XRef" in labelled[len(data) :] and b"trailer" not in labelled


@pytest.mark.parametrize("name", ["by hand", "with objects in streams"])
def test_what_is_changed_later_is_not_taken_for_a_label(name: str) -> None:
    labelled = pdf.put(FILES[name], LABEL)
    reader = PdfReader(io.BytesIO(labelled))
    writer = PdfWriter(reader, incremental=True)
    writer.add_blank_page(9, 9)
    later = made(writer)
    assert later.startswith(labelled) and pdf.content(later) == later
    forged = labelled.replace(b">>\nendobj\n", b">>\nendobj\n9 0 obj\n<< >>\nendobj\n")
    assert pdf.content(forged) == forged, "a revision that holds more than a label"
    renamed = labelled[: len(FILES[name])] + labelled[len(FILES[name]) :].replace(b"/Title", b"/Tutle")
    assert pdf.content(renamed) == renamed


def test_signed_and_encrypted_files_are_refused_and_their_labels_read() -> None:
    signed = tiny.page(info=b"<< /AIGC (words) >>").replace(b"/Count 0", b"/Count 0 /V << /ByteRange [0 1 2 3] >>", 1)
    shift = signed.rindex(b"xref\n0") - tiny.page(info=b"<< /AIGC (words) >>").rindex(b"xref\n0")
    at = int(re.findall(rb"startxref\n(\d+)", signed)[0])
    third = b"%010d" % (signed.index(b"3 0 obj"))
    signed = re.sub(rb"\d{10}( 00000 n \ntrailer)", third + rb"\1", signed)
    signed = signed.replace(b"startxref\n%d" % at, b"startxref\n%d" % (at + shift))
    assert pdf.label(signed) == "words"
    with pytest.raises(InputError, match="is signed.*label it before it is signed"):
        pdf.put(signed, LABEL)
    writer = PdfWriter(clone_from=io.BytesIO(tiny.page(info=b"<< /AIGC (words) >>")))
    writer.encrypt("", "owner", algorithm="RC4-128")
    assert pdf.label(made(writer)) == "words"
    with pytest.raises(InputError, match="is encrypted: label it before"):
        pdf.put(made(writer), LABEL)
    locked = PdfWriter(clone_from=io.BytesIO(tiny.page()))
    locked.encrypt("secret", algorithm="AES-256")
    with pytest.raises(InputError, match="damaged or locked"):
        pdf.put(made(locked), LABEL)


def test_a_label_in_the_open_of_a_damaged_file_is_read_and_looked_for_in_few_places() -> None:
    words = LABEL.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").encode()
    for entry in (b"(" + words + b")", b"<" + ("\ufeff" + LABEL).encode("utf-16-be").hex(" ", 7).encode() + b">"):
        assert pdf.label(b"%PDF-1.7\n1 0 obj << /AIGC (old) /AIGC " + entry + b" >> endobj\n%%EOF") == LABEL
    started = time.process_time()
    assert pdf.label(b"%PDF-1.7\n" + b"/AIGC(" * 2_000_000) is None
    assert time.process_time() - started < 5


def chained(count: int) -> bytes:
    """Tables each of which leads to the one before it, and the first to itself."""
    out, start = b"%PDF-1.7\n", 9
    for _ in range(count):
        out, start = out + b"xref\n0 0\ntrailer\n<< /Size 9 /Root 1 0 R /Prev %d >>\n" % start, len(out)
    return out + b"startxref\n%d\n%%%%EOF\n" % start


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a table that unpacks to 60 MB": lambda: packed(
        table=b"/Size 20000000 /W [1 1 1]", rows=zlib.compress(bytes(60_000_000))
    ),
    "objects that unpack to 8 MB": lambda: packed(b"<< /AIGC (x) >>" + b" " * 8_000_000),
    "a table of more entries than objects": lambda: packed(table=b"/Size 9 /W [1 1 1] /Index [0 99999999]"),
    "tables that lead to each other": lambda: chained(3000),
    "lists in lists": lambda: tiny.page(info=b"<< /AIGC " + b"[" * 50_000 + b"]" * 50_000 + b" >>"),
    "lines without end": lambda: b"%PDF-1.7\n" + b"\n" * 3_000_000,
    "words without end": lambda: b"%PDF-1.7\n" + b"1 " * 2_000_000 + b"startxref\n9\n%%EOF\n",
    "an object that is its own": lambda: tiny.page(info=b"3 0 R"),
}
"""Files that want a reader to work without end."""


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_a_sentence_and_soon(name: str) -> None:
    data = HOSTILE[name]()
    started = time.process_time()
    with pytest.raises(InputError):
        pdf.put(data, LABEL)
    assert time.process_time() - started < 5


def test_reading_stops_where_a_file_takes_too_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf._Counted, "left", 50)
    with pytest.raises(InputError, match="takes too long to read"):
        pdf.put(tiny.page(), LABEL)
    monkeypatch.setattr(pdf, "MOST_BYTES", 100)
    with pytest.raises(InputError, match="at most 100 are read"):
        pdf.put(tiny.page(), LABEL)


@pytest.mark.parametrize("name", ["by hand", "with objects in streams"])
def test_a_file_that_is_cut_anywhere_is_never_taken_for_the_whole(name: str) -> None:
    data = FILES[name]
    labelled = pdf.put(data, LABEL)
    for end in range(0, len(labelled) - 1):
        piece = labelled[:end]
        assert pdf.content(piece) == piece
        try:
            assert pdf.put(piece, "other").startswith(piece)
        except InputError:
            continue


def test_the_library_is_loaded_at_the_first_file_and_says_nothing() -> None:
    code = (
        "import sys; from spearhead.media.foreign import MODALITY, pdf, tiny; MODALITY.recognise(tiny.page());"
        "print('pypdf' in sys.modules); twice = tiny.page(info=b'<< /A 1 /A 2 >>'); off = tiny.page()[:-9];"
        "print(pdf.label(twice), pdf.label(off), pdf.label(tiny.page(info=b'<< /AIGC (x) >>')), 'pypdf' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "None", "None", "x", "True"] and done.stderr == ""
