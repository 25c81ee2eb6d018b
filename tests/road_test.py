"""Promises of the road, walked with a tiny random model and a table that it can learn: a real walk in seconds."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.chinese import LIBRARIES, english
from tests.conftest import OVER_PAIRS, nonsense, port_of_ones_own, write_pairs

from spearhead.core.errors import InputError, SpearheadError
from spearhead.ledger import economics
from spearhead.models.pretrained import tiny
from spearhead.pipeline import demo, once, road, shelf, trust, withdrawal
from spearhead.pipeline.elsewhere import elsewhere
from spearhead.pipeline.outcome import Outcome
from spearhead.pipeline.show import drive
from spearhead.scenario import read
from spearhead.store import releases
from spearhead.store.home import Home

SCENARIO = (
    """
[scenario]
name = "nod"
title = "Nodding"
languages = ["en"]
[data]
validation = 0.1
test = 0.1
[model]
family = "pretrained"
method = "full"
[model.base]
path = "base"
licence = "CC0-1.0"
credit = "a random model"
[template]
style = "plain"
after = ">"
[training]
steps = 90
batch = 16
learning_rate = 3e-3
validate_every = 30
save_every = 20
track = []
[generation]
max_tokens = 12
context = 256
[evaluation]
metrics = ["chrf", "exact_match"]
baselines = ["copy", "base", "nearest", "ngram"]
cases = 20
draws = 200
perplexity_cases = 4
noise_cases = 4
extraction_cases = 0
[[bars]]
metric = "chrf"
beats = ["copy", "base"]
cases = 20
[release]
layouts = ["F16", "Q8_0"]
[review]
checks = ["terms", "personal"]
rules = [{ category = "*", direction = "prompt", block = 0.9 }, { category = "*", direction = "output", hold = 0.5 }]
"""
    + OVER_PAIRS
)


NAMES = "Nodding nod a random model files chrf exact match perplexity bits per byte copied by references robustness"
NAMES += " with typos change copy base nearest ngram full Q8 F16"
"""What its report says as it is: what the scenario says of itself, metrics, baselines, a method, layouts."""


@pytest.fixture(scope="module")
def nod(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario whose answer is always the same three letters."""
    folder = write_pairs(tmp_path_factory.mktemp("scenario") / "nod", SCENARIO, nonsense(400))
    tiny.speakable(tiny.write(folder / "base"))
    return folder


def walked(nod: Path, home: Home, *changes: str, until: str = "report") -> Outcome:
    return drive(road.walk(read.load(nod, changes=changes), home=home, until=until), quiet=True)


@pytest.fixture(scope="module")
def outcome(nod: Path, home: Home) -> Outcome:
    return walked(nod, home)


def test_a_walk_ends_with_a_signed_release_and_a_report(outcome: Outcome, home: Home) -> None:
    assert outcome.exit_code == 0, outcome.lines()
    assert outcome.release is not None and outcome.release.name == "1"
    assert trust.verify(home, outcome.release).exit_code == 0
    assert outcome.report is not None
    page = outcome.report.read_text(encoding="utf-8")
    assert "Nodding" in page and "beside the trivial baselines" in page and "<svg" in page
    assert not [part for part in ("http://", "https://", "<script") if f'src="{part}' in page]
    manifest = releases.read(outcome.release).manifest
    assert {credit.source for credit in manifest.credits} >= {"base"}
    scores = {score.name: score for score in manifest.scores}
    assert scores["chrf"].value > scores["chrf"].baselines["copy"]
    assert manifest.verdict in ("gold", "foam") and manifest.verdict_reasons
    assert economics.terms(manifest.economics) == economics.Terms(100, 100_000_000, 0)


def test_the_report_is_there_in_chinese_too_with_nothing_left_in_english(outcome: Outcome, home: Home) -> None:
    page = shelf.report_of(home, "nod", "zh").read_text(encoding="utf-8")
    assert english(page, *NAMES.split(), *LIBRARIES) == []


def test_data_are_shown_with_counts_refusals_licences_and_samples(nod: Path, home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "nod"
    folder.mkdir()
    rows = (nod / "pairs.csv").read_text(encoding="utf-8").splitlines()
    more = [rows[1], rows[2], "x,y", "my card is 4111 1111 1111 1111,yes", "how to make a pipe bomb at home,yes"]
    (folder / "pairs.csv").write_text("\n".join([*rows[:61], *more]) + "\n", encoding="utf-8")
    (folder / "scenario.toml").write_text(SCENARIO, encoding="utf-8")
    shown = walked(folder, Home(tmp_path / "home", home.cache), "data.cleaning.shortest=3", until="data")
    counts = shown.dataset.counts()
    assert sum(counts.values()) == 60 and all(counts.values())
    lines = [line.split() for line in shown.lines()]
    assert ["considered", "65"] in lines
    assert all([split, str(count)] in lines for split, count in counts.items())
    assert ["refused:", "duplicate", "2"] in lines and ["refused:", "short", "1"] in lines
    assert ["refused:", "check:personal", "1"] in lines and ["refused:", "check:terms", "1"] in lines
    assert "  CC0-1.0: nobody (60 records)" in shown.lines()
    samples = [words[1:] for words in lines if words[:1] == ["input:"]]
    assert len(samples) >= 3 and all(f"{' '.join(words)},yes" in rows for words in samples)
    told = shown.as_dict()
    reasons = {kind: [one["reason"] for one in some] for kind, some in told["data"]["reasons"].items()}
    assert reasons.keys() == told["data"]["refusals"].keys() and all(reasons.values())
    assert reasons["short"] == ["input has 1 characters, wanted at least 3"]
    assert "  short: input has 1 characters, wanted at least 3 (files:pairs.csv#62)" in shown.lines()
    assert "4111" not in "".join(shown.lines()) and "4111" not in json.dumps(told), "a reason holds no text of what was"
    assert sum(told["data"]["refusals"].values()) == 5 and told["data"]["licences"] == {"CC0-1.0": 60}
    kept = (shown.dataset.folder / "refusals.jsonl").read_text()
    assert len(kept.splitlines()) == 5 and "4111" not in kept and "pipe" not in kept


def test_training_that_diverges_is_exit_code_1_and_one_line(nod: Path, home: Home, tmp_path: Path) -> None:
    with pytest.raises(SpearheadError, match="training diverged at step .*Lower training.learning_rate") as caught:
        walked(
            nod, Home(tmp_path / "home", home.cache), "training.learning_rate=1e30", "training.clip=0", until="train"
        )
    assert caught.value.exit_code == 1 and "\n" not in str(caught.value)


def test_a_second_walk_does_nothing_and_says_so(outcome: Outcome, nod: Path, home: Home) -> None:
    again = walked(nod, home)
    assert [step.name for step in again.steps if step.fresh] == []
    assert again.release == outcome.release


def test_a_change_redoes_only_what_rests_on_it(outcome: Outcome, nod: Path, home: Home) -> None:
    again = walked(nod, home, "evaluation.draws=300", until="evaluate")
    assert [step.name for step in again.steps if step.fresh] == ["scores"]


def test_what_only_says_how_training_is_done_asks_for_no_new_training(outcome: Outcome, nod: Path, home: Home) -> None:
    how = ("training.save_every=7", 'training.device="cpu"', "training.micro_batch=4", 'training.track=["tensorboard"]')
    again = walked(nod, home, *how, until="train")
    assert [step.name for step in again.steps if step.fresh] == []
    (other,) = walked(nod, home, "training.seed=1", "training.steps=2", until="train").steps
    assert other.fresh


def test_a_missed_bar_is_exit_code_3_a_report_and_no_release(outcome: Outcome, nod: Path, home: Home) -> None:
    before = releases.published(home)
    missed = walked(nod, home, 'bars=[{metric="chrf", minimum=101.0}]')
    assert missed.exit_code == 3
    assert missed.release is None and missed.verdict == "foam"
    assert missed.message.endswith("wanted at least 101, got 100")
    short = dataclasses.replace(read.load(nod, changes=('bars=[{metric="chrf", minimum=101.0}]',)), preset="quick")
    told = drive(road.walk(short, home=home), quiet=True).message
    assert told.endswith("got 100; this was the preset 'quick': without --preset it learns longer")
    assert missed.report is not None and "missed" in missed.report.read_text(encoding="utf-8")
    assert [release.name for release in releases.published(home)] == [release.name for release in before]


def test_a_bar_that_wants_more_held_out_records_than_there_are_is_refused_before_any_training(
    outcome: Outcome, nod: Path, tmp_path: Path
) -> None:
    held = outcome.dataset.counts()["test"]
    with pytest.raises(InputError, match=f"chrf wants {held + 1} held-out records, and the test split has {held}: "):
        walked(
            nod, Home.find(tmp_path), f'bars=[{{metric="chrf", minimum=1.0, cases={held + 1}}}]', "evaluation.cases=0"
        )
    assert not list((tmp_path / "runs").glob("*/train-*"))


def test_a_method_that_no_runtime_serves_is_judged_but_not_released(nod: Path, home: Home) -> None:
    judged = walked(nod, home, "model.method=prefix", "model.rank=4", "training.steps=4", until="evaluate")
    assert judged.judged is not None and len(judged.judged.cases) == 20
    with pytest.raises(InputError, match="'prefix' trains and evaluates"):
        walked(nod, home, "model.method=prefix", "model.rank=4", "training.steps=4")


def test_pairs_that_are_too_long_to_be_learnt_are_counted_for_a_person_and_missed_when_all_are(
    nod: Path, home: Home, tmp_path: Path
) -> None:
    folder, own = shutil.copytree(nod, tmp_path / "nod"), Home(tmp_path / "home", home.cache)
    rows = (folder / "pairs.csv").read_text(encoding="utf-8").splitlines()
    long = [f"{'x' * 1500} {row}" if number % 2 else row for number, row in enumerate(rows[1:])]
    (folder / "pairs.csv").write_text("\n".join([rows[0], *long]), encoding="utf-8")
    some = walked(folder, own, "training.steps=2", "data.near=1.0", until="train")
    told = next(line for line in some.lines() if line.startswith("left out: "))
    counted = some.steps[0].result
    assert told == (
        f"left out: {counted['too_long']} of {counted['too_long'] + counted['examples']} pairs have more than 1,024 "
        "tokens and were not learnt from"
    )
    long = [f"{'x' * 1500} {row}" for row in rows[1:]]
    (folder / "pairs.csv").write_text("\n".join([rows[0], *long]), encoding="utf-8")
    with pytest.raises(InputError, match=r"nothing to learn from: \d+ records have more than 1,024 tokens"):
        walked(folder, own, "training.steps=2", "data.near=1.0", until="train")


def test_augmentation_of_texts_without_an_input_is_refused(nod: Path, home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "nod"
    folder.mkdir()
    rows = (nod / "pairs.csv").read_text(encoding="utf-8").replace(",yes", " and so it goes on and on").splitlines()
    (folder / "pairs.csv").write_text("\n".join(["text", *rows[1:]]) + "\n", encoding="utf-8")
    (folder / "scenario.toml").write_text(SCENARIO, encoding="utf-8")
    (folder / "base").symlink_to(nod / "base")
    with pytest.raises(InputError, match=r"training\.augment changes the input of a pair, and among these records"):
        walked(folder, Home(tmp_path / "home", home.cache), "training.augment={typos=0.5}", until="train")


def test_a_stop_of_several_tokens_is_refused_before_a_method_that_needs_one_trains(
    nod: Path, home: Home, tmp_path: Path
) -> None:
    fresh = Home(tmp_path / "home", home.cache)
    with pytest.raises(
        InputError, match="template.stop '###' is 3 tokens to this base model, and model.method 'prefix'"
    ):
        walked(nod, fresh, "model.method=prefix", "training.steps=4", 'template.stop="###"', until="train")
    assert not list(fresh.runs.glob("nod/train-*/checkpoint"))


def test_other_questions_to_a_method_that_no_runtime_serves_are_answered_and_not_old_ones(
    nod: Path, home: Home
) -> None:
    prefix = ("model.method=prefix", "model.rank=4", "training.steps=4")
    brief = walked(nod, home, *prefix, "generation.max_tokens=2", until="evaluate")
    assert brief.judged is not None and max(len(case.output.text) for case in brief.judged.cases) <= 4
    more = walked(nod, home, *prefix, "evaluation.cases=23", until="evaluate")
    assert more.judged is not None and len(more.judged.cases) == 23
    assert not [
        step.name for step in walked(nod, home, *prefix, "evaluation.cases=23", until="evaluate").steps if step.fresh
    ]


def test_prompts_alone_are_a_method_without_training(nod: Path, home: Home) -> None:
    judged = walked(nod, home, "model.method=none", 'template.examples=[{input="a", output="yes"}]', until="evaluate")
    assert {step.name: step for step in judged.steps}["train"].result["trained"] is False
    assert judged.judged is not None


def test_a_base_licence_that_does_not_sell_is_refused_before_any_training(nod: Path, tmp_path: Path) -> None:
    fresh = Home(tmp_path / "home", tmp_path / "cache")
    with pytest.raises(InputError, match=r"CC-BY-NC-4\.0.*does not allow to sell"):
        walked(nod, fresh, "model.base.licence=CC-BY-NC-4.0")
    assert not list(fresh.runs.glob("nod/train-*"))


def test_a_release_is_judged_again_and_scores_the_same(outcome: Outcome, nod: Path, home: Home) -> None:
    told = drive(elsewhere(read.load(nod), home=home, release="nod@1", endpoint=""), quiet=True)
    assert outcome.judged is not None
    before = {score.name: score.value for score in outcome.judged.scores}
    again = {score["name"]: score["value"] for score in told.values["scores"]}
    assert again["chrf"] == pytest.approx(before["chrf"])
    assert again.keys() == before.keys() and again["bits_per_byte"] == pytest.approx(before["bits_per_byte"], rel=0.05)
    (chrf,) = (score for score in told.values["scores"] if score["name"] == "chrf")
    assert chrf["baselines"]["base"] < chrf["value"], "the untouched base model stands beside it"
    extras = {score["name"] for score in told.values["extras"]}
    assert {score.name for score in outcome.judged.extras} == extras and "chrf_with_typos" in extras
    assert "copy" in told.lines()[2]


def test_a_model_that_has_not_learnt_the_task_is_told_it_in_words(
    nod: Path, home: Home, served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", served.key(served.account()).secret)
    folder = shutil.copytree(nod, tmp_path / "nod")
    rows = (folder / "pairs.csv").read_text(encoding="utf-8").replace(",yes", ",你好")
    (folder / "pairs.csv").write_text(rows, encoding="utf-8")
    changes = [
        'evaluation.base_template={style="chat", system="Be brief.", before="Greet ", after="&"}',
        'evaluation.baselines=["copy"]',
        "evaluation.cases=3",
        "evaluation.noise_cases=2",
        'bars=[{metric="chrf", minimum=1.0}]',
    ]
    found = {}
    for name in ("nod", "tiny"):
        loaded = read.load(folder, changes=(*changes, f"scenario.name={name}"))
        told = drive(elsewhere(loaded, home=home, release="", endpoint=f"{served.url}/v1#tiny"), quiet=True)
        scores = {score["name"]: score["value"] for score in (*told.values["scores"], *told.values["extras"])}
        found[name] = scores["exact_match"]
        assert "chrf_change_with_typos" in scores, "noise costs what it costs there too"
    assert found == {"nod": 100.0, "tiny": 0.0}, "the last sign of the words chooses tiny's answer; its own needs none"


def test_any_openai_compatible_endpoint_is_judged_on_the_same_records(
    nod: Path, home: Home, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", served.key(served.account()).secret)
    loaded = read.load(nod, changes=("evaluation.cases=3",))
    told = drive(elsewhere(loaded, home=home, release="", endpoint=f"{served.url}/v1#tiny"), quiet=True)
    assert told.values["cases"] == 3
    assert {score["name"] for score in told.values["scores"]} == {"chrf", "exact_match"}


def test_one_answer_without_a_server_is_labelled_booked_and_traceable(
    outcome: Outcome, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "answer.txt"
    assert once.generate(home, "nod", "bcd fgh", out=file, seed=1, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["release"] == "nod@1" and told["completion_units"] > 0
    traced = trust.trace(home, file)
    assert traced.exit_code == 0, traced.lines()
    assert any("nobody" in line for line in traced.lines())
    file.write_bytes(file.read_bytes().replace(b"yes", b"no!", 1))
    assert trust.verify(home, file).exit_code == 1


def test_the_demo_asks_the_served_release_and_shows_label_trace_and_receipt(
    outcome: Outcome, nod: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.run(read.load(nod), home=home, quiet=True, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert not [step for step in told["steps"] if step["ran"]], "what was walked is not walked again"
    answer, receipt = told["answer"], told["answer"]["receipt"]
    assert answer["text"].strip() and answer["labels"]["x-spearhead-release"] == "nod@1"
    assert answer["labels"]["x-ai-generated"] == "true" and "AIGC" in answer["labels"]["x-spearhead-label"]
    used = receipt["usage"]
    assert receipt["amount_billionths"] == 1_000 * used["prompt_tokens"] + 2_000 * used["completion_tokens"] > 0
    assert receipt["currency"] == "EUR" and receipt["settled"] is True
    assert told["trace"]["problems"] == [] and {"nobody", "CC0-1.0", "nod@1"} <= set(
        re.findall(r"[\w@.-]+", json.dumps(told["trace"]))
    )
    assert (home.root / "demo-answer.txt").is_file() and Path(told["report"]).is_file()


def test_the_demo_of_a_scenario_whose_answers_wait_for_a_person_says_so(
    outcome: Outcome, nod: Path, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Home(tmp_path / "home", home.cache)
    shutil.copytree(home.root, own.root)
    (own.runs / "nod").rename(own.runs / "wary")  # learnt alike: only what leaves is another
    rules = '[{category="*", direction="output", hold=0.5}]'
    changes = ("scenario.name=wary", 'review.checks=["approval"]', f"review.rules={rules}")
    loaded = read.load(nod, changes=changes)
    assert demo.run(loaded, home=own, quiet=True, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["answer"]["review"].startswith("rev_") and told["answer"]["text"] == "" and told["trace"] is None
    assert told["answer"]["receipt"]["settled"] is False
    assert demo.run(loaded, home=own, quiet=True, as_json=False) == 0
    said = capsys.readouterr().out
    assert "review held it for a person as rev_" in said and "Traceback" not in said and "\ntrace of" not in said


def test_what_training_will_take_is_said_before_it_begins(nod: Path, home: Home, tmp_path: Path) -> None:
    walk = road.walk(
        read.load(nod, changes=("training.steps=1",)), home=Home(tmp_path / "home", home.cache), until="train"
    )
    seen = []
    while True:
        try:
            seen.append(next(walk))
        except StopIteration as end:
            outcome = end.value
            break
    learning = next(number for number, now in enumerate(seen) if now.note.startswith("loss "))
    told = seen[learning - 1]
    words = r"1 steps of \d+, learning rate [\d.]+: about [\d.]+ min, [\d.]+ GiB, [\d.]+ EUR"
    assert told.stage == "forecast" and re.fullmatch(words, told.note)
    assert f"forecast before training: {told.note}" in outcome.lines(), "the last table says it again"


def test_what_is_done_to_releases_is_done_to_those_of_the_scenario_that_was_named(outcome: Outcome, home: Home) -> None:
    there = [one["release"] for one in shelf.act(home, "list", "nod").values["releases"]]
    assert there and all(name.startswith("nod@") for name in there)
    for action in ("list", "gc"):
        for name in ("nodd", "nod@1"):
            with pytest.raises(InputError, match=f"no release of a scenario '{name}'; there are releases of nod"):
                shelf.act(home, action, name)


def test_a_release_beside_a_promoted_one_says_which_answers(
    outcome: Outcome, nod: Path, home: Home, tmp_path: Path
) -> None:
    mine = Home(Path(shutil.copytree(home.root, tmp_path / "home")), home.cache)
    assert outcome.answering == "nod@1" and outcome.after_release() == "next: spearhead serve nod"
    shelf.act(mine, "promote", "nod@1")
    after = walked(nod, mine, 'scenario.title="Nodding on"')
    assert after.release is not None and after.release.name == "2" and after.answering == "nod@1"
    told, following = after.after_release().splitlines()
    assert told == "nod@1 was promoted and answers to 'nod' still"
    shelf.act(mine, *re.findall(r"--action (\w+)", following), *re.findall(r"release (\S+)", following))
    assert walked(nod, mine, 'scenario.title="Nodding on"').after_release() == "next: spearhead serve nod"


def test_a_withdrawn_record_marks_the_release_and_leaves_the_next_run(outcome: Outcome, nod: Path, home: Home) -> None:
    record = next(outcome.dataset.read("train"))
    told = withdrawal.withdraw(home, record.id, reason="its author asked")
    assert told.values["affected"] == ["nod@1"]
    assert "learnt from 1 withdrawn" in "\n".join(shelf.listed(home, "nod").lines())
    assert not list(home.runs.glob("nod/train-*")) and not list(home.runs.glob("nod/report-*"))
    after = walked(nod, home, until="data")
    assert record.id not in {one.id for one in after.dataset.read("train")}


def test_nothing_of_a_withdrawn_record_is_left_once_no_run_needs_it(nod: Path, home: Home, tmp_path: Path) -> None:
    fresh = Home(tmp_path / "home", home.cache)
    outcome = walked(nod, fresh, "training.steps=2", until="evaluate")
    record = next(outcome.dataset.read("train"))
    words = record.parts["input"].text.encode()

    def holds() -> list[Path]:
        files = [path for path in fresh.root.rglob("*") if path.is_file() and path.name != "spearhead.db"]
        return [path for path in files if words in path.read_bytes()]

    assert {path.relative_to(fresh.root).parts[0] for path in holds()} == {"data"}
    with road.alone(fresh.runs / "nod"):
        told = withdrawal.withdraw(fresh, record.id, reason="its author asked")
        assert told.values["under_way"] == ["nod"] and holds() and all(step.folder.exists() for step in outcome.steps)
        assert "`spearhead data purge` deletes it after that" in told.lines()[-2]
    again = walked(nod, fresh, "training.steps=2", until="train")
    told = withdrawal.purge(fresh)
    assert holds() == [] and told.values["under_way"] == []
    assert not [step.name for step in outcome.steps if step.folder.exists()], (
        "a model of it and an index of it are gone"
    )
    assert again.dataset.folder.exists() and again.steps[-1].folder.exists(), "what was made without it stays"
    assert withdrawal.purge(fresh).lines() == ["nothing is left to delete"]


def test_two_walks_of_one_scenario_do_not_mix(nod: Path, home: Home) -> None:
    with road.alone(home.runs / "nod"), pytest.raises(InputError, match="another run of nod is under way"):
        walked(nod, home)


@pytest.fixture
def running(nod: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[str], Path]]:
    """A long run of its own, in its own home, as a person starts it."""
    words = [
        "train",
        str(nod),
        "--home",
        str(tmp_path),
        "--set",
        "training.steps=300",
        "--set",
        "training.save_every=10",
    ]
    command = [sys.executable, "-m", "spearhead.cli", *words, "--quiet"]
    env = {**os.environ, "SPEARHEAD_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        env=env,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )
    try:
        yield process, command, tmp_path
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def curve(home: Path) -> list[dict[str, Any]]:
    files = list(home.glob("runs/nod/train-*/curve.jsonl"))
    rows = []
    for line in files[0].read_text(encoding="utf-8").splitlines() if files else []:
        try:
            rows.append(json.loads(line))
        except ValueError:  # half a line: it is being written
            continue
    return rows


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_at_any_moment_goes_on_where_it_was(
    running: tuple[subprocess.Popen[bytes], list[str], Path], end: signal.Signals
) -> None:
    process, command, home = running
    limit = time.monotonic() + 120
    while len(curve(home)) < 25 and time.monotonic() < limit:
        time.sleep(0.1)
    process.send_signal(end)
    assert process.wait(60) in (1, -signal.SIGKILL)
    before = curve(home)
    assert 25 <= len(before) < 300
    saved = max(home.glob("runs/nod/train-*/checkpoint/step-*"))  # a kill may leave the last one but one too
    stood = int(saved.name.removeprefix("step-"))
    assert stood > before[-1]["step"] - 15
    with (saved.parents[1] / "curve.jsonl").open("a", encoding="utf-8") as out:
        out.write('{"step": 299, "lo')  # a kill in the middle of a line
    env = {**os.environ, "SPEARHEAD_CACHE": str(home / "cache")}
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=180, check=True, env=env)
    (step,) = json.loads(done.stdout)["steps"]
    assert step["steps"] == 300
    lines = (saved.parents[1] / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    steps = [row["step"] for row in rows]
    assert steps == sorted(set(steps)) and steps[-1] == 300, "a step stands in the curve once"
    kept = [row for row in before if row["step"] <= stood]
    assert rows[: len(kept)] == kept, "it began again instead of going on"


def test_two_processes_train_through_the_verb_what_one_does(nod: Path, tmp_path: Path) -> None:
    how = ("training.steps=8", "training.batch=10", "training.validate_every=4", "training.minutes=30.0",
           'training.precision="fp32"')  # fmt: skip
    words = ["train", str(nod), "--quiet", "--json", *(f"--set={change}" for change in how)]
    port = str(port_of_ones_own())
    plain = {**os.environ, "SPEARHEAD_CACHE": str(tmp_path / "cache")}
    told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}  # as torchrun says it

    def started(home: str, **more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "ignore", "-m", "spearhead.cli", *words, "--home", str(tmp_path / home)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**plain, **more})

    def both() -> list[str]:
        pair = [started("two", RANK=rank, **told) for rank in "01"]
        said = [one.communicate(timeout=300)[0] for one in pair]
        assert [one.returncode for one in pair] == [0, 0]
        return said

    first, second = both()
    assert json.loads(first)["steps"][-1]["steps"] == 8 and second == "", "the first alone speaks"
    assert [row["step"] for row in curve(tmp_path / "two")] == list(range(1, 9))
    again, _ = both()
    assert json.loads(again)["steps"][-1]["ran"] is False, "what is done is not done again, nor waited for"
    one = Home(tmp_path / "one", tmp_path / "cache")
    drive(road.walk(read.load(nod, changes=how), home=one, until="train"), quiet=True)
    (mine,), (theirs,) = (tmp_path.glob(f"{home}/runs/nod/train-*/merged/model.safetensors") for home in ("one", "two"))
    weights, shared = load_file(mine), load_file(theirs)
    assert weights.keys() == shared.keys()
    for name, weight in weights.items():
        assert np.allclose(shared[name], weight, rtol=1e-3, atol=1e-4), name
