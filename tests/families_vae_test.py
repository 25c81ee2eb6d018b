"""Autoencoder and tokenizer on the whole way of a lesson: from records through the loop to the files of a release."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spearhead.core import media
from spearhead.core.catalogue import Catalogue
from spearhead.core.family import Lesson, Task
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.core.sampler import Sampler
from spearhead.media.image import codec
from spearhead.models.tokenizer.codec import Codec
from spearhead.runtimes.onnx.graph import Graph
from spearhead.training import batches, loop
from spearhead.training.plan import Plan

PLAN = Plan(steps=12, batch=16, learning_rate=5e-3, validate_every=4, average=0.9, track=())
CASES = {
    "vae": Catalogue("spearhead.models", "FAMILY")["vae"].presets["debug"],
    "vae-hierarchical": dataclasses.replace(
        Catalogue("spearhead.models", "FAMILY")["vae"].presets["debug"], network="hierarchical", prior="vamp"
    ),
    "tokenizer": Catalogue("spearhead.models", "FAMILY")["tokenizer"].presets["debug"],
    "tokenizer-vq": dataclasses.replace(
        Catalogue("spearhead.models", "FAMILY")["tokenizer"].presets["debug"], quantiser="vq"
    ),
}


def records(count: int, *, seed: int) -> list[Record]:
    """Bright squares at the left or at the right of dark pictures."""
    rng = np.random.default_rng(seed)
    out = []
    for number in range(count):
        pixels = rng.integers(0, 30, (8, 8, 1), dtype=np.uint8)
        side, top = number % 2, int(rng.integers(0, 5))
        pixels[top : top + 3, 5 * side : 5 * side + 3] = rng.integers(200, 256)
        words = media.text("right" if side else "left")
        licence = Licence("CC0-1.0", Right.TRAIN | Right.SHARE | Right.SELL, "nobody")
        out.append(Record({"input": words, "output": codec.write(pixels)}, licence, f"made#{seed}-{number}"))
    return out


def lesson_of(name: str) -> Lesson:
    family = Catalogue("spearhead.models", "FAMILY")[name.partition("-")[0]]
    task = Task(
        config=CASES[name], train=lambda: records(64, seed=0), validation=lambda: records(16, seed=1), steps=PLAN.steps
    )
    return ended(family.begin(task))  # type: ignore[no-any-return]


def ended(steps: Any) -> Any:
    """What a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def run(lesson: Lesson, folder: Path | None = None) -> Any:
    order = batches.Batches(lesson.examples, lesson.pack, plan=PLAN, change=lesson.change)
    held = batches.held_out(lesson.held, lesson.pack, plan=PLAN)
    return loop.train(lesson.model, order, PLAN, validation=held, folder=folder)


def state(lesson: Lesson) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in lesson.model.state_dict().items()}


@pytest.mark.parametrize("name", list(CASES))
def test_a_run_that_was_cut_off_ends_with_the_bytes_of_one_that_was_not(name: str, tmp_path: Path) -> None:
    whole = lesson_of(name)
    steps = list(run(whole))
    assert steps[-1].validation is not None and steps[-1].validation < (steps[3].validation or 0)
    first = lesson_of(name)
    stream = run(first, tmp_path)
    for _ in range(7):
        next(stream)
    stream.close()
    second = lesson_of(name)
    rest = list(run(second, tmp_path))
    assert [step.number for step in rest] == [8, 9, 10, 11, 12]
    assert [step.loss for step in rest] == [step.loss for step in steps[7:]]
    assert state(second) == state(whole)


def test_an_autoencoder_leaves_a_sampler_and_shows_a_grid(tmp_path: Path) -> None:
    lesson = lesson_of("vae")
    facts = ended(lesson.finish(tmp_path))
    sampler = Sampler.from_json((tmp_path / "parts" / "sampler.json").read_text())
    assert sampler.classes == ("left", "right") and (tmp_path / "parts" / sampler.model).is_file()
    Graph.open(tmp_path / "parts", sampler, rows=4)  # the runtime takes it: it looks at inputs, shapes and numbers
    ((_, bound),) = lesson.model.eval().losses(lesson.pack(lesson.held))
    assert (
        facts["held_nll_samples"] == 100 and 0 < facts["held_nll"] < float(bound.detach()) + 3 * facts["held_nll_error"]
    )
    assert facts["graph_bytes"] > 0 and lesson.preview is not None and lesson.preview().shape == (16, 48, 1)


def test_a_tokenizer_leaves_a_codec_and_says_how_well_it_keeps_pictures(tmp_path: Path) -> None:
    lesson = lesson_of("tokenizer")
    ended(run(lesson))
    facts = ended(lesson.finish(tmp_path))
    opened = Codec.open(tmp_path / "parts")
    held = [record.parts["output"] for record in records(16, seed=1)]
    codes = opened.encode(held)
    back = np.stack([codec.read(item, channels=1) for item in opened.decode(codes)]).astype(float)
    given = np.stack([codec.read(item, channels=1) for item in held])
    assert facts["held_error"] == pytest.approx(float(np.square(back - given).mean()), rel=0.01)
    assert facts["held_used"] == len(np.unique(codes)) and facts["held_vocab"] == opened.vocab == 25
    told = {str(name): str(words) for name, words in Catalogue("spearhead.models", "FAMILY")["tokenizer"].found(facts)}
    assert told["codes in use"].startswith(f"{facts['held_used']} of 25, perplexity")
    assert lesson.preview is not None and lesson.preview().shape == (16, 64, 1)
