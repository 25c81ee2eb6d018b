"""A LoRA adapter as a GGUF file, to be served over a shared base. Torch-free; knows no training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.nn import gguf_file, gguf_names, weight_layouts
from spearhead.nn.gguf_header import Array, Value


def write_adapter(
    pairs: Mapping[str, tuple[Array, Array]],
    config: Mapping[str, Any],
    out: Path,
    *,
    scale: float,
    layout: str = "F16",
    name: str = "",
) -> None:
    """Write low-rank updates `W + scale * B @ A` to `out`, as llama.cpp reads them.

    `pairs` maps a module as `transformers` names it (`model.layers.0.self_attn.q_proj`) to A (rank, in) and
    B (out, rank); `scale` is alpha / rank for LoRA and alpha / sqrt(rank) for rsLoRA. One rank throughout.
    """
    kind = gguf_names.architecture(config)
    known = gguf_names.all_names(config)
    if not pairs:
        raise InputError("the adapter is empty: nothing was tuned")
    ranks = {a.shape[0] for a, _ in pairs.values()} | {b.shape[1] for _, b in pairs.values()}
    if len(ranks) != 1:
        raise InputError(f"the adapter has ranks {sorted(ranks)}: a GGUF adapter has one; merge it instead")
    tensors: dict[str, Array] = {}
    for module, (a, b) in pairs.items():
        if module not in known or module == "model.embed_tokens":
            raise InputError(f"module {module!r} cannot be adapted in a {kind} GGUF: merge the adapter instead")
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise InputError(f"the adapter of {module!r} holds numbers that are not finite: the training broke")
        rows = gguf_names.rows_of(f"{module}.weight", config)
        tensors[f"{known[module]}.weight.lora_a"] = a
        tensors[f"{known[module]}.weight.lora_b"] = b if rows is None else gguf_names.interleave(b, heads=rows)
    values = {
        "general.architecture": Value(gguf_names.STRING, kind),
        "general.type": Value(gguf_names.STRING, "adapter"),
        "adapter.type": Value(gguf_names.STRING, "lora"),
        "adapter.lora.alpha": Value(gguf_names.F32, float(scale) * ranks.pop()),
        "general.file_type": Value(gguf_names.U32, weight_layouts.FILE_TYPES[weight_layouts.known(layout)]),
    }
    if name:
        values["general.name"] = Value(gguf_names.STRING, name)

    def coded(tensor: str, wanted: str) -> Array:
        return weight_layouts.encode(tensors[tensor], layout=wanted)

    shapes = {
        tensor: (array.shape, weight_layouts.layout_of(tensor, array.shape, wanted=layout))
        for tensor, array in tensors.items()
    }
    for _ in gguf_file.write(out, values, shapes, coded):
        pass
