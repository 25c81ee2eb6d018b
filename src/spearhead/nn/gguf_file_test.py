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
from spearhead.nn import gguf_adapter, gguf_file, gguf_names, weight_layouts
from spearhead.nn.gguf_header import Array, read_header

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


def state_of(path: Path) -> dict[str, Array]:
    """The weights of a file as `transformers` names them."""
    steps = gguf_file.read_state(read_header(path))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


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


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Path]:
    """A tiny llama, its GGUF in F32 and its tokenizer."""
    folder = tmp_path_factory.mktemp("llama")
    model, tokenizer = tiny_model("llama"), tiny_tokenizer(folder)
    out = folder / "model.gguf"
    gguf_file.write_model(
        numpy_state(model), model.config.to_dict(), tokenizer, out, layout="F32", chat_template="{{ messages }}"
    )
    return model, out, tokenizer


def test_text_becomes_the_same_tokens(llama: tuple[Any, Path, Path]) -> None:
    from tokenizers import Tokenizer

    model, path, tokenizer = llama
    prompts = ["the quick brown fox", "dogs over 12 lazy  the", "!?the"]
    ids = [Tokenizer.from_file(str(tokenizer)).encode(prompt).ids for prompt in prompts]
    for by_text, by_ids in zip(llama_cpp(path, prompts, count=1), llama_cpp(path, ids, count=1), strict=True):
        np.testing.assert_allclose(by_text[0][1], by_ids[0][1], atol=1e-5)


def test_a_file_read_back_is_the_state_that_was_written(llama: tuple[Any, Path, Path]) -> None:
    model, path, _ = llama
    state, config = state_of(path), gguf_file.read_config(read_header(path))
    wanted = numpy_state(model)
    assert state.keys() == wanted.keys() - {"lm_head.weight"}
    for name, values in state.items():
        np.testing.assert_array_equal(values, wanted[name])
    theirs = model.config.to_dict()
    for key in ("hidden_size", "num_key_value_heads", "vocab_size", "eos_token_id", "model_type", "head_dim"):
        assert config[key] == theirs[key]
    assert config["tie_word_embeddings"] is True


def test_a_base_gives_its_metadata_and_tokenizer(llama: tuple[Any, Path, Path], tmp_path: Path) -> None:
    model, base, _ = llama
    state, config = state_of(base), gguf_file.read_config(read_header(base))
    state["model.norm.weight"] = state["model.norm.weight"] * 2
    out = tmp_path / "tuned.gguf"
    gguf_file.write_model(state, config, tmp_path / "no such file", out, base=base, layout="F16", name="tuned")
    old, new = read_header(base).metadata, read_header(out).metadata
    assert new == old | {"general.file_type": 1, "general.name": "tuned"}
    np.testing.assert_array_equal(state_of(out)["model.norm.weight"], state["model.norm.weight"])
    other = tiny_model("llama", hidden_size=32, num_attention_heads=2).config.to_dict()
    with pytest.raises(InputError, match="they are not one base"):
        gguf_file.write_model(
            numpy_state(tiny_model("llama", hidden_size=32, num_attention_heads=2)), other, base, out, base=base
        )


@pytest.mark.parametrize(("layout", "matrix", "embedding"), [("Q8_0", "Q8_0", "Q8_0"), ("Q4_0", "Q4_0", "Q8_0")])
def test_requantised_files_answer_nearly_alike(
    llama: tuple[Any, Path, Path], tmp_path: Path, layout: str, matrix: str, embedding: str
) -> None:
    _, path, _ = llama
    out = tmp_path / "small.gguf"
    steps = list(gguf_file.requantise(path, out, layout))
    assert steps[-1].done == steps[-1].total
    tensors = read_header(out).tensors
    assert tensors["blk.1.ffn_up.weight"].layout == matrix
    assert tensors["token_embd.weight"].layout == embedding
    assert tensors["output_norm.weight"].layout == "F32"
    ((before,), (after,)) = llama_cpp(path, PROMPTS[:1], count=1), llama_cpp(out, PROMPTS[:1], count=1)
    p, q = before[0][1], after[0][1]
    divergence = float((np.exp(p) * (p - q)).sum())
    assert 0 < divergence < (0.001 if layout == "Q8_0" else 0.1)
    same = tmp_path / "same.gguf"
    list(gguf_file.requantise(out, same, layout))
    assert same.read_bytes() == out.read_bytes()


def test_a_revised_file_holds_the_new_numbers_and_the_rest_bit_for_bit(
    llama: tuple[Any, Path, Path], tmp_path: Path
) -> None:
    _, path, _ = llama
    small, out = tmp_path / "small.gguf", tmp_path / "revised.gguf"
    list(gguf_file.requantise(path, small, "Q4_0"))
    query, norm = "model.layers.0.self_attn.q_proj.weight", "model.norm.weight"  # a query's rows lie in another order
    before, coded = state_of(small), gguf_file.read_coded(read_header(small), "Q4_0")
    scale, codes = weight_layouts.unpack(coded[query])
    np.testing.assert_array_equal(
        codes.reshape(*scale.shape, -1) * scale[..., None], before[query].reshape(*scale.shape, -1)
    )
    raw = weight_layouts.pack(scale.reshape(-1, 1), -7 * (codes.reshape(-1, 32) > 0), bits=4).reshape(
        coded[query].shape
    )
    list(gguf_file.revise(small, out, {query: raw, norm: before[norm] * 2}))
    after = state_of(out)
    np.testing.assert_array_equal(
        after[query].reshape(*scale.shape, -1), np.where(codes.reshape(*scale.shape, -1) > 0, -7 * scale[..., None], 0)
    )
    np.testing.assert_array_equal(after[norm], before[norm] * 2)
    for name in before.keys() - {query, norm}:
        np.testing.assert_array_equal(after[name], before[name])
    assert read_header(out).metadata == read_header(small).metadata
    with pytest.raises(InputError, match=r"small.gguf has no tensor 'model.nothing'"):
        list(gguf_file.revise(small, out, {"model.nothing": raw}))
    with pytest.raises(InputError, match="takes 4 bytes, not those of small.gguf"):
        list(gguf_file.revise(small, out, {norm: np.zeros(1, np.float32)}))


@pytest.mark.parametrize("layout", weight_layouts.LAYOUTS)
def test_every_layout_comes_back_within_its_step(layout: str) -> None:
    from gguf import GGMLQuantizationType, quants

    values = np.random.default_rng(0).normal(size=(48, 256)).astype(np.float32)
    values[3] = 0
    got = weight_layouts.decode(weight_layouts.encode(values, layout=layout), layout=layout, shape=values.shape)
    error = float(np.square(got - values).mean())
    kind = GGMLQuantizationType[layout]
    plain = float(np.square(quants.dequantize(quants.quantize(values, kind), kind) - values).mean())
    assert error <= plain
    if layout in ("Q4_0", "Q5_0"):
        assert error < 0.91 * plain  # what the search of scales is for
    assert (got[3] == 0).all()


def test_an_adapter_over_its_base_equals_the_merged_model(llama: tuple[Any, Path, Path], tmp_path: Path) -> None:
    model, base, tokenizer = llama
    state, config = numpy_state(model), model.config.to_dict()
    generator = np.random.default_rng(1)
    pairs: dict[str, tuple[Array, Array]] = {}
    merged = dict(state)
    for name, values in state.items():
        if ".layers." in name and values.ndim == 2:
            a = generator.normal(0, 0.1, (4, values.shape[1])).astype(np.float32)
            b = generator.normal(0, 0.1, (values.shape[0], 4)).astype(np.float32)
            pairs[name.removesuffix(".weight")] = (a, b)
            merged[name] = values + np.float32(2.0) * (b @ a)
    adapter, whole = tmp_path / "adapter.gguf", tmp_path / "merged.gguf"
    gguf_adapter.write_adapter(pairs, config, adapter, scale=2.0, layout="F32")
    gguf_file.write_model(merged, config, tokenizer, whole, layout="F32")
    over, alone, bare = llama_cpp(base, PROMPTS, adapter=adapter), llama_cpp(whole, PROMPTS), llama_cpp(base, PROMPTS)
    for one, other in zip(over, alone, strict=True):
        for (token, row), (wanted, expected) in zip(one, other, strict=True):
            assert token == wanted
            np.testing.assert_allclose(row, expected, atol=2e-3)
    assert np.abs(over[0][0][1] - bare[0][0][1]).max() > 0.1
    with pytest.raises(InputError, match="merge"):
        uneven = pairs | {"model.layers.0.mlp.up_proj": (np.ones((2, 64), "f4"), np.ones((96, 2), "f4"))}
        gguf_adapter.write_adapter(uneven, config, adapter, scale=1.0)
    with pytest.raises(InputError, match="'model.embed_tokens' cannot be adapted"):
        gguf_adapter.write_adapter(
            {"model.embed_tokens": next(iter(pairs.values()))}, config, tmp_path / "x", scale=1.0
        )


def test_a_file_cut_anywhere_is_refused_in_one_line(llama: tuple[Any, Path, Path], tmp_path: Path) -> None:
    whole = llama[1].read_bytes()
    short = tmp_path / "short.gguf"
    for length in [0, 3, 10, 23, 24, 25, 40, 100, 1000, 5000, len(whole) // 2, len(whole) - 33]:
        short.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"short\.gguf") as caught:
            read_header(short)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        struct.pack("<IQQ", 3, 1 << 60, 0),
        struct.pack("<IQQ", 3, 0, 1 << 60),
        struct.pack("<IQQQ", 3, 0, 1, 1 << 62),
        struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 1 << 61),
        struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 9, 1),
        struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 77),
        struct.pack("<IQQQ1sIIQQQIQ", 3, 1, 0, 1, b"t", 4, 0, 1 << 62, 1 << 62, 1 << 62, 0, 0),
        struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"t", 1, 32, 9999, 0),
        struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"t", 1, 32, 0, 1 << 63),
        struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"\xff", 4) + bytes(4),
        struct.pack("<IQQ", 1, 0, 0),
    ],
)
def test_a_hostile_header_costs_nothing_and_is_refused(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF" + body + bytes(64))
    with pytest.raises(InputError, match=r"bad\.gguf"):
        read_header(path)


def test_a_model_that_cannot_be_served_is_refused_with_the_reason(
    llama: tuple[Any, Path, Path], tmp_path: Path
) -> None:
    model, _, tokenizer = llama
    state, config, out = numpy_state(model), model.config.to_dict(), tmp_path / "out.gguf"

    def refused(reason: str, *, changed: Mapping[str, Any] | None = None, weights: Mapping[str, Array] = state) -> None:
        with pytest.raises(InputError, match=reason):
            gguf_file.write_model(weights, config | dict(changed or {}), tokenizer, out)
        assert not out.exists()
        assert not list(tmp_path.iterdir())

    name = "model.layers.0.mlp.up_proj.weight"
    refused("'gpt_bigcode' cannot be written", changed={"model_type": "gpt_bigcode"})
    refused("hidden_act 'gelu'", changed={"hidden_act": "gelu"})
    refused("yarn", changed={"rope_parameters": {"rope_type": "yarn", "factor": 2.0}})
    refused(f"{name}' is missing", weights={key: value for key, value in state.items() if key != name})
    refused("merge adapters first", weights=state | {"model.layers.0.lora_A.weight": np.ones((1, 1), "f4")})
    refused("has shape", weights=state | {name: np.ones((3, 3), "f4")})
    refused("not finite", weights=state | {name: np.full_like(state[name], np.nan)})
    refused("vocabulary ends at 9", changed={"vocab_size": 10})
    tokenizer_copy = json.loads(tokenizer.read_text())
    tokenizer_copy["pre_tokenizer"] = {"type": "Whitespace"}
    strange = tmp_path.parent / "strange.json"
    strange.write_text(json.dumps(tokenizer_copy))
    with pytest.raises(InputError, match="say which with `split`"):
        gguf_names.tokenizer(strange, config)


def test_a_disk_that_takes_no_more_leaves_nothing_behind(llama: tuple[Any, Path, Path], tmp_path: Path) -> None:
    import resource

    _, path, _ = llama
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that the write fails as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(SpearheadError, match="could not be written"):
            list(gguf_file.requantise(path, tmp_path / "out.gguf", "F16"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert not list(tmp_path.iterdir())
