"""What a Hugging Face causal language model is called in a GGUF file: tensors, hyper-parameters, tokenizer.

Knows the architectures llama, qwen2 and qwen3 with a byte-level BPE tokenizer, and no file format.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import MODEL_ARCH, get_tensor_name_map
from gguf.constants import GGUFValueType, TokenType

from spearhead.core.errors import InputError
from spearhead.nn.gguf_header import Value

Array = np.ndarray[Any, np.dtype[Any]]

ARCHITECTURES = {"llama": MODEL_ARCH.LLAMA, "qwen2": MODEL_ARCH.QWEN2, "qwen3": MODEL_ARCH.QWEN3}
"""`model_type` in config.json, which is also the name in the file."""
IGNORED = re.compile(r"rotary_emb\.inv_freq$")
ROTATED = re.compile(r"self_attn\.(q|k)_proj\.")
U32, F32, BOOL, STRING, ARRAY, I32 = (
    int(GGUFValueType[name]) for name in ("UINT32", "FLOAT32", "BOOL", "STRING", "ARRAY", "INT32")
)
# How a tokenizer.json splits text before merging, and what llama.cpp calls that.
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_SPLIT = QWEN2_SPLIT.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)


def architecture(config: Mapping[str, Any]) -> str:
    """The architecture's name; raises InputError on one that cannot be written, with the reason."""
    name = config.get("model_type")
    if name not in ARCHITECTURES:
        raise InputError(
            f"model_type {name!r} cannot be written as GGUF here: wanted one of {', '.join(ARCHITECTURES)}"
        )
    if (act := config.get("hidden_act", "silu")) != "silu":
        raise InputError(f"hidden_act {act!r} cannot be served: llama.cpp computes silu for {name}")
    if config.get("use_sliding_window"):
        raise InputError("use_sliding_window is set: llama.cpp serves this architecture with full attention only")
    for key in ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads"):
        if not isinstance(config.get(key), int) or not 0 < config[key] <= 1 << 24:
            raise InputError(f"config.json: {key} is {config.get(key)!r}, wanted a whole number above 0")
    return str(name)


def heads(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """Query heads, key heads and the width of a head."""
    queries = int(config["num_attention_heads"])
    width = config.get("head_dim") or config["hidden_size"] // queries
    return queries, int(config.get("num_key_value_heads") or queries), int(width)


def rope(config: Mapping[str, Any]) -> tuple[float, Mapping[str, Any]]:
    """The base frequency, and the scaling that config.json states under its old or its new key."""
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return float(scaling.get("rope_theta") or config.get("rope_theta") or 10_000.0), scaling


def tensor_names(config: Mapping[str, Any], names: list[str]) -> dict[str, str]:
    """Hugging Face name to GGUF name for every tensor to write; raises InputError on one unknown or missing."""
    known = get_tensor_name_map(ARCHITECTURES[architecture(config)], int(config["num_hidden_layers"]))
    tied = bool(config.get("tie_word_embeddings"))
    found: dict[str, str] = {}
    for name in names:
        if IGNORED.search(name) or (tied and name == "lm_head.weight"):
            continue
        other = known.get_name(name, try_suffixes=(".weight", ".bias"))
        if other is None:
            raise InputError(f"tensor {name!r} has no place in a {architecture(config)} GGUF; merge adapters first")
        found[name] = other
    for wanted in _required(config):
        if wanted not in found:
            raise InputError(f"tensor {wanted!r} is missing from the model")
    return found


def all_names(config: Mapping[str, Any]) -> dict[str, str]:
    """Every Hugging Face module name of this architecture to its GGUF name, without `.weight`."""
    known = get_tensor_name_map(ARCHITECTURES[architecture(config)], int(config["num_hidden_layers"]))
    return {name: other for name, (_, other) in known.mapping.items()}


def _required(config: Mapping[str, Any]) -> list[str]:
    kind = architecture(config)
    parts = ["input_layernorm", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    parts += [f"self_attn.{part}_proj" for part in "qkvo"]
    parts += ["self_attn.q_norm", "self_attn.k_norm"] if kind == "qwen3" else []
    biases = [f"self_attn.{part}_proj.bias" for part in "qkv"] if kind == "qwen2" else []
    wanted = ["model.embed_tokens.weight", "model.norm.weight"]
    wanted += [] if config.get("tie_word_embeddings") else ["lm_head.weight"]
    for layer in range(int(config["num_hidden_layers"])):
        wanted += [f"model.layers.{layer}.{part}.weight" for part in parts]
        wanted += [f"model.layers.{layer}.{part}" for part in biases]
    return wanted


def rows_of(name: str, config: Mapping[str, Any]) -> int | None:
    """How many heads' rows the tensor has when llama.cpp wants them in another order, else None.

    Hugging Face rotates the first half of a head against the second, llama.cpp's `llama` rotates neighbours; the
    Qwen architectures rotate halves in both.
    """
    if config.get("model_type") != "llama" or not (found := ROTATED.search(name)):
        return None
    queries, keys, _ = heads(config)
    return queries if found[1] == "q" else keys


def interleave(values: Array, *, heads: int) -> Array:
    """Rows of halves to rows of neighbours: (heads, 2, half, ...) to (heads, half, 2, ...)."""
    return values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def separate(values: Array, *, heads: int) -> Array:
    """The way back: `separate(interleave(x, heads=h), heads=h)` is x."""
    return values.reshape(heads, len(values) // heads // 2, 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def rope_factors(config: Mapping[str, Any]) -> Array | None:
    """Llama 3's stretched frequencies as the divisors that llama.cpp reads from `rope_freqs.weight`, or None.

    The rule is the reference implementation's (Llama 3.1 model card, `rope_scaling`): short waves stay, long ones
    are slowed by `factor`, those between are mixed.
    """
    theta, scaling = rope(config)
    if scaling.get("rope_type", scaling.get("type")) != "llama3":
        return None
    width = heads(config)[2]
    factor, low, high = (float(scaling[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    length = float(scaling["original_max_position_embeddings"])
    out = []
    for step in range(0, width, 2):
        wave = 2 * math.pi * theta ** (step / width)
        mix = min(1.0, max(0.0, (length / wave - low) / (high - low)))
        out.append(1 / ((1 - mix) / factor + mix))
    return np.array(out, np.float32)


def hyper_parameters(config: Mapping[str, Any]) -> dict[str, Value]:
    """The architecture's metadata; raises InputError on a rope scaling that is not written here."""
    kind = architecture(config)
    queries, keys, width = heads(config)
    theta, scaling = rope(config)
    out = {
        "block_count": Value(U32, int(config["num_hidden_layers"])),
        "context_length": Value(U32, int(config.get("max_position_embeddings", 2048))),
        "embedding_length": Value(U32, int(config["hidden_size"])),
        "feed_forward_length": Value(U32, int(config["intermediate_size"])),
        "attention.head_count": Value(U32, queries),
        "attention.head_count_kv": Value(U32, keys),
        "attention.key_length": Value(U32, width),
        "attention.value_length": Value(U32, width),
        "attention.layer_norm_rms_epsilon": Value(F32, float(config.get("rms_norm_eps", 1e-6))),
        "rope.dimension_count": Value(U32, width),
        "rope.freq_base": Value(F32, theta),
        "vocab_size": Value(U32, int(config["vocab_size"])),
    }
    style = scaling.get("rope_type", scaling.get("type", "default"))
    if style == "linear":
        out["rope.scaling.type"] = Value(STRING, "linear")
        out["rope.scaling.factor"] = Value(F32, float(scaling["factor"]))
    elif style not in ("default", "llama3"):
        raise InputError(f"rope scaling {style!r} cannot be written: wanted default, linear or llama3")
    return {f"{kind}.{key}": value for key, value in out.items()}


def config_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The config.json that a GGUF's metadata stand for; the way back from `hyper_parameters`."""
    kind = metadata.get("general.architecture")
    if kind not in ARCHITECTURES:
        raise InputError(f"architecture {kind!r} cannot be read here: wanted one of {', '.join(ARCHITECTURES)}")
    names = {
        "num_hidden_layers": "block_count",
        "max_position_embeddings": "context_length",
        "hidden_size": "embedding_length",
        "intermediate_size": "feed_forward_length",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "head_dim": "attention.key_length",
        "rms_norm_eps": "attention.layer_norm_rms_epsilon",
        "rope_theta": "rope.freq_base",
        "vocab_size": "vocab_size",
    }
    found = {name: metadata[f"{kind}.{key}"] for name, key in names.items() if f"{kind}.{key}" in metadata}
    scaled = f"{kind}.rope.scaling.factor" in metadata  # llama.cpp takes a factor without a type for a linear one
    style = metadata.get(f"{kind}.rope.scaling.type", "linear" if scaled else "none")
    if style == "linear":
        found["rope_scaling"] = {"rope_type": "linear", "factor": metadata[f"{kind}.rope.scaling.factor"]}
    elif style != "none":
        raise InputError(f"rope scaling {style!r} cannot be read: wanted none or linear")
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        if (token := metadata.get(f"tokenizer.ggml.{key}_token_id")) is not None:
            found[f"{name}_token_id"] = token
    found |= {"model_type": kind, "hidden_act": "silu"}
    found.setdefault("vocab_size", len(metadata.get("tokenizer.ggml.tokens", ())))
    architecture(found)
    return found


def tokenizer(path: Path, config: Mapping[str, Any], *, split: str = "", chat_template: str = "") -> dict[str, Value]:
    """A byte-level BPE tokenizer.json as metadata.

    `split` is llama.cpp's name of the pre-tokenizer; empty: recognised from the file (gpt-2, smollm, qwen2,
    llama-bpe), InputError where it is none of these. A vocabulary smaller than the embedding is filled up.
    """
    raw = _read(path)
    model = raw.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE" or "ByteLevel" not in json.dumps(raw.get("decoder")):
        raise InputError(f"{path.name} is no byte-level BPE tokenizer: no other kind can be written as GGUF here")
    size = int(config["vocab_size"])
    tokens: dict[int, tuple[str, int]] = {i: (text, int(TokenType.NORMAL)) for text, i in model["vocab"].items()}
    for added in raw.get("added_tokens", []):
        tokens[added["id"]] = (added["content"], int(TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED))
    if tokens and (max(tokens) >= size or min(tokens) < 0):
        raise InputError(f"{path.name} has token {max(tokens)} and the model's vocabulary ends at {size - 1}")
    filled = [tokens.get(i, (f"[PAD{i}]", int(TokenType.UNUSED))) for i in range(size)]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    if not merges:
        raise InputError(f"{path.name} has no merges: llama.cpp does not load a tokenizer of single bytes; train one")
    out = {
        "tokenizer.ggml.model": Value(STRING, "gpt2"),
        "tokenizer.ggml.pre": Value(STRING, split or _split(raw, path)),
        "tokenizer.ggml.tokens": Value(ARRAY, [text for text, _ in filled], STRING),
        "tokenizer.ggml.token_type": Value(ARRAY, [kind for _, kind in filled], I32),
        "tokenizer.ggml.merges": Value(ARRAY, merges, STRING),
        "tokenizer.ggml.add_bos_token": Value(BOOL, False),
        "tokenizer.ggml.add_space_prefix": Value(BOOL, False),
    }
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        token = config.get(f"{name}_token_id")
        token = token[0] if isinstance(token, list) and token else token
        if isinstance(token, int) and 0 <= token < size:
            out[f"tokenizer.ggml.{key}_token_id"] = Value(U32, token)
    if chat_template:
        out["tokenizer.chat_template"] = Value(STRING, chat_template)
    return out


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > 128 << 20:
            raise InputError(f"{path.name} has more than 128 MiB: that is no tokenizer")
        raw = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as a tokenizer.json: {error}") from error
    if not isinstance(raw, dict):
        raise InputError(f"{path.name} holds no JSON object: that is no tokenizer.json")
    return raw


def _split(raw: Mapping[str, Any], path: Path) -> str:
    """llama.cpp's name for how this tokenizer splits text."""
    outer = raw.get("pre_tokenizer") or {}
    steps = outer.get("pretokenizers", [outer])
    kinds = [step.get("type") for step in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and steps[1].get("use_regex", True):
        return "smollm"
    if kinds == ["Split", "ByteLevel"]:
        pattern = steps[0].get("pattern", {}).get("Regex")
        named = {QWEN2_SPLIT: "qwen2", LLAMA3_SPLIT: "llama-bpe"}
        if pattern in named:
            return named[pattern]
    raise InputError(f"{path.name} splits text as {kinds}, which has no name in llama.cpp; say which with `split`")
