"""Layouts of weights in a file: float arrays to blocks and back. Knows no file and no architecture.

The block formats are ggml's; `gguf.quants` writes and reads them. For the 4- and 5-bit layouts without an offset the
scale of each block is searched here: the plain rule (largest value over -8) leaves a quarter more squared error.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from spearhead.core.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]

LAYOUTS = ("F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
"""What an array can be written in, widest first."""
MIXED = ("Q8_0/F16",)
"""What a file can be written in besides: matrices in the first, token tables in the second."""
FILE_TYPES = {
    name: int(LlamaFileType["ALL_F32" if name == "F32" else f"MOSTLY_{name.partition('/')[0]}"])
    for name in (*LAYOUTS, *MIXED)
}
"""`general.file_type` of a file whose matrices have this layout."""
STRETCHES = tuple(0.875 + n / 32 for n in range(13))
"""Scales tried for a block: from one that leaves room beyond the peak to one that cuts a fifth of it off."""
ROWS = 1 << 13
"""Blocks worked on at once: 1 MiB of float32, so that the search stays in the processor's cache."""


def known(layout: str) -> str:
    """`layout` itself; raises InputError on one that cannot be written."""
    if layout not in FILE_TYPES:
        raise InputError(f"layout {layout!r} is unknown: wanted one of {', '.join(FILE_TYPES)}")
    return layout


def layout_of(name: str, shape: tuple[int, ...], *, wanted: str) -> str:
    """The layout a tensor gets in a file of layout `wanted`.

    Vectors stay F32. The embedding and the output matrix stay at 8 bits in the 4- and 5-bit layouts: they are the
    most sensitive and (tied) the most used; in `Q8_0/F16` at 16. Rows that do not divide into blocks stay F16.
    """
    if len(shape) < 2 or name == "rope_freqs.weight":
        return "F32"
    wanted, _, tables = wanted.partition("/")
    if name in ("token_embd.weight", "output.weight"):
        wanted = tables or ("Q8_0" if wanted.startswith(("Q4", "Q5")) else wanted)
    return wanted if shape[-1] % GGML_QUANT_SIZES[GGMLQuantizationType[wanted]][0] == 0 else "F16"


def bytes_of(shape: tuple[int, ...], *, layout: str) -> int:
    """How many bytes an array of this shape takes."""
    block, size = (int(number) for number in GGML_QUANT_SIZES[GGMLQuantizationType[layout]])
    return math.prod(shape) // block * size


def encode(values: Array, *, layout: str) -> Array:
    """float32 `values` (..., width) as the raw bytes of `layout`: (..., bytes a row)."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    if layout in ("Q4_0", "Q5_0"):
        return _searched(values, bits=4 if layout == "Q4_0" else 5)
    coded: Array = np.ascontiguousarray(quants.quantize(values, GGMLQuantizationType[layout]))
    return coded.view(np.uint8).reshape(*values.shape[:-1], -1)


def decode(data: Array, *, layout: str, shape: tuple[int, ...]) -> Array:
    """The raw bytes of `layout` as float32 of `shape`; raises InputError on a layout without a reader."""
    rows = np.asarray(data, dtype=np.uint8).reshape(*shape[:-1], -1)
    try:
        values: Array = quants.dequantize(rows, GGMLQuantizationType[layout])
    except NotImplementedError as error:
        raise InputError(f"the layout {layout} cannot be read back to numbers here") from error
    whole = np.ascontiguousarray(values, dtype=np.float32).reshape(shape)
    return whole if whole.flags.writeable else whole.copy()  # never a view of the file


def _searched(values: Array, *, bits: int) -> Array:
    """Q4_0 or Q5_0 with the scale of each block of 32 chosen for the least squared error."""
    blocks = values.reshape(-1, 32)
    coded = np.empty((len(blocks), 18 if bits == 4 else 22), np.uint8)

    def work(start: int) -> None:
        scale, codes = best(blocks[start : start + ROWS], bits=bits)
        coded[start : start + ROWS] = pack(scale, codes, bits=bits)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:  # numpy lets go of the interpreter while it works
        list(pool.map(work, range(0, len(blocks), ROWS)))
    return coded.reshape(*values.shape[:-1], -1)


def pack(scale: Array, codes: Array, *, bits: int) -> Array:
    """Scales (n, 1) and codes (n, 32) in -half..half-1 as the bytes of Q4_0 or Q5_0: (n, 18 or 22)."""
    unsigned = (codes + (1 << (bits - 1))).astype(np.uint8)
    coded = np.empty((len(codes), 18 if bits == 4 else 22), np.uint8)
    coded[:, :2] = scale.astype("<f2").view(np.uint8).reshape(-1, 2)
    coded[:, -16:] = (unsigned[:, :16] & 15) | (unsigned[:, 16:] << 4)
    if bits == 5:
        coded[:, 2:6] = np.packbits(unsigned >> 4, axis=-1, bitorder="little")
    return coded


def unpack(coded: Array) -> tuple[Array, Array]:
    """The way back, of rows (rows, bytes a row) of Q4_0: scales (rows, width / 32) and codes (rows, width), float32."""
    blocks = np.asarray(coded, np.uint8).reshape(len(coded), -1, 18)
    scale = np.ascontiguousarray(blocks[..., :2]).view("<f2")[..., 0].astype(np.float32)
    codes = np.concatenate((blocks[..., 2:] & 15, blocks[..., 2:] >> 4), axis=-1)
    return scale, (codes.astype(np.float32) - 8).reshape(len(coded), -1)


def best(blocks: Array, *, bits: int, weights: Array | None = None) -> tuple[Array, Array]:
    """For each block x (n, 32) the scale d (n, 1) and codes q (n, 32) with the least error, weighted by column (32,).

    For given codes the best scale is <x, q> / <q, q>, and the error it leaves is <x, x> - <x, q>^2 / <q, q> (products
    weighted): so the candidates, roundings at several scales, are compared by <x, q>^2 / <q, q>.
    """
    half = 1 << (bits - 1)
    place = np.abs(blocks).argmax(axis=-1, keepdims=True)
    peak = np.take_along_axis(blocks, place, axis=-1)  # (n, 1), with its sign: it takes the code -half
    safe = np.where(peak == 0, np.float32(1), peak)
    gain = np.full(peak.shape, -1, np.float32)
    scale, chosen = np.zeros_like(peak), np.zeros(blocks.shape, np.float32)
    for share in STRETCHES:
        codes = blocks * (np.float32(-half * share) / safe)
        np.rint(codes, out=codes)
        np.clip(codes, -half, half - 1, out=codes)
        weighted = codes if weights is None else codes * weights
        product = np.einsum("ij,ij->i", blocks, weighted)[:, None]
        square = np.einsum("ij,ij->i", codes, weighted)[:, None]
        square[square == 0] = 1
        ratio = product / square
        better = product * ratio > gain
        gain = np.where(better, product * ratio, gain)
        scale = np.where(better, ratio, scale)
        np.copyto(chosen, codes, where=better)
    return scale, chosen
