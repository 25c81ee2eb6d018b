"""The step of the road that learns, whatever the family: its lesson through the one loop, watched and written down."""

import functools
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spearhead.core import digest, money
from spearhead.core.family import Family, Lesson, Preference, Task
from spearhead.core.files import write_whole
from spearhead.core.generation import Progress, Prompt
from spearhead.data import canaries
from spearhead.data.dataset import Dataset
from spearhead.pipeline.answers import Written, line
from spearhead.scenario.read import Loaded
from spearhead.store.home import Home
from spearhead.training.plan import Plan

if TYPE_CHECKING:
    from spearhead.training.estimate import Estimate


Watch = Callable[[int, float], None]


def foundation(loaded: Loaded, home: Home) -> Generator[Progress, None, Path | None]:
    """What the model stands on, fetched once and kept by its hash; None when it learns from nothing."""
    scenario = loaded.scenario
    family: Family = scenario.family
    return (yield from family.foundation(scenario.family_config, loaded.folder, home))


def key(path: Path | None) -> str:
    """What names a foundation: the hash of its file, or of every file of its folder."""
    if path is None:
        return ""
    if path.is_file():
        return digest.of_file(path)
    return digest.of_value(
        {str(p.relative_to(path)): digest.of_file(p) for p in sorted(path.rglob("*")) if p.is_file()}
    )


def train(
    loaded: Loaded,
    home: Home,
    dataset: Dataset,
    *,
    base: Path | None,
    folder: Path,
    asked: Sequence[Prompt],
    watch: Watch | None = None,
) -> Generator[Progress, None, dict[str, Any]]:
    """Learn from the data; leaves what the family's `finish` writes, `curve.jsonl` and tracking files in `folder`.

    Goes on from its last checkpoint when it is called again over the same folder. A model that no runtime serves
    answers the held-out prompts `asked` here and now, into `answers.jsonl`. `watch(step number, validation loss)` is
    called at each validation and may raise to end the run. Of several processes the first alone writes.
    """
    from spearhead.training import batches, checkpoint, devices, estimate, launch, loop, processes, tracking

    scenario, plan = loaded.scenario, loaded.scenario.training
    if scenario.family.untrained(scenario.family_config):
        return {"examples": 0, "too_long": 0, "steps": 0, "loss": None, "trained": False}
    task = Task(
        config=scenario.family_config,
        train=lambda: canaries.learnt(scenario.data, dataset),
        validation=lambda: dataset.read("validation"),
        template=scenario.template,
        foundation=base,
        home=home,
        steps=plan.steps,
        seed=plan.seed,
        device=str(devices.choose(plan.device)),
        noise=plan.embedding_noise,
        adversarial=plan.adversarial,
        adversarial_size=plan.adversarial_size,
        augment=_augmenting(scenario.scenario.modality, plan),
        preference=Preference(plan.beta, plan.label_smoothing, plan.sft) if plan.objective == "dpo" else None,
    )
    lesson: Lesson = yield from scenario.family.begin(task)
    order = batches.Batches(
        lesson.examples,
        lesson.pack,
        plan=plan,
        change=lesson.change,
        rank=launch.rank() if processes.together() else 0,
        world=launch.world() if processes.together() else 1,
    )
    validation = batches.held_out(lesson.held, lesson.pack, plan=plan)
    hour = money.parse(scenario.economics.machine_hour)
    forecast = estimate.estimate(lesson.model, order, plan, validation=validation, hour=hour)
    foretold = _forecast(forecast, plan, scenario.price.currency)
    yield Progress("forecast", 1, 1, foretold)
    unit = scenario.unit
    kept = checkpoint.read(folder / "checkpoint")
    run = loop.train(lesson.model, order, plan, validation=validation, folder=folder / "checkpoint")
    if not processes.first():
        for _ in run:
            yield Progress("training", 0, 1)
        return {}
    _cut(folder / "curve.jsonl", kept.step if kept else 0)
    with (
        tracking.track(plan.track, folder / "tracking", name=scenario.name) as note,
        (folder / "curve.jsonl").open("a", encoding="utf-8") as out,
    ):
        while True:
            try:
                step = next(run)
            except StopIteration as end:
                done = end.value
                break
            row = {
                "step": step.number,
                "loss": step.loss,
                "validation": step.validation,
                "rate": step.rate,
                "seconds": step.elapsed,
                "speed": step.speed,
                **step.figures,
            }
            out.write(json.dumps(row) + "\n")
            out.flush()
            seen = _undisturbed(lesson.preview) if step.validation is not None and lesson.preview is not None else None
            note(step, seen)
            if watch is not None and step.validation is not None:
                watch(step.number, step.validation)
            if seen is not None:
                _keep(seen, folder / "previews" / f"{step.number:08d}")
            shown = f"loss {step.loss:.3f}, {step.units / max(step.seconds, 1e-9):.0f} {unit}s/s"
            if "margin" in step.figures:
                shown += f", margin {step.figures['margin']:.3f}, accuracy {step.figures['accuracy']:.0%}"
            yield Progress("training", step.progress, 1.0, shown)
    facts = yield from lesson.finish(folder)
    if lesson.answer is not None:
        yield from _answers(lesson.answer, asked, file=folder / "answers.jsonl")
    return {
        **lesson.facts,
        **(facts or {}),
        "canaries": canaries.copies(scenario.data),
        "forecast": {
            "seconds": forecast.seconds,
            "memory": forecast.memory,
            "cost": forecast.cost,
            "words": foretold,
        },
        "trained": True,
        "steps": done.steps,
        "ended": done.ended,
        "best_step": done.best_step,
        "loss": done.best_loss,
        "units": done.units,
        "seconds": done.seconds,
        "units_per_second": done.speed,
    }


def _augmenting(modality: str, plan: Plan) -> Callable[[Any, np.random.Generator], Any] | None:
    """What changes a training input each time it is seen, or None; outputs of text are never touched."""
    if not plan.augment:
        return None
    if modality == "image":
        from spearhead.media.image import change

        return functools.partial(_changed, change.augment, dict(plan.augment))
    from spearhead.data import augment

    return functools.partial(_changed, augment.augment, dict(plan.augment))


def _changed(way: Callable[..., Any], shares: dict[str, float], given: Any, rng: np.random.Generator) -> Any:
    return way(given, shares, rng=rng)


def _cut(curve: Path, step: int) -> None:
    """Leave the rows up to the checkpoint's step: later ones are taken again, and a kill leaves half a line."""
    kept = []
    for row in curve.read_text(encoding="utf-8").splitlines() if curve.is_file() else ():
        try:
            if json.loads(row)["step"] <= step:
                kept.append(row + "\n")
        except (ValueError, TypeError, KeyError):
            continue
    write_whole(curve, "".join(kept))


def _undisturbed(draw: Callable[[], Any]) -> Any:
    """Samples of the model as it is; drawing them leaves training's random state as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        return draw()


def _keep(seen: Any, file: Path) -> None:
    """Samples as a file beside the curve, a text or a picture."""
    if isinstance(seen, str):
        write_whole(file.with_suffix(".txt"), seen)
        return
    from spearhead.media.image.codec import write

    write_whole(file.with_suffix(".png"), write(seen, mime="image/png").data)


def _answers(
    answer: Callable[[Sequence[Prompt]], Iterator[tuple[int, str, int, int]]], asked: Sequence[Prompt], *, file: Path
) -> Generator[Progress, None, None]:
    """What the model in memory answers to each prompt."""
    rows = []
    for index, text, prompt_units, units in answer(asked):
        rows.append(Written(index, text, prompt_units, units))
        yield Progress("answers", len(rows), len(asked), unit="answers")
    write_whole(file, "".join(line(row) for row in rows))


def _forecast(found: "Estimate", plan: Plan, currency: str) -> str:
    minutes, gib = found.seconds / 60, found.memory / 2**30
    steps = f"{found.steps:,} steps of {plan.batch:,}, learning rate {plan.learning_rate:g}"
    return f"{steps}: about {minutes:.1f} min, {gib:.1f} GiB, {money.show(found.cost, places=4)} {currency}"
