"""The head: kernel ridge regression over embeddings and runs of characters. Knows numbers alone.

Kernel between texts with centred unit embeddings e and hashed runs h: (1/2 + e.e')^3 + h.h'. One column says
whether a text is harmful at all, the others of which category it is; a category's score is the first plus its own,
weighed. (Saunders, Gammerman, Vovk 1998; residuals with a group left out in closed form: Rasmussen and Williams 2006,
5.4.2, in blocks.)
"""

import re
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

HASHED = 8192
KEPT = 352
"""Directions of an embedding, those first in which the examples differ most."""
STEPS = 7
"""Each way, in which a text that is kept is written down along a direction: four bits."""
RIDGE = 0.5
OWN = 1.0
"""Weight of a category's own column against the common one."""
_WORD = re.compile(r"[\u4e00-\u9fff]+|[a-z0-9']+")
_FILES = ("head.npz", "anchors.npz")


@dataclass(frozen=True, slots=True)
class Marks:
    """Where a head stops, and what that means for texts judged with their group left out of training."""

    threshold: float
    """The score from which a text is stopped (severity 0.5)."""
    sure: float
    """That of severity 0.9."""
    caught: float
    """Share of the harmful texts at or over the threshold."""
    stopped: float
    """Share of the harmless ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What `fit` found; n texts, c categories."""

    categories: tuple[str, ...]
    mean: Array
    """(384,)"""
    axes: Array
    """(384, KEPT): directions."""
    widths: Array
    """(KEPT,): of a step."""
    anchors: Array
    """(n, KEPT) of int8: how many steps."""
    weights: Array
    """(n, 1 + c): of the kernel with each text."""
    rarity: Array
    """(HASHED,): logarithm of how seldom a run is."""
    runs: Array
    """(HASHED, 1 + c): of the hashed runs."""
    bias: Array
    """(1 + c,)"""
    marks: Marks
    examples: str
    """sha256 of the examples."""

    def scores(self, embedding: Array, text: str) -> Array:
        """(c,): how much a text belongs to each category."""
        one = centred(embedding[None], self.mean)[0] @ self.axes
        kernel = (0.5 + self.anchors.astype(np.float32) @ (one * self.widths)) ** 3
        columns = kernel @ self.weights + hashed(text, self.rarity) @ self.runs + self.bias
        found: Array = combined(columns[None])[0]
        return found

    def severity(self, score: float) -> float:
        """0.5 at the threshold, 0.9 where hardly a harmless text comes, two decimals."""
        slope = np.log(9.0) / max(self.marks.sure - self.marks.threshold, 1e-6)
        return round(float(1 / (1 + np.exp(-np.clip(slope * (score - self.marks.threshold), -30, 30)))), 2)

    def save(self, folder: Path) -> None:
        """Two .npz without pickle, each below 1 MiB for some 7,000 texts; two steps in a byte, weights in halves."""
        steps = (self.anchors + 8).astype(np.uint8)
        np.savez_compressed(folder / _FILES[1], anchors=steps[:, ::2] << 4 | steps[:, 1::2])
        marks = self.marks
        np.savez_compressed(
            folder / _FILES[0],
            categories=np.array(self.categories),
            mean=self.mean.astype(np.float32),
            axes=self.axes.astype(np.float16),
            widths=self.widths.astype(np.float32),
            weights=self.weights.astype(np.float16),
            rarity=self.rarity.astype(np.float16),
            runs=self.runs.astype(np.float16),
            bias=self.bias.astype(np.float32),
            marks=np.array([marks.threshold, marks.sure, marks.caught, marks.stopped]),
            examples=np.array(self.examples),
        )

    @classmethod
    def load(cls, folder: Path) -> "Head":
        """What `save` wrote."""
        with np.load(folder / _FILES[1], allow_pickle=False) as box:
            packed = box["anchors"]
        steps = np.stack([packed >> 4, packed & 15], axis=2).reshape(len(packed), -1).astype(np.int8) - 8
        with np.load(folder / _FILES[0], allow_pickle=False) as box:
            return cls(
                categories=tuple(map(str, box["categories"])),
                mean=box["mean"],
                axes=box["axes"].astype(np.float32),
                widths=box["widths"],
                anchors=steps.astype(np.int8),
                weights=box["weights"].astype(np.float32),
                rarity=box["rarity"].astype(np.float32),
                runs=box["runs"].astype(np.float32),
                bias=box["bias"],
                marks=Marks(*map(float, box["marks"])),
                examples=str(box["examples"]),
            )


def combined(columns: Array) -> Array:
    """(texts, 1 + c) -> (texts, c)."""
    found: Array = columns[:, :1] + OWN * columns[:, 1:]
    return found


def centred(embeddings: Array, mean: Array) -> Array:
    """Embeddings without what all of them share, of length 1 again."""
    moved = embeddings - mean
    found: Array = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-6)
    return found


def grams(text: str) -> set[str]:
    """Runs of one to three Chinese characters, and of three to five other ones across words."""
    found: set[str] = set()
    words = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        if word[0] < "\u4e00":
            words.append(word)
            continue
        found |= {word[n : n + size] for size in (1, 2, 3) for n in range(len(word) - size + 1)}
    line = f" {' '.join(words)} " if words else ""
    return found | {line[n : n + size] for size in (3, 4, 5) for n in range(len(line) - size + 1)}


def counted(text: str) -> Array:
    """(HASHED,): runs, hashed with a sign (Weinberger et al. 2009)."""
    found = np.zeros(HASHED, dtype=np.float32)
    for run in sorted(grams(text)):
        number = zlib.crc32(run.encode())
        found[number % HASHED] += 1 if number >> 31 else -1
    return found


def hashed(text: str, rarity: Array) -> Array:
    """(HASHED,) of length 1: runs, the rarer the heavier."""
    found = counted(text) * rarity
    length = float(np.linalg.norm(found))
    return found / length if length else found


def fit(
    texts: Sequence[str],
    embeddings: Array,
    *,
    labels: Sequence[str | None],
    groups: Sequence[int],
    stopped: float,
    examples: str,
) -> Head:
    """A head from texts, their (n, 384) embeddings and labels: a category, or None for harmless.

    The threshold lets `stopped` of the harmless texts be stopped when each is judged by a head that saw no text of its
    group. A text of group -1 is trained on and sets no threshold.
    """
    categories = tuple(dict.fromkeys(label for label in labels if label))
    harmful = np.array([label is not None for label in labels])
    columns = [np.where(harmful, 1.0, -1.0)]
    columns += [np.array([float(label == category) for label in labels]) for category in categories]
    wanted = np.stack(columns, axis=1)  # (n, 1 + c)
    mean = embeddings.mean(axis=0)
    units = centred(embeddings, mean).astype(np.float64)
    axes = np.linalg.eigh(units.T @ units)[1][:, ::-1][:, :KEPT]
    placed = (units @ axes).astype(np.float32)
    widths = np.maximum(np.abs(placed).max(axis=0) / STEPS, 1e-6)
    runs = np.stack([counted(text) for text in texts])
    many = (runs != 0).sum(axis=0)
    rarity = np.where(many > 1, np.log(len(texts) / np.maximum(many, 1)), 0.0).astype(np.float32)
    runs *= rarity
    runs /= np.maximum(np.linalg.norm(runs, axis=1, keepdims=True), 1e-6)
    kernel = (0.5 + placed @ placed.T) ** 3 + runs @ runs.T
    count = len(texts)
    across = kernel.mean(axis=0)
    flat = kernel - across - across[:, None] + across.mean()
    inverse = np.linalg.inv(flat + RIDGE * np.eye(count, dtype=np.float32))
    middle = wanted.mean(axis=0)
    weights = inverse @ (wanted - middle)
    alone = _without_group(wanted, weights, inverse=inverse, groups=np.array(groups))
    scores = combined(alone).max(axis=1)
    judged = np.array(groups) >= 0
    harmless = scores[judged & ~harmful]
    threshold = float(np.quantile(harmless, 1 - stopped))
    return Head(
        categories=categories,
        mean=mean,
        axes=axes.astype(np.float32),
        widths=widths,
        anchors=np.round(placed / widths).astype(np.int8),
        weights=weights,
        rarity=rarity,
        runs=runs.T @ weights,
        bias=middle - across @ weights,
        marks=Marks(
            threshold=threshold,
            sure=float(np.quantile(harmless, 1 - stopped / 10)),
            caught=float((scores[judged & harmful] >= threshold).mean()),
            stopped=float((harmless >= threshold).mean()),
        ),
        examples=examples,
    )


def _without_group(wanted: Array, weights: Array, *, inverse: Array, groups: Array) -> Array:
    """(n, 1 + c): what each text would be given by a head trained without its group; groups of -1 stay as wanted."""
    alone = wanted.copy()
    for group in np.unique(groups[groups >= 0]):
        ours = np.nonzero(groups == group)[0]
        left = RIDGE * inverse[np.ix_(ours, ours)] - 1 / len(wanted)  # one minus their influence on each other
        alone[ours] -= np.linalg.solve(left.astype(np.float64), RIDGE * weights[ours])
    return alone
