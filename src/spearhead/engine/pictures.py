"""A picture as it leaves: enlarged by a whole number, encoded as asked for, saying how it was made. Knows no labels."""

import re
from collections.abc import Mapping
from typing import Any

from spearhead.core.media import Media
from spearhead.media.image import codec
from spearhead.runtimes.failure import OptionRefused

OURS = ("size", "format", "parameters")
"""Options of a request that the engine carries out itself; the others are the runtime's."""
FORMATS = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
LONGEST = 2048
"""Pixels of the longest side that is made."""
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


def check(options: Mapping[str, Any], *, made: tuple[int, int]) -> None:
    """Raise OptionRefused on a size or format that cannot be had from pictures of `made` (height, width)."""
    if (format := options.get("format", "png")) not in FORMATS:
        raise OptionRefused("output_format", f"format is {str(format)[:40]!r}: wanted {', '.join(FORMATS)}")
    factor(options.get("size", "auto"), made=made)


def factor(size: str, *, made: tuple[int, int]) -> int:
    """By which whole number a picture of `made` (height, width) is enlarged to `size`, `WIDTHxHEIGHT` or `auto`."""
    height, width = made
    least = -(-codec.DELIVERED // min(made))
    if size == "auto":
        return least
    found = _SIZE.fullmatch(size)
    wanted = (int(found[2]), int(found[1])) if found else (0, 0)
    times = wanted[0] // height
    if times >= least and wanted == (height * times, width * times) and max(wanted) <= LONGEST:
        return times
    most = max(least, LONGEST // max(made))
    there = ", ".join(f"{width * n}x{height * n}" for n in range(least, min(most, least + 3) + 1))
    raise OptionRefused(
        "size", f"size is {size[:40]!r}, which this model cannot make: wanted auto or one of {there}, ..."
    )


def deliver(media: Media, options: Mapping[str, Any], *, facts: Mapping[str, str]) -> Media:
    """The picture as it leaves; `facts` say inside the file how it was made, unless the request wants none of it."""
    pixels = codec.read(media)
    height, width = pixels.shape[:2]
    times = factor(options.get("size", "auto"), made=(height, width))
    if times > 1:
        pixels = codec.enlarge(pixels, min(height, width) * times)
    told = facts if options.get("parameters", True) else None
    return codec.write(pixels, mime=FORMATS[options.get("format", "png")], parameters=told)
