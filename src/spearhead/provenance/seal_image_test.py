"""Sealed pictures: every layer is in the file, other people's readers agree, and a changed byte shows."""

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import encypher_c2pa
import numpy as np
import pytest

from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.media import Label, Media
from spearhead.media.image import MODALITY, codec, container, metadata, tiny
from spearhead.provenance import seal, signing
from spearhead.provenance.labels import c2pa_file, gb45438
from spearhead.provenance.recognise import recognise
from spearhead.provenance.signer import Signer
from spearhead.provenance.trace import render, trace
from spearhead.provenance.verify import holds, verify
from spearhead.store.home import Home

CODECS = {"image/png": "png", "image/jpeg": "mjpeg", "image/webp": "webp"}
"""What ffprobe calls the formats."""
LABEL = Label("演示 maker", "out-1", "fashion@1", "2026-11-22T02:00:00Z")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    folder = tmp_path_factory.mktemp("home")
    return Signer(signing.ensure(Home(folder, folder)))


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second reader sends nothing."""
    monkeypatch.setenv("ENCYPHER_C2PA_TELEMETRY", "off")
    monkeypatch.setenv("ENCYPHER_C2PA_ONLINE", "off")


def second_reader(data: bytes, mime: str) -> dict[str, Any]:
    report: dict[str, Any] = dict(encypher_c2pa.verify(data, mime, online=False))
    return report


def picture(mime: str, side: int = 256) -> Media:
    return codec.write(tiny.pixels(side, side), mime=mime, parameters={"seed": "3"})


def states(data: bytes) -> dict[str, str]:
    return {layer.name: layer.state for layer in verify(data)}


@pytest.mark.parametrize("side", [64, 256])
@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_a_sealed_picture_carries_every_layer(signer: Signer, mime: str, side: int) -> None:
    sealed = seal.seal(picture(mime, side), LABEL, signer=signer)
    assert (sealed.modality, sealed.mime) == ("image", mime)
    seen = seal.read(sealed)
    assert seen.visible and seen.implicit and seen.implicit.intact and seen.implicit.problems == ()
    assert (seen.implicit.producer, seen.implicit.produce_id) == ("演示 maker", "out-1")
    assert seen.c2pa and (seen.c2pa.state, seen.c2pa.failures) == ("Valid", ("signingCredential.untrusted",))
    assert (seen.c2pa.release, seen.c2pa.produce_id) == ("fashion@1", "out-1")
    assert seen.c2pa.digital_source_type.endswith("/trainedAlgorithmicMedia")
    assert set(seen.c2pa.training.values()) == {"notAllowed"} and seen.c2pa.generator.startswith("spearhead ")
    assert metadata.parameters(sealed) == {"seed": "3"}
    assert len(sealed.data) < len(picture(mime, side).data) + 8_000  # no thumbnail


@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_a_second_implementation_finds_the_same(signer: Signer, mime: str) -> None:
    sealed = seal.seal(picture(mime), LABEL, signer=signer)
    report = second_reader(sealed.data, mime)
    assert (report["integrity"], report["signature"], report["hard_binding"]) == ("valid", "valid", "match")
    assert [failure["code"] for failure in report["validation_results"]["failure"]] == ["signingCredential.untrusted"]
    changed = sealed.data.replace(b"out-1&quot;", b"out-2&quot;")
    assert changed != sealed.data and second_reader(changed, mime)["hard_binding"] == "mismatch"
    assert not c2pa_file.bound(Media("image", mime, changed)) and c2pa_file.bound(sealed)


@pytest.mark.skipif(
    shutil.which("ffprobe") is None and "SPEARHEAD_CI" not in os.environ,
    reason="ffprobe is not installed: `apt-get install ffmpeg` enables it",
)
@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_ffprobe_opens_a_sealed_picture_and_finds_no_error(signer: Signer, mime: str, tmp_path: Path) -> None:
    # Of a still picture it shows size, format and one frame that it decodes; XMP and C2PA it skips.
    sealed = seal.seal(codec.write(tiny.pixels(256, 320), mime=mime), LABEL, signer=signer)
    file = tmp_path / "picture"  # it goes by the bytes, not by the name
    file.write_bytes(sealed.data)
    line = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", "-show_frames", str(file)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    (stream,), (frame,) = said["streams"], said["frames"]
    assert (stream["codec_name"], stream["width"], stream["height"]) == (CODECS[mime], 320, 256)
    assert (frame["media_type"], frame["width"], frame["height"]) == ("video", 320, 256) and done.stderr == ""
    assert said["format"]["size"] == str(len(sealed.data))


@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_every_changed_byte_shows(signer: Signer, mime: str) -> None:
    sealed = seal.seal(picture(mime, 24), LABEL, signer=signer)
    start, length = MODALITY.signature(sealed) or (0, 0)
    assert length > 1000
    for place in [*range(0, start, 13), *range(start + length, len(sealed.data), 61)]:
        data = bytearray(sealed.data)
        data[place] ^= 0x01
        seen = seal.read(Media("image", mime, bytes(data)))
        assert seen.c2pa is None or not seen.c2pa.valid, place


def test_our_own_count_agrees_whatever_the_length_of_the_manifest(signer: Signer) -> None:
    lengths = set()
    for mime in MODALITY.mimes:
        for text in ("n", "no"):  # a store of odd length is padded in a WebP
            label = Label("maker", text, "s" + text + "@1", LABEL.created)
            sealed = c2pa_file.embed(picture(mime, 24), label, signer=signer)
            assert c2pa_file.bound(sealed)
            lengths.add((MODALITY.signature(sealed) or (0, 0))[1] % 2)
    assert lengths == {0, 1}


def test_a_manifest_cut_short_or_of_another_picture_does_not_hold(signer: Signer) -> None:
    one, other = (seal.seal(picture("image/png", side), LABEL, signer=signer) for side in (32, 40))
    store = [c for c in container.split(one.data, "image/png") if c.name == b"caBX"]
    chunks = container.without_signature(container.split(other.data, "image/png"), "image/png")
    moved = container.join([chunks[0], *store, *chunks[1:]], "image/png")
    seen = seal.read(Media("image", "image/png", moved))
    assert seen.c2pa and not seen.c2pa.valid and seen.implicit and seen.implicit.intact
    assert states(moved) == {"c2pa": "invalid", "gb45438": "valid", "visible": "valid"} and not holds(verify(moved))
    short = Media("image", "image/png", one.data[: len(one.data) // 2])
    assert states(short.data)["c2pa"] == "invalid"


@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_sealing_again_replaces_every_layer_and_keeps_the_pixels(signer: Signer, mime: str) -> None:
    once = seal.seal(picture(mime), LABEL, signer=signer)
    twice = seal.seal(once, Label("maker", "out-2", "fashion@2", LABEL.created), signer=signer)
    seen = seal.read(twice)
    assert seen.c2pa and (seen.c2pa.release, seen.c2pa.valid) == ("fashion@2", True)
    assert seen.implicit and seen.implicit.produce_id == "out-2" and b"out-1" not in twice.data
    assert twice.data.count(b"<TC260:AIGC>") == 1
    assert (codec.read(twice) == codec.read(once)).all()


def test_a_copy_without_the_visible_mark_has_the_pixels_it_was_made_with(signer: Signer) -> None:
    label = Label("maker", "out-1", "fashion@1", LABEL.created, visible=False)
    sealed = seal.seal(picture("image/png", 64), label, signer=signer)
    assert (codec.read(sealed) == tiny.pixels(64, 64)).all()
    assert states(sealed.data) == {"c2pa": "valid", "gb45438": "valid", "visible": "absent"} and holds(
        verify(sealed.data)
    )


def test_saving_anew_loses_the_metadata_and_the_mark_alone_is_left(signer: Signer) -> None:
    sealed = seal.seal(picture("image/png"), LABEL, signer=signer)
    saved = codec.write(codec.read(sealed), mime="image/jpeg", quality=70)
    assert states(saved.data) == {"c2pa": "absent", "gb45438": "absent", "visible": "valid"}
    assert not holds(verify(saved.data))


def test_what_cannot_be_seen_is_not_released(signer: Signer) -> None:
    for data in (b"", b"\x89PNG\r\n\x1a\n", picture("image/png").data[:900]):
        for visible in (True, False):
            label = Label("maker", "out-1", "s@1", LABEL.created, visible=visible)
            with pytest.raises(InputError, match="picture"):
                seal.seal(Media("image", "image/png", data), label, signer=signer)
    with pytest.raises(InputError, match="sealing scene is not built yet"):
        seal.seal(Media("scene", "model/gltf-binary", b""), LABEL, signer=signer)


def test_a_picture_whose_labels_do_not_read_back_is_not_released(
    signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(gb45438, "embed", lambda piece, label: piece)
        with pytest.raises(SpearheadError, match="no implicit label"):
            seal.seal(picture("image/png"), LABEL, signer=signer)
    with monkeypatch.context() as patch:
        patch.setattr(MODALITY.__class__, "mark", lambda self, media: media)
        with pytest.raises(SpearheadError, match="no visible mark"):
            seal.seal(picture("image/png"), LABEL, signer=signer)
    with monkeypatch.context() as patch:
        patch.setattr(MODALITY.__class__, "signature", lambda self, media: (33, 5))
        with pytest.raises(SpearheadError, match="does not hold this file"):
            seal.seal(picture("image/png"), LABEL, signer=signer)


def test_a_file_is_known_by_its_bytes() -> None:
    for mime in MODALITY.mimes:
        found = recognise(tiny.sample(mime).data)
        assert (found.modality, found.mime) == ("image", mime)
    for data in (b"words", b"", b"\xff\xfe", b"RIFF1234WAVX"):
        assert recognise(data).modality == "text"


def test_threads_share_a_signer_for_pictures(signer: Signer) -> None:
    def one(number: int) -> bool:
        label = Label("maker", f"out-{number}", "s@1", LABEL.created)
        return holds(verify(seal.seal(picture("image/jpeg", 32 + number), label, signer=signer).data))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(16)))


def test_the_way_back_starts_at_a_picture(signer: Signer, tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path)
    for mime in MODALITY.mimes:
        found = trace(seal.seal(picture(mime), LABEL, signer=signer).data, home, None)
        assert found.produce_id == "out-1" and [layer.state for layer in found.layers] == ["valid"] * 3
        assert [str(problem) for problem in found.problems] == ["the release fashion@1 is not in this installation"]
        assert "number     out-1" in render(found)
    with pytest.raises(InputError, match="nothing to trace"):
        trace(picture("image/png").data, home, None)


def test_noise_of_any_kind_is_verified_without_error(signer: Signer) -> None:
    rng = np.random.default_rng(0)
    sealed = seal.seal(picture("image/webp", 24), LABEL, signer=signer).data
    for _ in range(30):
        data = bytearray(sealed)
        for place in rng.integers(0, len(data), 5):
            data[place] = int(rng.integers(256))
        assert {layer.state for layer in verify(bytes(data[: int(rng.integers(len(data)))]))} <= {
            "valid",
            "invalid",
            "absent",
        }
