"""What a tuned model leaves behind: merged weights, an adapter, both as safetensors. Writes no GGUF."""

from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.files import whole_folder
from spearhead.models.pretrained.base import copy_words
from spearhead.models.pretrained.config import MERGEABLE
from spearhead.nn.disk import trouble_told


def merged_state(model: Any) -> dict[str, "np.ndarray[Any, Any]"]:
    """The base model's weights with the tuning in them, float32, by their Hugging Face names; `model` is unchanged.

    Raises InputError for a method whose result is no plain model.
    """
    import torch

    method = model.config.method
    if method not in MERGEABLE:
        raise InputError(
            f"method {method!r} cannot be released: no runtime serves it; it trains and evaluates only. "
            f"Methods that can: {', '.join(MERGEABLE)}"
        )
    causal = model.causal
    tied = bool(causal.config.tie_word_embeddings)
    changed: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    with torch.no_grad():
        for name, module in causal.named_modules():
            if hasattr(module, "get_base_layer"):
                changed[name] = _merged(module)
        for name, value in causal.state_dict().items():
            plain = name.replace(".base_layer.", ".")
            owner = plain.rpartition(".")[0]
            if owner in changed:
                if name.endswith("base_layer.weight"):
                    kept[plain] = changed[owner]
                elif name.endswith("base_layer.bias"):
                    kept[plain] = value
                continue
            if any(part.startswith(("lora_", "ia3_", "ranknum")) for part in plain.split(".")):
                continue
            if tied and plain == "lm_head.weight":
                continue
            kept[plain] = value
    state = {name: value.detach().float().cpu().contiguous().numpy() for name, value in kept.items()}
    for name, array in state.items():
        if not np.isfinite(array).all():
            raise InputError(f"{name} holds infinities or NaN after training: it is not exported; train again")
    return state


def _merged(module: Any) -> Any:
    """The weight of one tuned layer, by peft's own merge; the layer is put back bit for bit."""
    base = module.get_base_layer()
    before = base.weight.data
    base.weight.data = before.clone()
    try:
        module.merge(safe_merge=False)
        return base.weight.data
    finally:
        base.weight.data = before
        module.merged_adapters.clear()


def export(model: Any, folder: Path, *, base: Path) -> Path:
    """Write the merged model to `folder` as a Hugging Face model; `base` is the converted base, for its tokenizer."""
    from safetensors.numpy import save_file

    state = merged_state(model)
    with whole_folder(folder) as draft, trouble_told(folder):
        save_file(state, draft / "model.safetensors", metadata={"format": "pt"})
        config = type(model.causal.config).from_dict(model.causal.config.to_dict())
        config.save_pretrained(draft)
        copy_words(base, draft)
    return folder


def export_adapter(model: Any, folder: Path) -> Path:
    """Write what was learnt alone, as peft keeps it (safetensors and JSON); for a bottleneck, its own weights."""
    from safetensors.torch import save_file

    if model.config.method in ("none", "full"):
        raise InputError(f"method {model.config.method!r} has no adapter to export")
    with whole_folder(folder) as draft, trouble_told(folder):
        if hasattr(model.network, "peft_config"):
            model.network.save_pretrained(draft, safe_serialization=True)
        else:
            learnt = {n: p.detach().cpu().contiguous() for n, p in model.named_parameters() if p.requires_grad}
            save_file(learnt, draft / "adapter.safetensors")
    return folder
