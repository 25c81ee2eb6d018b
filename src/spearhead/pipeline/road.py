"""The road: data, base, training, weights, answers, scores, release, report; each step keyed by what goes into it."""

import contextlib
import dataclasses
import fcntl
import json
import platform
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from spearhead import __version__
from spearhead.core import clock, digest, files, money
from spearhead.core.errors import BarMissed, InputError
from spearhead.core.generation import Progress
from spearhead.core.manifest import BarResult, Credit, Layout, Manifest, Measured
from spearhead.core.review import Context, Direction
from spearhead.core.score import Case, Score
from spearhead.data.dataset import Dataset
from spearhead.index.copies import CopyIndex
from spearhead.models.pretrained.config import MERGEABLE
from spearhead.pipeline import answers, judge, learn, report, weights
from spearhead.pipeline.admitted import admitted
from spearhead.pipeline.desk import opened
from spearhead.pipeline.steps import Done, step
from spearhead.pipeline.told import table
from spearhead.release import bundle, gate, options
from spearhead.review.reviewer import Reviewer
from spearhead.scenario.read import Loaded
from spearhead.store import releases
from spearhead.store.home import Home

STOPS = ("data", "train", "evaluate", "release", "report")
SAMPLES = 8
Walk = Generator[Progress, None, Any]


@dataclass
class Outcome:
    """How far a walk came and what it found."""

    name: str
    until: str
    dataset: Dataset
    samples: Sequence[Mapping[str, str]] = ()
    steps: list[Done] = field(default_factory=list)
    judged: judge.Judged | None = None
    bars: Sequence[BarResult] = ()
    verdict: str = ""
    reasons: Sequence[str] = ()
    release: Path | None = None
    report: Path | None = None
    exit_code: int = 0
    message: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Everything, for `--json`."""
        summary = self.dataset.summary
        return {
            "scenario": self.name,
            "data": {key: summary[key] for key in ("digest", "records", "refusals", "licences", "credits")},
            "samples": list(self.samples),
            "steps": [{"step": s.name, "seconds": round(s.seconds, 2), "ran": s.fresh, **s.result} for s in self.steps],
            "scores": [dataclasses.asdict(score) for score in self.judged.scores] if self.judged else [],
            "extras": [dataclasses.asdict(score) for score in self.judged.extras] if self.judged else [],
            "bars": [dataclasses.asdict(bar) for bar in self.bars],
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "release": str(self.release) if self.release else None,
            "report": str(self.report) if self.report else None,
            "exit_code": self.exit_code,
            "message": self.message,
        }

    def lines(self) -> list[str]:
        """The short table for a person."""
        out = _data_lines(self.dataset)
        if self.until == "data":
            for sample in self.samples:
                out += ["", *(f"{part:>7}: {words}" for part, words in sample.items())]
            return [*out, "", f"refusals, one a line: {self.dataset.folder / 'refusals.jsonl'}"]
        out += ["", *table(["step", "seconds", "ran"], [[s.name, f"{s.seconds:.1f}", _ran(s)] for s in self.steps])]
        if self.judged:
            out += ["", *judge.score_table(self.judged)]
        if self.bars:
            rows = [[b.bar, b.wanted, b.got, "reached" if b.passed else "MISSED"] for b in self.bars]
            out += ["", *table(["bar", "wanted", "measured", ""], rows)]
        if self.verdict:
            out += ["", f"verdict: {self.verdict}", *(f"  {reason}" for reason in self.reasons)]
        if self.release:
            out += ["", f"release: {self.release}"]
        if self.report:
            out.append(f"report:  {self.report}")
        return [*out, *(["", self.message] if self.message else [])]


def walk(loaded: Loaded, *, home: Home, until: str = "report") -> Generator[Progress, None, Outcome]:
    """Walk the road to `until`, from where it was cut off; what is finished and unchanged is not done again.

    A missed bar ends it with a report and exit code 3, and makes no release.
    """
    scenario = loaded.scenario
    root = home.runs / scenario.name
    with alone(root):
        if until in ("release", "report"):
            _permitted_in_advance(loaded)
        dataset = yield from admitted(loaded, home)
        outcome = Outcome(scenario.name, until, dataset, samples=_samples(dataset))
        if until == "data":
            return outcome
        base = yield from learn.base_file(loaded, home)
        base_key = learn.file_key(base)
        trained = yield from _train(loaded, home, dataset, base=base, base_key=base_key, root=root)
        outcome.steps.append(trained)
        if until == "train":
            return outcome
        yield from _evaluate(loaded, home, outcome, base=base, base_key=base_key, trained=trained, root=root)
        if until != "evaluate":
            yield from _release(loaded, home, outcome, root=root)
        return outcome


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """One walk of a scenario at a time: two would write into the same steps."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"another run of {root.name} is under way in {root}: wait for it or end it") from error
        yield


# -- steps ---------------------------------------------------------------------------------------------------------
def _train(
    loaded: Loaded, home: Home, dataset: Dataset, *, base: Path, base_key: str, root: Path
) -> Generator[Progress, None, Done]:
    scenario = loaded.scenario
    raw = scenario.model_dump(mode="json")
    inputs = {
        "data": dataset.digest,
        "base": base_key,
        "model": {key: value for key, value in raw["model"].items() if key != "base"},
        "template": raw["template"],
        "training": raw["training"],
    }

    def work(folder: Path) -> Walk:
        from spearhead.models.pretrained import base as bases

        converted = yield from bases.convert(base, home=home)
        asked = judge.prompts(scenario, judge.held_out(loaded, dataset))
        return (yield from learn.train(loaded, dataset, converted, folder, asked=asked))

    return (yield from step(root, "train", inputs, work))


def _evaluate(
    loaded: Loaded, home: Home, outcome: Outcome, *, base: Path, base_key: str, trained: Done, root: Path
) -> Generator[Progress, None, None]:
    scenario, dataset = loaded.scenario, outcome.dataset
    method = scenario.family_config.method
    cases = judge.held_out(loaded, dataset)
    asked = {"data": dataset.digest, "cases": len(cases), "generation": scenario.generation.model_dump(mode="json")}
    start = None
    made = trained
    if method in MERGEABLE:
        made = yield from _weights(loaded, home, dataset, base=base, trained=trained, root=root)
        outcome.steps.append(made)
        tokenizer = merged_folder(trained, made) / "tokenizer.json"
        start = judge.llamacpp(made.folder / made.result["chosen"], tokenizer, scenario.generation.context)

        def answer(folder: Path) -> Walk:
            assert start is not None
            file = folder / "answers.jsonl"
            found = yield from answers.answer(start, judge.prompts(scenario, cases), file=file, stage="answers")
            return _counted(found)

        told = yield from step(root, "answers", {**asked, "weights": made.key}, answer)
        outcome.steps.append(told)
        ours = judge.answered(cases, _in_order(told.folder / "answers.jsonl"))
    else:
        ours = judge.answered(cases, _in_order(trained.folder / "answers.jsonl")[: len(cases)])
        told = trained
    theirs, untouched = None, None
    if "base" in scenario.evaluation.baselines:
        untouched = yield from _base_answers(loaded, home, cases, asked=asked, base=base, base_key=base_key, root=root)
        outcome.steps.append(untouched)
        theirs = judge.answered(cases, _in_order(untouched.folder / "answers.jsonl"))

    def indexed(folder: Path) -> Walk:
        yield Progress("index", 0, 1, "training outputs")
        judge.index(dataset).save(folder / "index")
        return {}

    copies = yield from step(root, "index", {"data": dataset.digest}, indexed)
    outcome.steps.append(copies)

    def work(folder: Path) -> Walk:
        from spearhead.models.pretrained import base as bases

        networks = {"ours": merged_folder(trained, made)} if start else {}
        if start and theirs:
            networks["base"] = yield from bases.convert(base, home=home)
        judged = yield from judge.judge(
            scenario,
            dataset,
            ours=ours,
            base=theirs,
            start=start,
            folder=folder,
            copies=CopyIndex.load(copies.folder / "index"),
            networks=networks,
        )
        files.write_whole(folder / "scores.json", json.dumps([dataclasses.asdict(s) for s in judged.scores], indent=1))
        files.write_whole(folder / "extras.json", json.dumps([dataclasses.asdict(s) for s in judged.extras], indent=1))
        beside = {name: [case.output.text for case in rows] for name, rows in judged.baselines.items()}
        files.write_whole(folder / "baselines.json", json.dumps(beside, ensure_ascii=False))
        return {"cases": len(ours)}

    inputs = {
        "answers": told.key,
        "base": untouched.key if untouched else None,
        "evaluation": scenario.evaluation.model_dump(mode="json"),
        "template": dataclasses.asdict(scenario.template),
    }
    scored = yield from step(root, "scores", inputs, work)
    outcome.steps.append(scored)
    outcome.judged = _read_judged(scored.folder, ours)


def _weights(
    loaded: Loaded, home: Home, dataset: Dataset, *, base: Path, trained: Done, root: Path
) -> Generator[Progress, None, Done]:
    scenario = loaded.scenario

    def work(folder: Path) -> Walk:
        from spearhead.models.pretrained import base as bases

        merged = trained.folder / "merged"
        if not trained.result["trained"]:  # nothing was trained: the base is released as it is
            merged = yield from bases.convert(base, home=home)
        probe = trained.folder / "probe.npz"
        validation = [judge.case_of(record) for record in dataset.read("validation")]
        found = yield from weights.make(
            loaded,
            merged=merged,
            base=base,
            probe=probe if probe.is_file() else None,
            train=(judge.case_of(record) for record in dataset.read("train")),
            validation=validation,
            folder=folder,
        )
        return {**found, "merged": str(merged)}

    inputs = {"train": trained.key, "release": scenario.release.model_dump(mode="json"), "data": dataset.digest}
    return (yield from step(root, "weights", inputs, work))


def _base_answers(
    loaded: Loaded,
    home: Home,
    cases: Sequence[Case],
    *,
    asked: Mapping[str, Any],
    base: Path,
    base_key: str,
    root: Path,
) -> Generator[Progress, None, Done]:
    """The untouched base model, asked in words, in a layout that answers many at once quickly."""
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

    inputs = {**asked, "base": base_key, "template": dataclasses.asdict(template)}
    return (yield from step(root, "base-answers", inputs, work))


def merged_folder(trained: Done, made: Done) -> Path:
    """Where the merged model and its tokenizer lie."""
    return Path(made.result["merged"]) if made.result.get("merged") else trained.folder / "merged"


def _counted(found: Sequence[answers.Written]) -> dict[str, int]:
    return {
        "answers": len(found),
        "prompt_units": sum(row.prompt_units for row in found),
        "completion_units": sum(row.completion_units for row in found),
    }


def _in_order(file: Path) -> list[answers.Written]:
    found = answers.kept(file)
    return [found[index] for index in sorted(found)]


def _read_judged(folder: Path, ours: Sequence[Case]) -> judge.Judged:
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    extras = json.loads((folder / "extras.json").read_text(encoding="utf-8"))
    beside = json.loads((folder / "baselines.json").read_text(encoding="utf-8"))
    from spearhead.core.media import text

    return judge.Judged(
        tuple(Measured(**{**row, "interval": _pair(row["interval"])}) for row in scores),
        tuple(Score(**{**row, "interval": _pair(row["interval"])}) for row in extras),
        tuple(ours),
        {
            name: tuple(dataclasses.replace(case, output=text(words)) for case, words in zip(ours, rows, strict=True))
            for name, rows in beside.items()
        },
    )


def _pair(value: Sequence[float] | None) -> tuple[float, float] | None:
    return (value[0], value[1]) if value else None


# -- release -------------------------------------------------------------------------------------------------------
def _credits(loaded: Loaded, dataset: Dataset) -> tuple[Credit, ...]:
    """What the data and the base model ask for; the base's rights are those of its licence."""
    from spearhead.data import licences

    base = loaded.scenario.family_config.base
    licence = licences.read(base.licence, credit=base.credit)
    source = f"{base.registry}:{base.package}=={base.version}" if base.package else base.path
    return (*dataset.credits(), Credit(licence.spdx, base.credit, source, 0, tuple(licence.rights.names)))


def _permitted_in_advance(loaded: Loaded) -> None:
    """What would forbid the release whatever is measured is said before an hour of training, not after."""
    from spearhead.data import licences

    scenario, config = loaded.scenario, loaded.scenario.family_config
    licence = licences.read(config.base.licence, credit=config.base.credit)
    credit = Credit(licence.spdx, config.base.credit, "the base model", 0, tuple(licence.rights.names))
    gate.permit(
        method=config.method,
        credits=[credit],
        rights=scenario.data.rights,
        price=scenario.price.tag,
        form=scenario.release.form,
    )


def _release(loaded: Loaded, home: Home, outcome: Outcome, *, root: Path) -> Generator[Progress, None, None]:
    """Judge the bars and the economics; bundle when they are reached, write a report either way."""
    scenario, judged = loaded.scenario, outcome.judged
    assert judged is not None
    by_name = {done.name: done for done in outcome.steps}
    credits = _credits(loaded, outcome.dataset)
    outcome.bars = gate.judge(scenario.bars, judged.scores, len(judged.cases))
    reviewed = _review(loaded, judged.cases)
    economics = _economics(loaded, by_name, judged=judged, reviewed=reviewed)
    outcome.verdict, outcome.reasons = gate.verdict(outcome.bars, credits, scenario.data.rights, economics)
    made, trained = by_name["weights"], by_name["train"]
    declared = Manifest(
        scenario=scenario.name,
        version="",
        title=scenario.scenario.title,
        created="",
        modality=scenario.scenario.modality,
        family=scenario.model["family"],
        runtime="llamacpp",
        context=scenario.generation.context,
        languages=scenario.scenario.languages,
        scenario_digest=loaded.digest,
        data_digest=outcome.dataset.digest,
        parts=(),
        credits=credits,
        scores=judged.scores,
        bars=tuple(outcome.bars),
        layouts=tuple(Layout(**row) for row in made.result["layouts"]),
        verdict=outcome.verdict,
        verdict_reasons=tuple(outcome.reasons),
        template=_plain(scenario.template),
        generation=scenario.generation.model_dump(mode="json", exclude={"context"}),
        policy=_plain(scenario.review),
        price=scenario.price.tag,
        economics=economics,
        labels=scenario.labels.model_dump(mode="json"),
        made_by=_made_by(loaded),
        records="",
    )
    yield Progress("release", 0, 1, "report")
    facts = _facts(loaded, outcome, declared, reviewed=reviewed)
    page = root / f"report-{digest.of_value([loaded.digest, *(done.key for done in outcome.steps)])[:12]}/report.html"
    if not page.is_file():
        files.write_whole(page, report.render(facts))
    outcome.report = page
    try:
        gate.permit(
            method=scenario.family_config.method,
            credits=credits,
            rights=scenario.data.rights,
            price=scenario.price.tag,
            form=scenario.release.form,
        )
        gate.require(outcome.bars)
    except BarMissed as error:
        outcome.exit_code, outcome.message = error.exit_code, f"no release: {error}"
        return
    yield Progress("release", 0, 1, "signing")
    outcome.release = bundle.bundle(
        home,
        declared,
        model=made.folder / made.result["chosen"],
        tokenizer=merged_folder(trained, made) / "tokenizer.json",
        options=options.schema(declared.generation, context=declared.context),
        records=[record.id for record in outcome.dataset.read("train")],
        croissant=outcome.dataset.folder / "croissant.json",
        report=page,
        index=by_name["index"].folder / "index",
        samples=judged.cases[:SAMPLES],
    )
    releases.register(opened(home), releases.read(outcome.release))
    outcome.report = outcome.release / "report.html"
    yield Progress("release", 1, 1, outcome.release.name)


def _review(loaded: Loaded, cases: Sequence[Case]) -> dict[str, int]:
    """What the policy decides on the held-out answers."""
    reviewer = Reviewer(loaded.scenario.review)
    counts = {"allow": 0, "hold": 0, "block": 0}
    for case in cases:
        context = Context(loaded.scenario.name, Direction.OUTPUT, source=case.input)
        counts[reviewer.review(case.output, context).decision.value] += 1
    return counts


def _economics(
    loaded: Loaded, by_name: Mapping[str, Done], *, judged: judge.Judged, reviewed: Mapping[str, int]
) -> dict[str, Any]:
    """The projected cost of an accepted piece, from the measured speed of the released layout."""
    scenario = loaded.scenario
    units = by_name["answers"].result
    speed = next(row["tokens_per_second"] for row in by_name["weights"].result["layouts"] if row["chosen"])
    return gate.economics(
        pieces=len(judged.cases),
        accepted=reviewed["allow"],
        milliseconds=round(1000 * units["completion_units"] / speed),
        prompt_units=units["prompt_units"],
        completion_units=units["completion_units"],
        machine_hour=money.parse(scenario.economics.machine_hour),
        review_minute=money.parse(scenario.economics.review_minute),
        review_share=scenario.economics.review_share,
        review_minutes=scenario.economics.review_minutes,
        price=scenario.price.tag,
    )


def _facts(loaded: Loaded, outcome: Outcome, declared: Manifest, *, reviewed: Mapping[str, int]) -> report.Facts:
    judged = outcome.judged
    assert judged is not None
    by_name = {done.name: done for done in outcome.steps}
    trained = by_name["train"]
    curve = trained.folder / "curve.jsonl"
    rows = [json.loads(line) for line in curve.read_text().splitlines()] if curve.is_file() else []
    samples = [
        {
            "input": case.input.text if case.input else "",
            "reference": case.reference.text if case.reference else "",
            "output": case.output.text,
            "baselines": {name: beside[number].output.text for name, beside in judged.baselines.items()},
        }
        for number, case in enumerate(judged.cases[:SAMPLES])
    ]
    summary = outcome.dataset.summary
    config = loaded.scenario.family_config
    told = trained.result
    model = {
        "base": config.base.credit,
        "method": f"{config.method}, rank {config.rank}",
        "examples": f"{told['examples']:,} ({told['too_long']} too long)",
    }
    if told["trained"]:
        model |= {
            "steps": f"{told['steps']:,} (ended by {told['ended']}; best at {told['best_step']:,})",
            "validation loss": f"{told['loss']:.4f} nats per token",
            "speed": f"{told['tokens_per_second']:.0f} trained tokens a second, without padding",
        }
    if "fidelity" in by_name["weights"].result:
        near = by_name["weights"].result["fidelity"]
        model["export"] = f"log-probabilities differ from the trained model's by {near['mean']:.4f} on average"
    counts = {
        "considered": summary["considered"],
        **{name: outcome.dataset.counts()[name] for name in summary["records"]},
    }
    return report.Facts(
        title=declared.title,
        name=declared.scenario,
        version=f"scenario {loaded.digest[:12]}, data {declared.data_digest[:12]}",
        description=loaded.scenario.scenario.description,
        created=clock.stamp(clock.now()),
        verdict=declared.verdict,
        reasons=declared.verdict_reasons,
        bars=[dataclasses.asdict(bar) for bar in outcome.bars],
        scores=[dataclasses.asdict(score) for score in judged.scores],
        extras=[dataclasses.asdict(score) for score in judged.extras],
        curve=rows,
        samples=samples,
        credits=[dataclasses.asdict(credit) for credit in declared.credits],
        data={"counts": counts, "refusals": summary["refusals"]},
        layouts=[dataclasses.asdict(layout) for layout in declared.layouts],
        timings=[(done.name, done.seconds) for done in outcome.steps],
        economics=_shown(declared.economics),
        price=dataclasses.asdict(declared.price),
        policy=declared.policy,
        reviewed=dict(reviewed),
        made_by=declared.made_by,
        model=model,
    )


def _shown(economics: Mapping[str, Any]) -> dict[str, str]:
    """The arithmetic for a person: amounts as decimal text, every line of it in words."""
    coin = economics["currency"]
    amounts = ("machine_cost", "review_cost", "income", "cost_per_accepted", "income_per_accepted")
    shown = {"pieces": f"{economics['pieces']} made, {economics['accepted']} accepted"}
    for name in amounts:
        value = economics[name]
        shown[name] = "nothing was accepted" if value is None else f"{money.show(value)} {coin}"
    for number, line in enumerate(economics["arithmetic"], 1):
        shown[f"line {number}"] = line
    return shown


def _made_by(loaded: Loaded) -> dict[str, str]:
    found = {"spearhead": __version__, "python": platform.python_version()}
    for name in ("torch", "transformers", "peft", "xllamacpp", "sacrebleu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    base = loaded.scenario.family_config.base
    found["base"] = f"{base.package} {base.version}" if base.package else base.path
    return found


def _plain(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(value), default=dict))
    return plain


def _samples(dataset: Dataset) -> list[dict[str, str]]:
    records = []
    for record in dataset.read("train"):
        records.append({name: part.text for name, part in record.parts.items()})
        if len(records) == 3:
            break
    return records


def _data_lines(dataset: Dataset) -> list[str]:
    summary, counts = dataset.summary, dataset.counts()
    rows = [["considered", f"{summary['considered']:,}"], *([name, f"{count:,}"] for name, count in counts.items())]
    rows += [[f"refused: {reason}", f"{count:,}"] for reason, count in summary["refusals"].items()]
    owed = [f"  {credit.spdx}: {credit.credit} ({credit.records:,} records)" for credit in dataset.credits()]
    return [*table(["data", "records"], rows), "", "licences and credits owed:", *owed]


def _ran(done: Done) -> str:
    return "now" if done.fresh else "before"
