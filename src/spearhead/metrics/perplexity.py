"""Likelihoods as scores: perplexity and bits per byte. Knows nothing of the model that gave the likelihoods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.manifest import Measured
from spearhead.core.score import Score
from spearhead.metrics import resample

Array = np.ndarray[Any, np.dtype[np.float64]]
_NAMES = ("perplexity", "bits_per_byte")


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """What a model gave to texts, one entry a case: nats in all, tokens predicted, UTF-8 bytes of what was predicted.

    `tokenizer` says what a token is; `context` what the model saw of each case before and how long texts were cut:
    `prompt in full, completion only, up to 512 tokens`.
    """

    nats: Sequence[float]
    tokens: Sequence[int]
    bytes: Sequence[int]
    tokenizer: str
    context: str

    def __post_init__(self) -> None:
        if not len(self.nats) == len(self.tokens) == len(self.bytes) or not len(self.nats):
            raise InputError(
                f"likelihoods: {len(self.nats)} of nats, {len(self.tokens)} of tokens, {len(self.bytes)} of bytes: "
                "wanted one of each for every case, and at least one case"
            )
        if not np.isfinite(self.nats).all() or min(self.nats) < 0 or min(self.tokens) < 1 or min(self.bytes) < 1:
            raise InputError("likelihoods: wanted finite nats of 0 or more, and at least one token and byte a case")

    @property
    def statistics(self) -> Array:
        """(cases, 3): nats, tokens, bytes."""
        return np.array([self.nats, self.tokens, self.bytes], dtype=np.float64).T


def likelihood_scores(ours: Likelihoods, *, seed: int, draws: int = 1000) -> list[Score]:
    """Perplexity (e to the mean nats a token) and bits per byte over all cases together, lower is better."""
    drawn = resample.totals([ours.statistics], seed=seed, draws=draws)[0]
    values = _both(ours.statistics.sum(axis=0)[None, :])
    spread = _both(drawn)
    return [
        Score(
            name, float(values[name][0]), resample.interval(spread[name]), "lower", _signature(ours, name, seed, draws)
        )
        for name in _NAMES
    ]


def likelihoods_measured(
    ours: Likelihoods, baselines: Mapping[str, Likelihoods], *, seed: int, draws: int = 1000
) -> list[Measured]:
    """The same with baselines over the same cases beside it, by paired bootstrap.

    Bits per byte compare whatever the tokenizer and whatever a model can see (an n-gram sees a few characters); a
    baseline with another tokenizer is left out of perplexity. Raises InputError where a baseline has other texts.
    """
    for name, other in baselines.items():
        if list(other.bytes) != list(ours.bytes):
            raise InputError(
                f"{name}: its likelihoods are of other texts than ours: wanted the same cases in the same order"
            )
    spread = resample.totals([each.statistics for each in (ours, *baselines.values())], seed=seed, draws=draws)
    mine = _both(spread[0])
    found = []
    for score in likelihood_scores(ours, seed=seed, draws=draws):
        values, p_values = {}, {}
        for (name, other), drawn in zip(baselines.items(), spread[1:], strict=True):
            if score.name == "perplexity" and other.tokenizer != ours.tokenizer:
                continue
            values[name] = float(_both(other.statistics.sum(axis=0)[None, :])[score.name][0])
            theirs = _both(drawn)[score.name]
            p_values[name] = resample.p_value(mine[score.name], theirs, delta=score.value - values[name])
        found.append(Measured(score.name, score.value, score.interval, score.better, score.signature, values, p_values))
    return found


def _both(totals: Array) -> dict[str, Array]:
    nats, tokens, octets = totals.T  # (draws,) each
    return {"perplexity": np.exp(nats / tokens), "bits_per_byte": nats / log(2) / octets}


def _signature(ours: Likelihoods, name: str, seed: int, draws: int) -> str:
    unit = f"tokenizer:{ours.tokenizer}|" if name == "perplexity" else ""
    size = f"cases:{len(ours.nats)}|tokens:{sum(ours.tokens)}|bytes:{sum(ours.bytes)}"
    sample = size if name == "perplexity" else size.replace(f"tokens:{sum(ours.tokens)}|", "")
    return f"{name}|{unit}context:{ours.context}|{sample}|bootstrap:{draws}|seed:{seed}"
