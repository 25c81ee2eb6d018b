"""What every family under `models/` keeps when it learns, unedited: its debug preset learns, one seed gives one set of
bytes, a run that was broken off ends as one that was not, and what is exported is what was trained."""

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spearhead.core.catalogue import Catalogue
from spearhead.core.family import Family, Lesson, Task
from spearhead.core.media import text
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.core.sampler import Sampler
from spearhead.core.template import Template
from spearhead.media.image.codec import write
from spearhead.models.pretrained import tiny
from spearhead.store.home import Home
from spearhead.training.batches import Batches, held_out
from spearhead.training.loop import Trained, train
from spearhead.training.plan import Plan

FAMILIES = Catalogue("spearhead.models", "FAMILY")
LICENCE = Licence("CC0-1.0", Right.TRAIN, "")
STEPS, CUT = 64, 41
PLAN = Plan(
    steps=STEPS, batch=16, learning_rate=4e-3, average=0.8, validate_every=16, save_every=10, clip=0.0, precision="fp32"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a family that learns from something stands on."""
    return tiny.write(tmp_path_factory.mktemp("base") / "llama")


def records(modality: str, count: int, *, seed: int) -> list[Record]:
    """Light bars on dark grey, lying or upright; of text a digit and the three that follow it."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        at = int(rng.integers(1, 7))
        if modality == "text":
            parts = {"input": text(str(at)), "output": text("".join(str((at + i) % 10) for i in (1, 2, 3)))}
        else:
            block = rng.integers(20, 60, (8, 8, 1)).astype(np.uint8)
            (block[at] if number % 2 else block[:, at])[...] = 230
            parts = {"input": text("lying" if number % 2 else "upright"), "output": write(block)}
        found.append(Record(parts, LICENCE, "made:here"))
    return found


def result(steps: Any) -> Any:
    """What a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def begun(name: str, base: Path, home: Home) -> Lesson:
    family: Family = FAMILIES[name]
    config = family.presets["debug"]
    if hasattr(config, "base"):
        config = dataclasses.replace(config, base=dataclasses.replace(config.base, path=str(base)))
    task = Task(
        config=config,
        train=lambda: records(family.modality, 64, seed=0),
        validation=lambda: records(family.modality, 32, seed=1),
        template=Template(style="plain", after=":", stop="<|im_end|>"),
        foundation=result(family.foundation(config, base, home)),
        home=home,
        steps=STEPS,
        seed=3,
    )
    lesson = result(family.begin(task))
    assert isinstance(lesson, Lesson)
    return lesson


def run(lesson: Lesson, folder: Path | None = None) -> Any:
    order = Batches(lesson.examples, lesson.pack, plan=PLAN, change=lesson.change)
    return train(lesson.model, order, PLAN, validation=held_out(lesson.held, lesson.pack, plan=PLAN), folder=folder)


def judged(lesson: Lesson) -> float:
    """The held-out loss of the model as it is."""
    was = lesson.model.training
    lesson.model.eval()
    with torch.no_grad():
        _, loss = next(iter(lesson.model.losses(lesson.pack(lesson.held))))
    lesson.model.train(was)
    return float(loss)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@dataclass(frozen=True, slots=True)
class Learnt:
    before: float
    lesson: Lesson
    trained: Trained
    facts: dict[str, Any]
    left: Path
    again: Path
    """What a second run left that was broken off on the way."""


@pytest.fixture(scope="module", params=list(FAMILIES))
def learnt(request: pytest.FixtureRequest, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    name, place = request.param, tmp_path_factory.mktemp("family")
    home = Home(root=place / "home", cache=place / "cache")
    whole = begun(name, base, home)
    before = judged(whole)
    trained = result(run(whole))
    cut = run(begun(name, base, home), place / "checkpoint")
    for _ in range(CUT):
        next(cut)
    cut.close()
    resumed = begun(name, base, home)
    rest = list(run(resumed, place / "checkpoint"))
    assert [step.number for step in rest] == list(range(CUT + 1, STEPS + 1))
    for folder in ("left", "again"):
        (place / folder).mkdir()
    facts = result(whole.finish(place / "left")) or {}
    result(resumed.finish(place / "again"))
    return Learnt(before, whole, trained, facts, place / "left", place / "again")


def test_the_debug_preset_learns(learnt: Learnt) -> None:
    assert learnt.trained.steps == STEPS
    assert learnt.trained.best_loss < 0.95 * learnt.before
    assert judged(learnt.lesson) == pytest.approx(learnt.trained.best_loss, rel=1e-4), "the best weights are in it"


def test_one_seed_gives_one_set_of_bytes_though_the_second_run_was_broken_off(learnt: Learnt) -> None:
    ours, theirs = files(learnt.left), files(learnt.again)
    assert ours and ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_what_is_exported_is_what_was_trained(learnt: Learnt) -> None:
    if (learnt.left / "probe.npz").is_file():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from transformers import AutoModelForCausalLM

            other = AutoModelForCausalLM.from_pretrained(learnt.left / "merged", dtype=torch.float32).eval()
        probe = np.load(learnt.left / "probe.npz")
        for prefix, wanted in zip(probe["prefixes"], probe["logprobs"], strict=True):
            with torch.no_grad():
                said = other(torch.from_numpy(prefix[prefix >= 0])[None]).logits[0, -1].log_softmax(-1)
            assert float(np.abs(said.numpy() - wanted).max()) < 1e-3
        return
    assert 0 <= learnt.facts["difference"] <= 1e-4
    parts = learnt.left / "parts"
    if not (parts / "sampler.json").is_file():
        return  # a codec, not a maker
    sampler = Sampler.read(parts / "sampler.json")
    if sampler.kind != "oneshot":
        return  # of one that takes several steps the graph is one of them
    import onnxruntime  # type: ignore[import-untyped,unused-ignore]

    labels = torch.arange(6) % len(sampler.classes)
    noise = torch.randn(6, *sampler.noise, generator=torch.Generator().manual_seed(5))
    session = onnxruntime.InferenceSession(str(parts / sampler.model), providers=["CPUExecutionProvider"])
    (pixels,) = session.run(["pixels"], {"noise": noise.numpy(), "label": labels.numpy()})
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        *_, drawn = learnt.lesson.model.sample(labels, 6, rng=rng, options={"truncation": 1.0})
    assert float(np.abs(pixels - (drawn.numpy() + 1) / 2).max()) <= 1e-4
