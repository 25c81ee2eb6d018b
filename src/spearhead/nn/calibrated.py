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
    values = np.array(values, dtype=np.float32)
    width = values.shape[1]
    if moments.shape != (width, width) or not np.isfinite(moments).all():
        raise InputError(f"calibration: moments of shape {moments.shape} for {width} inputs, or not finite")
    bits, damped = BITS[layout], moments.astype(np.float64)
    damped[np.diag_indices(width)] += DAMPING * np.trace(damped) / width + 1e-12
    # Rows of `spread` say how an error in one column is made good by the later ones (Cholesky factor of the inverse).
    spread = np.linalg.cholesky(np.linalg.inv(damped)).T.astype(np.float32)
    half, parts = 1 << (bits - 1), []
    for start in range(0, width, 32):
        block, inner = values[:, start : start + 32], spread[start : start + 32, start : start + 32]
        own = np.diag(inner)
        scale, _ = weight_layouts.best(block, bits=bits, weights=1 / own**2)
        scale = scale.astype(np.float16).astype(np.float32)  # as it will be read
        step = np.where(scale == 0, np.float32(1), scale)[:, 0]
        codes, errors = np.empty_like(block), np.empty_like(block)
        for at in range(32):
            column = block[:, at]
            codes[:, at] = np.clip(np.rint(column / step), -half, half - 1)
            errors[:, at] = (column - codes[:, at] * scale[:, 0]) / own[at]
            block[:, at + 1 :] -= np.outer(errors[:, at], inner[at, at + 1 :])
        values[:, start + 32 :] -= errors @ spread[start : start + 32, start + 32 :]
        parts.append(weight_layouts.pack(scale, codes, bits=bits))
    return np.concatenate(parts, axis=1)
