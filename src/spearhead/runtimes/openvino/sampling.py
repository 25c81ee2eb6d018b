"""From a row of logits to a token: biases, penalties, truncation and a draw, as llama.cpp's options name them.

Knows no model. Every sequence draws from a generator of its own, so its seed alone decides, whoever runs beside it.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from spearhead.media.text.keyed import Key

Array = np.ndarray[Any, np.dtype[Any]]

WINDOW = 64
"""How many tokens back a penalty looks."""
STRIPE = 64
"""Logits that are looked at together when the largest are searched."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How one answer is sampled; the defaults change nothing."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    bias: tuple[tuple[int, float], ...] = ()
    seed: int = 0
    alternatives: int = 0
    """How many likeliest tokens come with each token."""
    key: "Key | None" = field(default=None, repr=False)
    """Who draws most of the tokens, so that the answer can be told by it; nobody draws where the likeliest is taken."""

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.top_k == 1 or self.temperature <= 0

    @property
    def penalised(self) -> bool:
        """Whether earlier tokens weigh."""
        return bool(self.presence_penalty or self.frequency_penalty) or self.repeat_penalty != 1.0


def wishes(body: Mapping[str, Any], *, key: "Key | None" = None) -> Wishes:
    """The options of a request to llama.cpp's server; raises ValueError, KeyError or TypeError on nonsense."""
    numbers = {name: body[name] for name in Wishes.__dataclass_fields__ if name in body and name != "key"}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int if name in ("top_k", "seed") else (int, float)):
            raise ValueError(f"{name} is {value!r}")
    bias = tuple((int(token), float(amount)) for token, amount in body.get("logit_bias", ()))
    return Wishes(**numbers, bias=bias, alternatives=int(body.get("n_probs", 0)), key=key)


class Sampler:
    """The state of one answer: its generator and what it has seen."""

    def __init__(self, it: Wishes, prompt: Sequence[int]) -> None:
        self.wishes = it
        self._seen = list(prompt[-WINDOW:]) if it.penalised else []
        self._draws = random.Random(it.seed)
        self._keyed = None
        if it.key is not None and not it.greedy:
            from spearhead.media.text.keyed import Draws

            self._keyed = Draws(it.key)
        self.plain = it.greedy and not it.bias and not it.penalised and not it.alternatives
        """Whether the largest logit is all that is asked for."""

    def pick(self, logits: Array) -> int:
        """The next token. `logits` (vocabulary,) are changed where biases and penalties say so."""
        it = self.wishes
        for token, amount in it.bias:
            if 0 <= token < len(logits):
                logits[token] += amount
        if it.penalised:
            self._penalise(logits)
        token = int(logits.argmax()) if it.greedy else self._draw(logits)
        if it.penalised:
            self._seen = [*self._seen[1 - WINDOW :], token]
        if self._keyed is not None:
            self._keyed.took(token)
        return token

    def _penalise(self, logits: Array) -> None:
        """Keskar et al. 2019, section 4.1 for the repetition; OpenAI's formula for the other two."""
        it = self.wishes
        tokens, counts = np.unique(np.array(self._seen, np.int64), return_counts=True)
        found = logits[tokens]
        found = np.where(found <= 0, found * it.repeat_penalty, found / it.repeat_penalty)
        logits[tokens] = found - counts * it.frequency_penalty - it.presence_penalty

    def _draw(self, logits: Array) -> int:
        it = self.wishes
        tokens = largest(logits, it.top_k)
        values = logits[tokens].astype(np.float64)
        if it.top_p < 1.0:
            weights = np.exp(values - values[0])
            enough = int(np.searchsorted(np.cumsum(weights), it.top_p * weights.sum())) + 1
            tokens, values = tokens[:enough], values[:enough]
        if it.min_p > 0.0:
            likely = values >= values[0] + np.log(it.min_p)
            tokens, values = tokens[likely], values[likely]
        values = (values - values[0]) / it.temperature
        if self._keyed is not None:
            noise = self._keyed.noise(tokens, coin=self._draws.random())
            if noise is not None:
                return int(tokens[np.argmax(values + noise)])
        sums = np.cumsum(np.exp(values))
        at = int(np.searchsorted(sums, self._draws.random() * sums[-1], side="right"))
        return int(tokens[min(at, len(tokens) - 1)])


def largest(logits: Array, count: int) -> Array:
    """The tokens of the `count` largest logits (0: all), the largest first.

    The largest of each stripe bound the rest of it: the wanted lie in the stripes of the largest maxima, and only
    these are sorted. Over 49 k tokens that takes a tenth of the time of a partition.
    """
    size = len(logits)
    if not 0 < count < size:
        return np.argsort(-logits, kind="stable")
    among = None
    whole = size // STRIPE * STRIPE
    if count < whole // STRIPE:
        stripes = logits[:whole].reshape(-1, STRIPE)
        chosen = np.argpartition(stripes.max(axis=1), -count)[-count:]
        among = (np.sort(chosen)[:, None] * STRIPE + np.arange(STRIPE)).reshape(-1)
        among = np.concatenate([among, np.arange(whole, size)])
        values = logits[among]
    else:
        values = logits
    kept = np.argpartition(values, -count)[-count:]
    kept = np.sort(kept)
    kept = kept[np.argsort(-values[kept], kind="stable")]
    return kept if among is None else among[kept]


def logprobs(logits: Array) -> Array:
    """Natural log-probabilities (vocabulary,) of a row of logits."""
    shifted = logits.astype(np.float64) - float(logits.max())
    return shifted - np.log(np.exp(shifted).sum())  # type: ignore[no-any-return]
