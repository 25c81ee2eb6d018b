"""A delivered picture has the size and format that were asked for, or the request is refused with what is possible."""

import numpy as np
import pytest

from spearhead.core.errors import InputError
from spearhead.engine import pictures
from spearhead.media.image import codec


@pytest.mark.parametrize(("size", "times"), [("auto", 10), ("280x280", 10), ("560x560", 20)])
def test_a_size_is_a_whole_multiple(size: str, times: int) -> None:
    assert pictures.factor(size, made=(28, 28)) == times


@pytest.mark.parametrize("size", ["256x256", "28x28", "280x560", "999999x1", "big", "28000x28000", "-280x280"])
def test_a_size_that_cannot_be_made_is_answered_with_those_that_can(size: str) -> None:
    with pytest.raises(InputError, match="280x280"):
        pictures.factor(size, made=(28, 28))


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_picture_leaves_in_the_format_asked_for_and_at_least_256_pixels(format: str) -> None:
    small = codec.write(np.full((28, 28, 1), 90, np.uint8))
    made = pictures.deliver(small, {"format": format}, facts={"seed": "7"})
    assert made.mime == f"image/{format}"
    assert codec.read(made).shape == (280, 280, 3)
    assert abs(int(codec.read(made)[140, 140, 0]) - 90) <= 2


def test_how_it_was_made_stands_in_the_file_unless_it_is_not_wanted() -> None:
    small = codec.write(np.full((64, 64, 3), 90, np.uint8))
    assert b"seed" in pictures.deliver(small, {}, facts={"seed": "7"}).data
    assert b"seed" not in pictures.deliver(small, {"parameters": False}, facts={"seed": "7"}).data


def test_a_picture_is_cropped_then_lit_then_enlarged() -> None:
    block = np.full((28, 28, 1), 60, np.uint8)
    block[:, 14:] = 120
    made = codec.write(block)
    options = {"crop": "14x14+14+0", "brightness": 1.5}
    pictures.check(options, made=(28, 28))
    out = codec.read(pictures.deliver(made, options, facts={}))
    assert out.shape == (266, 266, 3) and set(out.ravel().tolist()) == {180}, "19 times 14, the right half alone"
    out = codec.read(pictures.deliver(made, {"contrast": 2.0}, facts={}))
    assert set(out.ravel().tolist()) == {30, 150}, "twice as far from the mean, 90"
    out = codec.read(pictures.deliver(made, {"resize": "300x400"}, facts={}))
    assert out.shape == (400, 300, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"brightness": 5}, "brightness is '5': wanted 0 to 4"),
        ({"contrast": "much"}, "contrast is 'much'"),
        ({"contrast": True}, "contrast is 'True'"),
        ({"crop": "14x14"}, "wanted WIDTHxHEIGHT\\+LEFT\\+TOP inside the 28x28"),
        ({"crop": "14x14+20+0"}, "inside the 28x28 pixels"),
        ({"crop": "0x14+0+0"}, "inside the 28x28"),
        ({"crop": "28x2+0+0"}, "28x2 pixels are too narrow"),
        ({"resize": "100x300"}, "each side of 256 to 2048"),
        ({"resize": "300x400", "size": "280x280"}, "size and resize are both given"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused_by_name(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        pictures.check(options, made=(28, 28))
