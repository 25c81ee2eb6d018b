"""The gpt family through the loop: it learns, the same seed gives the same bytes, a closed run ends where it would."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spearhead.core import media
from spearhead.core.errors import InputError
from spearhead.core.family import Lesson, Task
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.core.template import Template
from spearhead.models.gpt import FAMILY
from spearhead.training.batches import Batches, held_out
from spearhead.training.loop import Step, train
from spearhead.training.plan import Plan

LICENCE = Licence("CC0-1.0", Right.TRAIN | Right.SHARE | Right.SELL, "")
PLAIN = Template(style="plain", before="<|count|>", after="<|on|>", stop="<|end|>")
PLAN = Plan(steps=60, batch=16, optimiser="muon", learning_rate=0.01, average=0.9, validate_every=20, save_every=100,
            precision="fp32")  # fmt: skip
DIGITS = "0123456789"


def record(**parts: str) -> Record:
    return Record({name: media.text(text) for name, text in parts.items()}, LICENCE, "made:here")


def pairs(start: int, count: int) -> list[Record]:
    """A digit, and the three that follow it round the clock."""
    rng = np.random.default_rng(start)
    first = [int(rng.integers(10)) for _ in range(count)]
    return [record(input=DIGITS[i], output=(DIGITS * 2)[i + 1 : i + 4]) for i in first]


def texts(start: int, count: int) -> list[Record]:
    return [record(text=(DIGITS * 9)[(start + i) % 10 :][:70]) for i in range(count)]


def task(made: Callable[[int, int], list[Record]], **more: Any) -> Task:
    return Task(config=FAMILY.presets["debug"], train=lambda: made(0, 64), validation=lambda: made(7, 8),
                template=PLAIN, **more)  # fmt: skip


def begun(of: Task) -> Lesson:
    lesson = result(FAMILY.begin(of))
    assert isinstance(lesson, Lesson)
    return lesson


def result(steps: Generator[Any, None, Any]) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def learn(lesson: Lesson, plan: Plan = PLAN, *, folder: Path | None = None) -> list[Step]:
    order = Batches(lesson.examples, lesson.pack, plan=plan, change=lesson.change)
    held = held_out(lesson.held, lesson.pack, plan=plan)
    return list(train(lesson.model, order, plan, validation=held, folder=folder))


def test_its_preview_is_what_it_answers_to_the_first_held_out_prompt() -> None:
    lesson = begun(task(pairs, seed=5))
    learn(lesson)
    state = torch.get_rng_state()
    assert lesson.preview is not None
    asked, *answers = lesson.preview().split("\n\n")
    assert asked == pairs(7, 8)[0].parts["input"].text, "the markers around it are not shown"
    wanted = pairs(7, 8)[0].parts["output"].text
    assert answers == [wanted] * 3, "without what comes after the stop"
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("made", [pairs, texts])
def test_the_debug_preset_learns_and_one_seed_gives_one_set_of_bytes(
    made: Callable[[int, int], list[Record]], tmp_path: Path
) -> None:
    weights = []
    for run in range(2):
        lesson = begun(task(made, seed=5))
        steps = learn(lesson)
        assert steps[-1].validation is not None and steps[-1].validation < 0.3 < steps[0].loss
        result(lesson.finish(tmp_path / str(run)))
        weights.append((tmp_path / str(run) / "merged" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    other = begun(task(made, seed=6))
    assert not all(torch.equal(a, b) for a, b in zip(other.model.parameters(), lesson.model.parameters(), strict=True))


def test_a_run_that_was_closed_ends_bit_for_bit_where_it_would_have_ended(tmp_path: Path) -> None:
    calm, closed = begun(task(texts)), begun(task(texts))
    learn(calm, folder=tmp_path / "calm")
    order = Batches(closed.examples, closed.pack, plan=PLAN, change=closed.change)
    held = held_out(closed.held, closed.pack, plan=PLAN)
    stream = train(closed.model, order, PLAN, validation=held, folder=tmp_path / "closed")
    for _ in range(33):
        next(stream)
    stream.close()
    again = begun(task(texts))
    assert learn(again, folder=tmp_path / "closed")[0].number == 34
    for name in ("weights", "average", "optimiser", "memory", "best"):
        one, other = (tmp_path / run / "step-00000060" / f"{name}.safetensors" for run in ("calm", "closed"))
        assert one.read_bytes() == other.read_bytes(), name


def test_an_input_is_changed_each_time_and_its_answer_never() -> None:
    lesson = begun(task(pairs, augment=lambda text, rng: text + str(rng.integers(10))))
    assert lesson.change is not None
    made = [lesson.change(3, np.random.default_rng(seed)) for seed in range(8)]
    assert len({example.ids.tobytes() for example in made}) > 2
    assert {example.ids[example.prompt :].tobytes() for example in made} == {
        lesson.examples[3].ids[lesson.examples[3].prompt :].tobytes()
    }


@pytest.mark.parametrize(
    ("records", "validation", "why"),
    [
        ([], [], "every one was refused, or the source is empty"),
        ([record(text="a"), record(input="a", output="b")], [], "the records are mixed"),
        ([record(input="a", output="b" * 99)], [record(input="a", output="b")], "1 are too long"),
        ([record(text="abc")], [], "no record is held out"),
    ],
)
def test_data_that_cannot_be_learnt_is_refused_in_a_sentence(
    records: list[Record], validation: list[Record], why: str
) -> None:
    config = FAMILY.presets["debug"]
    with pytest.raises(InputError, match=why):
        begun(Task(config=config, train=lambda: records, validation=lambda: validation, template=PLAIN))


def test_what_only_a_pretrained_model_knows_is_refused() -> None:
    for more in ({"noise": 5.0}, {"adversarial": "freelb"}):
        with pytest.raises(InputError, match="a gpt has model.dropout instead"):
            begun(task(pairs, **more))


def test_augmentation_of_records_that_have_no_input_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"training\.augment changes the input of a pair, and these records are each a"
    ):
        begun(task(texts, augment=lambda words, rng: words))
