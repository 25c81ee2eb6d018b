"""An invisible mark spread over a whole picture: faint keyed waves that only the key's owner can add up again.

Spread spectrum in the discrete cosine transform (Cox, Kilian, Leighton, Shamoon 1997, section IV), on the picture as
256x256 points of brightness, so that its size does not matter. Survives saving anew, resizing, changes of light; a crop
moves the waves and it is gone. Knows pixels only, uint8 (h, w, c).
"""

import hashlib
import math
from typing import Any

import numpy as np

from spearhead.media.image.codec import Pixels

Floats = np.ndarray[Any, np.dtype[np.float64]]

POINTS = 256
_LOW, _HIGH = 20, 68
"""Half waves across the picture: finer than what is seen as shade, coarser than what JPEG drops."""
_FLOOR = 4.0  # what rounding and JPEG leave of a wave anyway
_FLAT, _BUSY, _MOST = 1.5, 0.12, 3.8  # levels of 255 on flat ground, per level of local contrast, at most
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


class Spread:
    """The waves of one key; safe to share between threads."""

    name = "spread spectrum"

    def __init__(self, secret: bytes) -> None:
        rows, columns = np.mgrid[0:_HIGH, 0:_HIGH]
        radius = np.hypot(rows, columns)
        self._band = (radius >= _LOW) & (radius < _HIGH)
        self._ring = (radius[self._band] - _LOW).astype(np.int64) // 2
        self._rings = [np.flatnonzero(self._ring == ring) for ring in range(int(self._ring.max()) + 1)]
        seed = hashlib.sha256(b"spread" + secret).digest()
        draws = np.frombuffer(hashlib.shake_256(seed).digest(int(self._band.sum())), np.uint8)
        self._signs = np.where(draws & 1, 1.0, -1.0)
        k, x = np.mgrid[0:_HIGH, 0:POINTS]
        self._basis = np.sqrt(2 / POINTS) * np.cos(np.pi * (x + 0.5) * k / POINTS)  # DCT-II, orthonormal
        self._basis[0] /= math.sqrt(2)

    def embed(self, pixels: Pixels) -> Pixels:
        """A copy with the waves: about two levels of 255 on flat ground, up to four in busy places."""
        light = _points(pixels)
        waves = self._waves(light)
        usual = self._usual(waves)
        drawn = np.zeros((_HIGH, _HIGH))
        # Where the picture's own wave is loud, ours would not be heard: the strength goes where it counts.
        drawn[self._band] = self._signs * usual**2 / (usual**2 + waves**2)
        pattern = self._basis.T @ drawn @ self._basis
        strength = np.minimum(_FLAT + _BUSY * _contrast(light), _MOST)
        levels = _resized(pattern / pattern.std() * strength, height=pixels.shape[0], width=pixels.shape[1])
        colours = min(pixels.shape[2], 3)
        out = pixels.copy()
        out[:, :, :colours] = np.clip(np.rint(pixels[:, :, :colours] + levels[:, :, None]), 0, 255)
        return out

    def p_value(self, pixels: Pixels) -> float:
        """At most how likely a key drawn by lot would fit this picture as well: exp(-t^2 / 2), Hoeffding's inequality.

        t is the sum of the signed waves over its root mean square under random signs; no model of pictures is needed
        for that, only for the weights: waves are taken to follow Cauchy's law, whose score function is w / (u^2 + w^2).
        """
        waves = self._waves(_points(pixels))
        heard = waves / (self._usual(waves) ** 2 + waves**2)
        t = float((heard * self._signs).sum()) / float(np.sqrt((heard * heard).sum()) or 1.0)
        return math.exp(-min(t * t / 2, 690.0)) if t > 0 else 1.0  # 690: what a float still holds

    def _waves(self, light: Floats) -> Floats:
        """The picture's own waves in the band, (count,)."""
        waves: Floats = (self._basis @ light @ self._basis.T)[self._band]
        return waves

    def _usual(self, waves: Floats) -> Floats:
        """How loud waves of each length usually are: the median of their ring, (count,)."""
        loud = np.abs(waves)
        medians = np.array([np.median(loud[places]) for places in self._rings])
        usual: Floats = (medians + _FLOOR)[self._ring]
        return usual


def _points(pixels: Pixels) -> Floats:
    """Brightness at 256x256 points, transparency on white."""
    from PIL import Image

    times = min(pixels.shape[:2]) // (4 * POINTS)
    if times > 1:  # first as bytes, so that memory stays bounded
        image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
        small = np.asarray(image.reduce(times), np.uint8)
        pixels = small.reshape(*small.shape[:2], -1)
    light = pixels[:, :, :3] @ _LUMA if pixels.shape[2] >= 3 else pixels[:, :, 0].astype(np.float64)
    if pixels.shape[2] == 4:
        alpha = pixels[:, :, 3] / 255.0
        light = light * alpha + 255.0 * (1 - alpha)
    return _resized(light, height=POINTS, width=POINTS)


def _resized(values: Floats, *, height: int, width: int) -> Floats:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float64)


def _contrast(light: Floats) -> Floats:
    """Standard deviation within nine points each way, (h, w)."""
    mean = _boxed(light)
    return np.sqrt(np.maximum(_boxed(light * light) - mean * mean, 0.0))


def _boxed(values: Floats, reach: int = 4) -> Floats:
    """Means within `reach` points each way, by running sums."""
    size = 2 * reach + 1
    sums = np.cumsum(np.cumsum(np.pad(values, ((reach + 1, reach), (reach + 1, reach)), mode="edge"), 0), 1)
    inner: Floats = (sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]) / size**2
    return inner
