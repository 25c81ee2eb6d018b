"""The flow family on the road: it learns in the loop, goes on bit for bit, and its release makes torch's pictures."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from spearhead.core.catalogue import Catalogue
from spearhead.core.family import Family, Lesson, Task
from spearhead.core.generation import Draft, Prompt
from spearhead.core.media import text
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.core.template import Segment
from spearhead.media.image import codec
from spearhead.models.flow.solve import guided, solve
from spearhead.runtimes.onnx import Onnx, Settings
from spearhead.training.batches import Batches, held_out
from spearhead.training.loop import Step, Trained, train
from spearhead.training.plan import Plan

FLOW: Family = Catalogue("spearhead.models", "FAMILY")["flow"]
NAMES = ("left", "right", "top")
PLAN = Plan(
    steps=110,
    batch=48,
    learning_rate=1e-3,
    average=0.95,
    validate_every=35,
    save_every=0,
    precision="fp32",
    device="cpu",
)


def picture(name: str, rng: np.random.Generator) -> Any:
    """The half of this name is bright, the other dark, both a little uneven: (8, 8, 1) uint8."""
    block = np.full((8, 8), 60.0)
    rows, columns = {"left": (8, slice(4)), "right": (8, slice(4, 8)), "top": (4, slice(8))}[name]
    block[:rows, columns] = 200
    return (block + rng.normal(0, 12, block.shape)).clip(0, 255).astype(np.uint8)[..., None]


def records(count: int, *, seed: int) -> list[Record]:
    rng = np.random.default_rng(seed)
    licence = Licence("CC0-1.0", Right.TRAIN | Right.SHARE | Right.SELL, "")
    names = [NAMES[n % len(NAMES)] for n in range(count)]
    return [
        Record({"input": text(name), "output": codec.write(picture(name, rng))}, licence, f"test:{n}")
        for n, name in enumerate(names)
    ]


def lesson(**changes: Any) -> Lesson:
    config = replace(FLOW.presets["debug"], **changes)
    task = Task(config, lambda: records(240, seed=0), lambda: records(48, seed=1), steps=PLAN.steps, seed=3)
    begun = FLOW.begin(task)
    while True:
        try:
            next(begun)
        except StopIteration as end:
            found: Lesson = end.value
            return found


def learn(given: Lesson, plan: Plan, folder: Path | None = None) -> Iterator[Step | Trained]:
    batches = Batches(given.examples, given.pack, plan=plan)
    validation = held_out(given.held, given.pack, plan=plan)
    yield (yield from train(given.model, batches, plan, validation=validation, folder=folder))


def finish(given: Lesson, folder: Path) -> Path:
    for _ in given.finish(folder):
        pass
    return folder / "parts"


@dataclass(frozen=True, slots=True)
class Learnt:
    lesson: Lesson
    steps: list[Step]
    parts: Path


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    given = lesson()
    *steps, _ = learn(given, PLAN)
    kept = [step for step in steps if isinstance(step, Step)]
    return Learnt(given, kept, finish(given, tmp_path_factory.mktemp("flow")))


def drawn(parts: Path, prompts: list[Prompt]) -> list[list[Draft]]:
    async def main() -> list[list[Draft]]:
        async def answer(runtime: Onnx, prompt: Prompt) -> list[Draft]:
            return sorted([draft async for draft in runtime.generate(prompt)], key=lambda draft: draft.index)

        async with await Onnx.start(parts, settings=Settings(threads=1)) as runtime:
            return list(await asyncio.gather(*(answer(runtime, prompt) for prompt in prompts)))

    return asyncio.run(main())


def ask(name: str, **more: Any) -> Prompt:
    return Prompt((Segment(name, False),), **more)


def pixels(draft: Draft) -> Any:
    assert draft.media is not None
    return codec.read(draft.media, channels=1).astype(float)


def test_it_learns_to_draw_what_is_asked_for(learnt: Learnt) -> None:
    losses = [step.validation for step in learnt.steps if step.validation is not None]
    assert len(losses) == 4 and losses[-1] == min(losses) and losses[-1] < 0.8 * losses[0]
    rng = np.random.default_rng(5)
    middles = {name: np.mean([picture(name, rng) for _ in range(50)], axis=0) for name in NAMES}
    answers = drawn(learnt.parts, [ask(name, count=20, seed=1) for name in NAMES])
    for name, drafts in zip(NAMES, answers, strict=True):
        nearest = [min(NAMES, key=lambda n: float(np.abs(pixels(draft) - middles[n]).mean())) for draft in drafts]
        assert nearest.count(name) >= 19, (name, nearest)
        assert float(np.abs(np.mean([pixels(draft) for draft in drafts], axis=0) - middles[name]).mean()) < 20


def test_the_release_makes_the_pictures_that_torch_makes(learnt: Learnt) -> None:
    model, config = learnt.lesson.model, FLOW.presets["debug"]
    ((draft,),) = drawn(learnt.parts, [ask("right", seed=11)])
    noise = np.random.Generator(np.random.Philox(11)).standard_normal((1, 8, 8), dtype=np.float32)
    field = guided(model._field, torch.tensor([NAMES.index("right")]), none=len(NAMES), guidance=config.guidance)
    with torch.no_grad():
        *_, (x, _) = solve(field, torch.from_numpy(noise)[None], steps=config.steps, solver=config.solver)
    wanted = (x[0].clamp(-1, 1) + 1).mul(127.5).permute(1, 2, 0).numpy()
    assert float(np.abs(pixels(draft) - wanted).max()) <= 0.6  # rounded to whole numbers


def test_a_release_that_leaps_makes_torchs_pictures_in_two_steps(tmp_path: Path) -> None:
    given = lesson(leaps=0.4, steps=2, solver="euler", guidance=1.0)
    list(learn(given, replace(PLAN, steps=20)))
    ((draft,),) = drawn(finish(given, tmp_path), [ask("right", seed=11)])
    noise = np.random.Generator(np.random.Philox(11)).standard_normal((1, 8, 8), dtype=np.float32)
    label = torch.tensor([NAMES.index("right")])
    x = torch.from_numpy(noise)[None]
    with torch.no_grad():
        for time in (0.0, 0.5):
            x = x + given.model.velocity(x, torch.tensor([time]), label, torch.tensor([0.5])) / 2
    wanted = (x[0].clamp(-1, 1) + 1).mul(127.5).permute(1, 2, 0).numpy()
    assert float(np.abs(pixels(draft) - wanted).max()) <= 0.6  # rounded to whole numbers


def test_the_released_model_gives_the_same_bytes_for_the_same_seed(learnt: Learnt) -> None:
    alone = [drawn(learnt.parts, [ask("top", seed=seed)])[0][0].media for seed in (4, 5)]
    crowd = drawn(learnt.parts, [ask("left", count=13, seed=100), ask("top", count=2, seed=4), ask("right", count=3)])
    assert [draft.media for draft in crowd[1]] == alone and alone[0] != alone[1]


@pytest.mark.parametrize("network", ["unet", "dit"])
def test_a_run_that_was_broken_off_ends_bit_for_bit_where_it_would_have(network: str, tmp_path: Path) -> None:
    plan = replace(PLAN, steps=8, batch=12, average=0.9, validate_every=3, save_every=2)

    def end(folder: Path) -> dict[str, torch.Tensor]:
        (last,) = folder.glob("step-*")
        files = ("weights", "average", "optimiser", "best", "memory")
        return {
            f"{name}/{key}": value for name in files for key, value in load_file(last / f"{name}.safetensors").items()
        }

    calm, broken = tmp_path / "calm", tmp_path / "broken"
    *_, whole = learn(lesson(network=network), plan, calm)
    running = learn(lesson(network=network), plan, broken)
    for _ in range(5):
        next(running)
    running.close()  # type: ignore[attr-defined]
    torch.manual_seed(99)
    *rest, again = learn(lesson(network=network), plan, broken)
    assert len(rest) == 3 and isinstance(whole, Trained) and isinstance(again, Trained)
    assert (again.steps, again.best_step, again.best_loss) == (whole.steps, whole.best_step, whole.best_loss)
    ours, theirs = end(calm), end(broken)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_same_seed_trains_the_same_weights_and_the_preview_leaves_them_alone() -> None:
    plan = replace(PLAN, steps=4, batch=12, validate_every=2)
    first, second = lesson(), lesson()
    list(learn(first, plan))
    assert second.preview is not None
    for number, _ in enumerate(learn(second, plan)):
        if number == 1:
            seen = second.preview()
            assert seen.shape == (24, 48, 1) and seen.dtype == np.uint8, "a row for each of three classes"
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))
