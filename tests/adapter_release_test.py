"""Promises of a release that is an adapter over a shared base: a tiny LoRA walk, served, judged and damaged."""

import asyncio
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import OVER_PAIRS, nonsense, write_pairs

from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.generation import Prompt
from spearhead.core.template import Segment
from spearhead.engine import loaded as engines
from spearhead.metrics import perplexity
from spearhead.models.pretrained import tiny
from spearhead.nn import gguf_file
from spearhead.pipeline import judge, once, road, trust, weights
from spearhead.pipeline.elsewhere import elsewhere
from spearhead.pipeline.likelihood import Served
from spearhead.pipeline.outcome import Outcome
from spearhead.pipeline.show import drive
from spearhead.runtimes.batch import streamed
from spearhead.scenario import read
from spearhead.store import releases
from spearhead.store.home import Home

SCENARIO = (
    """
[scenario]
name = "over"
title = "Over"
languages = ["en"]
[data]
validation = 0.1
test = 0.1
[model]
family = "pretrained"
method = "rslora"
rank = 4
[model.base]
path = "base"
licence = "CC0-1.0"
credit = "a random model"
[template]
style = "plain"
after = ">"
[training]
steps = 40
batch = 16
learning_rate = 1e-2
precision = "fp32"
validate_every = 20
track = []
[generation]
max_tokens = 8
context = 256
[evaluation]
metrics = ["chrf"]
baselines = ["copy"]
cases = 8
draws = 100
perplexity_cases = 2
noise_cases = 0
extraction_cases = 0
[[bars]]
metric = "chrf"
minimum = 0.0
cases = 8
[release]
form = "adapter"
layouts = ["Q8_0"]
most_loss = 1.0
[review]
checks = ["terms"]
rules = [{ category = "*", direction = "prompt", block = 0.9 }, { category = "*", direction = "output", hold = 0.5 }]
"""
    + OVER_PAIRS
)
WORDS = ["bcd fgh", "klmn", "w", "prst vw"]


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_pairs(tmp_path_factory.mktemp("adapter") / "over", SCENARIO, nonsense(200))
    tiny.write(folder / "base")
    # llama.cpp wants a tokenizer that merges something: the byte that no text has makes room for one merge.
    words = json.loads((folder / "base" / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = words["model"]["vocab"]
    vocabulary["th"] = vocabulary.pop("\u0143")
    words["model"]["merges"] = [["t", "h"]]
    (folder / "base" / "tokenizer.json").write_text(json.dumps(words), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def outcome(scenario: Path, home: Home) -> Outcome:
    return drive(road.walk(read.load(scenario), home=home, until="report"), quiet=True)


def released(outcome: Outcome) -> releases.Release:
    assert outcome.release is not None, outcome.lines()
    return releases.read(outcome.release)


def answers(model: Path, tokenizer: Path, *, adapter: Path | None = None) -> list[str]:
    options = {"temperature": 0.0, "max_tokens": 12}
    prompts = [Prompt((Segment(f"{words}>", False),), options=options) for words in WORDS]
    found = streamed(judge.llamacpp(model, tokenizer, 256, adapter=adapter), prompts)
    return [answer.text for answer in sorted(found, key=lambda answer: answer.prompt)]


def likelihood(scenario: Path, outcome: Outcome, release: releases.Release, *, adapter: bool) -> dict[str, float]:
    """Perplexity and bits per byte of the release's files on the held-out cases that were judged."""
    assert outcome.judged is not None
    files = Served(release.file("model"), release.file("tokenizer"), release.adapter if adapter else None)
    found = judge.likelihoods_served(read.load(scenario).scenario, outcome.judged.cases[:2], files, note="")
    scores = perplexity.likelihood_scores(drive(found, quiet=True), seed=0, draws=100)
    return {score.name: score.value for score in scores}


def test_the_release_is_a_base_and_an_adapter_with_its_speed_beside_the_merged(outcome: Outcome, home: Home) -> None:
    release = released(outcome)
    assert trust.verify(home, release.folder).exit_code == 0
    assert release.file("adapter").stat().st_size < release.file("model").stat().st_size / 2
    rows = {row.name: row for row in release.manifest.layouts}
    assert {name: row.chosen for name, row in rows.items()} == {"Q8_0 merged": False, "Q8_0 + adapter": True}
    assert all(row.tokens_per_second > 0 for row in rows.values())
    assert rows["Q8_0 + adapter"].bytes == sum(release.file(role).stat().st_size for role in ("model", "adapter"))
    assert outcome.report is not None
    page = outcome.report.read_text(encoding="utf-8")
    assert "Q8_0 merged" in page and "Q8_0 + adapter: " in page and " tokens/s at 16 clients and " in page
    made = next(step for step in outcome.steps if step.name == "weights")
    assert set(made.result["alone"]) == set(rows)
    assert made.result["fidelity"]["largest"] < 0.15


def test_the_base_is_the_bare_base_and_the_same_for_every_adapter(
    outcome: Outcome, scenario: Path, tmp_path: Path
) -> None:
    release = released(outcome)
    state, config = weights.load(scenario / "base")
    gguf_file.write_model(state, config, scenario / "base" / "tokenizer.json", tmp_path / "F16.gguf", layout="F16")
    list(gguf_file.requantise(tmp_path / "F16.gguf", tmp_path / "Q8_0.gguf", "Q8_0"))
    assert release.file("model").read_bytes() == (tmp_path / "Q8_0.gguf").read_bytes()


def test_base_and_adapter_answer_what_the_merged_model_answers(
    outcome: Outcome, scenario: Path, tmp_path: Path
) -> None:
    trained = next(step for step in outcome.steps if step.name == "train").folder
    tokenizer = scenario / "base" / "tokenizer.json"
    files = {}
    for name, folder in (("merged", trained / "merged"), ("base", scenario / "base")):
        state, config = weights.load(folder)
        files[name] = tmp_path / f"{name}.gguf"
        gguf_file.write_model(state, config, tokenizer, files[name], layout="F16")
    merged = answers(files["merged"], tokenizer)
    assert answers(files["base"], tokenizer, adapter=released(outcome).file("adapter")) == merged
    assert answers(files["base"], tokenizer) != merged, "the adapter does nothing"


def test_it_is_judged_again_and_answers_without_a_server_through_its_adapter(
    outcome: Outcome, scenario: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    told = drive(elsewhere(read.load(scenario), home=home, release="over@1", endpoint=""), quiet=True)
    assert outcome.judged is not None
    before = {score.name: score.value for score in outcome.judged.scores}
    after = {score["name"]: score for score in told.values["scores"]}
    assert after["chrf"]["value"] == pytest.approx(before["chrf"])
    bare = likelihood(scenario, outcome, released(outcome), adapter=False)
    for name in ("perplexity", "bits_per_byte"):  # of float32 weights then, of eight bits and the adapter now
        assert after[name]["value"] == pytest.approx(before[name], rel=0.01), name
        assert bare[name] > 1.1 * after[name]["value"], "without its adapter the base knows nothing of this"
        assert "as served" in after[name]["signature"]
    release = released(outcome)
    assert once.generate(home, "over", "bcd fgh", out=None, seed=1, as_json=True) == 0
    said = json.loads(capsys.readouterr().out)["text"]
    both = answers(release.file("model"), release.file("tokenizer"), adapter=release.file("adapter"))
    assert both[0].startswith(said.strip()) and said.strip()


@pytest.mark.parametrize(
    ("damage", "named"),
    [("missing", "adapter.gguf cannot be read"), ("cut", "adapter.gguf has 11328 bytes and should")],
)
def test_a_release_without_its_whole_adapter_is_refused_in_one_line(outcome: Outcome, damage: str, named: str) -> None:
    release = released(outcome)
    adapter = release.file("adapter")
    whole = adapter.read_bytes()
    try:
        adapter.unlink()
        if damage == "cut":
            adapter.write_bytes(whole[: len(whole) * 2 // 3])
        with pytest.raises(InputError, match=named) as caught:
            asyncio.run(engines.load(release, room=engines.Room(threads=1)))
        assert "\n" not in str(caught.value)
    finally:
        adapter.write_bytes(whole)


def test_the_pairs_and_their_scale_make_what_peft_merged(outcome: Outcome, scenario: Path, tmp_path: Path) -> None:
    trained = next(step for step in outcome.steps if step.name == "train").folder
    pairs, scale = weights.learnt(trained / "adapter")
    assert len(pairs) == 14 and scale == 32 / 2  # rsLoRA: alpha 32 over the root of rank 4
    merged, bare = weights.load(trained / "merged")[0], weights.load(scenario / "base")[0]
    for module, (a, b) in pairs.items():
        change = merged[f"{module}.weight"] - bare[f"{module}.weight"]
        np.testing.assert_allclose(scale * (b @ a), change, atol=1e-5)
    other = tmp_path / "other"
    shutil.copytree(trained / "adapter", other)
    config = json.loads((other / "adapter_config.json").read_text(encoding="utf-8"))
    (other / "adapter_config.json").write_text(json.dumps(config | {"use_rslora": False}), encoding="utf-8")
    assert weights.learnt(other)[1] == 32 / 4
    (other / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}), encoding="utf-8")
    with pytest.raises(InputError, match="more than low-rank pairs: set release.form to 'merged'"):
        weights.learnt(other)
    (other / "adapter_model.safetensors").write_bytes(b"short")
    with pytest.raises(InputError, match="cannot be read"):
        weights.learnt(other)


def test_an_adapter_that_does_not_say_what_was_trained_is_not_released(
    outcome: Outcome, scenario: Path, tmp_path: Path
) -> None:
    trained = next(step for step in outcome.steps if step.name == "train").folder
    other = tmp_path / "adapter"
    shutil.copytree(trained / "adapter", other)
    config = json.loads((other / "adapter_config.json").read_text(encoding="utf-8"))
    (other / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 8}), encoding="utf-8")
    with pytest.raises(SpearheadError, match="the F16 export does not say what the trained model says"):
        drive(
            weights.make(
                read.load(scenario),
                merged=trained / "merged",
                base=None,
                probe=trained / "probe.npz",
                train=(),
                validation=(),
                folder=tmp_path / "out",
                over=weights.Over(other, scenario / "base"),
            ),
            quiet=True,
        )
