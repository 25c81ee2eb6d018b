"""What a trained model leaves behind: a Hugging Face folder that other tools open, and a probe of what it says."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spearhead.core.errors import InputError
from spearhead.core.files import whole_folder
from spearhead.models.gpt import layer, words
from spearhead.models.gpt.batch import Example
from spearhead.models.gpt.network import BASE, GPT
from spearhead.nn.disk import trouble_told

PROBES = 6
"""Positions at which the exported model is compared with the trained one."""
BLOCK = 32
"""Widths are whole numbers of these, so that every layout of ggml's can be written."""

Array = np.ndarray[Any, np.dtype[Any]]


def export(model: GPT, folder: Path, *, tokenizer: str, stop: str) -> Path:
    """Write `model.safetensors`, `config.json` (a Qwen3) and `tokenizer.json` (given as text) to `folder`.

    Raises InputError when a weight is not finite.
    """
    from safetensors.numpy import save_file

    named = model.named_parameters()  # a tied head is its table and is not written twice
    state = {name: value.detach().float().cpu().contiguous().numpy() for name, value in named}
    for name, array in state.items():
        if not np.isfinite(array).all():
            raise InputError(f"{name} holds infinities or NaN after training: it is not exported; train again")
    inner = _narrow(state, depth=model.config.depth)
    end = next((t["id"] for t in json.loads(tokenizer)["added_tokens"] if t["content"] == stop), None)
    with whole_folder(folder) as draft, trouble_told(folder):
        save_file(state, draft / "model.safetensors", metadata={"format": "pt"})
        (draft / "config.json").write_text(
            json.dumps(settings(model, end=end, inner=inner), indent=2) + "\n", encoding="utf-8"
        )
        (draft / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        about = words.settings(tokenizer, stop=stop)
        (draft / "tokenizer_config.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return folder


def _narrow(state: dict[str, Array], *, depth: int) -> int:
    """Leave out gated units whose weights are all zero (see `training.prune`); gives how many each layer keeps.

    A layer with fewer living ones than the widest keeps silent ones, for all layers are equally wide.
    """
    names = [tuple(f"model.layers.{n}.mlp.{kind}_proj.weight" for kind in ("gate", "up", "down")) for n in range(depth)]
    sizes = [
        np.abs(state[gate]).max(1) + np.abs(state[up]).max(1) + np.abs(state[down]).max(0) for gate, up, down in names
    ]
    width = max(int((size > 0).sum()) for size in sizes)
    kept = min(len(sizes[0]), max(BLOCK, -(-width // BLOCK) * BLOCK))
    for size, (gate, up, down) in zip(sizes, names, strict=True):
        if kept < len(size):
            stay = np.sort(np.argsort(size == 0, kind="stable")[:kept])
            state[gate], state[up] = state[gate][stay], state[up][stay]
            state[down] = np.ascontiguousarray(state[down][:, stay])
    return kept


def settings(model: GPT, *, end: int | None, inner: int | None = None) -> dict[str, Any]:
    """`config.json` of the model as transformers reads it; `end` is the id of the token that ends an answer.

    `inner`: how many gated units a layer has, where it is not the model's own number.
    """
    c = model.config
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": model.vocabulary,
        "hidden_size": c.width,
        "intermediate_size": c.inner if inner is None else inner,
        "num_hidden_layers": c.depth,
        "num_attention_heads": c.heads,
        "num_key_value_heads": c.key_heads,
        "head_dim": c.width // c.heads,
        "hidden_act": "silu",
        "max_position_embeddings": c.context,
        "rms_norm_eps": layer.EPSILON,
        "rope_theta": BASE,
        "rope_parameters": {"rope_type": "default", "rope_theta": BASE},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "tie_word_embeddings": c.tie,
        "bos_token_id": None,
        "eos_token_id": end,
        "dtype": "float32",
    }


def probe(model: GPT, held: Sequence[Example]) -> tuple[Array, Array]:
    """Prefixes (positions, longest; -1 beyond them) and the trained model's next-token log-probabilities there."""
    rows, prefixes = [], []
    model.eval()
    with torch.no_grad():
        for number, example in enumerate(held[:PROBES]):
            cut = example.prompt + number % max(1, example.weight)
            ids = torch.from_numpy(example.ids[:cut].astype(np.int64)).to(model.device)
            rows.append(torch.log_softmax(model(ids[None])[0, -1].float(), dim=-1).cpu().numpy())
            prefixes.append(ids.tolist())
    padded = np.full((len(prefixes), max(map(len, prefixes))), -1, dtype=np.int64)
    for number, prefix in enumerate(prefixes):
        padded[number, : len(prefix)] = prefix
    return padded, np.stack(rows)
