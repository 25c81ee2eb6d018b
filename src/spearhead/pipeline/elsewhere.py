"""Judging a release, or an OpenAI-compatible endpoint, on held-out records. Trains nothing and releases nothing."""

import dataclasses
import os
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from spearhead.core.errors import InputError
from spearhead.core.generation import Progress, Prompt
from spearhead.core.score import Case
from spearhead.core.template import Template
from spearhead.data.dataset import Dataset
from spearhead.pipeline import answers, judge, learn, pictures, road, texts
from spearhead.pipeline.admitted import admitted
from spearhead.pipeline.likelihood import Served
from spearhead.pipeline.told import Told
from spearhead.runtimes.batch import Runtime, Start
from spearhead.scenario.read import Loaded
from spearhead.store import releases
from spearhead.store.home import Home

Walk = Generator[Progress, None, judge.Judged]
KEPT = ("temperature", "top_p", "max_tokens")
"""Options that any endpoint knows; a strict one refuses what only our runtime does."""


def elsewhere(loaded: Loaded, *, home: Home, release: str, endpoint: str) -> Generator[Progress, None, Told]:
    """The scores of a release, or of an endpoint (`URL#MODEL`), as a table.

    Raises InputError before anything is asked where what is named makes something else than the scenario does.
    """
    if bool(release) == bool(endpoint):
        raise InputError("--release and --endpoint: wanted one of them")
    makes = loaded.scenario.scenario.modality
    if endpoint:
        if makes != "text":
            raise InputError(f"--endpoint is asked for texts, and {loaded.scenario.name} makes {makes}: give --release")
        dataset = yield from admitted(loaded, home)
        return judge.told(endpoint, (yield from _endpoint(loaded, home, dataset, endpoint)))
    found = _found(home, release)
    if found.manifest.modality != makes:
        raise InputError(f"{found.name} makes {found.manifest.modality}, and {loaded.scenario.name} wants {makes}")
    dataset = yield from admitted(loaded, home)
    way = _pictures if makes == "image" else _texts
    return judge.told(found.name, (yield from way(loaded, home, dataset, found)))


def _found(home: Home, release: str) -> releases.Release:
    from spearhead.pipeline.desk import opened

    folder = Path(release)
    if folder.is_dir():
        return releases.read(folder)
    releases.expected(home)
    return releases.live(home, opened(home), release)


def _pictures(loaded: Loaded, home: Home, dataset: Dataset, found: releases.Release) -> Walk:
    cases = pictures.held_out(loaded, dataset)
    with tempfile.TemporaryDirectory() as scratch:
        parts = found.file("sampler").parent
        ours = yield from pictures.answered(loaded.scenario, cases, parts=parts, folder=Path(scratch))
        return (yield from pictures.judge(loaded.scenario, dataset, ours=ours, home=home))


def _texts(loaded: Loaded, home: Home, dataset: Dataset, found: releases.Release) -> Walk:
    """A release's own files: asked as they are served, and measured as the road measures what it has trained."""
    from spearhead.models.pretrained import base as bases

    weights, tokenizer = found.file("model"), found.file("tokenizer")
    start = judge.llamacpp(weights, tokenizer, found.manifest.context, adapter=found.adapter)
    networks: dict[str, Path | Served] = {}
    likely = bool(loaded.scenario.evaluation.perplexity_cases)
    if likely and found.adapter is not None:  # the runtime alone puts an adapter and its base together
        networks["ours"] = Served(weights, tokenizer, found.adapter)
    elif likely:
        networks["ours"] = yield from bases.convert(weights, home=home)
    return (yield from _asked(loaded, home, dataset, start, networks=networks, tokenizer=tokenizer))


def _endpoint(loaded: Loaded, home: Home, dataset: Dataset, endpoint: str) -> Walk:
    """A model that is reached by words alone: none of its likelihoods, nor what it recites, can be had."""
    from spearhead.runtimes.remote import Remote

    scenario = loaded.scenario
    if dataset.conversing:
        raise InputError(
            f"--endpoint: an endpoint is asked in one message, and {dataset.conversing} records of these data have "
            "others before it: measure a release, with --release"
        )
    url, _, named = endpoint.partition("#")
    model = named or scenario.name

    async def start() -> Runtime:
        return Remote(url, model=model, key=os.environ.get("OPENAI_API_KEY", ""))

    learnt = model.partition("@")[0] == scenario.name
    template = spoken(None if learnt else scenario.evaluation.base_template)

    def ask(cases: Sequence[Case]) -> list[Prompt]:
        return [
            dataclasses.replace(one, options={name: one.options[name] for name in KEPT if name in one.options})
            for one in judge.prompts(scenario, cases, template)
        ]

    return (yield from _asked(loaded, home, dataset, start, ask=ask))


def spoken(template: Template | None) -> Template:
    """A template as one message of a person's: the endpoint has turns and markers of its own.

    What is asked of a model that has not learnt the task (`evaluation.base_template`) is told in words, its system
    prompt and solved examples too; one that has learnt it (None) gets the input alone, as its clients send it.
    """
    if template is None:
        return Template(style="plain", stop="")
    head = f"{template.system}\n\n" if template.system else ""
    solved = [f"{template.before}{one.input}{template.after}\n{one.output}\n\n" for one in template.examples]
    return Template(style="plain", before=head + "".join(solved) + template.before, after=template.after, stop="")


def _asked(
    loaded: Loaded,
    home: Home,
    dataset: Dataset,
    start: Start,
    *,
    networks: Mapping[str, Path | Served] | None = None,
    tokenizer: Path | None = None,
    ask: judge.Ask | None = None,
) -> Walk:
    """Ask for every held-out case and judge the answers beside the baselines, the untouched base model among them."""
    from spearhead.models.pretrained import base as bases

    scenario, known = loaded.scenario, dict(networks or {})
    cases = judge.held_out(loaded, dataset)
    theirs = None
    base = (yield from learn.foundation(loaded, home)) if "base" in scenario.baselines else None
    if base is not None:
        root = home.runs / scenario.name
        with road.alone(root):  # its answers are a step of the road: walked before, they are there
            _, theirs = yield from texts.base_answers(
                loaded, home, dataset, cases, base=base, base_key=learn.key(base), root=root
            )
        if known:
            known["base"] = yield from bases.convert(base, home=home)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prompts = ask(cases) if ask else judge.prompts(scenario, cases)
        found = yield from answers.answer(start, prompts, file=folder / "answers.jsonl", stage="answers")
        return (
            yield from judge.judge(
                scenario,
                dataset,
                home=home,
                ours=judge.answered(cases, found),
                base=theirs,
                start=start,
                folder=folder,
                copies=judge.index(dataset),
                networks=known,
                tokenizer=tokenizer,
                ask=ask,
            )
        )
