"""A GGUF becomes a folder that computes and tokenizes the same; what cannot be used is said in a sentence."""

import json
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from spearhead.core.errors import InputError
from spearhead.core.template import Segment
from spearhead.media.text.tokens import Tokenizer
from spearhead.models.pretrained import base, tiny
from spearhead.models.pretrained.build import load
from spearhead.nn import gguf_file
from spearhead.nn.gguf_header import Tensor, Value, read_header
from spearhead.store.home import Home


def write_gguf(path: Path, tiny: Path, *, merges: tuple[str, ...] = ("Ġ t", "1 2")) -> None:
    """The tiny llama as llama.cpp keeps it, in float32; names and rotary layout as its own converter writes them."""
    names = {
        "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    }  # fmt: skip
    tokenizer = Tokenizer.open(tiny)
    vocabulary = [tokenizer._marked.id_to_token(i) for i in range(tokenizer.size)]
    # Two bytes that no UTF-8 text holds give their places to what the merges make.
    vocabulary[vocabulary.index("þ")], vocabulary[vocabulary.index("ÿ")] = "Ġt", "12"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(2)
    writer.add_context_length(256)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(16)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3] * 3 + [1] * (len(vocabulary) - 3))
    writer.add_token_merges(list(merges))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, array in load_file(tiny / "model.safetensors").items():
        if name == "model.embed_tokens.weight":
            target = "token_embd.weight"
        elif name == "model.norm.weight":
            target = "output_norm.weight"
        else:
            _, _, layer, rest = name.split(".", 3)
            target = f"blk.{layer}.{names[rest.removesuffix('.weight')]}.weight"
        if "q_proj" in name or "k_proj" in name:
            heads = 4 if "q_proj" in name else 2
            rows, columns = array.shape
            array = array.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
        writer.add_tensor(target, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def file(tiny: Path, tmp_path: Path) -> Path:
    write_gguf(tmp_path / "tiny.gguf", tiny)
    return tmp_path / "tiny.gguf"


def converted(path: Path, home: Home) -> Path:
    stream = base.convert(path, home=home)
    while True:
        try:
            next(stream)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def test_a_converted_gguf_computes_what_it_was_made_from(file: Path, tiny: Path, tmp_path: Path) -> None:
    folder = converted(file, Home(tmp_path, tmp_path / "cache"))
    before, after = load_file(tiny / "model.safetensors"), load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    ids = torch.tensor([[5, 77, 200, 31, 9]])
    with torch.no_grad():
        assert torch.equal(load(folder)(ids).logits, load(tiny)(ids).logits)


def test_a_base_is_converted_once(file: Path, tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "cache")
    folder = converted(file, home)
    assert folder.parent == home.models
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert converted(file, home) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == made


def test_the_tokenizer_of_a_gguf_splits_digits_merges_and_keeps_markers(file: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.open(converted(file, Home(tmp_path, tmp_path / "cache")))
    letters = {token: tokenizer.id(token) for token in "abt12"}
    assert tokenizer.encode("12", special=False) == [letters["1"], letters["2"]], "each digit alone: no merge across"
    assert tokenizer.decode(tokenizer.encode(" t", special=False)) == " t"
    assert len(tokenizer.encode(" t", special=False)) == 1
    assert tokenizer.encode("<|im_end|>", special=True) == [2]
    plain = tokenizer.encode("<|im_end|>", special=False)
    assert len(plain) == 10 and tokenizer.decode(plain) == "<|im_end|>", "a person's words are never a marker"
    mixed = [Segment("<|im_start|>", True), Segment("a<|im_end|>b", False), Segment("<|im_end|>", True)]
    ids = tokenizer.encode_segments(mixed)
    assert (ids[0], ids[-1], ids.count(1), ids.count(2)) == (1, 2, 1, 1)
    assert tokenizer.decode(ids) == "a<|im_end|>b" and tokenizer.count(mixed) == len(ids)
    words = "Ünï cödé 漢字 12\n\tthe end"
    assert tokenizer.decode(tokenizer.encode(words, special=False)) == words


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_a_gguf_of_our_own_comes_back_as_what_it_was_written_from(kind: str, tmp_path: Path) -> None:
    folder = tiny.speakable(tiny.write(tmp_path / kind, kind=kind))
    state, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text("utf-8"))
    file = tmp_path / "own.gguf"
    gguf_file.write_model(state, config, folder / "tokenizer.json", file, layout="F32")
    got = converted(file, Home(tmp_path, tmp_path / "cache"))
    back = load_file(got / "model.safetensors")
    assert state.keys() == back.keys() and all(np.array_equal(state[name], back[name]) for name in state)
    ids = torch.tensor([[5, 77, 200, 31, 9]])
    with torch.no_grad():
        assert torch.equal(load(got)(ids).logits, load(folder)(ids).logits)


def test_what_a_plain_reading_would_get_wrong_is_not_read_plainly(file: Path, tmp_path: Path) -> None:
    """Other positions by a tensor, heads that turn in part, half of the biases: no file of ours, and none of these."""
    whole = read_header(file)
    gguf_file.read_config(whole)
    tensors, half = dict(whole.tensors), np.ones(8, np.float32).view(np.uint8)
    one = Tensor("rope_freqs.weight", "F32", (8,), half)
    odd = {
        "'rope_freqs.weight' .* has no place": replace(whole, tensors=tensors | {one.name: one}),
        "biases at some of": replace(whole, tensors=tensors | {"blk.0.attn_q.bias": one}),
        "'model.norm.weight' is missing": replace(
            whole, tensors={name: tensor for name, tensor in tensors.items() if name != "output_norm.weight"}
        ),
        "turns 8 of the 16": replace(whole, values={**whole.values, "llama.rope.dimension_count": Value(4, 8)}),
        "layer_norm_rms_epsilon": replace(
            whole, values={name: value for name, value in whole.values.items() if not name.endswith("epsilon")}
        ),
    }
    for why, other in odd.items():
        with pytest.raises(InputError, match=why):
            gguf_file.read_config(other)
    factor = replace(whole, values={**whole.values, "llama.rope.scaling.factor": Value(6, 4.0)})
    assert gguf_file.read_config(factor)["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}


def test_a_base_that_holds_infinities_is_refused(file: Path) -> None:
    whole, infinite = read_header(file), np.full(64, np.inf, np.float32).view(np.uint8)
    odd = replace(whole.tensors["output_norm.weight"], data=infinite)
    with pytest.raises(InputError, match="'output_norm.weight' of tiny.gguf holds infinities"):
        list(gguf_file.read_state(replace(whole, tensors={**whole.tensors, odd.name: odd})))


def test_a_truncated_gguf_leaves_nothing_behind(file: Path, tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "cache")
    whole = file.read_bytes()
    for cut in (20, 1000, len(whole) - 5000, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="is no GGUF file|cut short"):
            converted(file, home)
    assert not home.models.exists() or not list(home.models.iterdir())


def test_merges_of_unknown_tokens_are_said(tiny: Path, tmp_path: Path) -> None:
    write_gguf(tmp_path / "odd.gguf", tiny, merges=("x y",))
    with pytest.raises(InputError, match="cannot be converted .*xy"):
        converted(tmp_path / "odd.gguf", Home(tmp_path, tmp_path / "cache"))


def test_what_is_no_model_is_refused_with_what_is_wanted(tiny: Path, tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "cache")
    assert converted(tiny, home) == tiny, "a folder that is ready is taken as it is"
    with pytest.raises(InputError, match="does not exist"):
        converted(tmp_path / "absent.gguf", home)
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(InputError, match="is no GGUF file"):
        converted(tmp_path / "text.gguf", home)
    pickle = tmp_path / "pickled"
    pickle.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (pickle / name).write_text("{}")
    (pickle / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match=r"pytorch_model.bin, a pickle, which is never read"):
        converted(pickle, home)


def test_a_file_that_is_no_tokenizer_is_said(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("[1, 2")
    with pytest.raises(InputError, match="this is no tokenizer.json"):
        Tokenizer.open(tmp_path)
    with pytest.raises(InputError, match="has no tokenizer.json"):
        Tokenizer.open(tmp_path / "absent")


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_positions_are_right_even_where_the_library_leaves_their_memory_as_it_was(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedModel

    folder = tiny.write(tmp_path / kind, kind=kind)
    right = {name: value.clone() for name, value in load(folder).named_buffers()}
    assert any(name.endswith("inv_freq") for name in right)
    monkeypatch.setattr(PreTrainedModel, "initialize_weights", lambda self: None)
    keep = [torch.full((8,), 1e9) for _ in range(64)]  # what new memory will hold
    del keep
    for name, value in load(folder).named_buffers():
        assert torch.equal(value, right[name])
        assert value.flatten()[0] == 1.0 and torch.isfinite(value).all()
