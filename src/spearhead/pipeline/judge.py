"""The step of the road that judges: held-out answers beside the trivial baselines, and what else is worth knowing."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spearhead.core import digest, files
from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.generation import Progress, Prompt
from spearhead.core.manifest import Measured
from spearhead.core.media import text
from spearhead.core.record import Record
from spearhead.core.score import Case, Score
from spearhead.core.template import Segment, Template, said
from spearhead.data.dataset import Dataset
from spearhead.index.copies import CopyIndex
from spearhead.media.text import noise
from spearhead.media.text.tokens import Tokenizer
from spearhead.metrics import baselines, evaluate, memorisation, ngram, perplexity
from spearhead.metrics.nearest import Shown
from spearhead.metrics.setting import Setting
from spearhead.pipeline import answers, likelihood
from spearhead.pipeline.likelihood import Served
from spearhead.pipeline.told import Told, table
from spearhead.runtimes.batch import Runtime, Start
from spearhead.runtimes.llamacpp import LlamaCpp, Settings
from spearhead.scenario.read import Loaded
from spearhead.scenario.schema import Scenario
from spearhead.store.home import Home

if TYPE_CHECKING:
    from spearhead.models.pretrained.batch import Example

Ask = Callable[[Sequence[Case]], list[Prompt]]
SEED = 0
SCORES, EXTRAS = "scores.json", "extras.json"
NOISE = 0.05
"""Share of characters that typing noise touches."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was measured of one model on the held-out cases."""

    scores: tuple[Measured, ...]
    extras: tuple[Score, ...]
    cases: tuple[Case, ...]
    baselines: Mapping[str, tuple[Case, ...]]
    closest: tuple[Shown, ...] = ()
    """Of pictures: each output with the training picture most like it."""


def keep_scores(judged: Judged, folder: Path) -> None:
    """Write the scores and extras to `folder`, for `kept_scores`."""
    for name, rows in ((SCORES, judged.scores), (EXTRAS, judged.extras)):
        files.write_whole(folder / name, json.dumps([dataclasses.asdict(row) for row in rows], indent=1))


def kept_scores(folder: Path) -> tuple[tuple[Measured, ...], tuple[Score, ...]]:
    """The scores and extras that were written to `folder`."""

    def rows(name: str) -> list[dict[str, Any]]:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
        return [{**row, "interval": pair(row["interval"])} for row in found]

    return tuple(Measured(**row) for row in rows(SCORES)), tuple(Score(**row) for row in rows(EXTRAS))


def pair(value: Sequence[float] | None) -> tuple[float, float] | None:
    """An interval as JSON gives it back."""
    return (value[0], value[1]) if value else None


def held_out(loaded: Loaded, dataset: Dataset) -> list[Case]:
    """The test records as cases without an answer, the first so many by content hash."""
    return tested(dataset, loaded.scenario.evaluation.cases)


def tested(dataset: Dataset, most: int = 0) -> list[Case]:
    """At most so many cases of the test split; 0: all of them."""
    found = cases_of(sorted(dataset.read("test"), key=lambda record: record.id))
    return list(itertools.islice(found, most)) if most else list(found)


def cases_of(records: Sequence[Record]) -> Iterator[Case]:
    """The records as cases without an answer: a pair's input and reference; a text with its first half for an input.

    A text too short to be continued is none; raises InputError where all of them are.
    """
    count = 0
    for record in records:
        if "input" in record.parts:
            yield Case(record.parts["input"], text(""), record.parts["output"], record.before)
            count += 1
        else:
            found = memorisation.prefixes([record.parts["text"].text])
            yield from found
            count += len(found)
    if records and not count:
        raise InputError(
            f"none of the {len(records)} held-out texts has {memorisation.SHORTEST} words, so that half of it could "
            "be continued: bring longer texts, or raise data.cleaning.shortest"
        )


def prompts(scenario: Scenario, cases: Sequence[Case], template: Template | None = None) -> list[Prompt]:
    """What the model is asked for each case, greedily unless the scenario samples."""
    used = template or scenario.template
    generation = scenario.generation
    options: dict[str, Any] = {
        "temperature": generation.temperature,
        "max_tokens": generation.max_tokens,
        "stop_repeats": generation.stop_repeats,
    }
    if generation.temperature:
        options |= {"top_p": generation.top_p, "top_k": generation.top_k, "min_p": generation.min_p}
    stop = (used.stop,) if used.stop else ()
    return [Prompt(tuple(used.single(case.given)), options=options, seed=SEED, stop=stop) for case in cases]


def index(dataset: Dataset) -> CopyIndex:
    """The training outputs, to see what an answer copies."""
    texts = []
    for record in dataset.read("train"):
        part = record.parts.get("output", record.parts.get("text"))
        if part is not None:
            texts.append((record.id, part.text))
    return CopyIndex.build(texts)


def answered(cases: Sequence[Case], found: Sequence[answers.Written]) -> list[Case]:
    """The cases with their answers."""
    return [dataclasses.replace(case, output=text(row.text)) for case, row in zip(cases, found, strict=True)]


def llamacpp(model: Path, tokenizer: Path, context: int, *, adapter: Path | None = None) -> Start:
    """What starts a runtime over a GGUF, under its adapter where it has one."""

    async def start() -> Runtime:
        return await LlamaCpp.start(model, tokenizer, settings=Settings(context=context, adapter=adapter))

    return start


def judge(
    scenario: Scenario,
    dataset: Dataset,
    *,
    home: Home,
    ours: Sequence[Case],
    base: Sequence[Case] | None,
    start: Start | None,
    folder: Path,
    copies: CopyIndex,
    networks: Mapping[str, Path | Served],
    tokenizer: Path | None = None,
    ask: Ask | None = None,
) -> Generator[Progress, None, Judged]:
    """Every score of the scenario with its baselines; `start` makes the runtime for the measures that ask it again.

    Without `start` (an unmergeable method) robustness and memorisation by extraction are left out; extraction wants the
    `tokenizer` too (an endpoint gives none, and its own template would stand around the prefix). `ask` says how cases
    are put to the model, where it is not by the scenario's template. `copies` holds the training outputs; `networks`
    are by name (`ours` and `base`) what gives likelihoods: model folders, or files that only a runtime puts together.
    """
    wanted = scenario.evaluation
    metrics = [Catalogue("spearhead.metrics", "METRIC")[name] for name in wanted.metrics]
    metrics = [metric.for_cases(ours) if hasattr(metric, "for_cases") else metric for metric in metrics]
    setting = Setting(home, lambda: dataset.read("train"), dataset.digest)
    metrics = [metric.bind(setting) if hasattr(metric, "bind") else metric for metric in metrics]
    learnt = [record for record in dataset.read("train") if "input" in record.parts]
    pairs = [(record.parts["input"].text, record.parts["output"].text) for record in learnt]
    beside: dict[str, tuple[Case, ...]] = {}
    for number, name in enumerate(scenario.baselines):
        yield Progress("baselines", number, len(scenario.baselines), name)
        if name == "copy":
            beside[name] = tuple(baselines.copy(ours))
        elif name == "base" and base is not None:
            beside[name] = tuple(base)
        elif name == "nearest" and pairs:
            wholes = [(said(r.before, asked), answer) for r, (asked, answer) in zip(learnt, pairs, strict=True)]
            beside[name] = tuple(baselines.nearest(wholes, ours))
        elif name == "ngram" and pairs:
            beside[name] = tuple(baselines.ngram(pairs, ours))
    yield Progress("baselines", len(scenario.baselines), len(scenario.baselines))
    scores = yield from evaluate.measured(ours, beside, metrics, seed=SEED, draws=wanted.draws)
    yield Progress("memorisation", 0, 1, "nearest training texts")
    copied = memorisation.Copied(copies, dataset.digest[:8])
    extras = evaluate.evaluate(ours, [copied], seed=SEED, draws=wanted.draws)
    own = evaluate.evaluate(baselines.reference(ours), [copied], seed=SEED, draws=wanted.draws)
    extras += [dataclasses.replace(score, name=f"{score.name}_by_references") for score in own]
    if start is not None:
        how = ask or (lambda cases: prompts(scenario, cases))
        extras += yield from _robustness(scenario, ours, metrics[0], start, folder, ask=how)
        if tokenizer is not None:
            folders = [place for place in networks.values() if isinstance(place, Path)]
            room = min([scenario.generation.context, *map(_learnt, folders)])
            known = Tokenizer.open(tokenizer)
            extras += yield from _extraction(scenario, dataset, start, folder, tokenizer=known, room=room)
    likely: dict[str, perplexity.Likelihoods] = {}
    if wanted.perplexity_cases:
        most = None if isinstance(wanted.perplexity_cases, str) else wanted.perplexity_cases
        chosen = [case for case in (tested(dataset) if most is None else ours) if case.reference is not None][:most]
        fitting = fit(scenario, chosen, networks)
        told = f", {len(chosen) - len(fitting)} longer left out" if len(fitting) < len(chosen) else ""
        if not fitting:
            yield Progress("likelihood", 1, 1, f"not measured: no case has at most {longest(scenario):,} tokens")
        for which, place in networks.items() if fitting else ():
            note = f"{which}{told}"
            if isinstance(place, Path):
                likely[which] = yield from likelihoods(scenario, fitting, place, note=note, told=told)
            else:
                likely[which] = yield from likelihoods_served(scenario, fitting, place, note=note, told=told)
    if "ours" in likely:
        mine = likely.pop("ours")
        if "ngram" in scenario.baselines:
            likely["ngram"] = yield from _counted(dataset, fitting)
        scores += perplexity.likelihoods_measured(mine, likely, seed=SEED, draws=wanted.draws)
    return Judged(tuple(scores), tuple(extras), tuple(ours), beside)


def _counted(dataset: Dataset, cases: Sequence[Case]) -> Generator[Progress, None, perplexity.Likelihoods]:
    """What characters counted in the training outputs give to the references: the bar under every text model."""
    yield Progress("likelihood", 0, 1, f"{NGRAM}-gram")
    texts, size = [], 0
    for record in dataset.read("train"):
        part = record.parts.get("output", record.parts.get("text"))
        if part is not None and size < COUNTED:
            texts.append(part.text)
            size += len(part.text)
    wanted = [case.reference.text for case in cases if case.reference is not None]
    model = ngram.fit(texts, order=NGRAM)
    return ngram.likelihoods(model, wanted)


NGRAM = 5
"""Characters of the counting model's longest run."""
COUNTED = 20_000_000
"""Characters of training text that it counts at most."""


def _robustness(
    scenario: Scenario, ours: Sequence[Case], metric: Any, start: Start, folder: Path, *, ask: Ask
) -> Generator[Progress, None, list[Score]]:
    """What typing noise in the inputs costs on the scenario's first metric."""
    count = min(scenario.evaluation.noise_cases, len(ours))
    if not count:
        return []
    clean = list(ours[:count])
    rng = np.random.default_rng(SEED)
    touched = [noise.typos(case.input.text if case.input else "", rate=NOISE, rng=rng) for case in clean]
    noisy = [dataclasses.replace(case, input=text(words)) for case, words in zip(clean, touched, strict=True)]
    found = yield from answers.answer(start, ask(noisy), file=folder / "noisy.jsonl", stage="robustness")
    judged = answered(clean, found)
    how = f"typos:{NOISE}|seed:{SEED}"
    return evaluate.robustness(clean, judged, metric, noise=how, seed=SEED, draws=scenario.evaluation.draws)


def _extraction(
    scenario: Scenario, dataset: Dataset, start: Start, folder: Path, *, tokenizer: Tokenizer, room: int
) -> Generator[Progress, None, list[Score]]:
    """How many training outputs the model recites from their first half; held-out ones beside, as what is guessed.

    Asked are those that fit with their beginning into `room` tokens.
    """
    count = scenario.evaluation.extraction_cases
    if not count:
        return []
    found = []
    for split in ("train", "test"):
        records = sorted(dataset.read(split), key=lambda record: record.id)[:count]
        parts = [record.parts.get("output", record.parts.get("text")) for record in records]
        texts = [part.text for part in parts if part is not None and recitable(part.text, tokenizer, room=room)]
        cases = memorisation.prefixes(texts)
        if not cases:
            continue
        asked = recitals(cases, tokenizer)
        told = yield from answers.answer(start, asked, file=folder / f"extraction-{split}.jsonl", stage="memorisation")
        words = [row.text for row in told]
        score = memorisation.extraction(texts, lambda _: words, seed=SEED, draws=scenario.evaluation.draws)  # noqa: B023
        found.append(dataclasses.replace(score, name=f"recited_{split}"))
    return found


def _learnt(network: Path) -> int:
    """Tokens of context that a model was trained on."""
    return int(json.loads((network / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"])


def recitals(cases: Sequence[Case], tokenizer: Tokenizer) -> list[Prompt]:
    """The beginnings of records (see `memorisation.prefixes`), to be continued greedily as far as they are compared."""
    asked = []
    for case in cases:
        assert case.input is not None and case.reference is not None
        most = len(tokenizer.encode(f" {memorisation.compared(case.reference.text)}", special=False)) + SPARE
        options = {"temperature": 0.0, "max_tokens": most}
        asked.append(Prompt((Segment(case.input.text, False),), options=options))
    return asked


def recitable(words: str, tokenizer: Tokenizer, *, room: int) -> bool:
    """Whether the beginning of a text and the rest of it fit together into `room` tokens."""
    asked = recitals(memorisation.prefixes([words]), tokenizer)
    return all(len(tokenizer.encode_segments(one.segments)) + one.options["max_tokens"] <= room for one in asked)


SPARE = 2
"""Tokens more than a recital has: a model may cut its first or last word in another way."""


def fit(scenario: Scenario, cases: Sequence[Case], networks: Mapping[str, Path | Served]) -> list[Case]:
    """The cases whose prompt and reference are at most `longest` tokens to every one of the networks.

    Likelihoods are compared case by case, so what one model leaves out all of them do.
    """
    found = list(cases)
    for place in networks.values():
        tokenizer = Tokenizer.open(place if isinstance(place, Path) else place.tokenizer)
        found = [case for case in found if _encoded(scenario, case, tokenizer)]
    return found


def _encoded(scenario: Scenario, case: Case, tokenizer: Tokenizer) -> "list[Example]":
    """The case as one example; none where it is too long."""
    from spearhead.models.pretrained import batch

    assert case.reference is not None
    pair = (case.given, case.reference.text)
    return batch.encode([pair], tokenizer=tokenizer, template=scenario.template, longest=longest(scenario))[0]


def likelihoods(
    scenario: Scenario, cases: Sequence[Case], folder: Path, *, note: str, told: str = ""
) -> Generator[Progress, None, perplexity.Likelihoods]:
    """What the model in `folder` (Hugging Face files) gives to the references of cases that `fit`, before its weights
    are made small; `told` says for the signature what was left out.
    """
    from spearhead.models.pretrained.build import load
    from spearhead.models.pretrained.config import Base, Config
    from spearhead.models.pretrained.network import Tuned

    tokenizer = Tokenizer.open(folder)
    examples = [example for case in cases for example in _encoded(scenario, case, tokenizer)]
    lengths = [len(case.reference.data) for case in cases if case.reference is not None]
    yield Progress("likelihood", 0, len(examples), note)
    model = Tuned(load(folder), Config(base=Base(licence="", credit=""), method="none"))
    nats, tokens = [0.0] * len(examples), [0] * len(examples)
    for done, (index, total, counted) in enumerate(model.score(examples), 1):
        nats[index], tokens[index] = total, counted
        yield Progress("likelihood", done, len(examples), note)
    return perplexity.Likelihoods(
        nats=nats,
        tokens=tokens,
        bytes=lengths,
        tokenizer=digest.of_file(folder / "tokenizer.json")[:12],
        context=f"{_seen(scenario)}{told}, float32 weights",
    )


def likelihoods_served(
    scenario: Scenario, cases: Sequence[Case], model: Served, *, note: str, told: str = ""
) -> Generator[Progress, None, perplexity.Likelihoods]:
    """The same of a model as it is served: of an adapter over a base, which the runtime alone puts together."""
    tokenizer = Tokenizer.open(model.tokenizer)
    examples = [example for case in cases for example in _encoded(scenario, case, tokenizer)]
    pairs = [(one.ids[: max(one.prompt, 1)], one.ids[max(one.prompt, 1) :]) for one in examples]
    settings = model.settings(longest=max(one.units for one in examples), cache="f16")
    nats = yield from likelihood.nats(model, settings, pairs, stage="likelihood", note=note)
    return perplexity.Likelihoods(
        nats=nats,
        tokens=[one.weight for one in examples],
        bytes=[len(case.reference.data) for case in cases if case.reference is not None],
        tokenizer=digest.of_file(model.tokenizer)[:12],
        context=f"{_seen(scenario)}{told}, as served",
    )


def _seen(scenario: Scenario) -> str:
    """What a model saw of each case, for the signature."""
    return f"prompt in full, completion and stop marker only, up to {longest(scenario)} tokens"


def longest(scenario: Scenario) -> int:
    """Tokens of the longest case whose likelihood is measured: as long as what the model learns from.

    To score a case takes less memory than to learn from it: the logits of a few tokens exist at a time. A model that
    has a context alone is read to `LONGEST` at least, for its texts are longer than the windows it learns from.
    """
    config = scenario.family_config
    return int(getattr(config, "longest", 0)) or max(LONGEST, int(getattr(config, "context", 0)))


LONGEST = 1024


def told(name: str, judged: Judged) -> Told:
    """The scores as a table."""
    values = {
        "judged": name,
        "cases": len(judged.cases),
        "scores": [dataclasses.asdict(score) for score in judged.scores],
        "extras": [dataclasses.asdict(score) for score in judged.extras],
    }
    return Told(values, [f"{name} on {len(judged.cases)} held-out records", "", *score_table(judged)])


def score_table(judged: Judged) -> list[str]:
    """A row a metric: ours with its interval, then the baselines."""
    names = list(judged.baselines)
    rows = []
    for score in judged.scores:
        interval = f"{score.interval[0]:.1f}–{score.interval[1]:.1f}" if score.interval else ""
        beside = [f"{score.baselines[name]:.2f}" if name in score.baselines else "–" for name in names]
        rows.append([score.name, f"{score.value:.2f}", interval, *beside])
    for extra in judged.extras:
        interval = f"{extra.interval[0]:.1f}–{extra.interval[1]:.1f}" if extra.interval else ""
        rows.append([extra.name, f"{extra.value:.2f}", interval, *("–" for _ in names)])
    return table(["metric", "ours", "95 %", *names], rows)
