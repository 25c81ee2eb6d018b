"""Where to compute and in which precision, decided by what the machine has."""

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
    """As told, or for `auto` bfloat16 where the hardware multiplies it in units of its own, else float32.

    float16 is for cards that are fast at nothing else, and never chosen by itself.

    Asked of the hardware, not timed: a busy moment must not decide what a run computes, nor may two processes of one
    run differ. A processor with bfloat16 dot products but no matrix tiles keeps float32.
    """
    if wanted != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu" and torch.cpu.get_capabilities().get("amx_bf16", False):
        return torch.bfloat16
    return torch.float32
