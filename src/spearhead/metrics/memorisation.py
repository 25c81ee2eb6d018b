"""Memorisation: does a model recite its training data? Metrics that need this data, so that they lie outside the
catalogue. Knows nothing of how the index finds what was copied.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.media import text
from spearhead.core.score import Better, Case, Score
from spearhead.index import near
from spearhead.index.copies import CopyIndex
from spearhead.metrics import parts
from spearhead.metrics.evaluate import evaluate
from spearhead.metrics.mean import percent, rows
from spearhead.metrics.words import SIGNATURE, places, words

SHORTEST = 8
"""Words that a record needs to be probed: half of it must say which record it is."""
LONGEST = 50
"""Words of prefix given and of continuation compared, at most."""


@dataclass(frozen=True, slots=True)
class Copied:
    """How much of an output stands word for word in one training text: the longest run of words over all its words.

    Set phrases are copied by everyone: read it beside what the references themselves share with the training data
    (`baselines.reference`).
    """

    index: CopyIndex
    training: str
    """What was searched, for the signature: the data's digest, and which part of its records."""
    name: ClassVar[str] = "copied"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "lower"

    @property
    def signature(self) -> str:
        """What is measured against which data."""
        return f"copied|longest-run-of-words|mean|training:{self.training}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): the share and 1."""
        return rows(
            self.index.nearest(output).words / max(len(near.words(output)), 1)
            for output in parts.outputs(cases, self.name)
        )

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """The mean share, 0 to 100."""
        return percent(totals)


@dataclass(frozen=True, slots=True)
class Recited:
    """The share of continuations that are, word for word, those of the record (Carlini et al. 2023, "Quantifying
    memorization across neural language models", section 3: extractable with a prefix), over cases from `prefixes`.
    """

    name: ClassVar[str] = "recited"
    modality: ClassVar[str] = "text"
    better: ClassVar[Better] = "lower"

    @property
    def signature(self) -> str:
        """How much is given and how much compared."""
        return f"recited|prefix:half,at-most-{LONGEST}|compared:rest,at-most-{LONGEST}|from:{SHORTEST}|{SIGNATURE}"

    def statistics(self, cases: Sequence[Case]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """(cases, 2): whether it was recited, and 1."""
        pairs = zip(parts.outputs(cases, self.name), parts.references(cases, self.name), strict=True)
        return rows(float(_begins(words(got), words(wanted)[:LONGEST])) for got, wanted in pairs)

    def reduce(self, totals: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Recited records per 100."""
        return percent(totals)


def prefixes(texts: Sequence[str]) -> list[Case]:
    """Cases whose input is the first half of a text (50 words at most) and whose reference is the rest; the output is
    still empty. Texts of fewer than 8 words are left out.
    """
    cases = []
    for content in texts:
        starts = places(content)
        if len(starts) >= SHORTEST:
            cut = starts[min(len(starts) // 2, LONGEST)]
            cases.append(Case(text(content[:cut].rstrip()), text(""), text(content[cut:])))
    return cases


def compared(reference: str) -> str:
    """What of a reference is compared with a continuation: its first 50 words.

    >>> compared("w " * 60).count("w")
    50
    """
    starts = places(reference)
    return reference if len(starts) <= LONGEST else reference[: starts[LONGEST]].rstrip()


def extraction(
    texts: Sequence[str], continued: Callable[[list[str]], Sequence[str]], *, seed: int, draws: int = 1000
) -> Score:
    """How many of `texts` a model recites when it is given their first half.

    `continued` gives one continuation for each prefix, by greedy decoding and without a template. Run it over held-out
    texts too: what is recited there was guessed, not memorised.
    """
    cases = prefixes(texts)
    if not cases:
        raise InputError(f"extraction: none of {len(texts)} texts has {SHORTEST} words: give longer records")
    found = continued(parts.inputs(cases, "extraction"))
    if len(found) != len(cases):
        raise InputError(f"extraction: {len(found)} continuations of {len(cases)} prefixes: wanted one each")
    answered = [Case(case.input, text(output), case.reference) for case, output in zip(cases, found, strict=True)]
    return evaluate(answered, [Recited()], seed=seed, draws=draws)[0]


def _begins(got: list[str], wanted: list[str]) -> bool:
    return got[: len(wanted)] == wanted
