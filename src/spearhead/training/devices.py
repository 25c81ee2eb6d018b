"""Where to compute and in which precision, decided by what the machine has and how fast it is."""

import time

import torch

from spearhead.core.errors import InputError


def choose(name: str) -> torch.device:
    """The device of that name; `auto`: cuda, else mps, else cpu. Raises InputError when it is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if name not in there:
        raise InputError(f"device {name!r} is unknown: wanted auto, cpu, cuda or mps")
    if not there[name]:
        have = ", ".join(kind for kind, found in there.items() if found)
        raise InputError(f"device {name!r} is not on this machine; it has {have}")
    return torch.device(name)


def precision(wanted: str, device: torch.device) -> torch.dtype:
    """float32 or bfloat16: as told, or for `auto` bfloat16 where this machine multiplies it 1.3 times as fast."""
    if wanted != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[wanted]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "mps":
        return torch.float32
    seconds = {kind: _matmul_seconds(kind) for kind in (torch.float32, torch.bfloat16)}
    return torch.bfloat16 if seconds[torch.bfloat16] * 1.3 < seconds[torch.float32] else torch.float32


def _matmul_seconds(kind: torch.dtype) -> float:
    a, b = torch.ones(512, 768, dtype=kind), torch.ones(768, 768, dtype=kind)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return best
