"""Tuning in four bits: the file says what was tuned, number for number, and is never worse than what was calibrated."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from spearhead.core.errors import InputError
from spearhead.core.generation import Progress
from spearhead.models.pretrained import tiny
from spearhead.models.pretrained.batch import Example
from spearhead.models.pretrained.build import load
from spearhead.nn import gguf_file, weight_layouts
from spearhead.nn.gguf_header import read_header
from spearhead.training import tuning

T = TypeVar("T")


def drained(steps: Generator[Progress, None, T], *, until: int = 0) -> T | None:
    """What a generator gives; None: closed at the `until`th time that it told of a step."""
    seen = 0
    while True:
        try:
            told = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        seen += told.note.startswith("divergence")
        if until and seen == until:
            steps.close()
            return None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A llama with something to say, as trained and as a file of Q4_0."""
    folder = tmp_path_factory.mktemp("tuning")
    merged = tiny.speakable(tiny.write(folder / "merged"))
    network = load(merged)
    with torch.no_grad():
        for p in network.parameters():
            if p.ndim == 2:
                p.mul_(8)
    network.save_pretrained(merged)
    state = load_file(merged / "model.safetensors")
    config = json.loads((merged / "config.json").read_text(encoding="utf-8"))
    gguf_file.write_model(state, config, merged / "tokenizer.json", folder / "fair.gguf", layout="Q4_0")
    # a matrix that was rounded badly, so that there are codes to be put right
    name = "model.layers.1.mlp.down_proj.weight"
    coded = gguf_file.read_coded(read_header(folder / "fair.gguf"), "Q4_0")[name]
    scale, codes = weight_layouts.unpack(coded)
    np.testing.assert_array_equal(weight_layouts.pack(scale.reshape(-1, 1), codes.reshape(-1, 32), bits=4),
                                  coded.reshape(-1, 18))  # fmt: skip
    bad = weight_layouts.pack(scale.reshape(-1, 1), (codes * 0.5).round().reshape(-1, 32), bits=4)
    drained(gguf_file.revise(folder / "fair.gguf", folder / "q4.gguf", {name: bad.reshape(coded.shape)}))
    return merged, folder / "q4.gguf"


def texts(merged: Path, seed: int, count: int) -> list[Example]:
    """What the model itself says after four tokens, 20 of it."""
    torch.manual_seed(seed)
    given = torch.randint(3, 250, (count, 4))
    made = load(merged).generate(
        given,
        attention_mask=torch.ones_like(given),
        do_sample=True,
        top_k=0,
        min_new_tokens=20,
        max_new_tokens=20,
    )
    return [Example(tuple(row), 4) for row in made.tolist()]


def tuned(made: tuple[Path, Path], folder: Path, *, until: int = 0, **more: Any) -> Any:
    merged, rounded = made
    given = {"learn": texts(merged, 1, 320), "held": texts(merged, 2, 16), "steps": 60, "seed": 3, **more}
    return drained(tuning.tune(merged, rounded, folder=folder, **given), until=until)


def says(merged: Path, file: Path) -> Any:
    """Log-probabilities of a model with the numbers of a file."""
    network = load(merged).eval()
    state = drained(gguf_file.read_state(read_header(file)))
    assert state is not None
    network.load_state_dict({name: torch.from_numpy(values) for name, values in state.items()}, strict=False)
    with torch.no_grad():
        return (
            network(input_ids=torch.tensor([one.ids for one in texts(merged, 2, 16)])).logits[:, 3:-1].log_softmax(-1)
        )


def test_what_is_tuned_loses_less_and_is_what_the_file_says(made: tuple[Path, Path], tmp_path: Path) -> None:
    merged, rounded = made
    before = rounded.read_bytes()
    found = tuned(made, tmp_path / "run")
    assert found.better and found.after < found.before and 0 < found.changed < 0.5
    assert (found.steps, found.tokens) == (60, 16 * 20)
    out = tmp_path / "tuned.gguf"
    drained(gguf_file.revise(rounded, out, found.tensors))
    again = gguf_file.read_coded(read_header(out), "Q4_0")
    assert len(again) == 14
    for name, coded in again.items():
        np.testing.assert_array_equal(coded, found.tensors[name])
    # what validation measured is what the file loses, and nothing but matrices and vectors has changed
    ids = torch.tensor([one.ids for one in texts(merged, 2, 16)])
    wanted = ids[:, 4:].unsqueeze(-1)
    with torch.no_grad():
        most = load(merged).eval()(input_ids=ids).logits[:, 3:-1].log_softmax(-1)
    for file, lost in ((rounded, found.before), (out, found.after)):
        assert float((most - says(merged, file)).gather(-1, wanted).mean()) == pytest.approx(lost, abs=2e-5)
    old, new = read_header(rounded).tensors, read_header(out).tensors
    np.testing.assert_array_equal(old["token_embd.weight"].data, new["token_embd.weight"].data)
    assert rounded.read_bytes() == before


def test_the_same_seed_gives_the_same_bits_also_when_it_was_broken_off(made: tuple[Path, Path], tmp_path: Path) -> None:
    whole = tuned(made, tmp_path / "whole")
    assert tuned(made, tmp_path / "cut", until=7) is None
    again = tuned(made, tmp_path / "cut")
    other = tuned(made, tmp_path / "other", seed=4)
    assert whole.told() == again.told()
    assert all(np.array_equal(values, again.tensors[name]) for name, values in whole.tensors.items())
    assert not all(np.array_equal(values, other.tensors[name]) for name, values in whole.tensors.items())


def test_what_is_no_better_is_not_taken(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "RATE", 30.0)  # codes jump about
    found = tuned(made, tmp_path / "run")
    assert found.divergence[1] > found.divergence[0] and not found.better and found.tensors == {}
    assert found.told()["better"] is False


def test_nothing_to_learn_from_is_said(made: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"release\.tune: there is no text to learn from, or none to validate on"):
        tuned(made, tmp_path, held=[])
