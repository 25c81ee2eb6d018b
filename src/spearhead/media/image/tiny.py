"""A small picture in each format, made from numbers: for trying things out."""

import numpy as np

from spearhead.core.media import Media
from spearhead.media.image import codec


def pixels(height: int = 24, width: int = 32) -> codec.Pixels:
    """Smooth colours with a little structure, uint8 (height, width, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    waves = (np.sin(x / 5.0) + np.cos(y / 7.0) + 2) * 40
    return np.stack([waves + 20, x * 200 / width, y * 200 / height], -1).astype(np.uint8)


def sample(mime: str) -> Media:
    """The small picture as a file."""
    return codec.write(pixels(), mime=mime)
