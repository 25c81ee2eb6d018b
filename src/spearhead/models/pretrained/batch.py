"""Pairs of texts as token sequences, several to a micro-batch and none of it padding. Knows no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spearhead.core.template import Given, Segment, Template
from spearhead.media.text.tokens import Tokenizer


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence of ids; the first `prompt` of them are given, the others are learnt."""

    ids: tuple[int, ...]
    prompt: int

    @property
    def units(self) -> int:
        """Tokens, all of them."""
        return len(self.ids)

    @property
    def weight(self) -> int:
        """Tokens that are learnt."""
        return len(self.ids) - max(self.prompt, 1)


@dataclass(frozen=True, slots=True)
class Sequences:
    """A micro-batch: `ids` (tokens,) of all its sequences one after the other; `closes` when a step ends with it."""

    ids: "np.ndarray[Any, np.dtype[np.int64]]"
    lengths: tuple[int, ...]
    prompts: tuple[int, ...]
    closes: bool = True

    @property
    def weight(self) -> int:
        """Tokens that are learnt: a mean loss over this batch counts so much."""
        return sum(length - max(prompt, 1) for length, prompt in zip(self.lengths, self.prompts, strict=True))

    @property
    def examples(self) -> int:
        """How many sequences there are."""
        return len(self.lengths)

    @property
    def units(self) -> int:
        """Tokens, all of them; there is no padding to count."""
        return len(self.ids)


def encode(
    pairs: Iterable[tuple[Given, str]], *, tokenizer: Tokenizer, template: Template, longest: int, cut: bool = False
) -> tuple[list[Example], int]:
    """Examples of (input, output) pairs, and how many were left out because they exceed `longest` tokens.

    The prompt is `template.single(input)`; what is learnt is the output and the template's stop marker. A pair whose
    input is empty and whose template adds nothing is learnt whole; with `cut`, in pieces where it is too long.
    """
    examples: list[Example] = []
    left_out = 0
    for given, wanted in pairs:
        prompt = tokenizer.encode_segments(template.single(given))
        answer = tokenizer.encode_segments([Segment(wanted, False), Segment(template.stop, True)])
        example = Example((*prompt, *answer), len(prompt))
        if cut and not prompt and example.units > longest:
            # the last token of a piece is the first that the next is given, so that each is learnt once
            starts = range(0, example.units - 1, longest - 1)
            examples += [Example(example.ids[start : start + longest], 0) for start in starts]
        elif example.units > longest or example.weight < 1:
            left_out += 1
        else:
            examples.append(example)
    return examples, left_out


def pack(examples: Sequence[Example], *, closes: bool = True) -> Sequences:
    """One micro-batch of the examples, in their order."""
    ids = np.fromiter((token for example in examples for token in example.ids), dtype=np.int64)
    return Sequences(ids, tuple(e.units for e in examples), tuple(e.prompt for e in examples), closes)
