"""From a task to a lesson: the base model converted, the data as tokens, and what the finished model leaves behind."""

import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spearhead.core.errors import InputError
from spearhead.core.family import Lesson, Preference, Steps, Task
from spearhead.core.generation import Progress, Prompt
from spearhead.core.record import Record
from spearhead.core.template import Given, Segment, reworded
from spearhead.media.text.tokens import Tokenizer
from spearhead.models.pretrained import base as bases
from spearhead.models.pretrained import batch
from spearhead.models.pretrained.build import build
from spearhead.models.pretrained.config import MERGEABLE, Config
from spearhead.models.pretrained.export import export, export_adapter
from spearhead.models.pretrained.network import Perturbation, Tuned
from spearhead.models.pretrained.preference import Encoded, Preferring, encode, pack

VALIDATED = 64
"""Validation records whose loss is watched while training."""
PROBES = 6
"""Positions at which the exported model is compared with the trained one."""


def begin(task: Task) -> Generator[Progress, None, Lesson]:
    """The tuned model and its examples; converts the base at the first time."""
    if task.foundation is None or task.home is None:
        raise InputError("model.base is missing: a pretrained model needs a base to stand on")
    config = task.config
    folder = yield from bases.convert(task.foundation, home=task.home)
    known = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
    if known is not None and config.longest > max(known, Config(config.base).longest):
        raise InputError(
            f"model.longest is {config.longest:,}: the base model knows {known:,} positions, wanted no more"
        )
    tokenizer = Tokenizer.open(folder / "tokenizer.json")
    yield Progress("training", 0, 1, "reading the data")
    end = _end(task, tokenizer)
    if task.preference is not None:
        return _preferring(task, task.preference, folder, tokenizer)

    def encoded(pairs: Iterable[tuple[Given, str]]) -> tuple[list[batch.Example], int]:
        return batch.encode(pairs, tokenizer=tokenizer, template=task.template, longest=config.longest, cut=True)

    if task.augment is not None and any("text" in record.parts for record in task.train()):
        raise InputError(
            "training.augment changes the input of a pair, and among these records are some with a `text`, of which "
            "everything is learnt: leave it out"
        )
    learnt, long = encoded(pairs(task.train()))
    held, held_long = encoded(pairs(task.validation()))
    held = held[:VALIDATED]
    for kept, left, split in ((learnt, long, "learn from"), (held, held_long, "validate by")):
        if not kept:
            raise InputError(
                f"there is nothing to {split}: {left} records have more than {config.longest:,} tokens with the "
                "template, and there are no others; raise model.longest, shorten them (data.cleaning.longest is in "
                "characters), or give more data"
            )
    model = _built(task, folder)
    # numbered as the examples are: a pair that is too long is no example
    short = [pair for pair in pairs(task.train()) if encoded([pair])[0]] if task.augment is not None else []

    def change(number: int, rng: np.random.Generator) -> batch.Example:
        augment = task.augment
        assert augment is not None
        given, wanted = short[number]
        examples, _ = encoded([(reworded(given, lambda words: str(augment(words, rng))), wanted)])
        return examples[0] if examples else encoded([(given, wanted)])[0][0]  # typing noise can make a text too long

    def finish(target: Path) -> Steps:
        return _finish(model, held, base=folder, target=target)

    def answer(asked: Sequence[Prompt]) -> Iterator[tuple[int, str, int, int]]:
        prompts = [tokenizer.encode_segments(prompt.segments) for prompt in asked]
        longest = max((int(prompt.options["max_tokens"]) for prompt in asked), default=1)
        options = asked[0].options if asked else {}
        for index, ids in model.complete(prompts, stop=end, longest=longest, options=options):
            yield index, tokenizer.decode(ids).strip(), len(prompts[index]), len(ids)

    return Lesson(
        model=model,
        examples=learnt,
        held=held,
        pack=batch.pack,
        finish=finish,
        answer=answer if config.method not in MERGEABLE else None,
        change=change if task.augment is not None else None,
        facts={"examples": len(learnt), "too_long": long, "longest": config.longest},
    )


def _end(task: Task, tokenizer: Tokenizer) -> int:
    """The token that ends an answer of the model in memory; raises InputError where there is no such one."""
    if task.config.method in MERGEABLE:  # a runtime answers then, which stops at any text
        return -1
    stop = task.template.stop
    ids = tokenizer.encode_segments([Segment(stop, True)])
    if len(ids) != 1:
        raise InputError(
            f"template.stop {stop!r} is {len(ids)} tokens to this base model, and model.method {task.config.method!r} "
            "needs a single one that ends an answer: wanted a marker of its vocabulary, as <|im_end|>"
        )
    return ids[0]


def _built(task: Task, folder: Path) -> Tuned:
    return build(
        task.config,
        folder,
        steps=task.steps,
        seed=task.seed,
        device=task.device,
        perturbation=Perturbation(task.noise, task.adversarial, task.adversarial_size),  # type: ignore[arg-type]
    )


def _finish(model: Tuned, held: Sequence[batch.Example], *, base: Path, target: Path) -> Steps:
    """Write what a release is made of; see `Lesson.finish`."""
    yield Progress("training", 1.0, 1.0, "writing the weights")
    prefixes, logprobs = probe(model, held)
    np.savez(target / "probe.npz", prefixes=prefixes, logprobs=logprobs)
    method = model.config.method
    if method in MERGEABLE:
        export(model, target / "merged", base=base)
    if method not in ("none", "full"):
        export_adapter(model, target / "adapter")
    return {}


def _preferring(task: Task, preference: Preference, folder: Path, tokenizer: Tokenizer) -> Lesson:
    """The lesson of pairs of a chosen and a rejected answer."""

    def encoded(records: Iterable[Record], first: int) -> Encoded:
        return encode(
            triples(records), tokenizer=tokenizer, template=task.template, longest=task.config.longest, first=first
        )

    learnt = encoded(task.train(), 0)
    held = encoded(task.validation(), len(learnt.pairs)).pairs[:VALIDATED]
    if not learnt.pairs:
        raise InputError(
            f"there is no pair to learn a preference from: {learnt.alike} have a chosen and a rejected answer that are "
            f"the same to the model, {learnt.too_long} are too long"
        )
    if not held:
        raise InputError("no pair is held out for validation: raise data.validation, or give more pairs")
    policy = _built(task, folder)
    model = Preferring(policy, preference, pairs=len(learnt.pairs) + len(held), steps=task.steps)

    def finish(target: Path) -> Steps:
        model.insist()
        yield from _finish(policy, [pair.chosen for pair in held], base=folder, target=target)
        return {"preference": {**model.judged(held), "pairs": len(held)}}

    return Lesson(
        model=model,
        examples=learnt.pairs,
        held=held,
        pack=pack,
        finish=finish,
        facts={"examples": len(learnt.pairs), "too_long": learnt.too_long, "alike": learnt.alike},
    )


def triples(records: Iterable[Record]) -> Iterator[tuple[Given, str, str]]:
    """What is given, preferred and rejected of each record; raises InputError on one that holds no such pair."""
    for record in records:
        parts = record.parts
        if missing := [name for name in ("input", "output", "rejected") if name not in parts]:
            raise InputError(
                f"record {record.id[:12]} has no {missing[0]}: objective dpo wants data.sources.columns that fill "
                "input, output (the chosen answer) and rejected; `spearhead data from-review` writes such a table"
            )
        yield record.given, parts["output"].text, parts["rejected"].text


def pairs(records: Iterable[Record]) -> Iterator[tuple[Given, str]]:
    """What is given and what is wanted of each record."""
    for record in records:
        wanted = record.parts.get("text", record.parts.get("output"))
        assert wanted is not None, "a record is a text or has an output"
        yield record.given, wanted.text


def probe(model: Any, held: Sequence[batch.Example]) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Prefixes (positions, longest; -1 beyond them) and the trained model's next-token log-probabilities there."""
    rows, prefixes = [], []
    model.eval()
    with torch.no_grad():
        for number, example in enumerate(held[:PROBES]):
            cut = max(example.prompt, 1) + number % max(1, example.weight)  # a text has nothing before it
            ids = torch.tensor([example.ids[:cut]], device=model.device)
            logits = model.network(input_ids=ids).logits[0, -1].float()
            rows.append(torch.log_softmax(logits, dim=-1).cpu().numpy())
            prefixes.append(list(example.ids[:cut]))
    width = max(map(len, prefixes))
    padded = np.full((len(prefixes), width), -1, dtype=np.int64)
    for number, prefix in enumerate(prefixes):
        padded[number, : len(prefix)] = prefix
    return padded, np.stack(rows)
