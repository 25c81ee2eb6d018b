"""The mark that a person sees: "AI生成" in a corner, a twentieth of the shortest side high or more.

So GB 45438-2025 chapter 5 wants it, and the capital AI is what the EU's Code of Practice (Article 50) looks for. White
strokes of our own on a black plate: no font file is needed, and every background keeps it legible. A picture too small
for a corner mark gets a strip underneath. Knows pixels only, uint8 (h, w, c).
"""

from functools import lru_cache
from typing import Any

import numpy as np

from spearhead.media.image.codec import DELIVERED, Pixels

Floats = np.ndarray[Any, np.dtype[np.float64]]

WORDS = "AI生成"
"""Both elements that the standard asks for: that it is AI, and that it is generated."""

_SHARE = 0.055  # of the shortest side; the standard wants 0.05
_LEAST = 14  # pixels below which the strokes of a Chinese character run together
_ALIKE = 0.75  # correlation with the drawn mark from which a place carries it
_LIKE = 0.68  # the same where the size is only about right, over all places
_SOUGHT = 12  # pixels that letters are high when they are looked for
_ENOUGH = 400  # pixels of a shortest side at which the least letters are still legible
_FINER = 4  # times the size in which strokes are drawn before they are averaged

# Strokes of each letter in a box one high: points (x, y), y downwards.
_STROKES: dict[str, tuple[float, tuple[tuple[tuple[float, float], ...], ...]]] = {
    "A": (0.80, (((0.0, 1.0), (0.40, 0.0), (0.80, 1.0)), ((0.15, 0.64), (0.65, 0.64)))),
    "I": (0.0, (((0.0, 0.0), (0.0, 1.0)),)),
    "生": (
        1.0,
        (
            ((0.27, 0.03), (0.20, 0.22), (0.05, 0.44)),
            ((0.21, 0.24), (0.92, 0.24)),
            ((0.14, 0.60), (0.87, 0.60)),
            ((0.0, 1.0), (1.0, 1.0)),
            ((0.53, 0.0), (0.53, 1.0)),
        ),
    ),
    "成": (
        1.0,
        (
            ((0.13, 0.23), (0.97, 0.23)),
            ((0.13, 0.23), (0.13, 0.58), (0.09, 0.80), (0.0, 1.0)),
            ((0.13, 0.50), (0.42, 0.50), (0.41, 0.78), (0.37, 0.86), (0.27, 0.82)),
            ((0.57, 0.0), (0.60, 0.36), (0.68, 0.68), (0.80, 0.90), (0.90, 1.0), (0.95, 0.96), (0.98, 0.76)),
            ((0.86, 0.40), (0.74, 0.66), (0.62, 0.82), (0.45, 0.97)),
            ((0.74, 0.0), (0.88, 0.11)),
        ),
    ),
}
_GAP = 0.26


def text_height(height: int, width: int) -> int:
    """Pixels that the letters are high in a picture of this size."""
    return max(_LEAST, int(np.ceil(_SHARE * min(height, width))))


def mark(pixels: Pixels) -> Pixels:
    """A copy with the mark in its lower right corner, or on a strip below it when it is under 256 pixels."""
    tall, wide, channels = pixels.shape
    if min(tall, wide) >= DELIVERED:
        plate = _plate(text_height(tall, wide))
        out = pixels.copy()
        _lay(out, plate, top=tall - plate.shape[0], left=wide - plate.shape[1])
        return out
    plate = _plate(_LEAST)
    canvas = np.full((tall + plate.shape[0], max(wide, plate.shape[1]), channels), 255, np.uint8)
    left = (canvas.shape[1] - wide) // 2
    canvas[:tall, left : left + wide] = pixels
    canvas[tall:, :, : 3 if channels == 4 else channels] = 0
    _lay(canvas, plate, top=tall, left=(canvas.shape[1] - plate.shape[1]) // 2)
    return canvas


def marked(pixels: Pixels, *, search: bool = False) -> bool:
    """Whether the mark stands where `mark` puts it; with `search`, whether it stands anywhere, in any usual size.

    A search takes some tenths of a second: it finds the mark in pictures that were resized or cut.
    """
    tall, wide = pixels.shape[:2]
    corner, strip = _plate(text_height(tall, wide)), _plate(_LEAST)
    places = [
        (corner, tall - corner.shape[0], wide - corner.shape[1]),
        (strip, tall - strip.shape[0], (wide - strip.shape[1]) // 2),
    ]
    if any(_correlation(pixels, plate, top=top, left=left) >= _ALIKE for plate, top, left in places):
        return True
    if not search:
        return False
    grey = _grey(_reduced(pixels))
    return max((_best(grey, letters) for letters in _sizes(*grey.shape)), default=0.0) >= _LIKE


def _lay(pixels: Pixels, plate: Pixels, *, top: int, left: int) -> None:
    area = pixels[top : top + plate.shape[0], left : left + plate.shape[1]]
    area[:] = plate[:, :, None]
    if pixels.shape[2] == 4:
        area[:, :, 3] = 255


def _grey(pixels: Pixels) -> Pixels:
    colours: Pixels = pixels[:, :, :3].mean(2).astype(np.uint8)
    return colours


def _reduced(pixels: Pixels) -> Pixels:
    """A large picture by a whole number smaller: the search needs no more, and time and memory stay bounded."""
    from PIL import Image

    times = min(pixels.shape[:2]) // _ENOUGH
    if times < 2:
        return pixels
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels[:, :, :3]))
    small = np.asarray(image.reduce(times), np.uint8)
    return small.reshape(*small.shape[:2], -1)


def _correlation(pixels: Pixels, plate: Pixels, *, top: int, left: int) -> float:
    """Pearson's r between the plate and what stands at its place; 0 where one of them is flat or outside."""
    if min(top, left) < 0:
        return 0.0
    here = _grey(pixels[top : top + plate.shape[0], left : left + plate.shape[1]]).astype(np.float64)
    a, b = here - here.mean(), plate - plate.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm else 0.0


def _sizes(tall: int, wide: int) -> list[float]:
    """Heights of letters to look for: from a fortieth of the shortest side to what fills the width, in steps of 7 %."""
    sizes, letters = [], max(min(tall, wide) / 40, 6.0)
    while letters <= min(wide / 4, tall / 2):
        sizes.append(letters)
        letters *= 1.07
    return sizes


def _best(grey: Pixels, letters: float) -> float:
    """The highest correlation with the mark of this size anywhere, by normalised cross-correlation (Lewis 1995)."""
    from PIL import Image

    part = _SOUGHT / letters
    size = max(1, round(grey.shape[1] * part)), max(1, round(grey.shape[0] * part))
    field = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX), np.float64)
    field = np.pad(field, 2, mode="edge")  # (h, w): a strip fills the width to the pixel
    plate = _plate(_SOUGHT).astype(np.float64)
    plate -= plate.mean()
    tall, wide = plate.shape
    if field.shape[0] < tall or field.shape[1] < wide:
        return 0.0
    shape = -(-field.shape[0] // 32) * 32, -(-field.shape[1] // 32) * 32  # lengths of small factors transform faster
    spectrum = np.fft.rfft2(field, shape) * np.conj(np.fft.rfft2(plate, shape))
    products = np.fft.irfft2(spectrum, shape)[: field.shape[0] - tall + 1, : field.shape[1] - wide + 1]
    sums, squares = (_windows(values, tall=tall, wide=wide) for values in (field, field * field))
    spread = np.maximum(squares - sums * sums / (tall * wide), 0)
    norm = np.sqrt(spread * (plate * plate).sum())
    return float(np.divide(products, norm, out=np.zeros_like(products), where=norm > tall * wide).max())


def _windows(values: Floats, *, tall: int, wide: int) -> Floats:
    """Sums over every window of this size."""
    sums = np.cumsum(np.cumsum(np.pad(values, ((1, 0), (1, 0))), 0), 1)
    inside: Floats = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    return inside


@lru_cache(maxsize=64)
def _plate(letters: int) -> Pixels:
    """White words on black, grey values (height, width); the letters are `letters` pixels high."""
    from PIL import Image, ImageDraw

    fine = letters * _FINER
    stroke = max(_FINER + 2, round(fine * 0.1))
    reach = fine - stroke  # between the middles of the highest and the lowest stroke
    pad = round(letters * 0.36) * _FINER
    width = sum(_STROKES[letter][0] + _GAP for letter in WORDS) - _GAP
    inner = -(-round(width * reach + stroke) // _FINER) * _FINER
    sheet = Image.new("L", (inner + 2 * pad, fine + 2 * pad), 0)
    draw, left = ImageDraw.Draw(sheet), pad + stroke / 2
    for letter in WORDS:
        advance, strokes = _STROKES[letter]
        for points in strokes:
            places = [(left + x * reach, pad + stroke / 2 + y * reach) for x, y in points]
            draw.line(places, fill=255, width=stroke, joint="curve")
            for x, y in (places[0], places[-1]):  # round ends
                r = stroke / 2
                draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
        left += (advance + _GAP) * reach
    small = sheet.resize((sheet.width // _FINER, sheet.height // _FINER), Image.Resampling.BOX)
    made = np.asarray(small, np.uint8)
    made.flags.writeable = False
    return made
