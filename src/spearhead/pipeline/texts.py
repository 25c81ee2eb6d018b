"""The road of texts from a trained model to a judged one: GGUF weights, held-out answers, scores beside baselines."""

import dataclasses
import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spearhead.core import files, media
from spearhead.core.errors import InputError
from spearhead.core.family import Words
from spearhead.core.generation import Progress
from spearhead.core.manifest import Layout, Planted
from spearhead.core.score import Case
from spearhead.core.sentence import Said, said
from spearhead.data.dataset import Dataset
from spearhead.index.copies import CopyIndex
from spearhead.pipeline import answers, canaries, judge, weights
from spearhead.pipeline.likelihood import Served
from spearhead.pipeline.outcome import Made, Outcome
from spearhead.pipeline.steps import Done, step
from spearhead.release import options, quantise
from spearhead.scenario.read import Loaded
from spearhead.store.home import Home

Walk = Generator[Progress, None, Any]


def judgeable(loaded: Loaded, dataset: Dataset) -> None:
    """Every text can be judged: there is nothing to refuse before training."""


def asked(loaded: Loaded, dataset: Dataset) -> list[Any]:
    """The prompts of the held-out cases."""
    return judge.prompts(loaded.scenario, judge.held_out(loaded, dataset))


def evaluate(
    loaded: Loaded, home: Home, outcome: Outcome, *, base: Path | None, base_key: str, trained: Done, root: Path
) -> Generator[Progress, None, None]:
    """Fill `outcome` with the scores and, when a runtime serves the model, with what a release is made of."""
    scenario, dataset = loaded.scenario, outcome.dataset
    cases = judge.held_out(loaded, dataset)
    inputs_asked = _inputs_asked(loaded, dataset, cases)
    start = None
    made = trained
    if not scenario.family.unservable(scenario.family_config):
        made = yield from _weights(loaded, home, dataset, base=base, trained=trained, root=root)
        outcome.steps.append(made)
        tokenizer = merged_folder(trained, made) / "tokenizer.json"
        start = judge.llamacpp(
            made.folder / made.result["chosen"],
            tokenizer,
            scenario.generation.context,
            adapter=made.folder / made.result["adapter"] if made.result.get("adapter") else None,
        )

        def answer(folder: Path) -> Walk:
            assert start is not None
            file = folder / "answers.jsonl"
            found = yield from answers.answer(start, judge.prompts(scenario, cases), file=file, stage="answers")
            counted = _counted(found)
            if counted["unanswered"] == len(found) > 0:
                raise InputError(
                    f"none of the {len(found)} held-out prompts leaves room for an answer in generation.context "
                    f"{scenario.generation.context:,}, or in what the model knows: raise it, or bring shorter records"
                )
            return counted

        told = yield from step(root, "answers", {**inputs_asked, "weights": made.key}, answer, data=dataset.digest)
        outcome.steps.append(told)
        ours = judge.answered(cases, _in_order(told.folder / "answers.jsonl"))
    else:
        ours = judge.answered(cases, _in_order(trained.folder / "answers.jsonl")[: len(cases)])
        told = trained
    theirs, untouched = None, None
    if "base" in scenario.baselines and base is not None:
        untouched, theirs = yield from base_answers(
            loaded, home, dataset, cases, base=base, base_key=base_key, root=root
        )
        outcome.steps.append(untouched)

    def indexed(folder: Path) -> Walk:
        yield Progress("index", 0, 1, "training outputs")
        judge.index(dataset).save(folder / "index")
        return {}

    copies = yield from step(root, "index", {"data": dataset.digest}, indexed, data=dataset.digest)
    outcome.steps.append(copies)

    def work(folder: Path) -> Walk:
        from spearhead.models.pretrained import base as bases

        networks = {"ours": merged_folder(trained, made)} if start else {}
        if start and theirs and base is not None:
            networks["base"] = yield from bases.convert(base, home=home)
        judged = yield from judge.judge(
            scenario,
            dataset,
            home=home,
            ours=ours,
            base=theirs,
            start=start,
            folder=folder,
            copies=CopyIndex.load(copies.folder / "index"),
            networks=networks,
            tokenizer=networks.get("ours"),
        )
        judge.keep_scores(judged, folder)
        beside = {name: [case.output.text for case in rows] for name, rows in judged.baselines.items()}
        files.write_whole(folder / "baselines.json", json.dumps(beside, ensure_ascii=False))
        return {"cases": len(ours)}

    inputs = {
        "answers": told.key,
        "base": untouched.key if untouched else None,
        "evaluation": scenario.evaluation.model_dump(mode="json"),
        "template": dataclasses.asdict(scenario.template),
    }
    scored = yield from step(root, "scores", inputs, work, data=dataset.digest)
    outcome.steps.append(scored)
    if start is not None and scenario.data.canaries:
        outcome.canaries = yield from _canaries(loaded, outcome, trained=trained, made=made, root=root)
    outcome.judged = _read_judged(scored.folder, ours)
    if start is not None:
        outcome.made = _made(loaded, trained, made, told=told, index=copies.folder / "index")


def _canaries(
    loaded: Loaded, outcome: Outcome, *, trained: Done, made: Done, root: Path
) -> Generator[Progress, None, list[Planted]]:
    """What the files to be released give away of the sequences that were planted in the training data."""
    scenario, told = loaded.scenario, trained.result
    model = Served(
        made.folder / made.result["chosen"],
        merged_folder(trained, made) / "tokenizer.json",
        made.folder / made.result["adapter"] if made.result.get("adapter") else None,
    )
    passes = max(told["best_step"], 0) * scenario.training.batch / told["examples"]

    def work(folder: Path) -> Walk:
        groups = yield from canaries.probe(scenario, outcome.dataset, model, passes=passes, folder=folder)
        return {"groups": [dataclasses.asdict(group) for group in groups]}

    inputs = {"weights": made.key, "draws": scenario.evaluation.draws}
    done = yield from step(root, "canaries", inputs, work, data=outcome.dataset.digest)
    outcome.steps.append(done)
    return [Planted(**{**row, "interval": judge.pair(row["interval"])}) for row in done.result["groups"]]


def _made(loaded: Loaded, trained: Done, made: Done, *, told: Done, index: Path) -> Made:
    generation = loaded.scenario.generation
    defaults = generation.for_texts()
    words: list[tuple[Said, Said]] = []
    if "fidelity" in made.result:
        near = said("pipeline.made.differ", mean=made.result["fidelity"]["mean"])
        words.append((said("pipeline.made.export"), near))
    parts = {
        "model.gguf": made.folder / made.result["chosen"],
        "tokenizer.json": merged_folder(trained, made) / "tokenizer.json",
    }
    if made.result.get("adapter"):
        parts["adapter.gguf"] = made.folder / made.result["adapter"]
        words += _price_of_adapter(made.result)
    if long := told.result.get("unanswered"):
        count = said("pipeline.made.no_room", count=long, every=told.result["answers"], context=generation.context)
        words.append((said("pipeline.made.unanswered"), count))
    if made.result.get("tuned"):
        words.append((said("pipeline.made.tuned"), _of_tuning(made.result["tuned"])))
    return Made(
        runtime="llamacpp",
        parts=parts,
        index=index,
        layouts=tuple(Layout(**row) for row in made.result["layouts"]),
        speed=next(row["tokens_per_second"] for row in made.result["layouts"] if row["chosen"]),
        prompt_units=told.result["prompt_units"],
        units=told.result["completion_units"],
        context=generation.context,
        options=options.schema(defaults, context=generation.context),
        generation=defaults,
        words=words,
    )


def _of_tuning(told: Mapping[str, Any]) -> Said:
    """What four bits lost before and after they were tuned, and which of the two is in the file."""
    kept = said("pipeline.made.better") if told["better"] else said("pipeline.made.no_better")
    return said(
        "pipeline.made.lost",
        steps=told["steps"],
        before=told["before"],
        after=told["after"],
        tokens=told["tokens"],
        kept=kept,
    )


def _price_of_adapter(result: Mapping[str, Any]) -> Words:
    """How fast the model answers with its adapter beside the base, and merged into it."""
    many = {row["name"]: row["tokens_per_second"] for row in result["layouts"]}
    (over,) = (row["name"] for row in result["layouts"] if row["chosen"])
    merged = f"{over.partition(' ')[0]} merged"
    speeds = tuple(
        said("pipeline.made.speed", name=name, many=many[name], clients=quantise.CLIENTS, alone=result["alone"][name])
        for name in (over, merged)
    )
    return [(said("pipeline.made.adapter"), said("pipeline.made.speeds", speeds=speeds))]


def _weights(
    loaded: Loaded, home: Home, dataset: Dataset, *, base: Path | None, trained: Done, root: Path
) -> Generator[Progress, None, Done]:
    scenario = loaded.scenario

    def work(folder: Path) -> Walk:
        from spearhead.models.pretrained import base as bases

        merged, over = trained.folder / "merged", None
        if not trained.result["trained"] and base is not None:  # nothing was trained: the base is released as it is
            merged = yield from bases.convert(base, home=home)
        if scenario.release.form == "adapter":
            assert base is not None  # the schema: only for methods that tune one
            over = weights.Over(trained.folder / "adapter", (yield from bases.convert(base, home=home)))
        probe = trained.folder / "probe.npz"
        found = yield from weights.make(
            loaded,
            merged=merged,
            base=base if base is not None and base.is_file() else None,
            probe=probe if probe.is_file() else None,
            train=dataset.read("train"),
            validation=list(dataset.read("validation")),
            folder=folder,
            over=over,
        )
        return {**found, "merged": str(merged)}

    inputs = {"train": trained.key, "release": scenario.release.model_dump(mode="json"), "data": dataset.digest}
    return (yield from step(root, "weights", inputs, work, data=dataset.digest))


def _inputs_asked(loaded: Loaded, dataset: Dataset, cases: Sequence[Case]) -> dict[str, Any]:
    """What answers to the held-out cases depend on, whoever gives them."""
    generation = loaded.scenario.generation.model_dump(mode="json")
    return {"data": dataset.digest, "cases": len(cases), "generation": generation}


def base_answers(
    loaded: Loaded, home: Home, dataset: Dataset, cases: Sequence[Case], *, base: Path, base_key: str, root: Path
) -> Generator[Progress, None, tuple[Done, list[Case]]]:
    """The cases answered by the untouched base model, asked in words, in a layout that answers many at once quickly."""
    scenario = loaded.scenario
    template = scenario.evaluation.base_template or scenario.template

    def work(folder: Path) -> Walk:
        from spearhead.models.pretrained import base as bases
        from spearhead.nn import gguf_file

        converted = yield from bases.convert(base, home=home)
        model = folder / "base.gguf"
        if not model.is_file():
            state, config = weights.load(converted)
            gguf_file.write_model(
                state, config, converted / "tokenizer.json", model, base=base if base.is_file() else None, layout="Q8_0"
            )
        start = judge.llamacpp(model, converted / "tokenizer.json", scenario.generation.context)
        prompts = judge.prompts(scenario, cases, template)
        found = yield from answers.answer(start, prompts, file=folder / "answers.jsonl", stage="base model answers")
        model.unlink()
        return _counted(found)

    inputs = {
        **_inputs_asked(loaded, dataset, cases),
        "base": base_key,
        "template": dataclasses.asdict(template),
    }
    done = yield from step(root, "base-answers", inputs, work, data=dataset.digest)
    return done, judge.answered(cases, _in_order(done.folder / "answers.jsonl"))


def merged_folder(trained: Done, made: Done) -> Path:
    """Where the merged model and its tokenizer lie."""
    return Path(made.result["merged"]) if made.result.get("merged") else trained.folder / "merged"


def _counted(found: Sequence[answers.Written]) -> dict[str, int]:
    return {
        "answers": len(found),
        "unanswered": sum(not row.prompt_units for row in found),
        "prompt_units": sum(row.prompt_units for row in found),
        "completion_units": sum(row.completion_units for row in found),
    }


def _in_order(file: Path) -> list[answers.Written]:
    found = answers.kept(file)
    return [found[index] for index in sorted(found)]


def _read_judged(folder: Path, ours: Sequence[Case]) -> judge.Judged:
    beside = json.loads((folder / "baselines.json").read_text(encoding="utf-8"))
    return judge.Judged(
        *judge.kept_scores(folder),
        tuple(ours),
        {
            name: tuple(
                dataclasses.replace(case, output=media.text(words)) for case, words in zip(ours, rows, strict=True)
            )
            for name, rows in beside.items()
        },
    )
