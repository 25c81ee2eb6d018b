"""The road of pictures from a trained model to a judged one: ONNX graphs, held-out answers, scores beside baselines."""

import dataclasses
import json
import re
import shutil
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spearhead.core import files
from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.generation import Progress, Prompt
from spearhead.core.manifest import Layout
from spearhead.core.media import Media
from spearhead.core.record import Record
from spearhead.core.sampler import Sampler
from spearhead.core.score import Case
from spearhead.core.sentence import Sentence, said
from spearhead.data import pictures as data_pictures
from spearhead.data.dataset import Dataset
from spearhead.index.pictures import PictureIndex, Pixels
from spearhead.metrics import evaluate as scoring
from spearhead.metrics import nearest, picture_baselines, pictures
from spearhead.metrics.nearest import Shown
from spearhead.metrics.picture_baselines import Pool
from spearhead.metrics.setting import Setting
from spearhead.pipeline.judge import SEED, Judged, keep_scores, kept_scores
from spearhead.pipeline.outcome import Made, Outcome
from spearhead.pipeline.steps import Done, step
from spearhead.release import options
from spearhead.runtimes.batch import Answer, Runtime, streamed
from spearhead.runtimes.onnx import Onnx, Settings
from spearhead.scenario.read import Loaded
from spearhead.scenario.schema import Scenario
from spearhead.store.home import Home

Walk = Generator[Progress, None, Any]
CLIENTS = 16
"""Requests at once when speed is measured."""
TIMED = 64
"""Pictures that are timed."""


def asked(loaded: Loaded, dataset: Dataset) -> list[Prompt]:
    """What a model answers that no runtime serves: a picture's comes from a runtime alone, so nothing."""
    return []


def judgeable(loaded: Loaded, dataset: Dataset) -> None:
    """Refuse before an hour of training what no metric could measure after it."""
    if why := loaded.scenario.family.unservable(loaded.scenario.family_config):
        raise InputError(f"{why}; `spearhead train` trains it and tells its own figures")
    if dataset.counts()["test"] < 2:
        raise InputError(
            "the test split holds 1 picture: wanted two to measure against; give more pictures, or raise data.test"
        )
    held: dict[str, str] = {}
    for split in ("validation", "test", "train"):
        for record in dataset.read(split):
            if data_pictures.of(record) is None:
                raise InputError(
                    f'{record.source} holds words and no picture: set reader = "picture" in its [[data.sources]], so '
                    "that other files are left out, or take it away"
                )
            if split != "train":
                held[_class(record)] = split
    for record in dataset.read("train"):
        held.pop(_class(record), None)
        if not held:
            break
    if held:
        name, split = min(held.items())
        raise InputError(
            f"class {name!r} has pictures in the {split} split and none to learn from: bring more pictures of it, or "
            "leave it out"
        )
    if loaded.scenario.evaluation.features == "classifier":
        seen: set[str] = set()
        for record in dataset.read("train"):
            seen.add(_class(record))
            if len(seen) > 1:
                return
        raise InputError(
            f"the pictures are of {len(seen)} class, and a classifier needs two at least: "
            "set evaluation.features to 'efficientnet-lite0', which knows no classes"
        )


def _class(record: Record) -> str:
    """The words that a picture is of, or nothing."""
    return record.parts["input"].text.strip() if "input" in record.parts else ""


def held_out(loaded: Loaded, dataset: Dataset) -> list[Case]:
    """The test records as cases without an answer, the first so many by content hash."""
    records = sorted(dataset.read("test"), key=lambda record: record.id)
    wanted = loaded.scenario.evaluation.cases
    cases = []
    for record in records[:wanted] if wanted else records:
        if "output" not in record.parts:
            raise InputError(f"record {record.id} has no picture: wanted parts input and output, or output alone")
        cases.append(Case(record.parts.get("input"), record.parts["output"], record.parts["output"]))
    return cases


def evaluate(
    loaded: Loaded, home: Home, outcome: Outcome, *, base: Path | None, base_key: str, trained: Done, root: Path
) -> Generator[Progress, None, None]:
    """Fill `outcome` with the scores and with what a release is made of."""
    scenario, dataset = loaded.scenario, outcome.dataset
    cases = held_out(loaded, dataset)

    def finished(folder: Path) -> Walk:
        yield Progress("weights", 0, 1)
        with files.whole_folder(folder / "parts") as draft:
            for path in (trained.folder / "parts").iterdir():
                shutil.copyfile(path, draft / path.name)
            sampler = _named(Sampler.read(draft / "sampler.json"), scenario)
            files.write_whole(draft / "sampler.json", sampler.to_json())
        return {}

    made = yield from step(
        root, "weights", {"train": trained.key, "names": _names(scenario)}, finished, data=dataset.digest
    )
    outcome.steps.append(made)
    parts = made.folder / "parts"
    prompts = _prompts(scenario, cases)
    inputs = {"weights": made.key, "cases": len(cases), "generation": scenario.generation.for_pictures()}

    def answer(folder: Path) -> Walk:
        yield from _answer(parts, prompts, folder)
        return {"completion_units": len(prompts), "pictures_per_second": (yield from _speed(parts, prompts))}

    told = yield from step(root, "answers", inputs, answer, data=dataset.digest)
    outcome.steps.append(told)
    ours = _answered(cases, told.folder)

    def indexed(folder: Path) -> Walk:
        yield Progress("index", 0, 1, "training pictures")
        PictureIndex.build(_learnt(dataset)).save(folder / "index")
        return {}

    near = yield from step(root, "index", {"data": dataset.digest}, indexed, data=dataset.digest)
    outcome.steps.append(near)

    def work(folder: Path) -> Walk:
        judged = yield from judge(scenario, dataset, ours=ours, home=home)
        keep_scores(judged, folder)
        names = {}
        for name, rows in judged.baselines.items():
            names[name] = [row.output.id for row in rows[:SHOWN]]
            for number, row in enumerate(rows[:SHOWN]):
                files.write_whole(folder / f"{name}-{number:05d}.png", row.output.data)
        files.write_whole(folder / "baselines.json", json.dumps(names))
        _keep_closest(judged.closest, folder / CLOSEST)
        return {"cases": len(ours)}

    judged_by = {
        "answers": told.key,
        "evaluation": scenario.evaluation.model_dump(mode="json"),
        "data": dataset.digest,
        "closest": 1,
    }
    scored = yield from step(root, "scores", judged_by, work, data=dataset.digest)
    outcome.steps.append(scored)
    outcome.judged = _read_judged(scored.folder, ours)
    difference = float(trained.result["difference"])
    outcome.made = _made(scenario, parts, told, index=near.folder / "index", difference=difference)


def _learnt(dataset: Dataset) -> Iterator[tuple[str, Pixels]]:
    """Every training picture by the id of its record."""
    for record in dataset.read("train"):
        if (found := data_pictures.of(record)) is not None:
            yield record.id, data_pictures.pixels(found)


SHOWN = 16
"""Pictures of each baseline that are kept for the report."""
CLOSEST = "closest"
"""The folder of the training pictures that outputs are most like."""


def judge(
    scenario: Scenario, dataset: Dataset, *, ours: Sequence[Case], home: Home
) -> Generator[Progress, None, Judged]:
    """Every score of the scenario with its baselines."""
    wanted = scenario.evaluation
    metrics = [Catalogue("spearhead.metrics", "METRIC")[name] for name in wanted.metrics]
    ground = yield from pictures.ground(
        home,
        train=lambda: dataset.read("train"),
        reference=lambda: dataset.read("test"),
        split="test",
        digest=dataset.digest,
        extractor=wanted.features,
    )
    setting = Setting(home, lambda: dataset.read("train"), dataset.digest, ground)
    metrics = [metric.bind(setting) if hasattr(metric, "bind") else metric for metric in metrics]
    pool = Pool.of(dataset.read("train"))
    beside: dict[str, tuple[Case, ...]] = {}
    for number, name in enumerate(scenario.baselines):
        yield Progress("baselines", number, len(scenario.baselines), name)
        beside[name] = tuple(picture_baselines.answer(name, pool, ours, seed=SEED))
    scores = yield from scoring.measured(ours, beside, metrics, seed=SEED, draws=wanted.draws)
    yield Progress("memorisation", 0, 1, "nearest training pictures")
    return Judged(tuple(scores), (), tuple(ours), beside, tuple(nearest.METRIC.bind(setting).show(ours)))


def _keep_closest(found: Sequence[Shown], folder: Path) -> None:
    """Every output's likeness to its training picture, and each such picture once."""
    for each in {one.nearest.id: one.nearest for one in found}.values():
        files.write_whole(folder / each.id, each.data)
    rows = [
        {"nearest": one.nearest.id, "mime": one.nearest.mime, "similarity": one.similarity, "nearer": one.nearer}
        for one in found
    ]
    files.write_whole(folder / "closest.json", json.dumps(rows))


def _read_closest(folder: Path, ours: Sequence[Case]) -> tuple[Shown, ...]:
    rows = json.loads((folder / "closest.json").read_text(encoding="utf-8"))
    return tuple(
        Shown(
            case.output,
            Media("image", row["mime"], (folder / row["nearest"]).read_bytes()),
            row["similarity"],
            row["nearer"],
        )
        for case, row in zip(ours, rows, strict=True)
    )


def _names(scenario: Scenario) -> dict[str, list[str]]:
    """Class to its further names, as the data's sources give them."""
    found: dict[str, list[str]] = {}
    for source in scenario.data.sources:
        for first, *others in source.classes.values():
            found.setdefault(first, []).extend(others)
    return found


def _named(sampler: Sampler, scenario: Scenario) -> Sampler:
    """The sampler that knows the classes by all their names."""
    numbers = {name: number for number, name in enumerate(sampler.classes)}
    names = {other: numbers[name] for name, others in _names(scenario).items() if name in numbers for other in others}
    return dataclasses.replace(sampler, names={**sampler.names, **names})


def _prompt(scenario: Scenario, case: Case, number: int) -> Prompt:
    words = case.input.text if case.input else ""
    segments = tuple(scenario.template.single(words))
    return Prompt(segments, options=scenario.generation.for_pictures(), seed=SEED + number)


def _prompts(scenario: Scenario, cases: Sequence[Case]) -> list[Prompt]:
    return [_prompt(scenario, case, number) for number, case in enumerate(cases)]


def answered(
    scenario: Scenario, cases: Sequence[Case], *, parts: Path, folder: Path
) -> Generator[Progress, None, list[Case]]:
    """The cases with the pictures that the graphs in `parts` make of them, which are kept in `folder`."""
    yield from _answer(parts, _prompts(scenario, cases), folder)
    return _answered(cases, folder)


def _answered(cases: Sequence[Case], folder: Path) -> list[Case]:
    return [dataclasses.replace(case, output=_kept(folder, number)) for number, case in enumerate(cases)]


def _answer(parts: Path, prompts: Sequence[Prompt], folder: Path) -> Generator[Progress, None, None]:
    """A file for each prompt's picture; what is there already is not made again."""
    missing = [number for number in range(len(prompts)) if not _file(folder, number).is_file()]
    yield Progress("answers", len(prompts) - len(missing), len(prompts), unit="pictures")
    for done, answer in enumerate(_all(parts, [prompts[number] for number in missing]), 1):
        if answer.media is None:
            raise InputError(f"the model made no picture for prompt {missing[answer.prompt]}")
        files.write_whole(_file(folder, missing[answer.prompt]), answer.media.data)
        yield Progress("answers", len(prompts) - len(missing) + done, len(prompts), unit="pictures")


def _speed(parts: Path, prompts: Sequence[Prompt]) -> Generator[Progress, None, float]:
    """Pictures a second for `CLIENTS` at once; the first ones only warm it up."""
    yield Progress("speed", 0, 1)
    several = [prompts[number % len(prompts)] for number in range(CLIENTS + TIMED)]
    began, counted = 0.0, 0
    for number, _ in enumerate(_all(parts, several), 1):
        if number == CLIENTS:
            began = time.perf_counter()
        counted = number
    yield Progress("speed", 1, 1)
    return (counted - CLIENTS) / (time.perf_counter() - began)


def _all(parts: Path, prompts: Sequence[Prompt]) -> Generator[Answer, None, None]:
    async def start() -> Runtime:
        return await Onnx.start(parts, settings=Settings(batch=CLIENTS))

    return streamed(start, prompts, parallel=CLIENTS)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.png"


def _kept(folder: Path, number: int) -> Media:
    return Media("image", "image/png", _file(folder, number).read_bytes())


def _made(scenario: Scenario, parts: Path, told: Done, *, index: Path, difference: float) -> Made:
    sampler = Sampler.read(parts / "sampler.json")
    defaults = scenario.generation.for_pictures()
    graph = parts / sampler.model
    layout = Layout("onnx float32", graph.stat().st_size, told.result["pictures_per_second"], difference, True)
    return Made(
        runtime="onnx",
        parts={path.name: path for path in sorted(parts.iterdir()) if path.is_file()},
        index=index,
        layouts=(layout,),
        speed=told.result["pictures_per_second"],
        prompt_units=0,
        units=told.result["completion_units"],
        context=1,
        options=options.for_pictures(defaults, sampler=sampler),
        generation=defaults,
        words=[(said("pipeline.made.sampler"), _words(sampler))],
    )


def _words(sampler: Sampler) -> Sentence:
    if sampler.kind == "oneshot":
        styles = said("pipeline.made.styles", layers=sampler.layers)
        return styles if sampler.layers else said("pipeline.made.one_pass")
    return said("pipeline.made.steps", steps=sampler.steps, solver=sampler.solver, guidance=sampler.guidance)


def _read_judged(folder: Path, ours: Sequence[Case]) -> Judged:
    names: Mapping[str, Any] = json.loads((folder / "baselines.json").read_text(encoding="utf-8"))
    beside: dict[str, list[Case]] = {name: [] for name in names}
    for path in sorted(folder.glob("*-*.png")):
        if found := re.fullmatch(r"(\w+)-(\d{5})\.png", path.name):
            case = dataclasses.replace(ours[int(found[2])], output=Media("image", "image/png", path.read_bytes()))
            beside[found[1]].append(case)
    return Judged(
        *kept_scores(folder),
        tuple(ours),
        {name: tuple(rows) for name, rows in beside.items()},
        _read_closest(folder / CLOSEST, ours),
    )
