"""Promises of the step that judges: what it leaves out it leaves out for everyone, and says so."""

from pathlib import Path
from typing import Any

import pytest
from tests.conftest import write_pairs
from tests.road_test import SCENARIO

from spearhead.core.media import text
from spearhead.core.score import Case
from spearhead.media.text.tokens import Tokenizer
from spearhead.metrics import memorisation
from spearhead.models.pretrained import tiny
from spearhead.pipeline import judge, road, weights
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
    train, held = ([judge.case_of(one) for one in outcome.dataset.read(split)] for split in ("train", "validation"))
    made = weights.make(
        loaded, merged=nod / "base", base=None, probe=None, train=train, validation=held, folder=tmp_path
    )
    assert ("calibrate" in {progress.stage for progress in made}) is calibrates


def test_what_a_small_context_cannot_hold_is_not_asked_to_be_recited(nod: Path) -> None:
    tokenizer = Tokenizer.open(nod / "base")  # a token a byte
    words = " ".join(f"word{number}" for number in range(12))
    assert judge.recitable(words, tokenizer, room=len(words) + 9)
    assert not judge.recitable(words, tokenizer, room=len(words) - 9)
