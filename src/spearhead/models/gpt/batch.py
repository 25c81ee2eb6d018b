"""Token sequences to learn from: windows of a long text, or pairs of which only the answer is learnt. No torch."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spearhead.core.template import Given, Segment, Template
from spearhead.media.text.tokens import Tokenizer

Ids = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence of ids; the first `prompt` of them are given, the others are learnt. The first is always given."""

    ids: Ids
    prompt: int = 1

    @property
    def units(self) -> int:
        """Tokens that the model reads: the last is only predicted."""
        return len(self.ids) - 1

    @property
    def weight(self) -> int:
        """Tokens that are learnt."""
        return len(self.ids) - self.prompt


@dataclass(frozen=True, slots=True)
class Sequences:
    """A micro-batch, filled up at the end of each row: no token sees what comes after it."""

    inputs: "np.ndarray[Any, np.dtype[np.int64]]"
    """(n, t)"""
    labels: "np.ndarray[Any, np.dtype[np.int64]]"
    """(n, t), -1 where nothing is learnt."""
    weight: int
    units: int
    closes: bool = True

    @property
    def examples(self) -> int:
        """How many sequences there are."""
        return len(self.inputs)


def pack(examples: Sequence[Example], *, closes: bool = True) -> Sequences:
    """One micro-batch of the examples, in their order."""
    longest = max(example.units for example in examples)
    inputs = np.zeros((len(examples), longest), dtype=np.int64)
    labels = np.full((len(examples), longest), -1, dtype=np.int64)
    for row, example in enumerate(examples):
        inputs[row, : example.units] = example.ids[:-1]
        labels[row, example.prompt - 1 : example.units] = example.ids[example.prompt :]
    return Sequences(inputs, labels, sum(e.weight for e in examples), sum(e.units for e in examples), closes)


def pairs(
    given: Iterable[tuple[Given, str]], *, tokenizer: Tokenizer, template: Template, longest: int
) -> tuple[list[Example], int]:
    """Examples of (input, output) pairs, and how many were left out because they exceed `longest` tokens.

    The prompt is `template.single(input)`; what is learnt is the output and the template's stop.
    """
    examples: list[Example] = []
    left_out = 0
    for asked, wanted in given:
        prompt = tokenizer.encode_segments(template.single(asked))
        answer = tokenizer.encode_segments([Segment(wanted, False), Segment(template.stop, True)])
        example = Example(np.array([*prompt, *answer], dtype=np.int32), max(len(prompt), 1))
        if example.units > longest or example.weight < 1:
            left_out += 1
        else:
            examples.append(example)
    return examples, left_out


def stream(texts: Iterable[str], *, tokenizer: Tokenizer, template: Template) -> Ids:
    """All texts in a row, each after the template's empty prompt and before its stop."""
    before = tokenizer.encode_segments(template.single(""))
    after = tokenizer.encode_segments([Segment(template.stop, True)])
    parts = [np.array([*before, *tokenizer.encode(text, special=False), *after], dtype=np.int32) for text in texts]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)


def windows(ids: Ids, *, length: int) -> list[Example]:
    """The stream in windows of `length` tokens one after the other; every token but the first is learnt once."""
    return [Example(ids[at : at + length + 1]) for at in range(0, len(ids) - 1, length)]


def moved(ids: Ids, *, length: int) -> Callable[[int, np.random.Generator], Example]:
    """A new version of window number i: one that begins at random up to a window's length away.

    So an epoch still reads every part of the text about once, and the borders differ each time.
    """
    last = len(ids) - length - 1

    def change(number: int, rng: np.random.Generator) -> Example:
        start = min(max(number * length + int(rng.integers(-(length // 2), (length + 1) // 2)), 0), max(last, 0))
        return Example(ids[start : start + length + 1])

    return change
