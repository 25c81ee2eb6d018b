"""Does a text copy what a model learnt from? Finds the longest run of words that it shares with any training text,
and the training text that is most like it. Knows words alone; a release carries such an index of its own.

The words of all texts lie in one array with a suffix array beside it (Manber and Myers 1993, prefix doubling), so a
shared run is found by bisection; likeness is MinHash over pairs of words, then exact on the best few.
"""

import bisect
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rensa

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.index import near

Array = np.ndarray[Any, Any]

HASHES = 64
SHORTLIST = 24
"""Texts whose likeness is computed exactly."""
DEPTH = 256
"""Words to which suffixes are sorted; a longer shared run is still found, and followed to its end."""
MOST_WORDS = 20_000
"""Words of a query that are looked at."""
WIDTH = 4
"""Bytes a word number takes; big-endian, so that comparing bytes compares numbers."""
ARRAYS = "copies.npz"
NAMES = "copies.json"
SPACES = re.compile(f"(?<=[{near.SINGLE}]) (?=[{near.SINGLE}])")
"""Between words of scripts that are written without them."""


@dataclass(frozen=True, slots=True)
class Match:
    """The training text `id` most like a text, and the longest run of words shared with any of them."""

    id: str
    similarity: float
    """Jaccard similarity of word pairs, 0..1."""
    span: str
    """The shared run as it stands in the text that was asked about; empty when not even a word is shared."""
    words: int
    """How many words the run has."""
    span_id: str
    """The training text that holds the run; empty without one."""


class CopyIndex:
    """Training texts, ready to be asked. Built once, saved beside the model, read-only afterwards."""

    def __init__(
        self,
        *,
        ids: Sequence[str],
        vocabulary: Sequence[str],
        words: Array,
        starts: Array,
        suffixes: Array,
        signatures: Array,
    ) -> None:
        # words: (total,) numbers from 1, 0 closes a text; starts: (texts,); suffixes: (total,); signatures: (texts, 64)
        self.ids, self.vocabulary = list(ids), list(vocabulary)
        self.starts, self.suffixes, self.signatures = starts, suffixes, signatures
        self._columns = np.ascontiguousarray(signatures.T)  # (64, texts): hash by hash is ten times as fast
        self._numbers = {word: number for number, word in enumerate(self.vocabulary, 1)}
        self._words = words
        self._bytes = words.astype(">u4").tobytes()
        self._order = memoryview(suffixes.astype(np.int64).data)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def build(cls, texts: Sequence[tuple[str, str]]) -> "CopyIndex":
        """An index of (id, text) pairs; raises InputError when there is none."""
        if not texts:
            raise InputError("a copy index needs at least one text")
        numbers: dict[str, int] = {}
        flat: list[int] = []
        starts = np.zeros(len(texts), dtype=np.int64)
        for place, (_, text) in enumerate(texts):
            starts[place] = len(flat)
            flat += [numbers.setdefault(word, len(numbers) + 1) for word in near.words(text)]
            flat.append(0)
        words = np.array(flat, dtype=np.uint32)
        return cls(
            ids=[name for name, _ in texts],
            vocabulary=list(numbers),
            words=words,
            starts=starts,
            suffixes=suffix_array(words, depth=DEPTH),
            signatures=_signatures([near.shingles(text) for _, text in texts]),
        )

    def nearest(self, text: str) -> Match:
        """The most similar training text and the longest shared run of words."""
        own = near.shingles(text)
        signature = _signatures([own])[0]
        agreeing = np.zeros(len(self.ids), dtype=np.uint8)  # (texts,)
        for column, value in zip(self._columns, signature, strict=True):
            agreeing += column == value
        few = min(SHORTLIST, len(self.ids))
        shortlist = np.sort(np.argpartition(agreeing, -few)[-few:])
        similarity, best = max((near.jaccard(self._shingles(n), own), -int(n)) for n in shortlist)
        found = [match.span() for match in near.WORD.finditer(text)][:MOST_WORDS]
        query = [self._numbers.get(text[start:end].casefold(), 0) for start, end in found]
        first, length, holder = self._longest(query)
        span = text[found[first][0] : found[first + length - 1][1]] if length else ""
        return Match(self.ids[-best], similarity, span, length, self.ids[holder] if length else "")

    def text_of(self, id: str) -> str:
        """The words of a training text as the index keeps them: in lower case, without punctuation.

        >>> CopyIndex.build([("a", "Hello, World!"), ("b", "你好。")]).text_of("a")
        'hello world'
        """
        try:
            found = self._words_of(self.ids.index(id))
        except ValueError:
            raise InputError(f"the copy index holds no text {id[:80]!r}") from None
        return SPACES.sub("", " ".join(found))

    def save(self, folder: Path) -> None:
        """Two plain files in `folder`: numbers as .npz without pickle, names as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            folder / ARRAYS,
            words=self._words,
            starts=self.starts,
            suffixes=self.suffixes.astype(np.uint32 if len(self.suffixes) < 2**32 else np.int64),
            signatures=self.signatures,
        )
        names = {
            "version": 1,
            "minhash": int(rensa.RMinHash.ALGORITHM_VERSION),
            "arrays": digest.of_file(folder / ARRAYS),
            "ids": self.ids,
            "vocabulary": self.vocabulary,
        }
        (folder / NAMES).write_text(json.dumps(names, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path) -> "CopyIndex":
        """What `save` wrote; raises InputError on anything else."""
        try:
            names = json.loads((folder / NAMES).read_text("utf-8"))
            if names["version"] != 1 or names["arrays"] != digest.of_file(folder / ARRAYS):
                raise InputError(f"{folder / ARRAYS} is not the file that {NAMES} speaks of: build the index again")
            with np.load(folder / ARRAYS, allow_pickle=False) as box:
                words, starts, suffixes, signatures = (
                    box[name] for name in ("words", "starts", "suffixes", "signatures")
                )
            ids, vocabulary, total = names["ids"], names["vocabulary"], len(words)
            whole = (
                len(ids) == len(starts) == len(signatures) > 0
                and words.dtype == np.uint32
                and len(suffixes) == total
                and signatures.shape[1:] == (HASHES,)
                and int(words.max()) <= len(vocabulary)
                and int(suffixes.max()) < total > int(starts.max())
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{folder} holds no copy index: {error}; build it again") from error
        if not whole:
            raise InputError(f"{folder} holds a copy index whose parts do not fit each other: build it again")
        index = cls(
            ids=ids,
            vocabulary=vocabulary,
            words=words,
            starts=starts.astype(np.int64),
            suffixes=suffixes.astype(np.int64),
            signatures=signatures,
        )
        if names["minhash"] != int(rensa.RMinHash.ALGORITHM_VERSION):  # another version hashes otherwise
            fresh = _signatures([index._shingles(n) for n in range(len(ids))])
            return cls(
                ids=ids, vocabulary=vocabulary, words=words, starts=index.starts, suffixes=suffixes, signatures=fresh
            )
        return index

    def _shingles(self, text: int) -> list[str]:
        """The word pairs of a training text, from its numbers."""
        return near.shingles_of(self._words_of(text))

    def _words_of(self, text: int) -> list[str]:
        start = int(self.starts[text])
        end = int(self.starts[text + 1]) if text + 1 < len(self.starts) else len(self._words)
        return [self.vocabulary[number - 1] for number in self._words[start : end - 1].tolist()]

    def _longest(self, query: Sequence[int]) -> tuple[int, int, int]:
        """Where in the query the longest shared run begins (the first of equals), its length, and the text with it."""
        best = (0, 0, 0)
        packed = b"".join(number.to_bytes(WIDTH, "big") for number in query)
        for first, number in enumerate(query):
            # A run longer than the best must contain query[first + best]; skip where that word is unknown.
            ahead = first + best[1]
            if ahead >= len(query):
                break
            if not number or not query[ahead]:
                continue
            stop = query.index(0, first) if 0 in query[first : first + DEPTH] else min(first + DEPTH, len(query))
            wanted = packed[first * WIDTH : stop * WIDTH]
            place = bisect.bisect_left(
                self._order, wanted, key=lambda at: self._bytes[at * WIDTH : at * WIDTH + len(wanted)]
            )
            for at in (self._order[n] for n in (place - 1, place) if 0 <= n < len(self._order)):
                length = self._shared(query, first, at)
                if length > best[1]:
                    best = (first, length, int(np.searchsorted(self.starts, at, side="right")) - 1)
        return best

    def _shared(self, query: Sequence[int], first: int, at: int) -> int:
        """How many words the query from `first` and the texts from `at` have in common."""
        length = 0
        while (
            first + length < len(query)
            and query[first + length]
            and at + length < len(self._words)
            and query[first + length] == self._words[at + length]
        ):
            length += 1
        return length


@lru_cache(maxsize=16)
def opened(folder: Path) -> CopyIndex:
    """The index in `folder`, loaded once: a release never changes."""
    return CopyIndex.load(folder)


def suffix_array(words: Array, *, depth: int) -> Array:
    """Positions of `words` in the order of what follows, compared over at least `depth` words; ties by position.

    >>> suffix_array(np.array([2, 1, 2, 1, 0], dtype=np.uint32), depth=8).tolist()
    [4, 3, 1, 2, 0]
    """
    total = len(words)
    rank = words.astype(np.int64)
    reach = 1
    while True:
        following = np.zeros(total, dtype=np.int64)
        if reach < total:
            following[:-reach] = rank[reach:] + 1
        # Ranks stay below 2**31, so two of them fit one number.
        pair = (rank << 32) | following
        order = np.argsort(pair, kind="stable")
        ordered = pair[order]
        fresh = np.empty(total, dtype=np.int64)
        fresh[order] = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
        rank, reach = fresh, reach * 2
        if reach >= depth or int(rank.max()) == total - 1:
            return order


def _signatures(sets: Sequence[Sequence[str]]) -> Array:
    """(texts, 64) MinHash signatures, 16 bits of each hash: b-bit minwise hashing (Li and Koenig 2010)."""
    rows = [sketch.digest() for sketch in _sketches(sets)]
    return (np.array(rows, dtype=np.uint64) & 0xFFFF).astype(np.uint16)


def _sketches(sets: Sequence[Sequence[str]]) -> list[Any]:
    if len(sets) > 1:
        return list(rensa.RMinHash.from_token_sets(list(map(list, sets)), num_perm=HASHES, seed=near.SEED))
    sketch = rensa.RMinHash(HASHES, near.SEED)  # the batch call wakes its threads, which takes longer than one text
    sketch.update(list(sets[0]))
    return [sketch]
