"""The step of the road that measures planted canaries: how likely the files to be released find them, and whether
their rest is said when their beginning is given. Knows no training.
"""

import dataclasses
import json
from collections.abc import Generator, Sequence
from os.path import commonprefix
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.files import write_whole
from spearhead.core.generation import Progress, Prompt
from spearhead.core.manifest import Planted
from spearhead.core.template import Segment, Template
from spearhead.data import canaries
from spearhead.data.canaries import Canary
from spearhead.data.dataset import Dataset
from spearhead.media.text.tokens import Tokenizer
from spearhead.metrics import exposure
from spearhead.pipeline import answers, likelihood
from spearhead.pipeline.likelihood import SLOTS, Pair, Served
from spearhead.runtimes.llamacpp import LlamaCpp, Settings
from spearhead.scenario.schema import Scenario

CANDIDATES = 255
"""Unplanted sequences that each canary is ranked among: they show 8 bits at most."""
SAMPLED = 3
"""Probes of each canary at temperature 1, beside the greedy one."""
SEED = 0


def probe(
    scenario: Scenario, dataset: Dataset, model: Served, *, passes: float, folder: Path
) -> Generator[Progress, None, list[Planted]]:
    """The measured groups, the never planted ones first; `canaries.jsonl` in `folder` says every canary's own figures.

    `passes` is how often training read the data. As many sequences that were never planted are measured alike, and
    probed alike: what they show is chance. Raises InputError when canaries are too long for the model to have learnt.
    """
    config, pair = scenario.data, canaries.of_pairs(dataset)
    others = canaries.unplanted(config, dataset, count=config.canaries + CANDIDATES)
    shown = [*others[: config.canaries], *canaries.planted(config, dataset)]
    candidates = others[config.canaries :]
    tokenizer = Tokenizer.open(model.tokenizer)
    sequences = _sequences([*shown, *candidates], scenario.template, tokenizer, pair=pair)
    longest = max(len(given) + len(rest) for given, rest in sequences)
    most = int(getattr(scenario.family_config, "context", longest))
    if pair and longest > most:  # a longer pair is left out of training, and what was not learnt says nothing
        raise InputError(
            f"data.canaries have up to {longest} tokens and model.context is {most}: raise it, or plant no canaries"
        )
    settings = model.settings(longest=longest)
    nats = yield from likelihood.nats(model, settings, sequences, stage="canaries", note="likelihood")
    said = yield from _said(scenario, shown, model, settings, tokenizer, pair=pair, folder=folder)
    others_nats = np.array(nats[len(shown) :])
    bits = exposure.exposures(np.array(nats[: len(shown)]), others_nats)
    rows = [
        {
            **dataclasses.asdict(one),
            "nats": spent,
            "exposure": float(exposed),
            "extracted": out,
        }
        for one, spent, exposed, out in zip(shown, nats[: len(shown)], bits, said, strict=True)
    ]
    write_whole(folder / "canaries.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    found = []
    for repeats in (0, *config.canary_repeats):
        group = [row for row in rows if row["repeats"] == repeats]
        found.append(
            exposure.measured(
                repeats,
                [row["nats"] for row in group],
                others_nats.tolist(),
                possible=canaries.BITS,
                extracted=sum(row["extracted"] for row in group),
                probes=len(group) * (1 + SAMPLED),
                passes=passes,
                how=f"format:{'pair,output' if pair else 'text,digits'}|probes:greedy+{SAMPLED}-sampled",
                seed=SEED,
                draws=scenario.evaluation.draws,
            )
        )
    return found


def _prompt(words: str, template: Template, *, pair: bool) -> list[Segment]:
    """What comes before the rest: a pair's input in the template, a text's beginning as it stands in training."""
    return template.single(words) if pair else [*template.single(""), Segment(words, False)]


def _sequences(every: Sequence[Canary], template: Template, tokenizer: Tokenizer, *, pair: bool) -> list[Pair]:
    """Token ids that are given, and those whose likelihood counts: a pair's output, a text's digits."""
    if pair:
        return [
            (tokenizer.encode_segments(template.single(one.given)), tokenizer.encode(one.rest, special=False))
            for one in every
        ]
    lead = tokenizer.encode_segments(template.single(""))
    wholes = [[*lead, *tokenizer.encode(one.whole, special=False)] for one in every]
    alike = len(commonprefix(wholes))  # the same word begins all of them, and moves no rank
    return [(whole[:alike], whole[alike:]) for whole in wholes]


def _said(
    scenario: Scenario,
    shown: Sequence[Canary],
    model: Served,
    settings: Settings,
    tokenizer: Tokenizer,
    *,
    pair: bool,
    folder: Path,
) -> Generator[Progress, None, list[bool]]:
    """Whether any probe of each canary was answered with its rest, word for word."""
    template = scenario.template
    stop = (template.stop,) if template.stop else ()
    prompts = []
    for one in shown:
        given = one.given if pair else f"{one.given}:"
        most = len(tokenizer.encode(f" {one.rest}", special=False)) + 2
        for number in range(1 + SAMPLED):
            how: dict[str, Any] = {"temperature": 1.0 if number else 0.0, "max_tokens": most}
            prompts.append(Prompt(tuple(_prompt(given, template, pair=pair)), options=how, seed=number, stop=stop))

    async def start() -> LlamaCpp:
        return await LlamaCpp.start(model.weights, model.tokenizer, settings=settings)

    told = yield from answers.answer(start, prompts, file=folder / "probes.jsonl", stage="canaries", parallel=SLOTS)
    every = 1 + SAMPLED
    return [
        any(
            row.text.split()[: len(one.rest.split())] == one.rest.split() for row in told[at * every : (at + 1) * every]
        )
        for at, one in enumerate(shown)
    ]
