"""Picture files to arrays of pixels and back, bounded against files that are made to harm. Knows no labels' meaning.

Pixels are uint8, (height, width, channels), sRGB values as the file has them.
"""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.media.image import container, metadata

if TYPE_CHECKING:
    from PIL import Image as PillowImage

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Channels = Literal[1, 3, 4]

MOST_PIXELS = 16_000_000
MOST_BYTES = 32 * 1024 * 1024
DELIVERED = 256
"""Pixels that a delivered picture has on its shortest side at least, so that a visible label fits."""

_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "I;16B")
_WANTED = {1: "L", 3: "RGB", 4: "RGBA"}
_JPEG_QUALITY = 95
_WEBP_QUALITY = 90  # when a lossy file is drawn anew: what it was made with is not written in it


def read(media: Media, *, size: tuple[int, int] | None = None, channels: Channels = 3) -> Pixels:
    """The pixels of a picture, turned upright as its Exif orientation says: uint8 (h, w, channels).

    With `size` (height, width) the middle is cut out in that shape and resampled. Transparency lies on white unless
    there are 4 channels. Of a photograph with further pictures behind it (MPO) it is the first, of 16 bits the upper 8.
    Raises InputError on a file over 32 MiB or 16 megapixels (before it is decoded), on an animation, on a damaged file
    and on a mode that is not named here.
    """
    if size is not None and (min(size) < 1 or size[0] * size[1] > MOST_PIXELS):
        raise InputError(f"size {size} cannot be made: wanted height and width, at most {MOST_PIXELS:,} pixels")
    flat, _ = _decoded(media, channels=channels)
    return _pixels(flat if size is None else _fitted(flat, height=size[0], width=size[1]))


def unwarned() -> None:
    """Let nobody be warned by Pillow of many pixels: what has too many is refused with a reason.

    The filter stays, since threads share all of them.
    """
    from PIL import Image

    if not any(known is Image.DecompressionBombWarning for _, _, known, *_ in warnings.filters):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def write(
    pixels: Pixels,
    *,
    mime: str = "image/png",
    parameters: Mapping[str, str] | None = None,
    quality: int | None = None,
) -> Media:
    """A file of the pixels, uint8 (h, w, 1, 3 or 4). PNG is exact, so is WebP unless a quality (1..100) is given.

    JPEG has no transparency: it is laid on white; its quality is 95 unless given. `parameters` say inside the file how
    the picture was made; None: it says nothing.
    """
    from PIL import Image

    _check(pixels)
    if mime not in _FORMATS:
        raise InputError(f"pictures are not written as {mime}: wanted {', '.join(_FORMATS)}")
    if quality is not None and (mime == "image/png" or not 1 <= quality <= 100):
        raise InputError(f"quality {quality} for {mime}: wanted 1 to 100, and PNG has none")
    channels = pixels.shape[2]
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if channels == 1 else pixels))
    out = io.BytesIO()
    if mime == "image/jpeg":
        flat = _on_white(image) if channels == 4 else image
        flat.save(out, "JPEG", quality=quality or _JPEG_QUALITY, subsampling=0)
    elif mime == "image/webp":
        image.save(out, "WEBP", lossless=quality is None, quality=quality or _WEBP_QUALITY, exact=True)
    else:
        image.save(out, "PNG")
    made = Media("image", mime, out.getvalue())
    return made if parameters is None else metadata.with_parameters(made, parameters)


def redraw(media: Media, change: Callable[[Pixels], Pixels]) -> Media:
    """The picture with changed pixels, in the same format and with the same compression, saying the same of its making.

    Other metadata is left behind: what it said was about other pixels.
    """
    flat, tables = _decoded(media, channels=None)
    pixels, parameters = change(_pixels(flat)), metadata.parameters(media)
    if tables:
        from PIL import Image

        out = io.BytesIO()
        made = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
        made.save(out, "JPEG", qtables=tables, subsampling=0)
        again = Media("image", media.mime, out.getvalue())
        return again if parameters is None else metadata.with_parameters(again, parameters)
    lossy = media.mime == "image/webp" and b"VP8L" not in {c.name for c in container.split(media.data, media.mime)}
    return write(pixels, mime=media.mime, parameters=parameters, quality=_WEBP_QUALITY if lossy else None)


def enlarge(pixels: Pixels, shortest: int = DELIVERED) -> Pixels:
    """Every pixel as a square, by the least whole number that gives the shortest side `shortest` pixels.

    >>> enlarge(np.zeros((64, 100, 3), np.uint8)).shape
    (256, 400, 3)
    """
    _check(pixels)
    times = -(-shortest // min(pixels.shape[:2]))
    if pixels.shape[0] * pixels.shape[1] * times * times > MOST_PIXELS:
        raise InputError(f"{pixels.shape[1]}x{pixels.shape[0]} pixels are too narrow to be enlarged {times} times")
    return np.repeat(np.repeat(pixels, times, 0), times, 1)


def grid(pixels: Sequence[Pixels], columns: int, *, gap: int = 2) -> Pixels:
    """Pictures of one shape in rows of `columns`, with white lines of `gap` pixels between them.

    >>> grid([np.zeros((8, 8, 1), np.uint8)] * 5, 3).shape
    (18, 28, 1)
    """
    if not pixels or columns < 1 or gap < 0:
        raise InputError(f"a grid needs pictures and columns, got {len(pixels)} and {columns}")
    for one in pixels:
        _check(one)
    if len({one.shape for one in pixels}) > 1:
        raise InputError("the pictures of a grid must have one shape: resize them first")
    height, width, channels = pixels[0].shape
    columns = min(columns, len(pixels))
    rows = -(-len(pixels) // columns)
    if (height + gap) * rows * (width + gap) * columns > MOST_PIXELS:
        raise InputError(f"a grid of {len(pixels)} pictures of {width}x{height} is too large")
    out = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    for number, one in enumerate(pixels):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        out[top : top + height, left : left + width] = one
    return out


@dataclass(frozen=True, slots=True)
class Codec:
    """Pictures to arrays of one size and back; `core.media.Codec`."""

    size: tuple[int, int]
    """Height and width."""
    channels: Channels = 3
    modality: str = "image"
    vocab: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width, channels) of one picture."""
        return (*self.size, self.channels)

    def encode(self, items: Sequence[Media]) -> Pixels:
        """uint8 (n, h, w, channels)."""
        out = np.empty((len(items), *self.shape), np.uint8)
        for number, item in enumerate(items):
            out[number] = read(item, size=self.size, channels=self.channels)
        return out

    def decode(self, codes: "np.ndarray[Any, Any]") -> list[Media]:
        """PNG files of uint8 (n, h, w, channels)."""
        if codes.dtype != np.uint8 or codes.shape[1:] != self.shape:
            raise InputError(f"got {codes.dtype} {codes.shape}: wanted uint8 (n, {', '.join(map(str, self.shape))})")
        return [write(pixels) for pixels in codes]


def _check(pixels: Pixels) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in _WANTED:
        raise InputError(f"got {pixels.dtype} {pixels.shape}: wanted uint8 (height, width, 1, 3 or 4)")
    if not 0 < pixels.shape[0] * pixels.shape[1] <= MOST_PIXELS:
        raise InputError(f"{pixels.shape[1]}x{pixels.shape[0]} pixels: wanted 1 to {MOST_PIXELS:,}")


def _decoded(
    media: Media, *, channels: Channels | None
) -> "tuple[PillowImage.Image, Mapping[int, Sequence[int]] | None]":
    """The upright picture with these channels (None: as many as it needs), and the quantisation tables of a JPEG."""
    from PIL import Image

    if media.mime not in _FORMATS or container.recognise(media.data[:16]) != media.mime:
        raise InputError(f"this is no {media.mime} picture: wanted {', '.join(_FORMATS)}, named as what it is")
    if len(media.data) > MOST_BYTES:
        raise InputError(f"the picture has {len(media.data):,} bytes: wanted at most {MOST_BYTES:,}")
    unwarned()
    try:
        with Image.open(io.BytesIO(media.data), formats=[_FORMATS[media.mime]]) as image:
            _refuse(image)
            image.load()
            tables = getattr(image, "quantization", None) if image.mode in ("L", "RGB") else None
            return _converted(_upright(image), channels=channels), tables
    except InputError:
        raise
    except Image.DecompressionBombError as error:  # the header alone was read
        raise InputError(f"the picture has far too many pixels: wanted at most {MOST_PIXELS:,}") from error
    except Exception as error:  # decoders raise whatever a damaged file makes them stumble over
        raise InputError(f"the picture cannot be read, it is damaged or cut short ({type(error).__name__})") from error


def _upright(image: "PillowImage.Image") -> "PillowImage.Image":
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken Exif block does not say which way is up
        return image


def _pixels(image: "PillowImage.Image") -> Pixels:
    pixels = np.asarray(image, np.uint8)
    return pixels.reshape(*pixels.shape[:2], len(image.getbands())).copy()


def _refuse(image: "PillowImage.Image") -> None:
    """Raise for what is not to be decoded; reads the header alone."""
    if image.width * image.height > MOST_PIXELS:
        raise InputError(f"the picture has {image.width}x{image.height} pixels: wanted at most {MOST_PIXELS:,}")
    # A telephone keeps brightness, depth or a preview behind its photograph (MPO): those are no film.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise InputError("the picture is an animation: wanted a single frame")
    if image.mode not in _MODES:
        raise InputError(f"the picture has the mode {image.mode!r}, which is not read: save it as RGB or grey first")


def _converted(image: "PillowImage.Image", *, channels: Channels | None) -> "PillowImage.Image":
    from PIL import Image

    clear = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
    if image.mode.startswith("I;16"):
        levels = np.asarray(image).astype(np.uint16)
        upper = (levels >> 8).astype(np.uint8)
        if clear:  # one level of the 65,536 is none of the 256
            shown = np.where(levels == image.info["transparency"], 0, 255).astype(np.uint8)
            image = Image.fromarray(np.stack([upper, shown], axis=2))
        else:
            image = Image.fromarray(upper)
    if channels is None:
        channels = 4 if clear else 1 if image.mode in ("1", "L") else 3
    if clear:
        image = image.convert("RGBA")
        if channels != 4:
            image = _on_white(image)
    return image.convert(_WANTED[channels])


def _fitted(image: "PillowImage.Image", *, height: int, width: int) -> "PillowImage.Image":
    """The middle of a picture in the shape of height and width, resampled to them (Lanczos)."""
    from PIL import Image

    inner = min(image.width, max(1, round(image.height * width / height)))
    outer = min(image.height, max(1, round(image.width * height / width)))
    left, top = (image.width - inner) // 2, (image.height - outer) // 2
    # Cut first: a resampling filter would else mix in what lies outside.
    return image.crop((left, top, left + inner, top + outer)).resize((width, height), Image.Resampling.LANCZOS)


def _on_white(image: "PillowImage.Image") -> "PillowImage.Image":
    from PIL import Image

    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")
