"""Judging a release, or an OpenAI-compatible endpoint, on held-out records. Trains nothing and releases nothing."""

import dataclasses
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

from spearhead.core.errors import InputError
from spearhead.core.generation import Progress
from spearhead.core.template import Template
from spearhead.data.dataset import Dataset
from spearhead.pipeline import answers, judge, pictures
from spearhead.pipeline.admitted import admitted
from spearhead.pipeline.told import Told
from spearhead.runtimes.batch import Runtime
from spearhead.scenario.read import Loaded
from spearhead.store import releases
from spearhead.store.home import Home

Walk = Generator[Progress, None, judge.Judged]
KEPT = ("temperature", "top_p", "max_tokens")
"""Options that any endpoint knows; a strict one refuses what only our runtime does."""


def elsewhere(loaded: Loaded, *, home: Home, release: str, endpoint: str) -> Generator[Progress, None, Told]:
    """The scores of a release, or of an endpoint (`URL#MODEL`), as a table; likelihoods and robustness are left out.

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
    return releases.read(folder) if folder.is_dir() else releases.live(home, opened(home), release)


def _pictures(loaded: Loaded, home: Home, dataset: Dataset, found: releases.Release) -> Walk:
    cases = pictures.held_out(loaded, dataset)
    with tempfile.TemporaryDirectory() as scratch:
        parts = found.file("sampler").parent
        ours = yield from pictures.answered(loaded.scenario, cases, parts=parts, folder=Path(scratch))
        return (yield from pictures.judge(loaded.scenario, dataset, ours=ours, home=home))


def _texts(loaded: Loaded, home: Home, dataset: Dataset, found: releases.Release) -> Walk:
    weights, tokenizer = found.file("model"), found.file("tokenizer")
    start = judge.llamacpp(weights, tokenizer, found.manifest.context, adapter=found.adapter)
    return (yield from _asked(loaded, home, dataset, start))


def _endpoint(loaded: Loaded, home: Home, dataset: Dataset, endpoint: str) -> Walk:
    from spearhead.runtimes.remote import Remote

    url, _, model = endpoint.partition("#")

    async def start() -> Runtime:
        return Remote(url, model=model or loaded.scenario.name, key=os.environ.get("OPENAI_API_KEY", ""))

    return (yield from _asked(loaded, home, dataset, start, strange=True))


def _asked(loaded: Loaded, home: Home, dataset: Dataset, start: judge.Start, *, strange: bool = False) -> Walk:
    """Ask for every held-out case and judge the answers; a `strange` model knows neither our template nor options."""
    scenario = loaded.scenario
    cases = judge.held_out(loaded, dataset)
    asked = judge.prompts(scenario, cases, Template(style="plain", stop="") if strange else None)
    if strange:
        asked = [
            dataclasses.replace(one, options={name: one.options[name] for name in KEPT if name in one.options})
            for one in asked
        ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = yield from answers.answer(start, asked, file=folder / "answers.jsonl", stage="answers")
        return (
            yield from judge.judge(
                scenario,
                dataset,
                home=home,
                ours=judge.answered(cases, found),
                base=None,
                start=None,
                folder=folder,
                copies=judge.index(dataset),
                networks={},
            )
        )
