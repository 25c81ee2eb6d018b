"""Promises of files that people bring: exactly one label, where others look for it, and nothing else is changed."""

import importlib
import json
import os
import shutil
import struct
import subprocess
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.media import xmp
from spearhead.media.foreign import MODALITY, office, tiny
from spearhead.provenance.verify import holds, verify

LABEL = Label("演示 maker", "out-1", "s@1", "2026-11-22T02:00:00Z")


TOOL = ("http://ns.adobe.com/xap/1.0/", "xmp", "CreatorTool")
OTHER_XMP = xmp.put(None, {TOOL: "brush"})


def picture(form: str, **more: object) -> Media:
    out = BytesIO()
    Image.linear_gradient("L").resize((40, 30)).save(out, form, **more)
    return Media("foreign", f"image/{form.lower()}", out.getvalue())


@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_a_labelled_file_is_told_by_its_bytes_and_any_change_shows(mime: str) -> None:
    labelled = MODALITY.embed(tiny.sample(mime), LABEL)
    assert MODALITY.recognise(labelled.data) == mime
    (_, layer, _) = verify(labelled.data)
    assert layer.state == "valid" and "content unchanged" in str(layer.detail) and "演示 maker" in str(layer.detail)
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


@pytest.mark.parametrize(
    ("form", "more"),
    [
        *[("GIF", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"big_tiff": True})],
        *[("AVIF", {}), ("AVIF", {"xmp": OTHER_XMP}), ("AVIF", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"})],
    ],
)
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


@pytest.mark.parametrize("order", ["<", ">"])
def test_offsets_of_eight_bytes_are_read_and_written_in_either_order(order: str) -> None:
    values = ((256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 212), (277, 1), (278, 1), (279, 1))
    form = struct.Struct(f"{order}HHQHHI")
    entries = b"".join(form.pack(tag, 3, 1, value, 0, 0) for tag, value in values)
    head = (b"II+\0" if order == "<" else b"MM\0+") + struct.pack(f"{order}HHQQ", 8, 0, 16, len(values))
    piece = Media("foreign", "image/tiff", head + entries + bytes(8) + b"\x80\0")
    labelled = MODALITY.embed(piece, LABEL)
    if order == "<":  # Pillow takes the other order for TIFF with offsets of four bytes
        assert Image.open(BytesIO(labelled.data)).tobytes() == b"\x80"
    again = MODALITY.embed(MODALITY.embed(labelled, Label("other", "out-2", "s@1", LABEL.created)), LABEL)
    assert again == labelled and holds(verify(labelled.data))
    for end in range(0, len(labelled.data), 11):
        verify(labelled.data[:end])
        (changed := bytearray(labelled.data))[end] ^= 1
        if holds(verify(bytes(changed))):
            assert MODALITY.content(Media("foreign", "image/tiff", bytes(changed))) == MODALITY.content(labelled)


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


@pytest.mark.skipif(
    shutil.which("exiftool") is None and "SPEARHEAD_CI" not in os.environ,
    reason="exiftool is not installed: `apt-get install libimage-exiftool-perl` enables it",
)
@pytest.mark.parametrize(  # of documents it wants a library of Perl more
    ("form", "more"),
    [("GIF", {}), ("TIFF", {}), ("TIFF", {"big_tiff": True}), ("AVIF", {}), ("AVIF", {"xmp": OTHER_XMP})],
)
def test_exiftool_reads_the_label(form: str, more: dict[str, object], tmp_path: Path) -> None:
    piece = picture(form, **more)
    labelled = MODALITY.embed(piece, LABEL)
    file = tmp_path / f"a.{form.lower()}"
    file.write_bytes(labelled.data)
    (said,) = json.loads(subprocess.run(["exiftool", "-json", "-a", str(file)], capture_output=True, check=True).stdout)
    found = next(value for name, value in said.items() if name.upper() == "AIGC")
    members = found if isinstance(found, dict) else json.loads(found)
    assert members == dict(MODALITY.extract(labelled) or {}) and "Warning" not in said
    assert members["ReservedCode1"] == f"sha256:{digest.of_bytes(MODALITY.content(piece))}"


PICTURES = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=2")
SOUND = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=22050:duration=2")
FILMS = {
    "titled.flv": ("-c:v", "flv1", "-metadata", "title=sea"),
    "indexed.flv": ("-c:v", "flv1", "-flvflags", "add_keyframe_index", "-g", "5"),
    "unnamed.flv": ("-c:v", "flv1", "-flvflags", "no_metadata+no_duration_filesize"),
    "titled.mkv": ("-c:v", "mpeg4", "-g", "5", "-metadata", "title=sea", "-metadata", "artist=nobody"),
    "indexed.mkv": ("-c:v", "mpeg4", "-g", "5", "-reserve_index_space", "4096", "-cluster_time_limit", "300"),
    "cues first.mkv": ("-c:v", "mpeg4", "-g", "5", "-cues_to_front", "1", "-cluster_time_limit", "300"),
    "live.webm": ("-c:v", "libvpx", "-c:a", "libvorbis", "-live", "1", "-cluster_time_limit", "300"),
    "whole.webm": ("-c:v", "libvpx", "-c:a", "libvorbis", "-g", "5", "-cluster_time_limit", "300"),
}
"""Films as ffmpeg writes them, with how it is told to."""
needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None and "SPEARHEAD_CI" not in os.environ,
    reason="ffmpeg is not installed: `apt-get install ffmpeg` enables it",
)


def told(*line: str) -> dict[str, object]:
    """What a reader prints as JSON, without a complaint."""
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stderr == "", done.stderr
    said = json.loads(done.stdout)
    return dict(said[0] if isinstance(said, list) else said["format"].get("tags", {}))


@needs_ffmpeg
@pytest.mark.parametrize("name", FILMS)
def test_ffprobe_reads_the_label_of_a_film_that_plays_as_before(name: str, tmp_path: Path) -> None:
    plain, labelled = tmp_path / name, tmp_path / f"labelled {name}"
    make = ("ffmpeg", "-v", "error", *PICTURES, *SOUND, *FILMS[name], "-threads", "1", "-pix_fmt", "yuv420p")
    subprocess.run([*make, str(plain)], check=True)
    data = plain.read_bytes()
    piece = Media("foreign", str(MODALITY.recognise(data)), data)
    made = MODALITY.embed(piece, LABEL)
    labelled.write_bytes(made.data)
    probe = ("ffprobe", "-v", "error", "-of", "json", "-show_format")
    before, after = (told(*probe, str(file)) for file in (plain, labelled))
    members = json.loads(str(after.pop("AIGC")))
    assert members == dict(MODALITY.extract(made) or {}) and holds(verify(made.data))
    places = {"lastkeyframelocation"}
    assert {k: v for k, v in after.items() if k not in places} == {k: v for k, v in before.items() if k not in places}
    play = [("ffmpeg", "-v", "error", "-i", str(file), "-f", "md5", "-") for file in (plain, labelled)]
    assert len({subprocess.run(one, capture_output=True, check=True).stdout for one in play}) == 1
    assert MODALITY.embed(made, LABEL) == made and MODALITY.content(made) == MODALITY.content(piece)


@needs_ffmpeg
@pytest.mark.skipif(
    shutil.which("exiftool") is None and "SPEARHEAD_CI" not in os.environ,
    reason="exiftool is not installed: `apt-get install libimage-exiftool-perl` enables it",
)
def test_what_tells_where_key_frames_lie_still_tells_it_after_a_label(tmp_path: Path) -> None:
    plain, labelled = tmp_path / "a.flv", tmp_path / "b.flv"
    subprocess.run(["ffmpeg", "-v", "error", *PICTURES, *FILMS["indexed.flv"], str(plain)], check=True)
    labelled.write_bytes(MODALITY.embed(Media("foreign", "video/x-flv", plain.read_bytes()), LABEL).data)
    before, after = (told("exiftool", "-json", str(file)) for file in (plain, labelled))
    grown = labelled.stat().st_size - plain.stat().st_size
    assert after["FileSizeBytes"] == labelled.stat().st_size and after["AIGC"] and grown > 200
    places = [[place for place in said["KeyFramePositions"]] for said in (before, after)]  # type: ignore[attr-defined]
    assert [place + grown for place in places[0]] == places[1] and len(places[0]) > 2


@needs_ffmpeg
@pytest.mark.parametrize("name", [name for name in FILMS if name.endswith(("mkv", "webm"))])
def test_a_film_that_is_sought_in_shows_the_same_picture_as_before(name: str, tmp_path: Path) -> None:
    plain, labelled = tmp_path / name, tmp_path / f"labelled {name}"
    make = ("ffmpeg", "-v", "error", *PICTURES, *SOUND, *FILMS[name], "-threads", "1", "-pix_fmt", "yuv420p")
    subprocess.run([*make, str(plain)], check=True)
    piece = Media("foreign", str(MODALITY.recognise(plain.read_bytes())), plain.read_bytes())
    labelled.write_bytes(MODALITY.embed(piece, LABEL).data)
    shown = []
    for file in (plain, labelled):
        seek = ("ffmpeg", "-v", "error", "-ss", "1.5", "-i", str(file), "-frames:v", "1", "-f", "md5", "-")
        done = subprocess.run(seek, capture_output=True, check=True)
        assert done.stderr == b""
        shown.append(done.stdout)
    assert shown[0] == shown[1] and shown[0]


needs_heif = pytest.mark.skipif(
    (shutil.which("heif-enc") is None or shutil.which("exiftool") is None) and "SPEARHEAD_CI" not in os.environ,
    reason="heif-enc or exiftool is missing: `apt-get install libheif-examples libimage-exiftool-perl` enables it",
)


@needs_heif
@pytest.mark.parametrize("more", [(), ("--thumb", "16"), ("-A",)])
def test_a_heic_file_by_libheif_keeps_its_pictures_and_exiftool_reads_the_label(
    more: tuple[str, ...], tmp_path: Path
) -> None:
    drawing, plain, labelled = tmp_path / "a.png", tmp_path / "a.heic", tmp_path / "b.heic"
    Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 50).convert("RGB").save(drawing)
    subprocess.run(["heif-enc", *more, str(drawing), "-o", str(plain)], capture_output=True, check=True)
    piece = Media("foreign", str(MODALITY.recognise(plain.read_bytes())), plain.read_bytes())
    assert piece.mime == ("image/avif" if "-A" in more else "image/heic")
    made = MODALITY.embed(piece, LABEL)
    labelled.write_bytes(made.data)
    drawn = []
    for file in (plain, labelled):
        subprocess.run(["heif-convert", str(file), str(file.with_suffix(".out.png"))], capture_output=True, check=True)
        drawn.append(Image.open(file.with_suffix(".out.png")).tobytes())
    assert drawn[0] == drawn[1] and MODALITY.embed(made, LABEL) == made and holds(verify(made.data))
    said = told("exiftool", "-json", "-a", str(labelled))
    found = next(value for name, value in said.items() if name.upper() == "AIGC")
    assert (found if isinstance(found, dict) else json.loads(str(found))) == dict(MODALITY.extract(made) or {})
    assert "Warning" not in said


needs_qpdf = pytest.mark.skipif(
    (shutil.which("qpdf") is None or shutil.which("exiftool") is None) and "SPEARHEAD_CI" not in os.environ,
    reason="qpdf or exiftool is missing: `apt-get install qpdf libimage-exiftool-perl` enables it",
)


@needs_qpdf
@pytest.mark.parametrize("more", [(), ("--object-streams=generate",), ("--linearize",), ("--qdf",)])
def test_qpdf_finds_no_fault_and_exiftool_reads_the_label_of_a_pdf(more: tuple[str, ...], tmp_path: Path) -> None:
    drawing, plain, labelled = tmp_path / "a.pdf", tmp_path / "b.pdf", tmp_path / "c.pdf"
    canvas = importlib.import_module("reportlab.pdfgen.canvas").Canvas(str(drawing), invariant=True)
    canvas.setTitle("The sea")
    canvas.drawString(72, 72, "made by hand")
    canvas.save()
    subprocess.run(["qpdf", "--deterministic-id", *more, str(drawing), str(plain)], check=True)
    piece = Media("foreign", str(MODALITY.recognise(plain.read_bytes())), plain.read_bytes())
    made = MODALITY.embed(piece, LABEL)
    labelled.write_bytes(made.data)
    subprocess.run(["qpdf", "--check", str(labelled)], capture_output=True, check=True)
    said = told("exiftool", "-json", "-a", str(labelled))
    assert json.loads(str(said["AIGC"])) == dict(MODALITY.extract(made) or {}) and said["Title"] == "The sea"
    assert "Warning" not in said and holds(verify(made.data)) and made.data.startswith(piece.data)
    packed = tmp_path / "d.pdf"
    subprocess.run(["qpdf", "--object-streams=generate", str(labelled), str(packed)], check=True)
    assert MODALITY.extract(Media("foreign", piece.mime, packed.read_bytes())) == MODALITY.extract(made)
    (_, layer, _) = verify(packed.read_bytes())
    assert layer.state == "invalid" and "changed" in str(layer.detail), "saved anew, it is another file"
