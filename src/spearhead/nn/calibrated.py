"""4- and 5-bit weights that keep what a layer says of real inputs rather than its numbers. Knows no model and no file.

GPTQ (Frantar et al. 2022, arXiv 2210.17323), algorithm 1: the columns of a matrix are rounded one after another, and
what a rounding does to the output is made good by the columns that are not rounded yet.
"""

import numpy as np

from spearhead.core.errors import InputError
from spearhead.nn import weight_layouts
from spearhead.nn.weight_layouts import Array

BITS = {"Q4_0": 4, "Q5_0": 5}
"""Layouts that are calibrated, with the bits of a code."""
DAMPING = 0.01
"""Share of the mean second moment that is added to all, so that inputs never seen keep their weights."""


def encode(values: Array, *, layout: str, moments: Array) -> Array:
    """float32 `values` (rows, width) as the raw bytes of `layout`, given the inputs' second moments (width, width)."""
    columns = np.array(values.T, dtype=np.float32, order="C")  # (width, rows): a column of weights lies together
    width = len(columns)
    if moments.shape != (width, width) or not np.isfinite(moments).all():
        raise InputError(f"calibration: moments of shape {moments.shape} for {width} inputs, or not finite")
    bits, damped = BITS[layout], moments.astype(np.float64)
    damped[np.diag_indices(width)] += DAMPING * np.trace(damped) / width + 1e-12
    # Rows of `spread` say how an error in one column is made good by the later ones: the upper factor U of the inverse,
    # H^-1 = U^T U. With the columns turned round, H = L L^T gives U = L^-1 turned round, so nothing else is inverted.
    factor = np.linalg.cholesky(damped[::-1, ::-1]).astype(np.float32)
    spread = np.ascontiguousarray(_inverse(factor)[::-1, ::-1])
    half, parts = 1 << (bits - 1), []
    for start in range(0, width, 32):
        block, inner = columns[start : start + 32], spread[start : start + 32, start : start + 32]
        own = np.diag(inner)
        scale, _ = weight_layouts.best(np.ascontiguousarray(block.T), bits=bits, weights=1 / own**2)
        scale = scale.astype(np.float16).astype(np.float32)[:, 0]  # as it will be read
        inverse = 1 / np.where(scale == 0, np.float32(1), scale)
        codes, errors = np.empty_like(block), np.empty_like(block)
        for at in range(32):
            code, error = codes[at], errors[at]
            np.multiply(block[at], inverse, out=code)
            np.rint(code, out=code)
            np.clip(code, -half, half - 1, out=code)
            np.multiply(code, -scale, out=error)
            error += block[at]
            error *= 1 / own[at]
            block[at + 1 :] -= inner[at, at + 1 :, None] * error
        columns[start + 32 :] -= spread[start : start + 32, start + 32 :].T @ errors
        parts.append(weight_layouts.pack(scale[:, None], codes.T, bits=bits))
    return np.concatenate(parts, axis=1)


def _inverse(lower: Array) -> Array:
    """The inverse of a lower triangular matrix, by halves: a sixth of the work of a general one."""
    if len(lower) <= 64:
        return np.tril(np.linalg.inv(lower))
    half = len(lower) // 2
    out = np.zeros_like(lower)
    out[:half, :half], out[half:, half:] = _inverse(lower[:half, :half]), _inverse(lower[half:, half:])
    out[half:, :half] = -out[half:, half:] @ (lower[half:, :half] @ out[:half, :half])
    return out
