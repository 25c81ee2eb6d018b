"""An invisible mark in the choice of tokens: who holds a key draws the luck of each token, and can count it later.

Gumbel-max sampling with luck from a key and the tokens before (Aaronson 2022, lecture at UT Austin). Each context
counts once, so a whole answer is distributed as without the mark (Dathathri et al. 2024, repeated context masking) and
the p-value is exact (Fernandez et al. 2023, arXiv 2308.00113, section III). Knows token ids; no text, model, tokenizer.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

DEPTH = 4
"""Tokens of context. Fewer survive edits better, and repeat more often: then there is less to draw."""
SHARE = 0.75
"""Share of the draws that are the key's; the others are the answer's own, so that asking twice gives two answers."""

_GOLDEN, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_30, _27, _31, _11 = (np.uint64(n) for n in (30, 27, 31, 11))


class Key:
    """What one secret says of contexts and tokens. Its repr gives nothing away."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hashlib.blake2b(secret, digest_size=32, person=b"spearhead tokens").digest()

    def seed(self, context: Sequence[int]) -> tuple[int, int]:
        """Two words of 64 bits that nobody without the secret can tell from chance. `context` are DEPTH token ids."""
        found = hashlib.blake2b(struct.pack(f"<{DEPTH}I", *context), key=self._secret, digest_size=16).digest()
        first, second = struct.unpack("<2Q", found)
        return first, second


def luck(seeds: Array, tokens: Array) -> Floats:
    """Uniform numbers in (0, 1), one for each token id: (count,). `seeds` (count or 1, 2), unsigned words of 64 bits.

    Two rounds of SplitMix64's mixer (Steele, Lea, Flood 2014): what is secret lies in the seeds.
    """
    mixed = _mix(tokens.astype(np.uint64) * _GOLDEN ^ seeds[:, 0])
    mixed = _mix(mixed ^ seeds[:, 1])
    return ((mixed >> _11).astype(np.float64) + 0.5) * 2.0**-53


def _mix(words: Array) -> Array:
    words = (words ^ (words >> _30)) * _FIRST
    words = (words ^ (words >> _27)) * _SECOND
    out: Array = words ^ (words >> _31)
    return out


class Draws:
    """One answer under way: which of its tokens the key draws, and with what luck."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._last: tuple[int, ...] = ()  # of the answer alone: who looks later has not seen the prompt
        self._seen: set[tuple[int, ...]] = set()

    def noise(self, tokens: Array, *, coin: float) -> Floats | None:
        """Gumbel noise for the candidates `tokens` (count,), to be added to their ln p; None: the key has no say here.

        `coin`, uniform in 0..1, is the answer's own.
        """
        if len(self._last) < DEPTH or self._last in self._seen:
            return None
        self._seen.add(self._last)
        if coin >= SHARE:
            return None
        drawn: Floats = -np.log(-np.log(luck(np.array([self._key.seed(self._last)], np.uint64), tokens)))
        return drawn

    def took(self, token: int) -> None:
        """The token that came out."""
        self._last = (*self._last[1 - DEPTH :], token)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a key finds in a text: how likely another key would find as much, and how many tokens told."""

    p_value: float
    scored: int


def listen(tokens: Sequence[int], key: Key) -> Heard:
    """Look for the mark of `key` in the tokens of a text, or of a part of it.

    The luck u of a token that was chosen without the key is uniform, so -ln(1 - u) is exponential, and the sum over
    n different contexts follows Gamma(n, 1): the p-value is exact, whatever the text.
    """
    first: dict[tuple[int, ...], int] = {}
    for at in range(DEPTH, len(tokens)):
        first.setdefault(tuple(tokens[at - DEPTH : at]), tokens[at])
    if not first:
        return Heard(1.0, 0)
    seeds = np.array([key.seed(context) for context in first], np.uint64)
    found = luck(seeds, np.array(list(first.values()), np.uint64))
    return Heard(gamma_tail(len(first), float(-np.log1p(-found).sum())), len(first))


def gamma_tail(shape: int, value: float) -> float:
    """How likely a Gamma(shape, 1) variable is `value` or more: that fewer than `shape` events come in that time."""
    ranks = np.arange(shape, dtype=np.float64)
    logs = -value + ranks * np.log(max(value, 1e-300))
    logs[1:] -= np.cumsum(np.log(ranks[1:]))
    top = float(logs.max())
    return float(min(1.0, np.exp(top) * np.exp(logs - top).sum()))
