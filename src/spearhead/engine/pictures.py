"""A picture as it leaves: cropped, lit, enlarged and encoded as asked for, saying how it was made. Knows no labels."""

import re
from collections.abc import Mapping
from typing import Any

from spearhead.core.media import Media
from spearhead.core.sentence import said
from spearhead.media.image import change, codec
from spearhead.runtimes.failure import OptionRefused

CHANGES = ("crop", "brightness", "contrast", "resize")
"""What a person may have done to a picture that was made, in the order in which it is done. The file tells it."""
OURS = ("size", "format", "parameters", *CHANGES)
"""Options of a request that the engine carries out itself; the others are the runtime's."""
BRIGHTEST = 4.0
"""The most of `brightness` and `contrast`; 1 changes nothing."""
FORMATS = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
LONGEST = 2048
"""Pixels of the longest side that is made."""
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_CROP = re.compile(r"(\d{1,5})x(\d{1,5})\+(\d{1,5})\+(\d{1,5})")


def check(options: Mapping[str, Any], *, made: tuple[int, int]) -> None:
    """Raise OptionRefused on what cannot be had from pictures of `made` (height, width)."""
    if (format := options.get("format", "png")) not in FORMATS:
        raise OptionRefused("output_format", f"format is {str(format)[:40]!r}: wanted {', '.join(FORMATS)}")
    for name in ("brightness", "contrast"):
        value = options.get(name, 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= BRIGHTEST:
            told = f"{name} is {str(value)[:40]!r}: wanted 0 to {BRIGHTEST:g}, where 1 changes nothing"
            raise OptionRefused(name, told)
    if "crop" in options:
        _, _, width, height = _crop(options["crop"], made=made)
        made = height, width
    if "resize" in options and options.get("size", "auto") != "auto":
        raise OptionRefused("resize", said("engine.picture.two_sizes"))
    if "resize" in options:
        _resize(options["resize"])
    elif max(made) * factor(options.get("size", "auto"), made=made) > LONGEST and "crop" in options:
        height, width = made
        given, least = str(options["crop"]), codec.DELIVERED
        raise OptionRefused("crop", said("engine.picture.narrow", given=given, width=width, height=height, least=least))


def _crop(asked: Any, *, made: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, width, height of `WIDTHxHEIGHT+LEFT+TOP`, in the pixels that the model makes."""
    found = _CROP.fullmatch(asked) if isinstance(asked, str) else None
    if found is not None:
        width, height, left, top = (int(part) for part in found.groups())
        if min(width, height) > 0 and left + width <= made[1] and top + height <= made[0]:
            return left, top, width, height
    height, width = made
    example = f"{width // 2}x{height // 2}+0+0"
    given = str(asked)[:40]
    raise OptionRefused("crop", said("engine.picture.crop", given=given, width=width, height=height, example=example))


def _resize(asked: Any) -> tuple[int, int]:
    """Width and height of `WIDTHxHEIGHT`."""
    found = _SIZE.fullmatch(asked) if isinstance(asked, str) else None
    sides = (int(found[1]), int(found[2])) if found else (0, 0)
    if not codec.DELIVERED <= min(sides) <= max(sides) <= LONGEST:
        raise OptionRefused(
            "resize",
            said("engine.picture.resize", given=str(asked)[:40], least=codec.DELIVERED, most=LONGEST),
        )
    return sides


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
    if "crop" in options:
        left, top, width, height = _crop(options["crop"], made=(pixels.shape[0], pixels.shape[1]))
        pixels = change.crop(pixels, left=left, top=top, width=width, height=height)
    pixels = change.brightness(pixels, options["brightness"]) if "brightness" in options else pixels
    pixels = change.contrast(pixels, options["contrast"]) if "contrast" in options else pixels
    height, width = pixels.shape[:2]
    if "resize" in options:
        width, height = _resize(options["resize"])
        pixels = change.resize(pixels, width=width, height=height)
    elif (times := factor(options.get("size", "auto"), made=(height, width))) > 1:
        pixels = codec.enlarge(pixels, min(height, width) * times)
    told = facts if options.get("parameters", True) else None
    return codec.write(pixels, mime=FORMATS[options.get("format", "png")], parameters=told)
