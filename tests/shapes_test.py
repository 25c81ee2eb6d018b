"""Promises over data as people have them: what `new` makes of them trains, and a preference is really learnt."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spearhead import cli
from spearhead.core import media
from spearhead.core.errors import InputError
from spearhead.core.family import Preference, Task
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.core.template import Segment, Template
from spearhead.media.text.tokens import Tokenizer
from spearhead.models.pretrained import batch, tiny
from spearhead.models.pretrained.begin import begin
from spearhead.pipeline import judge, road
from spearhead.pipeline.outcome import Outcome
from spearhead.pipeline.show import drive
from spearhead.scenario import read
from spearhead.scenario.read import Loaded
from spearhead.service.api import asks
from spearhead.store.home import Home

PLACES = [f"{a}{b}{c}" for a in ("ba", "do", "ki", "mu") for b in ("len", "rop", "sti") for c in ("tas", "vor", "wex")]
PREFERRED, WORSE = "yes please", "oi you!!"


def user(words: str) -> dict[str, str]:
    return {"role": "user", "content": words}


def assistant(words: str) -> dict[str, str]:
    return {"role": "assistant", "content": words}


def talk(place: str) -> list[dict[str, str]]:
    """What is said before the answers about a place."""
    return [
        {"role": "system", "content": "Be polite."},
        user(f"{place} where?"),
        assistant(f"{place[::-1]} there"),
        user(f"so {place[2:]} {place}?"),
    ]


def spoken(messages: list[dict[str, str]]) -> str:
    """The same as one text."""
    names = {"user": "Human", "assistant": "Assistant"}
    return "".join(f"\n\n{names[one['role']]}: {one['content']}" for one in messages)


def binarized(place: str) -> dict[str, Any]:
    """As ultrafeedback_binarized has it."""
    chosen, rejected = ([*talk(place), assistant(answer)] for answer in (PREFERRED, WORSE))
    asked = talk(place)[-1]["content"]
    return {"prompt": asked, "chosen": chosen, "rejected": rejected, "messages": chosen, "score_chosen": 8.5}


SHAPES: dict[str, Callable[[str], dict[str, Any]]] = {
    "binarized": binarized,
    "explicit": lambda place: {
        "prompt": talk(place),
        "chosen": [assistant(PREFERRED)],
        "rejected": [assistant(WORSE)],
    },
    "dialogue": lambda place: {
        "chosen": spoken([*talk(place)[1:], assistant(PREFERRED)]),
        "rejected": spoken([*talk(place)[1:], assistant(WORSE)]),
    },
    "completion": lambda place: {"prompt": talk(place), "completion": [assistant(PREFERRED)]},
    "long": lambda place: {
        "prompt": [user(f"{place}? " * (3 if sum(map(ord, place)) % 3 else 60))],
        "completion": [assistant(PREFERRED)],
    },
    "text": lambda place: {
        "text": f"{place} where? there, {place[::-1]}, and so on to {place.upper()} by {place[2:]}."
    },
}
BASE = '[model.base]\npath = "base"\nlicence = "CC0-1.0"\ncredit = "a random model"\n'


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.speakable(tiny.write(tmp_path_factory.mktemp("base") / "base"))


def made(name: str, folder: Path, base: Path) -> Path:
    """The scenario that `new` makes over rows of this shape, on a tiny base."""
    table = folder / f"{name}.jsonl"
    table.write_text("\n".join(json.dumps(SHAPES[name](place)) for place in PLACES), encoding="utf-8")
    told = ["new", name, "--data", str(table), "--licence", "CC0-1.0", "--into", str(folder)]
    assert cli.main(told) == 0
    file = folder / name / "scenario.toml"
    text = re.sub(r"\[model\.base\]\n.*?\n\n", f"{BASE}\n", file.read_text(encoding="utf-8"), flags=re.S)
    file.write_text(text, encoding="utf-8")
    (folder / name / "base").symlink_to(base)
    return folder / name


CHANGES = (
    "data.near=1.0",
    "data.validation=0.2",
    "data.test=0.2",
    "training.batch=8",
    "training.steps=24",
    "training.learning_rate=1e-2",
    "training.track=[]",
    "model.rank=4",
    "model.alpha=8.0",
)


def walked(scenario: Path, home: Home, until: str, *more: str) -> tuple[Loaded, Outcome]:
    loaded = read.load(scenario, changes=(*CHANGES, *more))
    return loaded, drive(road.walk(loaded, home=home, until=until), quiet=True)


@pytest.mark.parametrize("name", ["binarized", "explicit", "dialogue"])
def test_a_preference_over_conversations_is_really_learnt(name: str, tmp_path: Path, home: Home, base: Path) -> None:
    loaded, outcome = walked(made(name, tmp_path, base), home, "train")
    assert loaded.scenario.training.objective == "dpo" and sum(outcome.dataset.counts().values()) == len(PLACES)
    found = outcome.steps[0].result["preference"]
    assert found["margin"] > 0.1 and found["accuracy"] == 1.0, "of pairs that are held out"
    assert (outcome.steps[0].folder / "merged" / "model.safetensors").is_file(), "it can be released"


@pytest.mark.parametrize("name", ["completion", "text"])
def test_answers_to_messages_and_texts_alone_are_learnt(name: str, tmp_path: Path, home: Home, base: Path) -> None:
    loaded, outcome = walked(made(name, tmp_path, base), home, "train")
    assert loaded.scenario.training.objective == "likelihood"
    assert sum(outcome.dataset.counts().values()) == len(PLACES)
    rows = (outcome.steps[0].folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    first, last = (json.loads(rows[at])["loss"] for at in (0, -1))
    assert last < 0.95 * first


def test_a_text_that_is_too_long_is_learnt_in_pieces_each_token_once(base: Path) -> None:
    tokenizer, template = Tokenizer.open(base), Template("plain")
    texts = ["a" * 150, "b" * 64, "c" * 63]  # a token each, and one that ends them
    pieces, left_out = batch.encode(
        [("", text) for text in texts], tokenizer=tokenizer, template=template, longest=64, cut=True
    )
    assert left_out == 0 and max(piece.units for piece in pieces) == 64
    assert sum(piece.weight for piece in pieces) == 150 + 64 + 63, "the first of a text is given"
    whole = [*tokenizer.encode(texts[0], special=False), *tokenizer.encode_segments([Segment(template.stop, True)])]
    assert [token for piece in pieces[:3] for token in piece.ids[1:]] == whole[1:]
    asked = batch.encode([("x", "a" * 150)], tokenizer=tokenizer, template=template, longest=64, cut=True)
    assert asked == ([], 1), "an answer is not cut"


def test_held_out_prompts_that_no_context_holds_are_judged_as_unanswered_and_told(
    tmp_path: Path, home: Home, base: Path
) -> None:
    short = (
        "release.layouts=['F16']",
        "evaluation.noise_cases=0",
        "evaluation.extraction_cases=0",
        "model.longest=200",
    )
    scenario = made("long", tmp_path, base)
    _, outcome = walked(scenario, home, "evaluate", *short, "generation.context=256", "generation.max_tokens=16")
    (answered,) = (done.result for done in outcome.steps if done.name == "answers")
    assert 0 < answered["unanswered"] < answered["answers"] == outcome.dataset.counts()["test"]
    told = f"{answered['unanswered']} of {answered['answers']} held-out prompts are too long for the context of 256"
    assert any(line.startswith(f"unanswered: {told}") for line in outcome.lines())
    assert outcome.judged is not None
    (bits,) = (score for score in outcome.judged.scores if score.name == "bits_per_byte")
    assert f"up to 200 tokens, {answered['unanswered']} longer left out" in bits.signature


def test_texts_too_short_to_be_continued_are_learnt_and_not_judged() -> None:
    licence = Licence("CC0-1.0", Right(7), "")
    short, long = (Record({"text": media.text(words)}, licence, "t") for words in ("two words", "w " * 20))
    (case,) = judge.cases_of([short, long, short])
    assert case.input is not None and case.input.text == "w " * 9 + "w"
    with pytest.raises(InputError, match="none of the 2 held-out texts has 8 words"):
        list(judge.cases_of([short, short]))


@pytest.mark.parametrize("name", ["binarized", "dialogue"])
def test_both_answers_stand_after_the_very_tokens_that_a_client_of_the_api_sends(
    name: str, tmp_path: Path, home: Home, base: Path
) -> None:
    loaded, outcome = walked(made(name, tmp_path, base), home, "data")
    template, tokenizer = loaded.scenario.template, Tokenizer.open(base)
    assert template.system == ("Be polite." if name == "binarized" else "")
    task = Task(
        config=loaded.scenario.family_config,
        train=lambda: outcome.dataset.read("train"),
        validation=lambda: outcome.dataset.read("validation"),
        template=template,
        foundation=base,
        home=home,
        steps=2,
        seed=0,
        preference=Preference(),
    )
    sent = set()
    for place in PLACES:
        ask = asks.chat({"model": "m", "messages": talk(place)[name == "dialogue" :]}, account="a", key="k")
        sent.add(tuple(tokenizer.encode_segments(template.turns(ask.request.messages))))
    pairs = drive(begin(task), quiet=True).examples
    assert len(pairs) == outcome.dataset.counts()["train"]
    for pair in pairs:
        for example, words in ((pair.chosen, PREFERRED), (pair.rejected, WORSE)):
            assert example.ids[: example.prompt] in sent
            assert example.ids[example.prompt : -1] == tuple(tokenizer.encode(words, special=False))
