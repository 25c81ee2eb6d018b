"""Layouts and fidelity, measured on a tiny model that llama.cpp really runs."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from spearhead.core.errors import BarMissed, InputError, SpearheadError
from spearhead.core.generation import Progress, Prompt
from spearhead.core.template import Segment
from spearhead.nn import gguf_adapter, gguf_file
from spearhead.nn.gguf_header import Array, read_header
from spearhead.release import calibration, fidelity, quantise
from spearhead.runtimes.conftest import needs_openvino
from spearhead.runtimes.llamacpp.engines import OPENVINO, WISH

VOCAB, WIDTH = 320, 64
T = TypeVar("T")


def run(steps: Generator[Progress, None, T]) -> tuple[list[Progress], T]:
    """A generator's progress and what it returned."""
    seen: list[Progress] = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return seen, end.value


def state_of(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The weights of a file as `transformers` names them, and their config.json."""
    file = read_header(path)
    return run(gguf_file.read_state(file))[1], gguf_file.read_config(file)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A random llama in F32 and its tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("tiny")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "th"]
    tokenizer = Tokenizer(models.BPE({word: n for n, word in enumerate(words)}, [("t", "h")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(words[:3])
    tokenizer.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = dict(
        model_type="llama",
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    generator = np.random.default_rng(0)
    shapes = {"q": (64, 64), "k": (32, 64), "v": (32, 64), "o": (64, 64)}
    state = {"model.embed_tokens.weight": (len(words), WIDTH), "model.norm.weight": (WIDTH,)}
    for layer in range(2):
        state |= {f"model.layers.{layer}.self_attn.{name}_proj.weight": shape for name, shape in shapes.items()}
        state |= {f"model.layers.{layer}.mlp.{name}_proj.weight": (96, 64) for name in ("gate", "up")}
        state[f"model.layers.{layer}.mlp.down_proj.weight"] = (64, 96)
        state |= {f"model.layers.{layer}.{name}_layernorm.weight": (64,) for name in ("input", "post_attention")}
    arrays = {name: generator.normal(0, 0.3, shape).astype(np.float32) for name, shape in state.items()}
    gguf_file.write_model(arrays, config, folder / "tokenizer.json", folder / "model.gguf", layout="F32")
    return folder / "model.gguf", folder / "tokenizer.json"


def prompts() -> list[Prompt]:
    return [Prompt((Segment(f"number {n}", False),), options={"max_tokens": 8, "temperature": 0.0}) for n in range(3)]


PAIRS = [quantise.Pair([5 + n, 90, 17], [200, 33 + n, 4, 60]) for n in range(6)]


def test_the_fastest_layout_within_the_bound_is_chosen(tiny: tuple[Path, Path], tmp_path: Path) -> None:
    model, tokenizer = tiny
    steps, found = run(
        quantise.choose(
            model,
            tokenizer,
            tmp_path,
            layouts=["Q8_0", "Q4_0"],
            pairs=PAIRS,
            prompts=prompts(),
            most_loss=9.0,
            threads=1,
        )
    )
    rows = {row.name: row for row in found.layouts}
    assert list(rows) == ["Q8_0", "Q4_0"]
    best = max(found.layouts, key=lambda row: row.tokens_per_second)
    assert [row.chosen for row in found.layouts] == [row is best for row in found.layouts]
    assert found.path == tmp_path / f"{best.name}.gguf"
    assert abs(rows["Q8_0"].nats_per_token) < abs(rows["Q4_0"].nats_per_token)
    assert rows["Q4_0"].bytes == (tmp_path / "Q4_0.gguf").stat().st_size < rows["Q8_0"].bytes
    assert all(rate > 0 for rate in found.alone.values())
    assert {step.stage for step in steps} == {"quantise", "loss of quality", "speed"}


def test_when_every_layout_loses_too_much_nothing_is_released(tiny: tuple[Path, Path], tmp_path: Path) -> None:
    model, tokenizer = tiny
    with pytest.raises(BarMissed, match=r"every layout loses more than -9 nats per token: Q4_0 "):
        run(
            quantise.choose(
                model,
                tokenizer,
                tmp_path,
                layouts=["Q4_0"],
                pairs=PAIRS[:1],
                prompts=prompts(),
                most_loss=-9.0,
                threads=1,
            )
        )
    with pytest.raises(InputError, match="'Q3_9' is unknown"):
        run(
            quantise.choose(model, tokenizer, tmp_path, layouts=["Q3_9"], pairs=PAIRS, prompts=prompts(), most_loss=1.0)
        )


def test_an_adapter_is_measured_over_every_layout_of_its_base_and_the_merged_file_only_beside_it(
    tiny: tuple[Path, Path], tmp_path: Path
) -> None:
    model, tokenizer = tiny
    state, config = state_of(model)
    generator = np.random.default_rng(3)
    name = "model.layers.1.mlp.up_proj"
    a, b = (generator.normal(0, 0.3, shape).astype(np.float32) for shape in ((2, 64), (96, 2)))
    over = quantise.Over(tmp_path / "adapter.gguf", tmp_path / "merged.gguf")
    gguf_adapter.write_adapter({name: (a, b)}, config, over.adapter, scale=2.0)
    merged = state | {f"{name}.weight": state[f"{name}.weight"] + np.float32(2.0) * (b @ a)}
    gguf_file.write_model(merged, config, tokenizer, over.merged, base=model, layout="F16")

    def chosen(most_loss: float, *layouts: str) -> quantise.Choice:
        return run(
            quantise.choose(
                model,
                tokenizer,
                tmp_path,
                layouts=layouts,
                pairs=PAIRS[:2],
                prompts=prompts(),
                most_loss=most_loss,
                over=over,
                threads=1,
            )
        )[1]

    found = chosen(9.0, "F16", "Q8_0")
    rows = {row.name: row for row in found.layouts}
    assert list(rows) == ["F16 merged", "F16 + adapter", "Q8_0 merged", "Q8_0 + adapter"] == list(found.alone)
    (best,) = (row for row in found.layouts if row.chosen)
    assert best == max((rows["F16 + adapter"], rows["Q8_0 + adapter"]), key=lambda row: row.tokens_per_second)
    assert found.path == tmp_path / f"{best.name.partition(' ')[0]}.gguf"
    # the same numbers in two forms; without the adapter the two would be as far apart as base and merged model are
    assert found.nats["F16 merged"] == pytest.approx(found.nats["F16 + adapter"], abs=0.01)
    _, bare = run(
        quantise.choose(
            model, tokenizer, tmp_path, layouts=["F16"], pairs=PAIRS[:2], prompts=prompts(), most_loss=9.0, threads=1
        )
    )
    assert abs(bare.nats["F16"] - found.nats["F16 merged"]) > 0.1
    with pytest.raises(BarMissed, match=r"more than -9 nats per token: F16 \+ adapter -?[0-9.]+; allow a wider"):
        chosen(-9.0, "F16")


def reference(model: Path, prefixes: list[list[int]]) -> np.ndarray[Any, Any]:
    """The model's own words by transformers."""
    import torch
    import transformers

    state, config = state_of(model)
    kind = config.pop("model_type")
    assert kind == "llama"
    network = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()}, strict=False)
    with torch.no_grad():
        rows = [network(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1).numpy() for ids in prefixes]
    return np.stack(rows)


def test_an_export_says_what_the_trained_model_says_and_a_wrong_one_is_refused(
    tiny: tuple[Path, Path], tmp_path: Path
) -> None:
    model, tokenizer = tiny
    prefixes = [[5, 90, 17, 200], [33], [60, 61, 62, 63, 64, 65, 66, 67]]
    wanted = reference(model, prefixes)
    good = fidelity.compare(wanted, run(fidelity.exported(model, tokenizer, prefixes, threads=1))[1])
    fidelity.require(good, layout="F32")
    assert good.agreement == 1.0
    assert good.largest < 0.02
    state, config = state_of(model)
    name = "model.layers.0.self_attn.q_proj.weight"  # as if the rows had not been put in llama.cpp's order
    from spearhead.nn import gguf_names

    state[name] = gguf_names.interleave(state[name], heads=4)
    state[name.replace("q_proj", "k_proj")] = gguf_names.separate(state[name.replace("q_proj", "k_proj")], heads=2)
    broken = tmp_path / "broken.gguf"
    gguf_file.write_model(state, config, tokenizer, broken, base=model, layout="F16")
    bad = fidelity.compare(wanted, run(fidelity.exported(broken, tokenizer, prefixes, threads=1))[1])
    with pytest.raises(SpearheadError, match="does not say what the trained model says: largest difference"):
        fidelity.require(bad, layout="F16")


@needs_openvino
def test_an_export_is_compared_without_the_rounding_of_the_served_cache(
    tiny: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = tiny
    monkeypatch.setenv(WISH, OPENVINO.name)  # which keeps keys and values in eight bits when it serves
    prefixes = [[int(token) for token in np.random.default_rng(n).integers(3, 250, 40)] for n in range(4)]
    wanted = reference(model, prefixes)
    found = fidelity.compare(wanted, run(fidelity.exported(model, tokenizer, prefixes, threads=1))[1])
    assert found.mean < 0.001


def test_differences_are_what_a_hand_would_reckon() -> None:
    a = np.log([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
    b = np.log([[0.4, 0.4, 0.2], [0.1, 0.1, 0.8]])
    found = fidelity.compare(a, b)
    assert found.largest == pytest.approx(np.log(8))
    assert found.mean == pytest.approx((np.log(1.25) + np.log(4 / 3) + 2 * np.log(8)) / 6)
    kl = (0.5 * np.log(1.25) + 0.3 * np.log(0.75) + 0.8 * np.log(8) + 0.1 * np.log(1 / 8)) / 2
    assert found.divergence == pytest.approx(kl)
    assert found.agreement == 0.5
    with pytest.raises(InputError, match="not the same positions"):
        fidelity.compare(a, b[:1])
    with pytest.raises(InputError, match="NaN"):
        fidelity.compare(a, b * np.nan)
    assert json.dumps(str(found)).startswith('"2 positions')


def test_the_moments_are_those_of_what_each_layer_reads(tiny: tuple[Path, Path], tmp_path: Path) -> None:
    import torch
    import transformers

    model, _ = tiny
    state, config = state_of(model)
    config.pop("model_type")
    network = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config))
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()}, strict=False)
    network.save_pretrained(tmp_path / "merged")
    texts = [[5, 90, 17, 200], [33, 34]]
    _, found = run(calibration.moments(tmp_path / "merged", texts))
    assert len(found) == 14
    read = state["model.embed_tokens.weight"][[id for text in texts for id in text]]
    read = read / np.sqrt(np.square(read).mean(axis=1, keepdims=True) + 1e-5)
    read = read * state["model.layers.0.input_layernorm.weight"]
    first = found["model.layers.0.self_attn.q_proj"]
    np.testing.assert_allclose(first, read.T @ read / 6, atol=1e-5)
    assert first is found["model.layers.0.self_attn.v_proj"]
    assert found["model.layers.0.mlp.gate_proj"] is not first
    assert found["model.layers.1.mlp.down_proj"].shape == (96, 96)
    plain, ours = tmp_path / "plain.gguf", tmp_path / "ours.gguf"
    list(gguf_file.requantise(model, plain, "Q4_0"))
    list(gguf_file.requantise(model, ours, "Q4_0", moments=found))
    one, other = state_of(plain)[0], state_of(ours)[0]
    for name, seen in (("model.layers.0.self_attn.q_proj", first), ("model.layers.0.mlp.up_proj", None)):
        inputs = found[name] if seen is None else seen
        change, plainly = (
            other[f"{name}.weight"] - state[f"{name}.weight"],
            one[f"{name}.weight"] - state[f"{name}.weight"],
        )
        assert np.einsum("ij,jk,ik->", change, inputs, change) < np.einsum("ij,jk,ik->", plainly, inputs, plainly)
    with pytest.raises(InputError, match="no texts"):
        run(calibration.moments(tmp_path / "merged", [[]]))
