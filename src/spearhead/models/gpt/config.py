"""What a scenario says about a language model learnt from nothing: one dial, and what overrides it. No torch."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from spearhead.core.bounds import Count, Part, Whole
from spearhead.core.errors import InputError

HEAD = 32
"""Numbers of one head: small models do better with more heads than with wider ones."""
MOST = {"depth": 96, "width": 8192, "heads": 256, "inner": 65536, "context": 32768, "vocabulary": 262144}
"""Beyond these a scenario is surely mistaken."""
TOKENS = 10.5
"""Training tokens for each parameter, tables not counted (nanochat)."""
GROWTH = 0.383
"""Tokens of a step grow as this power of the run's (nanochat)."""
TRIED = 753_664, 4096, 128
"""Where that begins: parameters, tokens of a step and width of depth 4, as `benchmarks/gpt_speed.py` trains it."""
RATES = {"adamw": 1e-3, "muon": 8e-3}
"""Learning rates there: nanoGPT's of this size; beside Muon, which has a rate of its own, that of the benchmark. They
fall as the root of the width (nanochat)."""


@dataclass(frozen=True, slots=True)
class Config:
    """The `[model]` table of a scenario whose family is `gpt`; what is 0 follows from `depth`."""

    depth: Count = 4
    """The one dial: layers; 4 is 0.8 million parameters, 6 is 2.7, 12 is 21. What is 0 below follows from it, and of
    `[training]` what is not given: `batch`, `steps` and `learning_rate`."""
    width: Whole = 0
    """0: 32 times the depth."""
    heads: Whole = 0
    """0: one for every 32 of the width."""
    key_heads: Whole = 0
    """Heads that keep keys and values, shared by groups of queries; 0: as many as heads."""
    inner: Whole = 0
    """Width inside the gated layer; 0: 8/3 of the width, rounded down to blocks of 32 that every layout can write."""
    context: Count = 256
    """Tokens that the model sees at once."""
    words: Literal["characters", "bytes-bpe"] = "characters"
    """What a token is: a character, or a piece of text that byte pair encoding found to be frequent."""
    vocabulary: Count = 4096
    """Tokens of `bytes-bpe`, markers not counted; characters are as many as the text has."""
    dropout: Part = 0.0
    """Share of activations left out while learning; for small data."""
    tie: bool = False
    """One matrix for reading and for writing tokens; saves parameters where the vocabulary is large."""


def whole(config: Config) -> Config:
    """The configuration with every 0 worked out; raises InputError where the numbers do not fit together.

    >>> whole(Config(depth=4)).width, whole(Config(depth=4)).inner
    (128, 320)
    """
    width = config.width or 32 * config.depth
    heads = config.heads or max(1, width // HEAD)
    full = dataclasses.replace(
        config,
        width=width,
        heads=heads,
        key_heads=config.key_heads or heads,
        inner=config.inner or max(32, width * 8 // 3 // 32 * 32),
    )
    for name, most in MOST.items():
        if not 1 <= getattr(full, name) <= most:
            raise InputError(f"model.{name} is {getattr(full, name)}: wanted 1 to {most:,}")
    if full.width % full.heads or full.width // full.heads % 2:
        raise InputError(
            f"model.width {full.width} does not divide into {full.heads} heads of an even width: "
            f"wanted a multiple of {2 * full.heads}"
        )
    if full.key_heads < 1 or full.heads % full.key_heads:
        raise InputError(f"model.key_heads is {full.key_heads}: wanted a divisor of the {full.heads} heads")
    if not 0 <= full.dropout < 1:
        raise InputError(f"model.dropout is {full.dropout}: wanted 0 or more and below 1")
    return full


def plan(config: Config, given: Mapping[str, Any]) -> dict[str, Any]:
    """The batch, the horizon and the learning rate that follow from the depth, where `given` does not say them.

    >>> plan(Config(depth=4, context=128), {})
    {'batch': 32, 'steps': 1932, 'learning_rate': 0.001}
    >>> plan(Config(depth=16, context=256), {"optimiser": "muon", "steps": 500})
    {'batch': 80, 'learning_rate': 0.004}
    """
    full = whole(config)
    numbers, tokens, width = TRIED
    head = full.width // full.heads
    parameters = full.depth * full.width * (2 * full.width + 2 * full.key_heads * head + 3 * full.inner)
    found: dict[str, Any] = {}
    if "batch" not in given:
        found["batch"] = max(1, round(tokens * (parameters / numbers) ** GROWTH / full.context))
    if "steps" not in given:
        batch = given.get("batch", found.get("batch"))
        if isinstance(batch, int) and batch > 0:
            found["steps"] = max(1, math.ceil(TOKENS * parameters / (batch * full.context)))
    rate = RATES.get(given.get("optimiser", "adamw"))
    if "learning_rate" not in given and rate is not None:
        found["learning_rate"] = float(f"{rate * math.sqrt(width / full.width):.3g}")
    return found
