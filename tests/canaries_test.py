"""Promises of planted canaries: nobody's data, nowhere but in what is learnt, and measured as the paper says."""

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import OVER_PAIRS, nonsense, write_pairs

from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.family import Task
from spearhead.core.review import Context, Direction
from spearhead.core.template import Template
from spearhead.data import canaries
from spearhead.data.config import Cleaning, DataConfig, Source
from spearhead.data.dataset import Dataset
from spearhead.data.prepare import prepare
from spearhead.index.copies import CopyIndex
from spearhead.media.text.tokens import Tokenizer
from spearhead.metrics import exposure
from spearhead.models import gpt
from spearhead.models.gpt import batch
from spearhead.models.gpt import words as vocabulary
from spearhead.pipeline import canaries as probing
from spearhead.pipeline import road
from spearhead.pipeline.likelihood import Served
from spearhead.pipeline.outcome import Outcome
from spearhead.pipeline.show import drive
from spearhead.release.card import write as card_of
from spearhead.scenario import read
from spearhead.store import releases
from spearhead.store.home import Home
from spearhead.training.batches import Batches
from spearhead.training.loop import train
from spearhead.training.plan import Plan

FORM = re.compile(r"canary [1-9]\d\d \d{3}: \d{3} \d{3}")
Array = np.ndarray[Any, np.dtype[np.float64]]


def config(**changes: object) -> DataConfig:
    source = Source(kind="files", path="rows.csv", licence="CC0-1.0", credit="nobody")
    plain = DataConfig((source,), cleaning=Cleaning(shortest=2), validation=0.1, test=0.1)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def prepared(folder: Path, some: DataConfig, table: str) -> Dataset:
    (folder / "rows.csv").write_text(table, encoding="utf-8")
    home = Home(folder / "home", folder / "cache")
    steps = prepare(some, home=home, folder=folder, checks=[], sells=True, withdrawn=())
    found = drive(steps, quiet=True)
    assert isinstance(found, Dataset)
    return found


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    table = "input,output\n" + "".join(f"{row},yes\n" for row in nonsense(400))
    return prepared(tmp_path_factory.mktemp("pairs"), config(), table)


def test_a_canary_is_marked_harmless_and_the_same_for_the_same_data(pairs: Dataset, tmp_path: Path) -> None:
    some = config(canaries=100)
    found = canaries.planted(some, pairs)
    assert found == canaries.planted(some, pairs)
    assert Counter(one.repeats for one in found) == {1: 100, 4: 100, 16: 100}
    assert all(FORM.fullmatch(one.whole) for one in found)
    assert len({one.given for one in found}) == 300
    assert not {one.given for one in found} & {one.given for one in canaries.unplanted(some, pairs, count=300)}
    other = prepared(tmp_path, config(), "text\n" + "".join(f"{row}\n" for row in nonsense(100)))
    assert canaries.planted(some, other) != found
    context = Context("scenario", Direction.DATA)
    for name in ("terms", "personal", "profanity"):
        check = Catalogue("spearhead.review", "CHECK")[name]
        for one in found:
            for part in (*one.record(pair=True).parts.values(), *one.record(pair=False).parts.values()):
                assert check(part, context) == []


def test_the_data_are_the_same_with_canaries_and_without(pairs: Dataset, tmp_path: Path) -> None:
    table = "input,output\n" + "".join(f"{row},yes\n" for row in nonsense(400))
    with_them = prepared(tmp_path, config(canaries=2, canary_repeats=(1, 3)), table)
    assert with_them.digest == pairs.digest and with_them.summary == pairs.summary
    assert not [file for file in with_them.folder.iterdir() if "canary" in file.read_text(encoding="utf-8")]


def test_canaries_stand_in_what_is_learnt_as_often_as_said_and_nowhere_else(pairs: Dataset) -> None:
    some = config(canaries=3, canary_repeats=(1, 4))
    learnt = list(canaries.learnt(some, pairs))
    theirs = [record for record in learnt if record.source == "canary"]
    assert [record for record in learnt if record.source != "canary"] == list(pairs.read("train"))
    assert sorted(Counter(record.id for record in theirs).values()) == [1, 1, 1, 4, 4, 4]
    assert {(record.licence.spdx, record.licence.credit, *sorted(record.parts)) for record in theirs} == {
        ("CC0-1.0", "", "input", "output")
    }
    places = [at for at, record in enumerate(learnt) if record.source == "canary"]
    assert places != list(range(places[0], places[0] + len(places))), "they stand in a heap"
    assert [record.id for record in canaries.learnt(some, pairs)] == [record.id for record in learnt]
    for split in ("validation", "test"):
        assert not {record.id for record in pairs.read(split)} & {record.id for record in theirs}
    assert list(canaries.learnt(config(), pairs)) == list(pairs.read("train"))


def test_texts_are_given_texts(tmp_path: Path) -> None:
    texts = prepared(tmp_path, config(), "text\n" + "".join(f"{row}\n" for row in nonsense(100)))
    found = [r for r in canaries.learnt(config(canaries=2, canary_repeats=(1, 2)), texts) if r.source == "canary"]
    assert len(found) == 6 and all(FORM.fullmatch(record.parts["text"].text) for record in found)


def test_canaries_that_would_change_what_is_learnt_are_refused(pairs: Dataset) -> None:
    with pytest.raises(InputError, match="2100 planted copies among 3"):
        list(canaries.learnt(config(canaries=100), pairs))


def test_exposure_is_worked_out_as_by_hand() -> None:
    candidates = np.array([10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0])
    # 7 candidates and the canary itself: 3 bits; rank 1, 2, 4 and 8; a tie counts against the canary
    nats = np.array([9.0, 15.0, 35.0, 99.0, 10.0])
    assert exposure.exposures(nats, candidates).tolist() == [3.0, 2.0, 1.0, 0.0, 2.0]
    # 8 ranks that are alike likely: 3 - log2(8!) / 8 = 3 - 15.2992 / 8
    assert exposure.by_chance(7) == pytest.approx(1.0876, abs=1e-4)
    assert exposure.by_chance(255) == pytest.approx(1.4222, abs=1e-3)
    group = exposure.measured(
        4,
        nats.tolist(),
        candidates.tolist(),
        possible=39.7,
        extracted=1,
        probes=20,
        passes=2.0,
        how="x",
        seed=0,
        draws=200,
    )
    assert group.exposure == pytest.approx(1.6) and group.greatest == 3.0
    assert group.interval is not None and 0 <= group.interval[0] < 1.6 < group.interval[1] <= 3
    once = dataclasses.replace(group, canaries=1, repeats=1, interval=None)
    assert (
        exposure.measured(
            1,
            nats.tolist()[:1],
            candidates.tolist(),
            possible=39.7,
            extracted=0,
            probes=4,
            passes=2.0,
            how="x",
            seed=0,
            draws=200,
        ).interval
        is None
    )
    assert str(exposure.claims([group])[0]).startswith(
        "1 of 5 canaries planted 4 times was extracted in 20 probes; mean"
    )
    none = dataclasses.replace(once, canaries=8, extracted=0)
    assert str(exposure.claims([none])[0]).startswith("None of 8 canaries planted once was extracted in 20 probes")
    assert not exposure.alarm([group]) and "The one canary planted once was extracted in" in str(exposure.alarm([once]))


def test_what_was_seen_often_is_exposed_and_what_was_never_seen_is_chance(pairs: Dataset) -> None:
    rng = np.random.default_rng(0)
    (shown,) = canaries.drawn(1, repeats=64, rng=rng)
    never = canaries.drawn(256 + 255, repeats=0, rng=rng, apart={shown.given})
    plain = list(pairs.read("train"))
    learnt = list(canaries.among(plain, len(plain), [shown], pair=True, rng=rng))
    template = Template(style="plain", after=">", stop="<|end|>")
    preset = gpt.FAMILY.presets["debug"]
    task = Task(preset, lambda: learnt, lambda: pairs.read("validation"), template=template)
    lesson = drive(gpt.FAMILY.begin(task), quiet=True)
    plan = Plan(steps=80, batch=16, learning_rate=1e-2)
    list(train(lesson.model, Batches(lesson.examples, lesson.pack, plan=plan), plan, validation=[]))
    words = [part.text for record in learnt for part in record.parts.values()]
    tokenizer = Tokenizer(vocabulary.make([*words, ">"], preset, template=template))

    def nats(some: list[canaries.Canary]) -> Array:
        wanted = [(one.given, one.rest) for one in some]
        every, _ = batch.pairs(wanted, tokenizer=tokenizer, template=template, longest=preset.context)
        packed = batch.pack(every)
        with torch.no_grad():
            logits = lesson.model(torch.tensor(packed.inputs)).float()
        labels = torch.tensor(packed.labels)
        each = torch.nn.functional.cross_entropy(logits.mT, labels, ignore_index=-1, reduction="none")
        return np.asarray(each.sum(dim=1).double())

    candidates = nats(never[256:])
    assert exposure.exposures(nats([shown]), candidates)[0] == 8.0
    # A rank by chance spreads by 1.43 bits, so the mean of 256 by 0.09; the candidates' own spread is about as much.
    unseen = exposure.exposures(nats(never[:256]), candidates)
    assert unseen.mean() == pytest.approx(exposure.by_chance(255), abs=0.35)


SCENARIO = (
    """
[scenario]
name = "bird"
title = "Nodding"
languages = ["en"]
[data]
validation = 0.1
test = 0.1
canaries = 2
canary_repeats = [1, 16]
[model]
family = "gpt"
depth = 1
context = 48
[template]
style = "plain"
after = ">"
stop = "<|end|>"
[training]
steps = 160
batch = 32
learning_rate = 1e-2
validate_every = 160
track = []
[generation]
max_tokens = 12
context = 256
[evaluation]
metrics = ["exact_match"]
baselines = ["copy"]
cases = 4
draws = 200
perplexity_cases = 0
noise_cases = 0
extraction_cases = 0
[[bars]]
metric = "exact_match"
minimum = 50.0
cases = 4
[release]
layouts = ["F16"]
[review]
checks = ["terms"]
rules = [{ category = "*", direction = "prompt", block = 0.9 }, { category = "*", direction = "output", hold = 0.5 }]
"""
    + OVER_PAIRS
)


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("scenario") / "bird", SCENARIO, nonsense(400))


@pytest.fixture(scope="module")
def outcome(bird: Path, home: Home) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probing, "CANDIDATES", 63)  # 6 bits: a fourth of the time
        found = drive(road.walk(read.load(bird), home=home), quiet=True)
    assert isinstance(found, Outcome) and found.exit_code == 0
    return found


def test_a_walk_measures_its_canaries_and_says_so_everywhere(outcome: Outcome) -> None:
    never, once, often = outcome.canaries
    assert (never.repeats, once.repeats, often.repeats) == (0, 1, 16)
    assert never.extracted == 0 and often.extracted == 2 and often.exposure > 5 and never.exposure < often.exposure
    assert outcome.release is not None and outcome.report is not None
    manifest = releases.read(outcome.release).manifest
    assert manifest.canaries == tuple(outcome.canaries)
    card, page = (outcome.release / "card.md").read_text("utf-8"), outcome.report.read_text("utf-8")
    for claim in map(str, exposure.claims(outcome.canaries)):
        assert claim in card and claim in page and f"  {claim}" in outcome.lines()
    loud = str(exposure.alarm(outcome.canaries))
    assert bool(loud) == bool(once.extracted)
    assert (f"**Warning.** {loud}" in card) == (loud in page and 'role="alert"' in page) == bool(loud)
    for many in (0, 1):
        told = dataclasses.replace(manifest, canaries=(never, dataclasses.replace(once, extracted=many), often))
        assert ("**Warning.**" in card_of(told)) == bool(many)
    step = {done.name: done for done in outcome.steps}["canaries"]
    every = [json.loads(line) for line in (step.folder / "canaries.jsonl").read_text("utf-8").splitlines()]
    assert len(every) == 6 and np.mean([row["exposure"] for row in every[4:]]) == pytest.approx(often.exposure)


def test_texts_are_probed_as_texts(bird: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "CANDIDATES", 31)
    table = "text\n" + "".join(f"{' '.join(row)}\n" for row in nonsense(400))  # words enough to be continued
    (bird / "texts.csv").write_text(table, encoding="utf-8")
    changes = (
        'data.sources=[{kind="files", path="texts.csv", licence="CC0-1.0", credit="nobody"}]',
        "data.canaries=1",
        "data.canary_repeats=[40]",
        'evaluation.metrics=["chrf"]',
        'bars=[{metric="chrf", minimum=0.0}]',
        "training.steps=80",
        'template={style="plain", stop="\\n"}',
    )
    found = drive(road.walk(read.load(bird, changes=changes), home=home, until="evaluate"), quiet=True)
    never, often = found.canaries
    assert often.exposure == often.greatest == 5.0 and often.interval is None and often.extracted == 1
    assert never.extracted == 0 and "text,digits" in often.signature


def test_canaries_too_long_to_have_been_learnt_are_not_reported_on(
    outcome: Outcome, bird: Path, tmp_path: Path
) -> None:
    made = {done.name: done for done in outcome.steps}
    model = Served(made["weights"].folder / made["weights"].result["chosen"], made["train"].folder / "merged")
    scenario = read.load(bird, changes=("model.context=16",)).scenario
    with pytest.raises(InputError, match="data.canaries have up to 22 tokens and model.context is 16"):
        drive(probing.probe(scenario, outcome.dataset, model, passes=1.0, folder=tmp_path), quiet=True)


def test_canaries_are_in_no_index_no_list_and_no_credit_of_the_release(
    outcome: Outcome, bird: Path, home: Home
) -> None:
    assert outcome.release is not None
    planted = canaries.planted(read.load(bird).scenario.data, outcome.dataset)
    listed = (outcome.release / "parts" / "records.txt").read_text("utf-8").split()
    assert len(listed) == outcome.dataset.counts()["train"]
    assert not {one.record(pair=True).id for one in planted} & set(listed)
    copies = CopyIndex.load(outcome.release / "parts" / "index")
    assert all(copies.nearest(one.rest).words == 0 for one in planted)
    manifest = releases.read(outcome.release).manifest
    assert [credit.source for credit in manifest.credits] == [credit.source for credit in outcome.dataset.credits()]
    assert "canary" not in (outcome.release / "data.croissant.json").read_text("utf-8")


def test_without_canaries_the_data_stay_and_only_what_learns_is_done_again(
    outcome: Outcome, bird: Path, home: Home
) -> None:
    loaded = read.load(bird, changes=("data.canaries=0",))
    without = drive(road.walk(loaded, home=home, until="train"), quiet=True)
    assert without.dataset.digest == outcome.dataset.digest
    assert [step.name for step in without.steps if step.fresh] == ["train"]
    assert without.steps[0].result["examples"] == outcome.steps[0].result["examples"] - 2 * 17


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.canaries=101", "data.canaries is 101: wanted 0 for none, or 1 to 100"),
        ("data.canary_repeats=[4, 1]", r"data.canary_repeats is \[4, 1\]: wanted rising numbers"),
        ("data.canary_repeats=[]", "wanted rising numbers"),
        ('training.objective="dpo"', "dpo"),
    ],
)
def test_what_cannot_be_planted_or_measured_is_refused_at_once(bird: Path, change: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read.load(bird, changes=(change,))
