"""Which program computes a model: llama.cpp everywhere, OpenVINO where it is installed and measured to be faster.

Knows no model: whether one can be computed is for the engine to say once it has seen the file.
"""

import functools
import importlib.util
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spearhead.core.errors import InputError

FLAGS = ("avx512_vnni", "amx_int8")
"""OpenVINO is taken on processors with one of these: llama.cpp's prebuilt wheel knows none (docs/benchmarks.md)."""
LEAST = 32 << 20
"""Bytes of a model from which on the difference is felt: below, what surrounds the arithmetic takes the time."""

WISH = "SPEARHEAD_TEXT_ENGINE"
"""The environment variable by which a person names the engine."""


class Unfit(Exception):
    """The engine does not compute this model; the reason is for people."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that serves a model on a socket, as arguments of this Python."""

    name: str
    command: tuple[str, ...]
    ends_loops: bool = False
    """Whether it sees itself that an answer goes round in circles: it tells several tokens at once, and where that is
    must not depend on which."""


OPENVINO = Engine("OpenVINO", ("-P", "-m", "spearhead.runtimes.openvino.worker"), ends_loops=True)
LLAMACPP = Engine("llama.cpp", ("-P", str(Path(__file__).with_name("worker.py"))))
ENGINES = (OPENVINO.name, LLAMACPP.name)
"""In the order in which they are tried."""


def wished(engine: str) -> str:
    """The engine that settings or, failing these, the environment ask for; raises InputError on one unknown."""
    engine = engine or os.environ.get(WISH, "")
    if engine and engine not in ENGINES:
        raise InputError(f"engine {engine!r} is unknown: wanted {' or '.join(ENGINES)}")
    return engine


def eligible(wish: str, *, bytes: int, adapter: bool, notes: list[str], marked: bool = False) -> Sequence[Engine]:
    """The engines to try, the fastest first; why one is passed over is added to `notes`. `wish` names the only one.

    Texts that are to be `marked` as they are drawn need a sampler of ours; raises InputError where that is not to be
    had, for an answer without its mark would be a broken promise.
    """
    if marked:
        return [_marking(wish)]
    if wish:
        return [OPENVINO if wish == OPENVINO.name else LLAMACPP]
    if (reason := _against(bytes=bytes, adapter=adapter)) is None:
        return [OPENVINO, LLAMACPP]
    notes.append(f"{OPENVINO.name}: {reason}")
    return [LLAMACPP]


def _marking(wish: str) -> Engine:
    """The engine that draws tokens by a key; raises InputError."""
    if wish != LLAMACPP.name and installed():
        return OPENVINO
    what = f"labels.watermark asks for an invisible mark in every text, which {LLAMACPP.name} cannot draw"
    if wish == LLAMACPP.name:
        raise InputError(f"{what}: name {OPENVINO.name} in {WISH}, or none, or release again without the mark")
    raise InputError(
        f"{what} and {OPENVINO.name} can: install it (`pip install '.[openvino]'`, Linux on x86_64), "
        "or release again without the mark"
    )


def here() -> str:
    """What computes a released model on this machine, in one line."""
    if wish := wished(""):
        return f"{wish} ({WISH})"
    reason = _against(bytes=LEAST, adapter=False)
    return OPENVINO.name if reason is None else f"{LLAMACPP.name} ({OPENVINO.name}: {reason})"


def _against(*, bytes: int, adapter: bool) -> str | None:
    """Why OpenVINO is not taken."""
    if not installed():
        return "not installed"
    if not set(FLAGS) & _flags():
        return "no faster on this processor"
    if bytes < LEAST:
        return "no faster on a model this small"
    return "adapters are for llama.cpp" if adapter else None


def installed() -> bool:
    """Whether OpenVINO can be imported."""
    return importlib.util.find_spec("openvino") is not None


@functools.cache
def _flags() -> frozenset[str]:
    """What the processor can do, as Linux names it; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text() if platform.machine() in ("x86_64", "AMD64") else ""
    except OSError:
        return frozenset()
    found = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(found.partition(":")[2].split())
