"""Invisible marks: found by their key alone, after what pictures go through, with a p-value that means what it says."""

import itertools
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spearhead.core import media
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.media import Label, Media
from spearhead.media.image import MODALITY, change, codec, tiny
from spearhead.provenance import seal, signing
from spearhead.provenance.labels import rivagan, watermark
from spearhead.provenance.labels.rivagan import RivaGan
from spearhead.provenance.labels.spread import Spread
from spearhead.provenance.labels.watermark import Watermark
from spearhead.provenance.signer import Signer
from spearhead.provenance.verify import holds, verify
from spearhead.store.home import Home

LABEL = Label("maker", "out-1", "fashion@1", "2026-11-22T02:00:00Z", watermark=True)
SPREAD = Spread(b"key")


def cloudy(side: int = 300, *, seed: int = 0) -> codec.Pixels:
    """A picture with the spectrum of photographs: amplitude falls with frequency."""
    rng = np.random.default_rng(seed)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) + 1 / side
    planes = [np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) / radius).real for _ in range(3)]
    return np.stack([np.clip(128 + 45 * plane / plane.std(), 0, 255) for plane in planes], 2).astype(np.uint8)


def drawn(seed: int = 0) -> codec.Pixels:
    """Flat colours in blocks, enlarged: what the small generators deliver."""
    return codec.enlarge(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8))


PICTURES = {
    "photograph": cloudy(),
    "drawing": drawn(),
    "flat": np.full((256, 320, 3), 180, np.uint8),
    "grey": cloudy()[:, :, :1],
    "transparent": np.concatenate([cloudy(256), np.full((256, 256, 1), 200, np.uint8)], 2),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_waves_are_found_by_their_key_alone_and_hardly_seen(name: str) -> None:
    pixels = PICTURES[name]
    marked = SPREAD.embed(pixels)
    assert SPREAD.p_value(marked) < 1e-9
    assert Spread(b"another").p_value(marked) > 1e-3 and SPREAD.p_value(pixels) > 1e-3
    colours = min(3, pixels.shape[2])
    error = ((marked[:, :, :colours].astype(float) - pixels[:, :, :colours]) ** 2).mean()
    assert 10 * math.log10(255**2 / error) > 36
    assert marked.shape == pixels.shape and (marked[:, :, colours:] == pixels[:, :, colours:]).all()


@pytest.mark.parametrize("name", ["photograph", "drawing", "flat"])
def test_the_waves_survive_what_pictures_go_through(name: str) -> None:
    marked = SPREAD.embed(PICTURES[name])
    tall, wide = marked.shape[:2]
    for changed in (
        codec.read(codec.write(marked, mime="image/jpeg", quality=60)),
        codec.read(codec.write(marked, mime="image/webp", quality=80)),
        change.resize(marked, width=wide // 2, height=tall // 2),
        change.resize(marked, width=wide * 2, height=tall * 2),
        change.brightness(marked, 0.8),
        change.contrast(marked, 1.2),
        change.noise(marked, np.random.default_rng(0)),
    ):
        assert SPREAD.p_value(changed) < watermark.FOUND
    assert SPREAD.p_value(change.flip(marked, np.random.default_rng(0))) > 1e-3  # what it does not survive


def test_a_p_value_is_at_most_as_small_as_false_alarms_are_rare() -> None:
    pixels = SPREAD.embed(cloudy(256))
    values = sorted(Spread(bytes([key])).p_value(pixels) for key in range(20))
    # Hoeffding's inequality: of 20 wrong keys no more than about 20 p have a value of p or less.
    assert values[0] > 1e-3 and sum(value <= 0.1 for value in values) <= 6
    assert SPREAD.p_value(np.zeros((300, 300, 3), np.uint8)) > 0.01


def test_the_chance_of_bits_is_counted_exactly() -> None:
    rng = np.random.default_rng(0)
    bits = np.ones(10, np.float32)
    for _ in range(20):
        outputs = (rng.normal(0.7, 1.0, 10)).astype(np.float32)
        margin = outputs.astype(float) - 0.5
        weights = np.rint(np.minimum(np.abs(margin) / (2 * np.median(np.abs(margin))), 1) * 16)
        here = (weights * np.sign(margin)).sum()
        signs = np.array(list(itertools.product((-1, 1), repeat=10)))
        wanted = ((signs * weights).sum(1) >= here).mean()
        assert rivagan.chance(outputs, bits) == pytest.approx(float(wanted), abs=1e-12)
    assert rivagan.chance(np.full(32, 0.5, np.float32), np.ones(32, np.float32)) == 1.0


def test_a_sealed_picture_carries_the_mark_and_verify_says_so(tmp_path: Path) -> None:
    keys = signing.ensure(Home(tmp_path, tmp_path))
    signer, marks = Signer(keys), Watermark(lambda: [Spread(watermark.secret_of(keys))])
    for mime in MODALITY.mimes:
        sealed = seal.seal(codec.write(cloudy(256), mime=mime), LABEL, signer=signer, watermark=marks)
        layers = {layer.name: layer for layer in verify(sealed.data, watermark=marks)}
        assert {layer.state for layer in layers.values()} == {"valid"} and len(layers) == 4
        assert "spread spectrum, p = " in str(layers["watermark"].detail) and layers["watermark"].p_value is not None
        assert str(layers["c2pa"].detail).endswith("says that an invisible mark was drawn")
        assert len(verify(sealed.data)) == 3  # without the key nobody can look
        again = seal.seal(sealed, LABEL, signer=signer, watermark=marks)
        assert (codec.read(again) == codec.read(sealed)).all()  # not marked twice
    cut = codec.write(change.resize(codec.read(sealed), width=200, height=200), mime="image/jpeg", quality=80)
    assert not holds(verify(cut.data)) and holds(verify(cut.data, watermark=marks))
    assert not holds(verify(codec.write(cloudy(256)).data, watermark=marks))


def test_what_cannot_carry_the_mark_is_not_released_without_it(tmp_path: Path) -> None:
    signer, marks = Signer(signing.ensure(Home(tmp_path, tmp_path))), Watermark(lambda: [SPREAD])
    with pytest.raises(InputError, match="enlarge it first"):
        seal.seal(tiny.sample("image/png"), LABEL, signer=signer, watermark=marks)
    with pytest.raises(InputError, match="no invisible mark can be drawn into text"):
        marks.embed(media.text("words"))
    coarse = codec.write(np.full((256, 256, 3), 180, np.uint8), mime="image/jpeg", quality=1)  # keeps no faint wave
    with pytest.raises(SpearheadError, match="does not hold in this piece"):
        seal.seal(coarse, LABEL, signer=signer, watermark=marks)


def test_the_mark_is_drawn_only_where_the_label_asks_for_it(tmp_path: Path) -> None:
    keys = signing.ensure(Home(tmp_path, tmp_path))
    signer, marks = Signer(keys), Watermark(lambda: [SPREAD])
    piece, silent = codec.write(PICTURES["flat"]), replace(LABEL, watermark=False, visible=False)
    sealed = seal.seal(piece, silent, signer=signer, watermark=marks)
    assert (codec.read(sealed) == PICTURES["flat"]).all() and "invisible" not in str(verify(sealed.data)[0].detail)
    with pytest.raises(SpearheadError, match="nothing was given to draw it"):
        seal.seal(piece, LABEL, signer=signer)
    assert not Label("maker", "n", "s@1", LABEL.created).watermark


def test_an_installations_marks_are_its_own_and_nothing_is_fetched_until_they_are_needed(tmp_path: Path) -> None:
    homes = [Home(tmp_path / name, tmp_path / name) for name in ("a", "b")]
    secrets = [watermark.secret_of(signing.ensure(home)) for home in homes]
    assert secrets[0] != secrets[1] and secrets[0] != signing.ensure(homes[0]).release and len(secrets[0]) == 32
    watermark.opened(homes[0], signing.ensure(homes[0]))
    assert not homes[0].packages.exists()


def test_broken_bytes_carry_no_mark() -> None:
    marks = Watermark(lambda: [SPREAD])
    assert marks.read(Media("image", "image/png", b"\x89PNG\r\n\x1a\n")) is None
    assert marks.read(media.text("words")) is None


def test_rivagan_survives_a_crop(tmp_path: Path) -> None:
    """With the networks of the package, where its registry can be reached."""
    try:
        riva = RivaGan.fetched(Home(tmp_path, tmp_path), secret=b"key")
    except InputError as absent:
        if "SPEARHEAD_CI" in os.environ:
            pytest.fail(f"CI reaches the registry, and the networks are not there: {absent}")
        pytest.skip(str(absent))
    blocks = np.random.default_rng(0).integers(0, 256, (28, 28, 1), dtype=np.uint8)
    pixels = codec.enlarge(np.repeat(blocks, 3, 2))[:256, :256]
    marked = riva.embed(pixels)
    noise = ((marked.astype(float) - pixels) ** 2).mean()
    assert 10 * math.log10(255**2 / noise) > 40
    assert riva.p_value(marked[20:-20, 20:-20]) < watermark.FOUND
