"""Promises of the step that judges: what it leaves out it leaves out for everyone, and says so."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import write_pairs
from tests.road_test import SCENARIO

from spearhead.core.media import text
from spearhead.core.score import Case
from spearhead.core.sentence import say
from spearhead.media.text.tokens import Tokenizer
from spearhead.metrics import memorisation
from spearhead.models.pretrained import build, tiny
from spearhead.models.pretrained.batch import Example
from spearhead.models.pretrained.config import Base, Config
from spearhead.models.pretrained.network import Tuned
from spearhead.nn.gguf_header import read_header
from spearhead.pipeline import judge, road, texts, weights
from spearhead.pipeline.likelihood import Served
from spearhead.pipeline.outcome import Outcome
from spearhead.pipeline.show import drive
from spearhead.scenario import read
from spearhead.store.home import Home

ROWS = [f"{first}{second} {third}" for first in "bcdfg" for second in "hklmn" for third in "prst"]


@pytest.fixture(scope="module")
def nod(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario over a hundred pairs, and a random model over bytes."""
    folder = write_pairs(tmp_path_factory.mktemp("judged") / "nod", SCENARIO, ROWS)
    tiny.speakable(tiny.write(folder / "base"))
    return folder


@pytest.fixture(scope="module")
def outcome(nod: Path, home: Home) -> Outcome:
    return drive(road.walk(read.load(nod), home=home, until="data"), quiet=True)


def judged(nod: Path, home: Home, outcome: Outcome, cases: list[Case], folder: Path, *changes: str) -> judge.Judged:
    scenario = read.load(nod, changes=changes).scenario
    walk: Any = judge.judge(
        scenario,
        outcome.dataset,
        home=home,
        ours=cases,
        base=None,
        start=None,
        folder=folder,
        copies=judge.index(outcome.dataset),
        networks={"ours": nod / "base", "base": nod / "base"},
    )
    found: judge.Judged = drive(walk, quiet=True)
    return found


def test_a_reference_too_long_for_its_likelihood_is_left_out_for_every_model_and_counted(
    nod: Path, home: Home, outcome: Outcome, tmp_path: Path
) -> None:
    short = [Case(text(f"bc d{number}"), text("yes"), text("yes")) for number in range(3)]
    long = Case(text("bc d"), text("yes"), text("yes " * 400))
    found = judged(nod, home, outcome, [short[0], long, *short[1:]], tmp_path)
    (bits,) = (score for score in found.scores if score.name == "bits_per_byte")
    assert bits.baselines.keys() == {"base", "ngram"} and bits.baselines["base"] == pytest.approx(bits.value)
    assert "up to 1024 tokens, 1 longer left out" in bits.signature and "|cases:3|" in bits.signature
    alone = judged(nod, home, outcome, short, tmp_path)
    (without,) = (score for score in alone.scores if score.name == "bits_per_byte")
    assert without.value == pytest.approx(bits.value) and "left out" not in without.signature


@pytest.mark.parametrize(("most", "cases"), [(1024, 2), (1700, 3), (64, 2)])
def test_the_likelihood_is_of_what_is_as_long_as_what_is_learnt(
    nod: Path, home: Home, outcome: Outcome, tmp_path: Path, most: int, cases: int
) -> None:
    short = [Case(text(f"bc d{number}"), text("yes"), text("yes")) for number in range(2)]
    long = Case(text("bc d"), text("yes"), text("yes " * 400))  # 1,607 tokens
    found = judged(nod, home, outcome, [*short, long], tmp_path, f"model.longest={most}")
    (bits,) = (score for score in found.scores if score.name == "bits_per_byte")
    left_out = ", 1 longer left out" if cases == 2 else ""
    assert f"stop marker only, up to {most} tokens{left_out}, float32" in bits.signature
    assert f"|cases:{cases}|" in bits.signature


@pytest.mark.parametrize("kind", ["llama", "qwen3", "granite"])
def test_scoring_holds_the_logits_of_few_tokens_and_gives_the_numbers_of_all_at_once(kind: str, tmp_path: Path) -> None:
    config = Config(base=Base(licence="", credit=""), method="none")
    model = Tuned(build.load(tiny.write(tmp_path / kind, kind=kind)), config, fast=False)
    rng = np.random.default_rng(0)
    examples = [Example(tuple(rng.integers(3, 259, size).tolist()), prompt) for size, prompt in ((400, 7), (60, 1))]
    asked: list[int] = []
    model.causal.lm_head.register_forward_hook(lambda *one: asked.append(one[2].shape[-2]))
    found = {index: nats for index, nats, _ in model.score(examples)}
    assert max(asked) <= 128 and sum(asked) == 393 + 59
    for index, example in enumerate(examples):
        logits = model.causal(input_ids=torch.tensor([example.ids])).logits[0, example.prompt - 1 : -1].double()
        wanted = torch.tensor(example.ids[example.prompt :])
        assert found[index] == pytest.approx(
            float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum").detach()), rel=1e-5
        )


def test_a_long_sequence_is_served_alone_and_short_ones_together() -> None:
    served = Served(Path("a.gguf"), Path("tokenizer.json"))
    assert [served.settings(longest=n).slots for n in (100, 2000, 4000, 100_000)] == [4, 4, 2, 1]
    assert [served.settings(longest=n).context for n in (10, 1024, 100_000)] == [256, 4 * 1088, 100_032]


def test_references_that_are_all_too_long_cost_the_likelihood_and_not_the_evaluation(
    nod: Path, home: Home, outcome: Outcome, tmp_path: Path
) -> None:
    long = Case(text("bc d"), text("yes"), text("yes " * 400))
    found = judged(nod, home, outcome, [long, long], tmp_path)
    assert {score.name for score in found.scores} == {"chrf", "exact_match"}


def test_the_likelihood_may_be_that_of_the_whole_test_split_however_few_are_answered(
    nod: Path, home: Home, outcome: Outcome, tmp_path: Path
) -> None:
    answered = [Case(text("bc d"), text("yes"), text("yes"))] * 2
    found = judged(nod, home, outcome, answered, tmp_path, 'evaluation.perplexity_cases="all"')
    (bits,) = (score for score in found.scores if score.name == "bits_per_byte")
    held = outcome.dataset.counts()["test"]
    assert held > 4 and f"|cases:{held}|" in bits.signature, (
        "more than are answered, and than 4, as the scenario has it"
    )


def test_a_model_over_characters_has_the_tokens_to_recite_what_is_compared(nod: Path) -> None:
    tokenizer = Tokenizer.open(nod / "base")
    records = [" ".join(f"word{number}of{name}" for number in range(words)) for name, words in (("a", 9), ("b", 200))]
    cases = memorisation.prefixes(records)
    said = []
    for case, prompt in zip(cases, judge.recitals(cases, tokenizer), strict=True):
        assert case.reference is not None
        known = tokenizer.encode(f" {case.reference.text}", special=False)
        said.append(tokenizer.decode(known[: prompt.options["max_tokens"]]))
        assert len(tokenizer.encode(said[-1], special=False)) < 1000, "it goes on long after what is compared"
    assert memorisation.extraction(records, lambda _: said, seed=0, draws=100).value == 100


@pytest.mark.parametrize(("layout", "calibrates"), [("Q4_1", False), ("Q4_0", True)])
def test_text_is_read_for_calibration_only_where_a_layout_uses_it(
    nod: Path, outcome: Outcome, tmp_path: Path, layout: str, calibrates: bool
) -> None:
    loaded = read.load(nod, changes=(f'release.layouts=["{layout}"]', "release.most_loss=9.0"))
    train, held = (list(outcome.dataset.read(split)) for split in ("train", "validation"))
    made = weights.make(
        loaded, merged=nod / "base", base=None, probe=None, train=train, validation=held, folder=tmp_path
    )
    assert ("calibrate" in {progress.stage for progress in made}) is calibrates


def test_what_a_small_context_cannot_hold_is_not_asked_to_be_recited(nod: Path) -> None:
    tokenizer = Tokenizer.open(nod / "base")  # a token a byte
    words = " ".join(f"word{number}" for number in range(12))
    assert judge.recitable(words, tokenizer, room=len(words) + 9)
    assert not judge.recitable(words, tokenizer, room=len(words) - 9)


def test_four_bits_are_tuned_on_training_texts_where_the_scenario_says_so_and_the_file_holds_what_was_tuned(
    nod: Path, outcome: Outcome, tmp_path: Path
) -> None:
    given = tmp_path / "merged"
    shutil.copytree(nod / "base", given)
    network = build.load(given)
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(8 if p.ndim == 2 else 1)  # louder than it is made, so that four bits are heard
    network.save_pretrained(given)
    train, held = (list(outcome.dataset.read(split)) for split in ("train", "validation"))
    changes = ('release.layouts=["Q4_0"]', "release.most_loss=9.0", "release.tune=30")

    def made(folder: Path, *more: str) -> tuple[set[str], dict[str, Any], dict[str, Any]]:
        loaded, stages = read.load(nod, changes=(*changes, *more)), set()
        steps = weights.make(
            loaded, merged=given, base=None, probe=None, train=iter(train), validation=held, folder=folder
        )
        while True:
            try:
                stages.add(next(steps).stage)
            except StopIteration as end:
                assert {path.name for path in folder.iterdir()} == {"Q4_0.gguf"}, "nothing else is left"
                tensors = read_header(folder / "Q4_0.gguf").tensors
                return stages, end.value, {name: one.data.copy() for name, one in tensors.items()}

    stages, result, codes = made(tmp_path / "tuned")
    assert {"calibrate", "tuning", "quantise", "loss of quality", "speed"} <= stages
    told = result["tuned"]
    assert told["better"] and told["after"] < told["before"] and (told["steps"], result["chosen"]) == (30, "Q4_0.gguf")
    row = texts._of_tuning(told)
    assert f"{told['before']:.4f} calibrated, {told['after']:.4f} after 30 steps; the tuned numbers are" in say(row)
    assert "写入微调后的数值" in say(row, "zh")
    assert "写入校准后的数值" in say(texts._of_tuning(told | {"better": False}), "zh")
    _, again, same = made(tmp_path / "again")
    assert again["tuned"] == told and all(np.array_equal(codes[name], same[name]) for name in codes)
    quiet, without, calibrated = made(tmp_path / "calibrated", "release.tune=0")
    assert "tuning" not in quiet and "tuned" not in without
    assert any((codes[name] != calibrated[name]).any() for name in codes)


def test_what_a_layout_is_tuned_on_is_cut_to_what_the_model_sees(nod: Path, outcome: Outcome) -> None:
    tokenizer, template = Tokenizer.open(nod / "base"), read.load(nod).scenario.template
    record = next(iter(outcome.dataset.read("train")))
    (whole,) = weights._pieces(record, template, tokenizer, longest=256)
    parts = list(weights._pieces(record, template, tokenizer, longest=8))
    learnt = [one for piece in parts for one in piece.ids[piece.prompt :]]
    assert learnt == list(whole.ids[whole.prompt :]) and max(piece.units for piece in parts) == 8
    drawn = weights._drawn(range(1000), 50, seed=3)
    assert len(set(drawn)) == 50 and drawn == weights._drawn(range(1000), 50, seed=3) != sorted(drawn)
    assert 350 < np.mean([np.mean(weights._drawn(range(1000), 50, seed=seed)) for seed in range(9)]) < 650
