"""Changed pictures: post-processing that a person asks for, and variations for training from a given source of chance.

Pixels in, pixels out: uint8 (h, w, c). An alpha channel keeps its values where only light changes. Knows no files.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.ways import Way, take
from spearhead.media.image.codec import MOST_PIXELS, Pixels

Floats = np.ndarray[Any, np.dtype[np.float64]]
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
SHIFT = 0.125
"""The part of a side by which `shift` moves at most."""
ZOOM = 0.8
"""The part of each side that `crop_and_resize` keeps at least."""
NOISE = 8.0
"""Standard deviation of `noise`, of 255."""


# -- post-processing -------------------------------------------------------------------------------------------------
def brightness(pixels: Pixels, factor: float) -> Pixels:
    """Every value times `factor`: 1 changes nothing, 0 is black.

    >>> brightness(np.full((1, 1, 3), 100, np.uint8), 1.5).tolist()
    [[[150, 150, 150]]]
    """
    return _lit(pixels, lambda light: light * _factor(factor, "brightness"))


def contrast(pixels: Pixels, factor: float) -> Pixels:
    """Distances from the picture's mean grey times `factor`: 1 changes nothing, 0 is that grey."""
    times = _factor(factor, "contrast")

    def spread(light: Floats) -> Floats:
        grey = light @ _LUMA if light.shape[2] == 3 else light[:, :, 0]
        middle = np.rint(grey.mean())
        stretched: Floats = (light - middle) * times + middle
        return stretched

    return _lit(pixels, spread)


def crop(pixels: Pixels, *, left: int, top: int, width: int, height: int) -> Pixels:
    """The rectangle whose corner is (left, top); raises InputError when it is not inside the picture."""
    tall, wide = pixels.shape[:2]
    if min(left, top) < 0 or min(width, height) < 1 or left + width > wide or top + height > tall:
        raise InputError(f"crop {width}x{height} at {left},{top} is not inside a picture of {wide}x{tall}")
    return pixels[top : top + height, left : left + width].copy()


def resize(pixels: Pixels, *, width: int, height: int) -> Pixels:
    """The whole picture in another size (Lanczos); the shape may change with it."""
    from PIL import Image

    if min(width, height) < 1 or width * height > MOST_PIXELS:
        raise InputError(f"size {width}x{height} cannot be made: wanted 1 to {MOST_PIXELS:,} pixels")
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
    made = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS), np.uint8)
    return made.reshape(height, width, pixels.shape[2]).copy()


# -- variations for training -----------------------------------------------------------------------------------------
def flip(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Left and right change places."""
    return pixels[:, ::-1].copy()


def shift(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Moved by up to an eighth of each side; the edge's own pixels fill what comes free."""
    tall, wide = pixels.shape[:2]
    down, right = (int(rng.integers(-int(side * SHIFT), int(side * SHIFT) + 1)) for side in (tall, wide))
    rows = np.clip(np.arange(tall) - down, 0, tall - 1)
    columns = np.clip(np.arange(wide) - right, 0, wide - 1)
    moved: Pixels = pixels[rows][:, columns]
    return moved


def crop_and_resize(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A random part, at least four fifths of each side, in the old size."""
    tall, wide = pixels.shape[:2]
    part = rng.uniform(ZOOM, 1.0)
    height, width = max(1, round(tall * part)), max(1, round(wide * part))
    top, left = int(rng.integers(tall - height + 1)), int(rng.integers(wide - width + 1))
    return resize(crop(pixels, left=left, top=top, width=width, height=height), width=wide, height=tall)


def noise(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Gaussian noise on every value; transparency stays."""
    return _lit(pixels, lambda light: light + rng.normal(0.0, NOISE, light.shape))


def light(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Brightness and contrast, each by up to a fifth."""
    return contrast(brightness(pixels, rng.uniform(0.8, 1.2)), rng.uniform(0.8, 1.2))


WAYS: Mapping[str, Way[Pixels]] = {
    "flip": flip,
    "shift": shift,
    "crop": crop_and_resize,
    "noise": noise,
    "light": light,
}


def augment(pixels: Pixels, ways: Mapping[str, float], *, rng: np.random.Generator) -> Pixels:
    """The picture after each named way, in the order of `WAYS`, with its probability; its shape stays.

    Raises InputError on an unknown way.

    >>> augment(np.array([[[1], [2], [3]]], np.uint8), {"flip": 1.0}, rng=np.random.default_rng(0)).ravel().tolist()
    [3, 2, 1]
    """
    return take(pixels, ways, WAYS, rng=rng)


def _lit(pixels: Pixels, change: Callable[[Floats], Floats]) -> Pixels:
    """The colours changed as floats, rounded and kept in range; an alpha channel as it was."""
    colours = pixels[:, :, :3] if pixels.shape[2] == 4 else pixels
    out = pixels.copy()
    out[:, :, : colours.shape[2]] = np.clip(np.rint(change(colours.astype(np.float64))), 0, 255)
    return out


def _factor(factor: float, name: str) -> float:
    if not 0 <= factor <= 10:
        raise InputError(f"{name} is {factor}: wanted a factor between 0 and 10, where 1 changes nothing")
    return factor
