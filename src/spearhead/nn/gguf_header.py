"""The head of a GGUF file, read within bounds: typed metadata and where each tensor lies. Knows no architecture.

Why not `gguf.GGUFReader`: it makes an array view of every token and merge (three seconds for a 49k vocabulary, every
load) and trusts the lengths that a file states. Layout: ggml's docs/gguf.md, version 3 (and 2), little endian.

>>> read_header(Path("pyproject.toml"))
Traceback (most recent call last):
spearhead.core.errors.InputError: pyproject.toml does not begin with GGUF: that is another kind of file
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

from spearhead.core.errors import InputError

MOST_ENTRIES = 65_536
"""Metadata entries, and tensors, that a file may have."""
MOST_ITEMS = 4_000_000
"""Items of one metadata array."""
LONGEST_NAME = 1024
LONGEST_STRING = 16 << 20
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = int(GGUFValueType.STRING), int(GGUFValueType.ARRAY)

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Value:
    """One metadata value with its GGUF type; `item` is the type of an array's items."""

    kind: int
    value: Any
    item: int | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as it lies in the file: `shape` in numpy's order, `data` its raw bytes (a view of the mapped file)."""

    name: str
    layout: str
    shape: tuple[int, ...]
    data: Array


@dataclass(frozen=True, slots=True)
class Gguf:
    """A GGUF file that was found whole; its tensors are read from disk when they are touched."""

    path: Path
    values: Mapping[str, Value]
    tensors: Mapping[str, Tensor]

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata as plain Python values."""
        return {key: item.value for key, item in self.values.items()}

    @property
    def architecture(self) -> str:
        """`llama`, `qwen3`, ...; empty when the file does not say."""
        found = self.values.get("general.architecture")
        return found.value if found is not None and isinstance(found.value, str) else ""


def read_header(path: Path) -> Gguf:
    """Read and check `path`; raises InputError in one sentence when it is no GGUF, cut short or corrupt."""
    try:
        size = path.stat().st_size
        if size < 24:
            raise InputError(f"{path.name} has {size} bytes: that is no GGUF file")
        whole = np.memmap(path, mode="r")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return _parse(path, whole)
    except (struct.error, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path.name} is no whole GGUF file (cut short or corrupt): {error}; fetch it again"
        ) from error


class _Cursor:
    """A position in the mapped file that never passes its end."""

    def __init__(self, view: memoryview) -> None:
        self.view, self.at = view, 0

    def take(self, form: str) -> Any:
        (value,) = struct.unpack_from("<" + form, self.view, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def text(self, limit: int) -> str:
        length = self.take("Q")
        if length > limit or self.at + length > len(self.view):
            raise ValueError(f"a text of {length} bytes at {self.at}")
        self.at += length
        return str(self.view[self.at - length : self.at], "utf-8")

    def value(self) -> Value:
        kind = self.take("I")
        if kind != ARRAY:
            return Value(kind, self._scalar(kind))
        item, count = self.take("I"), self.take("Q")
        if item == ARRAY or count > MOST_ITEMS:
            raise ValueError(f"an array of {count} items of type {item}")
        if item == STRING:
            return Value(kind, [self.text(LONGEST_STRING) for _ in range(count)], item)
        form = SCALARS.get(item)
        if form is None:
            raise ValueError(f"value type {item}")
        found = list(struct.unpack_from(f"<{count}{form}", self.view, self.at))
        self.at += struct.calcsize(f"<{count}{form}")
        return Value(kind, found, item)

    def _scalar(self, kind: int) -> Any:
        if kind == STRING:
            return self.text(LONGEST_STRING)
        if kind not in SCALARS:
            raise ValueError(f"value type {kind}")
        return self.take(SCALARS[kind])


def _parse(path: Path, whole: Array) -> Gguf:
    cursor = _Cursor(memoryview(whole.data))
    if bytes(cursor.view[:4]) != b"GGUF":
        raise InputError(f"{path.name} does not begin with GGUF: that is another kind of file")
    cursor.at = 4
    version = cursor.take("I")
    if version not in (2, 3):
        raise InputError(f"{path.name} is GGUF version {version}: wanted 2 or 3, little endian")
    tensor_count, value_count = cursor.take("Q"), cursor.take("Q")
    if max(tensor_count, value_count) > MOST_ENTRIES:
        raise ValueError(f"{tensor_count} tensors and {value_count} metadata entries")
    values: dict[str, Value] = {}
    for _ in range(value_count):
        key = cursor.text(LONGEST_NAME)
        if key in values:
            raise ValueError(f"the key {key!r} twice")
        values[key] = cursor.value()
    infos = [_tensor_info(cursor) for _ in range(tensor_count)]
    alignment = values.get("general.alignment", Value(4, 32)).value
    if not isinstance(alignment, int) or not 1 <= alignment <= 65_536 or alignment & (alignment - 1):
        raise ValueError(f"alignment {alignment!r}")
    start = -(-cursor.at // alignment) * alignment
    tensors: dict[str, Tensor] = {}
    for name, shape, kind, offset in infos:
        count, (block, size) = math.prod(shape), GGML_QUANT_SIZES[kind]
        if shape[-1] % block or offset % alignment:
            raise ValueError(f"tensor {name!r} of shape {list(shape)} at {offset} as {kind.name}")
        first, length = start + offset, count // block * size
        if first + length > len(whole):
            raise ValueError(f"tensor {name!r} should end at byte {first + length} and the file has {len(whole)}")
        if name in tensors:
            raise ValueError(f"the tensor {name!r} twice")
        tensors[name] = Tensor(name, kind.name, shape, whole[first : first + length])
    return Gguf(path, values, tensors)


def _tensor_info(cursor: _Cursor) -> tuple[str, tuple[int, ...], GGMLQuantizationType, int]:
    name, dims = cursor.text(LONGEST_NAME), cursor.take("I")
    if not 1 <= dims <= 4:
        raise ValueError(f"tensor {name!r} with {dims} dimensions")
    shape = tuple(reversed([int(cursor.take("Q")) for _ in range(dims)]))
    if min(shape) < 1 or math.prod(shape) > 1 << 42:
        raise ValueError(f"tensor {name!r} of shape {list(shape)}")
    return name, shape, GGMLQuantizationType(cursor.take("I")), int(cursor.take("Q"))
