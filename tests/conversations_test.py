"""Promises over conversations: what training sees is what the API sends, and what a template would drop is refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.road_test import SCENARIO

from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.family import Task
from spearhead.core.media import text
from spearhead.core.score import Case
from spearhead.media.text.tokens import Tokenizer
from spearhead.metrics import baselines, evaluate
from spearhead.models.pretrained import tiny
from spearhead.models.pretrained.begin import begin
from spearhead.models.pretrained.config import Base, Config
from spearhead.pipeline import judge, road
from spearhead.pipeline.elsewhere import elsewhere
from spearhead.pipeline.outcome import Outcome
from spearhead.pipeline.show import drive
from spearhead.scenario import read
from spearhead.service.api import asks
from spearhead.store.home import Home

SYSTEM = {"role": "system", "content": "Be short."}
PLACES = [f"{a}{b}{c}" for a in ("ba", "do", "ki", "mu") for b in ("len", "rop", "sti") for c in ("tas", "vor", "wex")]


def said(place: str) -> list[dict[str, str]]:
    """A conversation of two exchanges that no other place's nearly repeats."""
    words = (f"{place} where?", f"{place[::-1]} there", f"{place.upper()} why {place[1:]}?", f"so {place[2:]} {place}")
    return [SYSTEM, *({"role": ("user", "assistant")[n % 2], "content": one} for n, one in enumerate(words))]


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario over conversations, and a random model over bytes."""
    folder = tmp_path_factory.mktemp("talks") / "talks"
    folder.mkdir()
    rows = [json.dumps({"messages": said(place)}) for place in PLACES]
    (folder / "talks.jsonl").write_text("\n".join(rows), encoding="utf-8")
    tiny.speakable(tiny.write(folder / "base"))
    scenario = SCENARIO.replace('path = "pairs.csv"', 'path = "talks.jsonl"\ncolumns = { messages = "messages" }')
    scenario = scenario.replace('style = "plain"\nafter = ">"', 'style = "chat"\nsystem = "Be short."')
    (folder / "scenario.toml").write_text(scenario, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def outcome(talks: Path, home: Home) -> Outcome:
    return drive(road.walk(read.load(talks), home=home, until="data"), quiet=True)


def lesson(talks: Path, home: Home, outcome: Outcome, **changes: Any) -> Any:
    config = Config(base=Base("CC0-1.0", "", path="base"), method="lora", rank=4, **changes)
    task = Task(
        config=config,
        train=lambda: outcome.dataset.read("train"),
        validation=lambda: outcome.dataset.read("validation"),
        template=read.load(talks).scenario.template,
        foundation=talks / "base",
        home=home,
        steps=2,
        seed=0,
    )
    return drive(begin(task), quiet=True)


def test_every_answer_is_learnt_after_the_very_tokens_that_a_client_of_the_api_sends(
    talks: Path, home: Home, outcome: Outcome
) -> None:
    template, tokenizer = read.load(talks).scenario.template, Tokenizer.open(talks / "base")
    sent = set()
    for place in PLACES:
        messages = said(place)
        for end in (2, 4):
            for begins in (0, 1):  # a client may leave the template's own system message out
                body = {"model": "talks", "messages": messages[begins:end]}
                ask = asks.chat(body, account="a", key="k")
                prompt = tokenizer.encode_segments(template.turns(ask.request.messages))
                answer = tokenizer.encode(messages[end]["content"], special=False)
                sent.add((tuple(prompt), tuple(answer)))
    assert len(sent) == 2 * len(PLACES), "with and without it they are the same tokens"
    examples = lesson(talks, home, outcome).examples
    learnt = {(one.ids[: one.prompt], one.ids[one.prompt : -1]) for one in examples}
    assert learnt <= sent and len(learnt) == outcome.dataset.counts()["train"] > len(PLACES)


def test_held_out_answers_are_asked_for_and_judged_with_all_that_was_said(
    talks: Path, home: Home, outcome: Outcome
) -> None:
    scenario, cases = read.load(talks).scenario, judge.tested(outcome.dataset)
    later = [case for case in cases if len(case.before) > 1]
    assert later
    for case, prompt in zip(later, judge.prompts(scenario, later), strict=True):
        assert case.input is not None and case.source is not None
        assert list(prompt.segments) == scenario.template.turns(
            [*case.before, {"role": "user", "content": case.input.text}]
        )
        assert case.source.text == "\n".join([*(one["content"] for one in case.before), case.input.text])
    bare = [dataclasses.replace(case, before=()) for case in later]
    metric = Catalogue("spearhead.metrics", "METRIC")["chrf"]
    (one,), (other,) = (evaluate.evaluate(some, [metric], seed=0, draws=100) for some in (later, bare))
    assert one.signature != other.signature, "they were not asked the same"


def test_trivial_answers_look_at_what_was_said_before() -> None:
    before = ({"role": "user", "content": "the lamp"}, {"role": "assistant", "content": "which"})
    case = Case(text("how much?"), text(""), text("five"), before)
    pairs = [("the kettle\nwhich\nhow much?", "nine"), ("the lamp\nwhich\nhow much?", "five")]
    assert baselines.nearest(pairs, [case])[0].output.text == "five"
    assert baselines.copy([case])[0].output.text == "how much?"
    truth = Catalogue("spearhead.metrics", "METRIC")["truthfulness"]
    named = [dataclasses.replace(case, output=text("It is 7 then."), before=({"role": "user", "content": "7 lamps"},))]
    assert (
        truth.statistics(named)[0, 0] == 1 and truth.statistics([dataclasses.replace(named[0], before=())])[0, 0] == 0
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ('template.style="plain"', "template.style"),
        ('evaluation.base_template={style="plain"}', "evaluation.base_templ"),
    ],
)
def test_a_template_that_would_drop_what_was_said_before_is_refused_before_training(
    talks: Path, home: Home, change: str, named: str
) -> None:
    with pytest.raises(
        InputError, match=f"{named}.* is 'plain', .* and 72 of 72 records have others before it: wanted"
    ):
        drive(road.walk(read.load(talks, changes=(change,)), home=home, until="train"), quiet=True)


def test_an_endpoint_that_would_hear_the_last_message_alone_is_not_asked(talks: Path, home: Home) -> None:
    with pytest.raises(InputError, match="--endpoint: an endpoint is asked in one message, and 72 records"):
        drive(elsewhere(read.load(talks), home=home, release="", endpoint="http://127.0.0.1:9/v1"), quiet=True)


def test_the_longest_pair_is_the_scenarios_to_set_and_what_is_left_out_is_counted(
    talks: Path, home: Home, outcome: Outcome
) -> None:
    usual = lesson(talks, home, outcome)
    assert (usual.facts["longest"], usual.facts["too_long"]) == (1024, 0)
    length = min(one.units for one in usual.examples)
    short = lesson(talks, home, outcome, longest=length)
    assert short.facts["longest"] == length and max(one.units for one in short.examples) == length
    assert short.facts["too_long"] == len(usual.examples) - len(short.examples) > 0
    with pytest.raises(InputError, match="have more than 64 tokens with the template, .* raise model.longest"):
        lesson(talks, home, outcome, longest=64)
    with pytest.raises(InputError, match="model.longest is 2,000: the base model knows 256 positions"):
        lesson(talks, home, outcome, longest=2000)


@pytest.mark.parametrize("value", ["63", "2000000", "1024.0"])
def test_a_longest_pair_that_cannot_be_is_refused_by_its_key(talks: Path, value: str) -> None:
    with pytest.raises(InputError, match="model.longest"):
        read.load(talks, changes=(f"model.longest={value}",))
