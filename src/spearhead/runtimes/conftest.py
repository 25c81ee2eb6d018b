"""A tiny model whose every probability is known: a table of what follows what, written as a GGUF of one layer."""

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

from spearhead.nn import gguf_file

WIDTH = 320
MARKERS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None and "SPEARHEAD_CI" not in os.environ,  # there `make setup` installs it
    reason="openvino is not installed: `pip install '.[openvino]'` enables it",
)


@dataclass(frozen=True, slots=True)
class Table:
    """The files of the model and its logits: (token, next token)."""

    model: Path
    tokenizer: Path
    logits: "np.ndarray[tuple[int, int], np.dtype[np.float32]]"
    end: int

    def logprobs(self, token: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """ln p of every token after `token`, by hand."""
        row = self.logits[token].astype(np.float64)
        out: np.ndarray[tuple[int], np.dtype[np.float64]] = row - np.log(np.exp(row).sum())
        return out


def _letters() -> list[str]:
    """GPT-2's printable character for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """After `a` comes for ever `é😀a`, a byte a token; after `b` x or y; after `z` the end; after the rest a space."""
    folder = tmp_path_factory.mktemp("table")
    letters = _letters()
    tokens = [*MARKERS, *letters, letters[32] + "t"]
    first = len(MARKERS)
    size = len(tokens)
    logits = np.zeros((size, size), dtype=np.float32)
    logits[:, first + 32] = 20.0
    cycle = [*"aé😀a".encode()]
    for byte, following in zip(cycle, cycle[1:], strict=False):
        logits[first + byte] = 0.0
        logits[first + byte, first + following] = 20.0
    logits[first + ord("b")] = -30.0
    logits[first + ord("b"), first + ord("x")] = 2.0
    logits[first + ord("b"), first + ord("y")] = 1.0
    logits[first + ord("z")] = 0.0
    logits[first + ord("z"), tokens.index("<|im_end|>")] = 20.0

    merges = [f"{letters[32]} t"]
    model = folder / "table.gguf"
    _write(model, tokens, merges, logits)
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [
                    {
                        "id": tokens.index(marker),
                        "content": marker,
                        "special": True,
                        "single_word": False,
                        "lstrip": False,
                        "rstrip": False,
                        "normalized": False,
                    }
                    for marker in MARKERS
                ],
                "pre_tokenizer": {
                    "type": "ByteLevel",
                    "add_prefix_space": False,
                    "trim_offsets": True,
                    "use_regex": True,
                },
                "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
                "model": {"type": "BPE", "vocab": {t: n for n, t in enumerate(tokens)}, "merges": merges},
            }
        )
    )
    return Table(model, tokenizer, logits, tokens.index("<|im_end|>"))


def _write(
    path: Path, tokens: list[str], merges: list[str], logits: "np.ndarray[tuple[int, int], np.dtype[np.float32]]"
) -> None:
    """One layer that adds nothing to identity embeddings; so the output matrix is the table over sqrt(width)."""
    size = len(tokens)
    out = GGUFWriter(path, "llama")
    out.add_block_count(1)
    out.add_context_length(2048)
    out.add_embedding_length(WIDTH)
    out.add_feed_forward_length(32)
    out.add_head_count(5)
    out.add_head_count_kv(1)
    out.add_layer_norm_rms_eps(1e-9)
    out.add_vocab_size(size)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    out.add_token_types([3] * len(MARKERS) + [1] * (size - len(MARKERS)))
    out.add_token_merges(merges)
    out.add_bos_token_id(tokens.index("<|im_start|>"))
    out.add_eos_token_id(tokens.index("<|im_end|>"))
    out.add_add_bos_token(False)

    def zeros(*shape: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
        return np.zeros(shape, dtype=np.float32)

    ones = np.ones(WIDTH, dtype=np.float32)
    out.add_tensor("token_embd.weight", np.eye(size, WIDTH, dtype=np.float32))
    out.add_tensor("output.weight", np.pad(logits.T / np.sqrt(WIDTH), ((0, 0), (0, WIDTH - size))).astype(np.float32))
    out.add_tensor("output_norm.weight", ones)
    out.add_tensor("blk.0.attn_norm.weight", ones)
    out.add_tensor("blk.0.ffn_norm.weight", ones)
    out.add_tensor("blk.0.attn_q.weight", zeros(WIDTH, WIDTH))
    out.add_tensor("blk.0.attn_k.weight", zeros(64, WIDTH))
    out.add_tensor("blk.0.attn_v.weight", zeros(64, WIDTH))
    out.add_tensor("blk.0.attn_output.weight", zeros(WIDTH, WIDTH))
    out.add_tensor("blk.0.ffn_gate.weight", zeros(32, WIDTH))
    out.add_tensor("blk.0.ffn_up.weight", zeros(32, WIDTH))
    out.add_tensor("blk.0.ffn_down.weight", zeros(WIDTH, 32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def random_model(folder: Path, table: Table, kind: str, layout: str) -> Path:
    """A random model with the table's vocabulary; heads are wider than their part of it where that may be."""
    width, queries, keys, hidden, layers = 64, 4, 2, 96, 2
    head = width // queries if kind == "qwen2" else 32
    tokens = len(json.loads(table.tokenizer.read_text())["model"]["vocab"])
    config: dict[str, Any] = dict(
        model_type=kind,
        vocab_size=tokens,
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=queries,
        num_key_value_heads=keys,
        head_dim=head,
        max_position_embeddings=2048,
        rms_norm_eps=1e-5,
        rope_theta=1000.0,
        tie_word_embeddings=kind != "qwen2",
        bos_token_id=1,
        eos_token_id=2,
    )
    draws = np.random.default_rng(5)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (tokens, width), "model.norm.weight": (width,)}
    if kind == "qwen2":
        shapes["lm_head.weight"] = (tokens, width)
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for part, rows in (("q", queries * head), ("k", keys * head), ("v", keys * head)):
            shapes[f"{at}self_attn.{part}_proj.weight"] = (rows, width)
            if kind == "qwen2":
                shapes[f"{at}self_attn.{part}_proj.bias"] = (rows,)
        shapes[f"{at}self_attn.o_proj.weight"] = (width, queries * head)
        shapes |= {f"{at}mlp.{part}_proj.weight": (hidden, width) for part in ("gate", "up")}
        shapes[f"{at}mlp.down_proj.weight"] = (width, hidden)
        shapes |= {f"{at}{part}_layernorm.weight": (width,) for part in ("input", "post_attention")}
        if kind == "qwen3":
            shapes |= {f"{at}self_attn.{part}_norm.weight": (head,) for part in ("q", "k")}
    state = {name: draws.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    path = folder / f"{kind}-{layout.replace('/', '-')}.gguf"
    gguf_file.write_model(state, config, table.tokenizer, path, layout=layout)
    return path
