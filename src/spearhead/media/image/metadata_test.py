"""The label in a picture's metadata: where others look for it, once, and without touching anything else."""

import io
import json
import os
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.media import gb45438, xmp
from spearhead.media.image import MODALITY, codec, container, metadata, tiny
from spearhead.media.image.container import Chunk

LABEL = Label('演示 "maker" 100%\\', "n-1", "s@1", "2026-11-22T02:00:00Z")
MEMBERS = gb45438.members(Label("wild", "w-7", "x@1", LABEL.created), b"other")
OTHERS = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:T="http://www.tc260.org.cn/ns/AIGC/1.0/"
  T:AIGC="%s"><dc:title><rdf:Alt><rdf:li xml:lang="x-default">A hill &amp; a 山</rdf:li></rdf:Alt></dc:title>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def with_packet(media: Media, packet: bytes) -> Media:
    chunks = container.with_packet(container.split(media.data, media.mime), media.mime, packet)
    return Media("image", media.mime, container.join(chunks, media.mime))


def pictures(media: Media) -> list[Chunk]:
    """The chunks that hold pixels."""
    kept = (b"IDAT", b"IHDR", b"PLTE", b"VP8 ", b"VP8L", b"\xda", b"\xdb", b"\xc4", b"\xc0")
    return [chunk for chunk in container.split(media.data, media.mime) if chunk.name in kept]


@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_another_reader_finds_the_label_where_the_guide_puts_it(mime: str) -> None:
    labelled = MODALITY.embed(tiny.sample(mime), LABEL)
    with Image.open(io.BytesIO(labelled.data)) as image:
        image.load()
        packet = image.info["xmp"].decode()
    assert 'xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/"' in packet
    found = re.search("<TC260:AIGC>(.*?)</TC260:AIGC>", packet)
    assert found and json.loads(found[1].replace("&quot;", '"')) == dict(MODALITY.extract(labelled) or {})
    assert "<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/trained" in packet


@pytest.mark.skipif(
    shutil.which("exiftool") is None and "SPEARHEAD_CI" not in os.environ,
    reason="exiftool is not installed: `apt-get install libimage-exiftool-perl` enables it",
)
@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_exiftool_reads_the_label_and_finds_nothing_wrong(mime: str, tmp_path: Path) -> None:
    labelled = MODALITY.embed(tiny.sample(mime), LABEL)
    file = tmp_path / f"picture.{mime.rpartition('/')[2]}"
    file.write_bytes(labelled.data)
    line = ["exiftool", "-json", "-XMP:all", "-validate", "-warning", str(file)]
    said = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)[0]
    aigc = said["Aigc"] if isinstance(said["Aigc"], dict) else json.loads(said["Aigc"])
    assert aigc == dict(MODALITY.extract(labelled) or {}) and said["Validate"] == "OK" and "Warning" not in said


@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_labelling_touches_no_pixel(mime: str) -> None:
    piece = tiny.sample(mime)
    labelled = MODALITY.embed(piece, LABEL)
    assert pictures(labelled) == pictures(piece) and len(pictures(piece)) > 0
    assert (codec.read(labelled) == codec.read(piece)).all()


@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_other_properties_stay_and_the_label_of_another_goes(mime: str) -> None:
    quoted = json.dumps(MEMBERS).replace('"', "&quot;")
    theirs = with_packet(tiny.sample(mime), (OTHERS % quoted).encode())
    assert MODALITY.extract(theirs) == MEMBERS
    ours = MODALITY.embed(theirs, LABEL)
    packet = container.packet(container.split(ours.data, mime), mime)
    assert packet and "A hill &amp; a 山".encode() in packet and b"w-7" not in packet
    assert (MODALITY.extract(ours) or {})["ProduceID"] == "n-1"


def test_a_label_outside_the_packet_is_read_and_replaced() -> None:
    image, value = Image.fromarray(tiny.pixels()), json.dumps({"AIGC": MEMBERS})
    wild: list[tuple[str, bytes]] = []
    for compress in (False, True):
        for add in ("add_text", "add_itxt"):
            info, out = PngImagePlugin.PngInfo(), io.BytesIO()
            (info.add_text if add == "add_text" else info.add_itxt)("AIGC", value, zip=compress)
            image.save(out, "PNG", pnginfo=info)
            wild.append(("image/png", out.getvalue()))
    for form in ("PNG", "JPEG", "WEBP"):
        for tag, words in (
            (0x9286, b"ASCII\0\0\0" + value.encode()),
            (0x9286, b"UNICODE\0" + value.encode("utf-16-le")),
        ):
            exif, out = Image.Exif(), io.BytesIO()
            exif[0x0112] = 1
            exif.get_ifd(0x8769)[tag] = words
            image.save(out, form, exif=exif)
            wild.append((f"image/{form.lower()}", out.getvalue()))
        exif, out = Image.Exif(), io.BytesIO()
        exif[0x010E] = value
        image.save(out, form, exif=exif)
        wild.append((f"image/{form.lower()}", out.getvalue()))
    for mime, data in wild:
        piece = Media("image", mime, data)
        assert MODALITY.extract(piece) == MEMBERS, (mime, data[:80])
        again = MODALITY.embed(piece, LABEL)
        assert b"w-7" not in again.data and "w-7".encode("utf-16-le") not in again.data
        assert (MODALITY.extract(again) or {})["ProduceID"] == "n-1" and codec.read(again).shape == (24, 32, 3)


def test_a_packet_made_to_harm_says_nothing_and_is_replaced() -> None:
    laughs = b'<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>'
    deep = b"<a>" * 50_000 + b"</a>" * 50_000
    for packet in (laughs, laughs.decode().encode("utf-16"), deep, b"", b"\0\xff", b"<a", b"<a/>" + b" " * xmp.MOST):
        piece = with_packet(tiny.sample("image/png"), packet)
        assert MODALITY.extract(piece) is None
        assert (MODALITY.extract(MODALITY.embed(piece, LABEL)) or {})["ProduceID"] == "n-1"


def test_a_text_chunk_that_unpacks_without_end_is_read_in_part() -> None:
    bomb = Chunk(b"zTXt", b"AIGC\0\0" + zlib.compress(b" " * 50_000_000))
    chunks = container.split(tiny.sample("image/png").data, "image/png")
    piece = Media("image", "image/png", container.join([chunks[0], bomb, *chunks[1:]], "image/png"))
    assert MODALITY.extract(piece) is None


def test_how_a_picture_was_made_is_written_only_when_asked() -> None:
    said = {"prompt": "春眠不觉晓 <b> \x00 \ud800 \uffff", "seed": "3"}
    for mime in MODALITY.mimes:
        silent, told = codec.write(tiny.pixels(), mime=mime), codec.write(tiny.pixels(), mime=mime, parameters=said)
        assert metadata.parameters(silent) is None and b"xmp" not in silent.data.lower()
        assert metadata.parameters(told) == said
        labelled = MODALITY.embed(told, LABEL)
        assert metadata.parameters(labelled) == said and MODALITY.extract(metadata.with_parameters(labelled, None))
        assert metadata.parameters(metadata.with_parameters(labelled, None)) is None
    with pytest.raises(InputError, match="a picture holds 32,768"):
        codec.write(tiny.pixels(), parameters={"prompt": "x" * 40_000})


def test_a_jpeg_whose_packet_would_not_fit_is_refused() -> None:
    big = (OTHERS % "").replace("A hill", "A hill" * 11_000).encode()
    with pytest.raises(InputError, match="a JPEG holds"):
        with_packet(tiny.sample("image/jpeg"), big)
    labelled = MODALITY.embed(with_packet(tiny.sample("image/png"), big), LABEL)
    assert (MODALITY.extract(labelled) or {})["ProduceID"] == "n-1"


def test_a_simple_webp_becomes_an_extended_one_with_its_size_and_transparency() -> None:
    for channels, quality in ((3, None), (4, None), (3, 80), (4, 80)):
        pixels = np.random.default_rng(0).integers(0, 256, (37, 53, channels), dtype=np.uint8)
        piece = codec.write(pixels, mime="image/webp", quality=quality)
        labelled = MODALITY.embed(piece, LABEL)
        assert container.split(labelled.data, "image/webp")[0].name == b"VP8X"
        with Image.open(io.BytesIO(labelled.data)) as image:
            assert image.size == (53, 37) and image.mode == ("RGBA" if channels == 4 else "RGB")
        assert (codec.read(labelled, channels=4) == codec.read(piece, channels=4)).all()


@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_every_changed_byte_of_the_pixels_breaks_the_digest(mime: str) -> None:
    labelled = MODALITY.embed(tiny.sample(mime), LABEL)
    wanted = (MODALITY.extract(labelled) or {})["ReservedCode1"]
    assert wanted == f"sha256:{digest.of_bytes(MODALITY.content(labelled))}"
    pixels = max(pictures(labelled), key=lambda chunk: len(chunk.data)).data
    begin = labelled.data.index(pixels)
    for place in range(begin, begin + len(pixels)):
        data = bytearray(labelled.data)
        data[place] ^= 0x10
        changed = Media("image", mime, bytes(data))
        assert digest.of_bytes(MODALITY.content(changed)) != wanted.removeprefix("sha256:"), place
