"""From a task to a lesson: a vocabulary of the task's own text, the text as tokens, a model that knows nothing yet."""

from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spearhead.core.errors import InputError
from spearhead.core.family import Lesson, Steps, Task
from spearhead.core.generation import Progress
from spearhead.core.record import Record
from spearhead.core.template import Given, Segment, reworded
from spearhead.media.text.tokens import Tokenizer
from spearhead.models.gpt import batch, words
from spearhead.models.gpt.config import Config, whole
from spearhead.models.gpt.export import export, probe
from spearhead.models.gpt.network import GPT

VALIDATED = 1 << 17
"""Held-out tokens whose loss is watched while training."""
SEEN = 3
"""Answers to the first held-out prompt that the preview shows."""
LONGEST = 96
"""Tokens of each of them at most."""
STREAMED = 16
"""Tokens of a long text that its continuation is drawn from."""


def begin(task: Task) -> Generator[Progress, None, Lesson]:
    """The untrained model and its examples.

    Records with a `text` are learnt as one long stream in windows; records with `input` and `output` as pairs of
    which the output is learnt. Raises InputError where there is nothing to learn from or to validate on.
    """
    config = whole(task.config)
    if task.noise or task.adversarial != "none":
        raise InputError(
            "training.embedding_noise and training.adversarial perturb the embeddings of a pretrained model: "
            "a gpt has model.dropout instead; leave them out"
        )
    yield Progress("training", 0, 1, "making the vocabulary")
    content = words.make(_every_word(task), config, template=task.template)
    tokenizer = Tokenizer(content)
    yield Progress("training", 0, 1, "reading the data")
    if _of_pairs(task.train()):
        examples, held, change, facts = _pairs(task, config, tokenizer)
    else:
        if task.augment is not None:
            raise InputError(
                "training.augment changes the input of a pair, and these records are each a `text`, all of which "
                "is learnt: leave it out"
            )
        examples, held, change, facts = _stream(task, config, tokenizer)
    if not examples:
        raise InputError(
            f"no record fits into model.context {config.context}: raise it, or give shorter records "
            f"({facts['too_long']} are too long)"
        )
    if not held:
        raise InputError("no record is held out for validation: raise data.validation, or give more data")
    model = GPT(config, vocabulary=tokenizer.size, seed=task.seed).to(task.device)

    def finish(target: Path) -> Steps:
        yield Progress("training", 1.0, 1.0, "writing the weights")
        target.mkdir(parents=True, exist_ok=True)
        prefixes, logprobs = probe(model, held)
        np.savez(target / "probe.npz", prefixes=prefixes, logprobs=logprobs)
        export(model, target / "merged", tokenizer=content, stop=task.template.stop)
        return {}

    def preview() -> str:
        first = held[0]
        given = first.ids[: first.prompt if first.prompt > 1 else STREAMED]
        most = min(config.context, len(given) + LONGEST) - len(given)
        was = model.training
        model.eval()
        rng = torch.Generator(model.device).manual_seed(task.seed)
        *_, made = model.sample(given, SEEN, rng=rng, options={"temperature": 0.8, "max_tokens": max(1, most)})
        model.train(was)
        stop = tokenizer.encode_segments([Segment(task.template.stop, True)])
        asked = tokenizer.decode(given.tolist())
        return "\n\n".join([asked, *(tokenizer.decode(_until(row, stop)) for row in made.tolist())])

    parameters = sum(p.numel() for p in model.parameters())
    return Lesson(
        model=model,
        examples=examples,
        held=held,
        pack=batch.pack,
        finish=finish,
        change=change,
        facts={"parameters": parameters, "vocabulary": tokenizer.size, "examples": len(examples), **facts},
        preview=preview,
    )


def _until(ids: list[int], stop: list[int]) -> list[int]:
    """What comes before the stop's first token; everything where it does not come."""
    return ids[: ids.index(stop[0])] if stop and stop[0] in ids else ids


def _of_pairs(records: Iterable[Record]) -> bool:
    kinds = {("text" in record.parts, "output" in record.parts) for record in records}
    if kinds == {(True, False)}:
        return False
    if kinds == {(False, True)}:
        return True
    if not kinds:
        raise InputError("there is no record to train on: every one was refused, or the source is empty")
    raise InputError("the records are mixed: wanted a `text` in each of them, or an `input` and an `output` in each")


def _every_word(task: Task) -> Iterator[str]:
    """What the vocabulary must be able to write."""
    for record in task.train():
        for part in record.parts.values():
            yield part.text
    for segment in task.template.single(""):
        yield segment.text


def _words_of(records: Iterable[Record]) -> Iterator[tuple[Given, str]]:
    for record in records:
        yield record.given, record.parts["output"].text


Lists = tuple[list[batch.Example], list[batch.Example], Callable[..., Any] | None, dict[str, Any]]


def _pairs(task: Task, config: Config, tokenizer: Tokenizer) -> Lists:
    def encoded(some: Iterable[tuple[Given, str]]) -> tuple[list[batch.Example], int]:
        return batch.pairs(some, tokenizer=tokenizer, template=task.template, longest=config.context)

    examples, too_long = encoded(_words_of(task.train()))
    held, _ = encoded(_words_of(task.validation()))
    fits: list[batch.Example] = []
    tokens = 0
    for example in held:
        tokens += example.units
        if fits and tokens > VALIDATED:
            break
        fits.append(example)
    change = None
    if task.augment is not None:
        augment = task.augment
        # numbered as the examples are: a pair that is too long is no example
        kept = [pair for pair in _words_of(task.train()) if encoded([pair])[0]]

        def change(number: int, rng: np.random.Generator) -> batch.Example:
            given, wanted = kept[number]
            new, _ = encoded([(reworded(given, lambda words: str(augment(words, rng))), wanted)])
            return new[0] if new else examples[number]  # typing noise can make a text too long

    return examples, fits, change, {"too_long": too_long}


def _stream(task: Task, config: Config, tokenizer: Tokenizer) -> Lists:
    def tokens(records: Iterable[Record]) -> batch.Ids:
        texts = (record.parts["text"].text for record in records)
        return batch.stream(texts, tokenizer=tokenizer, template=task.template)

    learnt, held = tokens(task.train()), tokens(task.validation())[: VALIDATED + 1]
    length = min(config.context, len(learnt) - 1)
    if length < 1:
        raise InputError("the training texts are empty: there is nothing to learn")
    examples = batch.windows(learnt, length=length)
    facts = {"too_long": 0, "tokens": len(learnt)}
    return examples, batch.windows(held, length=config.context), batch.moved(learnt, length=length), facts
