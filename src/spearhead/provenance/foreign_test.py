"""Promises of files that people bring: exactly one label, where others look for it, and nothing else is changed."""

import json
import os
import shutil
import subprocess
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.media import gb45438
from spearhead.media.foreign import MODALITY, office, pdf, tiny
from spearhead.provenance.verify import holds, verify

LABEL = Label("演示 maker", "out-1", "s@1", "2026-11-22T02:00:00Z")


def picture(form: str, **more: object) -> Media:
    out = BytesIO()
    Image.linear_gradient("L").resize((40, 30)).save(out, form, **more)
    return Media("foreign", f"image/{form.lower()}", out.getvalue())


@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_a_labelled_file_is_told_by_its_bytes_and_any_change_shows(mime: str) -> None:
    labelled = MODALITY.embed(tiny.sample(mime), LABEL)
    assert MODALITY.recognise(labelled.data) == mime
    (_, layer, _) = verify(labelled.data)
    assert layer.state == "valid" and "content unchanged" in layer.detail and "演示 maker" in layer.detail
    assert labelled.data.count(b"out-1") == 2 * (mime not in office.MIMES), "producer and propagator, once"
    again = MODALITY.embed(labelled, Label("other", "out-2", "s@1", LABEL.created))
    assert b"out-1" not in again.data and (MODALITY.extract(again) or {})["ProduceID"] == "out-2"
    if mime not in office.MIMES:
        for place in range(0, len(labelled.data), 3):
            data = bytearray(labelled.data)
            data[place] ^= 1
            piece = Media("foreign", mime, bytes(data))
            if holds(verify(piece.data)):  # only what is not of the content, as the label's own envelope
                assert MODALITY.content(piece) == MODALITY.content(labelled)


@pytest.mark.parametrize(("form", "more"), [("GIF", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})])
def test_the_pixels_stay_and_another_library_opens_the_file(form: str, more: dict[str, object]) -> None:
    piece = picture(form, **more)
    labelled = MODALITY.embed(piece, LABEL)
    before, after = (Image.open(BytesIO(one.data)).convert("RGB").tobytes() for one in (piece, labelled))
    assert before == after and MODALITY.content(piece) == MODALITY.content(labelled)


@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_a_damaged_file_has_no_label_and_raises_nothing_but_a_sentence(mime: str) -> None:
    data = MODALITY.embed(tiny.sample(mime), LABEL).data
    for end in range(0, len(data), 5):
        verify(data[:end])
        piece = Media("foreign", mime, data[:end])
        try:
            MODALITY.embed(piece, LABEL)
        except InputError:
            continue


@pytest.mark.parametrize("mime", office.MIMES)
def test_parts_and_properties_of_a_document_stay(mime: str) -> None:
    labelled = MODALITY.embed(tiny.sample(mime), LABEL)
    other = office.put(labelled.data, "x")
    parts = office._parts(labelled.data)
    theirs = parts["docProps/custom.xml"].replace(b'name="AIGC"', b'name="Client"')
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, part in (parts | {"docProps/custom.xml": theirs}).items():
            archive.writestr(name, part)
    again = MODALITY.embed(Media("foreign", mime, out.getvalue()), LABEL)
    custom = office._parts(again.data)["docProps/custom.xml"]
    assert b'name="Client"' in custom and custom.count(b'name="AIGC"') == 1 and b'pid="3"' in custom
    assert office._parts(other)["docProps/custom.xml"].count(b"<property") == 1
    assert zipfile.ZipFile(BytesIO(again.data)).testzip() is None


def test_an_archive_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "MOST_BYTES", 1 << 20)
    out = BytesIO(tiny.sample(office.MIMES[0]).data)
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/media/large", bytes(2 << 20))
    with pytest.raises(InputError, match="unpacks to more than 1 MiB"):
        MODALITY.embed(Media("foreign", office.MIMES[0], out.getvalue()), LABEL)
    assert MODALITY.extract(Media("foreign", office.MIMES[0], out.getvalue())) is None


def test_a_label_in_the_open_of_a_pdf_is_read_and_none_is_written() -> None:
    members = json.dumps(gb45438.members(LABEL, b"x"))
    escaped = members.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").encode()
    for entry in (b"(" + escaped + b")", b"<" + ("\ufeff" + members).encode("utf-16-be").hex().encode() + b">"):
        data = b"%PDF-1.7\n1 0 obj << /Title (a) /AIGC " + entry + b" >> endobj\n%%EOF"
        assert MODALITY.recognise(data) == pdf.MIME
        assert (MODALITY.extract(Media("foreign", pdf.MIME, data)) or {})["ProduceID"] == "out-1"
        layer = verify(data)[1]
        assert layer.state == "valid" and "without a digest" in layer.detail, "of what it is the digest is not known"
        with pytest.raises(InputError, match="no label is written into such a file"):
            MODALITY.embed(Media("foreign", pdf.MIME, data), LABEL)


@pytest.mark.skipif(
    shutil.which("exiftool") is None and "SPEARHEAD_CI" not in os.environ,
    reason="exiftool is not installed: `apt-get install libimage-exiftool-perl` enables it",
)
@pytest.mark.parametrize("form", ["GIF", "TIFF"])  # of documents it wants a library of Perl more
def test_exiftool_reads_the_label(form: str, tmp_path: Path) -> None:
    piece = picture(form)
    labelled = MODALITY.embed(piece, LABEL)
    file = tmp_path / f"a.{form.lower()}"
    file.write_bytes(labelled.data)
    (said,) = json.loads(subprocess.run(["exiftool", "-json", "-a", str(file)], capture_output=True, check=True).stdout)
    found = next(value for name, value in said.items() if name.upper() == "AIGC")
    members = found if isinstance(found, dict) else json.loads(found)
    assert members == dict(MODALITY.extract(labelled) or {}) and "Warning" not in said
    assert members["ReservedCode1"] == f"sha256:{digest.of_bytes(MODALITY.content(piece))}"
