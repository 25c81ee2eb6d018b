"""What a GGUF says is what the model said: llama.cpp and transformers on the same tiny random weights."""

import json
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spearhead.core.errors import InputError, SpearheadError
from spearhead.nn import gguf_file, gguf_names, weight_layouts
from spearhead.nn.gguf_header import Array

VOCAB = 320
LLAMA_CPP = """
import json, sys
import xllamacpp
asked = json.load(sys.stdin)
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.warmup, params.verbosity = asked["model"], 256, 1, False, -1
params.cpuparams.n_threads = 1
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
if asked["adapter"]:
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = asked["adapter"], 1.0
    params.lora_adapters = [adapter]
server = xllamacpp.Server(params)
for prompt in asked["prompts"]:
    body = {"prompt": prompt, "n_predict": asked["count"], "temperature": 0, "n_probs": asked["probs"],
            "ignore_eos": True, "return_tokens": True}
    answer = server.handle_completions(body)
    answer = json.loads(answer) if isinstance(answer, str) else answer
    steps = answer["choices"][0]["logprobs"]["content"]
    print(json.dumps([[step["id"], [[t["id"], t["logprob"]] for t in step["top_logprobs"]]] for step in steps]))
"""


def llama_cpp(
    model: Path, prompts: Sequence[Sequence[int] | str], *, count: int = 8, adapter: Path | None = None
) -> list[list[tuple[int, Array]]]:
    """For each prompt the greedy tokens and, at each, the log-probabilities of the whole vocabulary."""
    asked = {"model": str(model), "prompts": prompts, "count": count, "probs": VOCAB}
    asked["adapter"] = str(adapter) if adapter else ""
    ran = subprocess.run(
        [sys.executable, "-c", LLAMA_CPP], input=json.dumps(asked), capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    out = []
    for line in ran.stdout.splitlines():
        steps = []
        for token, probs in json.loads(line):
            row = np.full(VOCAB, -np.inf)
            row[[i for i, _ in probs]] = [p for _, p in probs]
            steps.append((token, row))
        out.append(steps)
    return out


def tiny_tokenizer(folder: Path) -> Path:
    """A byte-level BPE tokenizer.json that was trained on a line, with ChatML's markers.

    ASCII alone: llama.cpp reports no probabilities at a token that ends within a character.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=[chr(letter) for letter in range(33, 127)] + ["Ġ"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the quick brown fox jumps over the lazy dog and the quick dog runs"] * 9, trainer)
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def tiny_model(kind: str, **changes: Any) -> Any:
    """A random transformers model of architecture `kind`, large enough weights that its answers differ."""
    import torch
    import transformers

    sizes = dict(
        vocab_size=VOCAB,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    named = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}[kind]
    config = getattr(transformers, f"{named}Config")(**{**sizes, **changes})
    torch.manual_seed(0)
    model = getattr(transformers, f"{named}ForCausalLM")(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(1.0 if value.ndim == 1 else 0.0, 0.15)
    return model


def numpy_state(model: Any) -> dict[str, Array]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def greedy(model: Any, prompt: Sequence[int], *, count: int = 8) -> list[tuple[int, Array]]:
    import torch

    ids, out = list(prompt), []
    with torch.no_grad():
        for _ in range(count):
            row = model(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1).numpy()
            ids.append(int(row.argmax()))
            out.append((ids[-1], row))
    return out


PROMPTS = [[5, 90, 17, 200, 33], [260, 261, 262, 263, 264, 265, 266, 4, 4, 4, 70, 71]]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": False, "attention_bias": True, "num_key_value_heads": 4}),
        (
            "llama",
            {
                "rope_parameters": {
                    "rope_type": "llama3",
                    "rope_theta": 10000.0,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 32,
                }
            },
        ),
        ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 32}),
    ],
    ids=["llama", "llama untied with biases", "llama 3 rope", "linear rope", "qwen2", "qwen3 with wide heads"],
)
def test_llama_cpp_says_what_transformers_says(tmp_path: Path, kind: str, changes: Mapping[str, Any]) -> None:
    model = tiny_model(kind, **changes)
    out = tmp_path / "model.gguf"
    gguf_file.write_model(numpy_state(model), model.config.to_dict(), tiny_tokenizer(tmp_path), out, layout="F32")
    for prompt, theirs in zip(PROMPTS, llama_cpp(out, PROMPTS), strict=True):
        ours = greedy(model, prompt)
        assert [token for token, _ in theirs] == [token for token, _ in ours]
        for (_, got), (_, wanted) in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(got, wanted, atol=2e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.gguf", "tokenizer.json"]
