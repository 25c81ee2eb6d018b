"""Blocks of a GGUF file as the constants that OpenVINO multiplies with, kept in a file that memory can forget.

Knows layouts, no architecture. A constant is mapped from a nameless file, because the compiled model packs its own
copy and keeps the original alive: mapped pages can be dropped, and come back should anything still read them.
"""

import math
import mmap
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

from spearhead.nn.gguf_header import Tensor

Array = np.ndarray[Any, np.dtype[Any]]

LAYOUTS = ("F32", "F16", "BF16", "Q8_0", "Q4_0")
"""What is computed here as it stands in the file."""
BLOCK = 32


class Shelf:
    """A nameless file of constants in `folder`; raises OSError when the disk is full."""

    def __init__(self, folder: Path, *, size: int) -> None:
        self._file, name = tempfile.mkstemp(dir=folder)
        os.unlink(name)
        os.ftruncate(self._file, size)  # holes take no room until they are written
        self._map = mmap.mmap(self._file, size)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._at = 0
        self._threads = ThreadPoolExecutor(2)
        self._work: list[Future[None]] = []

    def place(self, shape: Sequence[int], kind: Any, values: Callable[[], Array]) -> Array:
        """A view of the file that `values` come to fill: other threads see to it until `filled`."""
        start = -(-self._at // 64) * 64
        self._at = start + math.prod(shape) * np.dtype(kind).itemsize
        self._work.append(self._threads.submit(self._write, start, values))
        return self._bytes[start : self._at].view(kind).reshape(shape)  # type: ignore[no-any-return]

    def filled(self) -> None:
        """Wait until every value is where it belongs; raises OSError when the disk is full."""
        for work in self._work:
            work.result()
        self._work.clear()
        self._threads.shutdown()

    def _write(self, start: int, values: Callable[[], Array]) -> None:
        data, done = np.ascontiguousarray(values()).reshape(-1).view(np.uint8).data, 0
        while done < len(data):  # written, not stored through the map: a full disk is then an error, not a signal
            done += os.pwrite(self._file, data[done:], start + done)

    @property
    def size(self) -> int:
        """Bytes that were put here."""
        return self._at

    def forget(self) -> None:
        """Drop the pages from memory; whoever reads them again gets them from the file."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def room(tensors: Sequence[Tensor]) -> int:
    """Bytes that the constants of `tensors` take at most."""
    return sum(tensor.data.nbytes * 2 + 128 for tensor in tensors) + 4096


def floats(tensor: Tensor) -> Array:
    """A small tensor (norm, bias, factors) as float32 in its shape."""
    if tensor.layout == "F32":
        return tensor.data.view(np.float32).reshape(tensor.shape)
    if tensor.layout == "F16":
        return tensor.data.view(np.float16).reshape(tensor.shape).astype(np.float32)
    if tensor.layout == "BF16":
        return (tensor.data.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(tensor.shape)
    raise ValueError(f"{tensor.name} is in {tensor.layout}")


def matrix(shelf: Shelf, parts: Sequence[Tensor], orders: Sequence[Any]) -> Any:
    """One matrix (rows, columns) in float32 as a node: the rows of `parts`, each taken in its order, one below another.

    Quantised parts stay quantised; the runtime recognises the pattern and multiplies integers.
    """
    rows, columns = sum(part.shape[0] for part in parts), parts[0].shape[1]
    pairs = list(zip(parts, orders, strict=True))
    if parts[0].layout in ("F32", "F16", "BF16"):
        kind = np.float16 if parts[0].layout == "F16" else np.float32
        joined = shelf.place(
            (rows, columns), kind, lambda: np.concatenate([floats(a)[b] for a, b in pairs]).astype(kind)
        )
        node = op.constant(joined, shared_memory=True)
        return op.convert(node, "f32") if kind is np.float16 else node
    blocks, four = columns // BLOCK, parts[0].layout == "Q4_0"
    shape = (rows, blocks, BLOCK // 2 if four else BLOCK)
    numbers = shelf.place(
        shape, np.uint8 if four else np.int8, lambda: np.concatenate([_numbers(a)[b] for a, b in pairs])
    )
    scales = shelf.place((rows, blocks, 1), np.float16, lambda: np.concatenate([_scales(a)[b] for a, b in pairs]))
    if four:
        whole = ov.Tensor(numbers.reshape(-1), ov.Shape([rows, blocks, BLOCK]), ov.Type.i4)
        stored = ov.op.Constant(whole)
    else:
        stored = op.constant(numbers, shared_memory=True)
    scaled = op.multiply(op.convert(stored, "f16"), op.constant(scales, shared_memory=True))
    return op.convert(op.reshape(scaled, op.constant(np.array([rows, columns])), False), "f32")


def _numbers(tensor: Tensor) -> Array:
    """Numbers of a quantised tensor: (rows, blocks, 32), or 16 bytes of two each.

    Q4_0: half-precision scale, then 16 bytes whose low halves are the first 16 numbers, plus 8 (ggml-common.h).
    OpenVINO wants neighbours in a byte, in two's complement. Two bytes are worked on at once.
    """
    pairs = np.ascontiguousarray(_words(tensor)[:, :, 1:])
    if tensor.layout == "Q8_0":
        return pairs.view(np.int8)
    out = np.empty((*pairs.shape[:2], 16), np.uint8)
    for half, shift in ((out[:, :, :8], 0), (out[:, :, 8:], 4)):
        moved = pairs >> shift
        np.bitwise_or(moved & 0x0F, (moved >> 4) & 0xF0, out=half, casting="unsafe")
    out ^= 0x88
    return out


def _scales(tensor: Tensor) -> Array:
    return np.ascontiguousarray(_words(tensor)[:, :, :1]).view(np.float16)


def _words(tensor: Tensor) -> Array:
    """The blocks of a quantised tensor (rows, blocks, words of two bytes); the first word is the scale."""
    return tensor.data.view(np.uint16).reshape(tensor.shape[0], -1, 17 if tensor.layout == "Q8_0" else 9)
