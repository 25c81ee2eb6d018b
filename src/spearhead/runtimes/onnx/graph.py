"""An ONNX file as a function of arrays, checked before it is believed. Knows no request and no solver."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from spearhead.core.errors import InputError
from spearhead.core.sampler import Sampler
from spearhead.runtimes.failure import RuntimeFailed

Array = np.ndarray[Any, np.dtype[Any]]

LARGEST = 1 << 30
"""Bytes of a graph."""
MOST_NUMBERS = 1 << 24
"""Numbers in one picture or its noise."""
_KINDS = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
_INPUTS: Mapping[str, tuple[str, ...]] = {"flow": ("x", "time", "label", "length"), "oneshot": ("noise", "label")}
_STYLES = ("other", "layer")
"""What a graph of styles takes besides."""
_TYPES: Mapping[str, type] = {
    **dict.fromkeys(("x", "noise", "other", "time", "length"), np.float32),
    **dict.fromkeys(("label", "layer"), np.int64),
}
_OUTSIDE = b"\x0a\x08location\x12"
"""How a tensor whose numbers lie in another file begins its address (StringStringEntryProto, key `location`)."""


class Graph:
    """A model that runs; use `open`."""

    def __init__(self, session: Any, sampler: Sampler, *, rows: int) -> None:
        self._session, self._sampler, self._rows = session, sampler, rows
        self._names = {value.name for value in session.get_inputs()}
        self.padding = 2
        """To how many rows a smaller batch is filled up, so that a row's numbers do not depend on its neighbours."""

    @classmethod
    def open(cls, folder: Path, sampler: Sampler, *, rows: int, threads: int = 0) -> "Graph":
        """The graph that `sampler` names in `folder`, for batches of at most `rows`.

        Raises InputError when it cannot be read, points at other files or is not what the sampler says.
        """
        path = folder / sampler.model
        data = _read(path)
        graph = cls(_session(path, data, threads or psutil.cpu_count(logical=False) or 1), sampler, rows=rows)
        graph._check(path)
        return graph

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return (self._sampler.channels, *self._sampler.size)

    def run(self, inputs: Mapping[str, Array]) -> Array:
        """The output (n, c, h, w) of n rows; raises RuntimeFailed."""
        count = len(inputs["label"])
        fed = {name: value for name, value in inputs.items() if name in self._names}
        if (missing := self.padding - count) > 0:
            fed = {name: np.concatenate([value, np.repeat(value[:1], missing, 0)]) for name, value in fed.items()}
        try:
            found: Array = self._session.run(None, fed)[0]
        except Exception as error:  # onnxruntime's errors have no class in common
            raise RuntimeFailed(f"the model could not be run: {_line(error)}") from error
        if found.shape != (max(count, self.padding), *self.shape):
            raise RuntimeFailed(f"the model gave {found.shape}: wanted {(count, *self.shape)}")
        return found[:count]

    def _check(self, path: Path) -> None:
        sampler = self._sampler
        numbers = max(int(np.prod(sampler.noise)), int(np.prod(self.shape)))
        if numbers > MOST_NUMBERS:
            raise InputError(f"{path}: a picture of {numbers:,} numbers is more than the {MOST_NUMBERS:,} made here")
        wanted = (*_INPUTS[sampler.kind], *(_STYLES if sampler.layers else ()))
        given = {value.name: _KINDS.get(value.type) for value in self._session.get_inputs()}
        needed = set(wanted) - {"label", "length"}  # a model without classes, or without leaps, has no use for them
        wrong = [name for name, kind in given.items() if kind is not _TYPES.get(name) or name not in wanted]
        if wrong or not needed <= set(given) or len(self._session.get_outputs()) != 1:
            raise InputError(
                f"{path} is not the graph that sampler.json describes: its inputs are {', '.join(sorted(given))}, "
                f"wanted {', '.join(wanted)} and one output; release it again"
            )
        try:
            alike = self._alike()
        except RuntimeFailed as error:
            raise InputError(f"{path} is not the graph that sampler.json describes: {error}") from error
        if not alike:
            self.padding = self._rows

    def _alike(self) -> bool:
        """Whether a row gets the same numbers to the bit in every size of batch.

        It does where each number is summed up in one order whatever the rows; matrix products of a single row are
        the exception that was seen, so batches begin at two. A model that fails this runs at one size for ever.
        """
        rows = self._trial(min(self._rows, 17))
        whole = self.run(rows)
        if not np.isfinite(whole).all():
            raise RuntimeFailed("it gives what is not a number")
        for count in {1, 2, 3, 5, 8, 11, 16}:
            for start in (0, 1):
                part = {name: value[start : start + count] for name, value in rows.items()}
                if not np.array_equal(self.run(part), whole[start : start + count]):
                    return False
        return True

    def _trial(self, count: int) -> dict[str, Array]:
        rng = np.random.default_rng(0)
        noise = rng.standard_normal((count, *self._sampler.noise), dtype=np.float32)
        label = np.arange(count, dtype=np.int64) % max(1, len(self._sampler.classes))
        if self._sampler.kind == "oneshot":
            layer = np.arange(count, dtype=np.int64) % (self._sampler.layers + 1)
            return {"noise": noise, "label": label, "other": noise[::-1], "layer": layer}
        time = rng.random(count, dtype=np.float32)
        return {"x": noise, "time": time, "label": label, "length": 1 - time}


def _read(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise InputError(f"{path} has {size:,} bytes: wanted at most {LARGEST:,}")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; release it again") from error
    if _OUTSIDE in data:
        raise InputError(f"{path} keeps numbers in other files: wanted a graph with all of them inside")
    return data


def _session(path: Path, data: bytes, threads: int) -> Any:
    import onnxruntime  # type: ignore[import-untyped,unused-ignore]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(threads, os.cpu_count() or 1)
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Threads that spin while they wait take the processor from the server that shares it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no class in common
        raise InputError(f"{path} is no ONNX graph that can be run: {_line(error)}; release it again") from error


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
