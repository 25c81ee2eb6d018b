import numpy as np
import pytest
from PIL import Image, ImageEnhance

from spearhead.core.errors import InputError
from spearhead.media.image import change, tiny

PIXELS = tiny.pixels()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.7])
def test_brightness_and_contrast_are_those_of_pillow(factor: float) -> None:
    image = Image.fromarray(PIXELS)
    brighter = np.asarray(ImageEnhance.Brightness(image).enhance(factor)).astype(int)
    assert np.abs(change.brightness(PIXELS, factor) - brighter).max() <= 1
    sharper = np.asarray(ImageEnhance.Contrast(image).enhance(factor)).astype(int)
    assert np.abs(change.contrast(PIXELS, factor) - sharper).max() <= 2


def test_transparency_is_not_lit() -> None:
    pixels = rng().integers(0, 256, (5, 5, 4), dtype=np.uint8)
    for made in (change.brightness(pixels, 0.2), change.contrast(pixels, 0.2), change.noise(pixels, rng())):
        assert (made[:, :, 3] == pixels[:, :, 3]).all() and (made[:, :, :3] != pixels[:, :, :3]).any()


def test_a_crop_outside_the_picture_is_refused() -> None:
    assert (change.crop(PIXELS, left=3, top=2, width=4, height=5) == PIXELS[2:7, 3:7]).all()
    for left, top, width, height in ((-1, 0, 3, 3), (30, 0, 3, 3), (0, 22, 3, 3), (0, 0, 0, 3)):
        with pytest.raises(InputError, match="not inside a picture of 32x24"):
            change.crop(PIXELS, left=left, top=top, width=width, height=height)


def test_a_resize_keeps_flat_colour_and_channels() -> None:
    for channels in (1, 3, 4):
        flat = np.full((6, 9, channels), 77, np.uint8)
        made = change.resize(flat, width=31, height=20)
        assert made.shape == (20, 31, channels)
        assert np.abs(made.astype(int) - 77).max() <= (1 if channels == 4 else 0)  # colours there go through alpha
    with pytest.raises(InputError, match="cannot be made"):
        change.resize(PIXELS, width=0, height=9)


def test_a_flip_mirrors_and_a_shift_moves() -> None:
    assert (change.flip(PIXELS, rng()) == PIXELS[:, ::-1]).all()
    dot = np.zeros((32, 32, 1), np.uint8)
    dot[16, 16] = 255
    places = {tuple(np.argwhere(change.shift(dot, rng(seed))[:, :, 0])[0]) for seed in range(200)}
    assert {abs(int(side) - 16) for place in places for side in place} == {0, 1, 2, 3, 4}


def test_a_random_part_keeps_the_size_and_most_of_the_picture() -> None:
    ramp = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 64, 0)
    for seed in range(20):
        made = change.crop_and_resize(ramp, rng(seed))
        assert made.shape == ramp.shape
        assert 0.8 * 255 - 8 <= int(made.max()) - int(made.min()) <= 255


def test_noise_has_its_strength() -> None:
    grey = np.full((128, 128, 1), 128, np.uint8)
    spread = (change.noise(grey, rng()).astype(float) - 128).std()
    assert spread == pytest.approx(change.NOISE, rel=0.05)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_same_seed_gives_the_same_variation_and_the_shape_stays(channels: int) -> None:
    pixels = rng(9).integers(0, 256, (20, 28, channels), dtype=np.uint8)
    before = pixels.copy()
    ways = dict.fromkeys(change.WAYS, 1.0)
    one = change.augment(pixels, ways, rng=rng(1))
    assert (one == change.augment(pixels, ways, rng=rng(1))).all() and one.shape == pixels.shape
    assert (one != change.augment(pixels, ways, rng=rng(2))).any()
    assert (pixels == before).all() and (change.augment(pixels, {}, rng=rng()) == pixels).all()


def test_a_way_happens_as_often_as_asked() -> None:
    draw = rng()
    flips = sum((change.augment(PIXELS, {"flip": 0.25}, rng=draw) != PIXELS).any() for _ in range(2000))
    assert flips == pytest.approx(500, abs=60)


def test_an_unknown_way_or_factor_is_refused() -> None:
    with pytest.raises(InputError, match="'typos' is unknown: wanted flip, shift, crop, noise, light"):
        change.augment(PIXELS, {"typos": 0.5}, rng=rng())
    with pytest.raises(InputError, match="wanted a probability"):
        change.augment(PIXELS, {"flip": 2}, rng=rng())
    for factor in (-1.0, float("nan"), 11.0):
        with pytest.raises(InputError, match="wanted a factor"):
            change.brightness(PIXELS, factor)
