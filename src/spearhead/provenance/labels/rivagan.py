"""An invisible mark by RivaGAN's two networks: 32 keyed bits that survive a crop in photographs.

Zhang, Xu, Cuesta-Infante, Veeramachaneni 2019. The ONNX files come from the wheel of `invisible-watermark` (MIT), whose
code is neither imported nor run. It reads pictures at 256 pixels on their shortest side: its networks know no other
scale. In flat or drawn pictures its bits are weak. Knows pixels only, uint8 (h, w, c).
"""

import hashlib
from typing import Any

import numpy as np

from spearhead.media.image.codec import DELIVERED, Pixels
from spearhead.store import packages
from spearhead.store.home import Home

Floats = np.ndarray[Any, np.dtype[np.float32]]

PACKAGE, VERSION = "invisible-watermark", "0.2.0"
SHA256 = "644311beed9cfe4a9a5a4a46c740f47800cef184fe2e1297f3f4542e2d992f8b"
BITS = 32
_MIDDLE = 0.5  # the networks were trained on bits of 0 and 1
_STEPS = 16  # in how many steps a bit's weight is counted
_LONGEST = 4  # times the shortest side: what is longer is left alone, for time and memory grow with it


class RivaGan:
    """The two networks and the bits of one key; safe to share between threads. A second of one core a picture."""

    name = "RivaGAN"

    def __init__(self, encoder: bytes, decoder: bytes, *, secret: bytes) -> None:
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        here = ["CPUExecutionProvider"]
        self._encoder = onnxruntime.InferenceSession(encoder, options, providers=here)
        self._decoder = onnxruntime.InferenceSession(decoder, options, providers=here)
        drawn = hashlib.sha256(b"rivagan" + secret).digest()[: BITS // 8]
        self.bits = np.unpackbits(np.frombuffer(drawn, np.uint8)).astype(np.float32)

    @classmethod
    def fetched(cls, home: Home, *, secret: bytes) -> "RivaGan":
        """With the networks of the package, fetched once and kept by its hash."""
        archive = packages.fetch("pypi", PACKAGE, VERSION, SHA256, home=home)
        encoder, decoder = (
            packages.open_member(archive, f"imwatermark/rivagan_{part}.onnx", limit=4 << 20)
            for part in ("encoder", "decoder")
        )
        return cls(encoder, decoder, secret=secret)

    def embed(self, pixels: Pixels) -> Pixels:
        """A copy with the bits, at about 42 dB. A picture longer than four squares stays as it is."""
        tall, wide = pixels.shape[:2]
        if max(tall, wide) > _LONGEST * min(tall, wide):
            return pixels
        frame = _frame(pixels)
        (made,) = self._encoder.run(None, {"frame": frame, "data": self.bits[None]})
        change = (np.clip(made, -1, 1) - frame)[0, :, 0].transpose(1, 2, 0)[:, :, ::-1] * 127.5  # (h, w, RGB)
        whole = np.stack([_resized(change[:, :, c], height=tall, width=wide) for c in range(3)], 2)
        out = pixels.copy()
        if pixels.shape[2] == 1:
            out[:, :, 0] = np.clip(np.rint(pixels[:, :, 0] + whole.mean(2)), 0, 255)
        else:
            out[:, :, :3] = np.clip(np.rint(pixels[:, :, :3] + whole), 0, 255)
        return out

    def p_value(self, pixels: Pixels) -> float:
        """How likely bits drawn by lot would fit as well; the better of two scales counts as two tries."""
        tall, wide = pixels.shape[:2]
        if max(tall, wide) > _LONGEST * min(tall, wide):
            return 1.0
        tries = [_frame(pixels)]
        if DELIVERED // 2 <= min(tall, wide) < DELIVERED:  # cut out of something larger: as it is
            tries.append(_frame(pixels, shortest=min(tall, wide)))
        found = [chance(self._decoder.run(None, {"frame": one})[0][0], self.bits) for one in tries]
        return min(1.0, len(tries) * min(found))


def chance(outputs: Floats, bits: Floats) -> float:
    """How likely a drawn key's signed sum is at least this one; each bit counts by how sure its output is.

    Exact: the weights are whole numbers, so the sums of all 2^32 keys are counted by adding one bit after the other.

    >>> bits = np.ones(32, np.float32)
    >>> chance(np.full(32, 2.0, np.float32), bits) == 0.5**32, chance(np.full(32, -2.0, np.float32), bits)
    (True, 1.0)
    """
    margin = (outputs - _MIDDLE).astype(np.float64)
    sure = 2 * float(np.median(np.abs(margin)))  # a bit counts no more than twice the usual: one cannot decide alone
    if sure == 0:
        return 1.0
    weights = np.rint(np.minimum(np.abs(margin) / sure, 1) * _STEPS).astype(int)
    fits = int((weights * np.sign(margin) * np.where(bits > 0.5, 1, -1)).sum())
    ways = np.ones(1)  # ways[k]: the share of keys whose fitting weights add up to k
    for weight in weights:
        grown = np.zeros(len(ways) + weight)
        grown[: len(ways)] += ways / 2
        grown[weight:] += ways / 2
        ways = grown
    least = (int(weights.sum()) + fits) // 2
    return float(min(1.0, ways[least:].sum()))


def _frame(pixels: Pixels, *, shortest: int = DELIVERED) -> Floats:
    """What the networks read: (1, 3, 1, h, w) in [-1, 1], blue first."""
    tall, wide = pixels.shape[:2]
    part = shortest / min(tall, wide)
    colours = pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels, 3, 2)
    size = {"height": round(tall * part), "width": round(wide * part)}
    planes = np.stack([_resized(colours[:, :, c].astype(np.float32), **size) for c in (2, 1, 0)])
    return (planes / 127.5 - 1)[None, :, None].astype(np.float32)


def _resized(values: Floats, *, height: int, width: int) -> Floats:
    from PIL import Image

    if values.shape == (height, width):
        return values
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32)
