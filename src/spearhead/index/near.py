"""Which texts nearly repeat each other. MinHash finds candidates, exact Jaccard similarity decides.

Knows texts alone; not where they come from or what happens to them. Works without spaces between words: a Chinese,
Japanese, Korean or Thai character counts as a word.
"""

import re
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise

import rensa

from spearhead.core.errors import InputError

SINGLE = (
    "\u0e00-\u0eff\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts that are written without spaces."""
WORD = re.compile(f"[{SINGLE}]|[^\\W_{SINGLE}]+(?:['’`][^\\W_{SINGLE}]+)*")
HASHES = 120
"""Signature length; it has many divisors, so that bands can follow the threshold."""
RECALL = 0.999
SEED = 20_261


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return WORD.findall(text.casefold())


def shingles(text: str) -> list[str]:
    """Pairs of neighbouring words, without repeats, in order; of a single word the word, of none the bare text.

    Pairs, because a record can be as short as a verse: one changed word in 25 leaves 85 % of them.
    """
    return shingles_of(words(text)) or [text.strip()]


def shingles_of(found: Sequence[str]) -> list[str]:
    """The same from words that were cut already."""
    if len(found) < 2:
        return list(found)
    return list(dict.fromkeys(f"{first} {second}" for first, second in pairwise(found)))


def jaccard(first: Iterable[str], second: Iterable[str]) -> float:
    """Shared shingles over all shingles, 0..1.

    >>> jaccard(["a b", "b c"], ["b c", "c d"])
    0.3333333333333333
    """
    one, other = set(first), set(second)
    union = len(one | other)
    return len(one & other) / union if union else 1.0


def bands(threshold: float) -> int:
    """Into how many bands a signature is cut: the fewest that still find a pair at `threshold` with 99.9 % certainty.

    A pair of similarity s shares a band of r rows with probability s^r, so one of b bands with 1 - (1 - s^r)^b
    (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4).
    """
    for rows in sorted((n for n in range(1, HASHES + 1) if HASHES % n == 0), reverse=True):
        count = HASHES // rows
        if 1 - (1 - threshold**rows) ** count >= RECALL:
            return count
    return HASHES


class NearIndex:
    """Texts one has seen; answers which of them a new one nearly repeats. Lives as long as one pass over the data."""

    def __init__(self, threshold: float) -> None:
        if not 0 < threshold <= 1:
            raise InputError(f"the similarity of near-duplicates is {threshold}: wanted above 0, at most 1")
        self.threshold = threshold
        self._lsh = rensa.RMinHashLSH(threshold, HASHES, bands(threshold))
        self._keys: list[Hashable] = []
        self._groups: list[Hashable] = []
        self._shingles: list[frozenset[str]] = []

    def nearest(
        self, text_shingles: Sequence[str], sketch: "rensa.RMinHash", *, but: Hashable = None
    ) -> tuple[Hashable, float] | None:
        """The key of the most similar text and its similarity (the first of equals), or None below the threshold.

        Texts of the group `but` do not count.
        """
        wanted = frozenset(text_shingles)
        best: tuple[float, int] | None = None
        for number in self._lsh.query(sketch):
            if but is not None and self._groups[number] == but:
                continue
            other = self._shingles[number]
            # Sizes alone bound the similarity; most candidates end here.
            small, large = sorted((len(other), len(wanted)))
            if small < self.threshold * large:
                continue
            value = jaccard(other, wanted)
            if value >= self.threshold and (best is None or (value, -number) > (best[0], -best[1])):
                best = (value, number)
        return None if best is None else (self._keys[best[1]], best[0])

    def add(
        self, key: Hashable, text_shingles: Sequence[str], sketch: "rensa.RMinHash", *, group: Hashable = None
    ) -> None:
        """Remember a text under `key`, and the group that it belongs to."""
        self._lsh.insert(len(self._keys), sketch)
        self._keys.append(key)
        self._groups.append(group)
        self._shingles.append(frozenset(text_shingles))


def sketches(sets: Sequence[Sequence[str]]) -> list["rensa.RMinHash"]:
    """MinHash signatures of sets of shingles."""
    return list(rensa.RMinHash.from_token_sets(list(map(list, sets)), num_perm=HASHES, seed=SEED))
