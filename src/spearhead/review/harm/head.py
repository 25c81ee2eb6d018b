"""The head: kernel ridge regression over embeddings and runs of words. Knows numbers alone.

Kernel between texts with centred unit embeddings e and hashed word runs h: (1/2 + e.e')^2 + 1/2 h.h'. One column says
whether a text is harmful at all, the others of which category it is; a category's score is the first plus its own,
weighed. (Saunders, Gammerman, Vovk 1998; leave-one-out residuals in closed form: Rasmussen and Williams 2006, 5.4.2.)
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

HASHED = 4096
RIDGE = 0.5
OWN = 3.0
"""Weight of a category's own column against the common one."""
_WORD = re.compile(r"[\u4e00-\u9fff]|[a-z0-9']+")


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What `fit` found; n texts, c categories.

    `threshold` is the score from which a text is stopped (severity 0.5), `sure` that of severity 0.9.
    """

    categories: tuple[str, ...]
    mean: Array
    """(384,)"""
    anchors: Array
    """(n, 384) of int8: centred unit embeddings, 127 for 1."""
    weights: Array
    """(n, 1 + c): of the kernel with each text."""
    runs: Array
    """(HASHED, 1 + c): of the hashed word runs."""
    bias: Array
    """(1 + c,)"""
    threshold: float
    sure: float
    examples: str
    """sha256 of the examples."""

    def scores(self, embedding: Array, text: str) -> Array:
        """(c,): how much a text belongs to each category."""
        found: Array = combined(self._columns(embedding, text)[None])[0]
        return found

    def severity(self, score: float) -> float:
        """0.5 at the threshold, 0.9 where hardly a harmless text comes, two decimals."""
        slope = np.log(9.0) / max(self.sure - self.threshold, 1e-6)
        return round(float(1 / (1 + np.exp(-np.clip(slope * (score - self.threshold), -30, 30)))), 2)

    def _columns(self, embedding: Array, text: str) -> Array:
        anchors = self.anchors.astype(np.float32) / 127
        kernel = (0.5 + anchors @ centred(embedding[None], self.mean)[0]) ** 2
        found: Array = (
            kernel @ self.weights.astype(np.float32) + hashed(text) @ self.runs.astype(np.float32) + self.bias
        )
        return found

    def save(self, path: Path) -> None:
        """One .npz without pickle."""
        np.savez_compressed(
            path,
            categories=np.array(self.categories),
            mean=self.mean.astype(np.float32),
            anchors=self.anchors,
            weights=self.weights.astype(np.float16),
            runs=self.runs.astype(np.float16),
            bias=self.bias.astype(np.float32),
            marks=np.array([self.threshold, self.sure]),
            examples=np.array(self.examples),
        )

    @classmethod
    def load(cls, path: Path) -> "Head":
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as box:
            return cls(
                categories=tuple(map(str, box["categories"])),
                mean=box["mean"],
                anchors=box["anchors"],
                weights=box["weights"],
                runs=box["runs"],
                bias=box["bias"],
                threshold=float(box["marks"][0]),
                sure=float(box["marks"][1]),
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


def hashed(text: str) -> Array:
    """(HASHED,) of length 1: words and runs of two and three, hashed with a sign (Weinberger et al. 2009)."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    runs = {" ".join(words[n : n + size]) for size in (1, 2, 3) for n in range(len(words) - size + 1)}
    found = np.zeros(HASHED, dtype=np.float32)
    for run in sorted(runs):
        number = zlib.crc32(run.encode())
        found[number % HASHED] += 1 if number >> 31 else -1
    length = float(np.linalg.norm(found))
    return found / length if length else found


def fit(
    texts: Sequence[str],
    embeddings: Array,
    *,
    labels: Sequence[str | None],
    stopped: float,
    examples: str,
) -> Head:
    """A head from texts, their (n, 384) embeddings and labels: a category, or None for harmless.

    The threshold lets `stopped` of the harmless texts be stopped when each is judged by a head that never saw it.
    """
    categories = tuple(dict.fromkeys(label for label in labels if label))
    harmful = np.array([label is not None for label in labels])
    columns = [np.where(harmful, 1.0, -1.0)]
    columns += [np.array([float(label == category) for label in labels]) for category in categories]
    wanted = np.stack(columns, axis=1)  # (n, 1 + c)
    mean = embeddings.mean(axis=0)
    anchors = np.round(127 * centred(embeddings, mean)).astype(np.int8)
    units = anchors.astype(np.float64) / 127
    runs = np.stack([hashed(text) for text in texts]).astype(np.float64)
    kernel = (0.5 + units @ units.T) ** 2 + 0.5 * runs @ runs.T
    count = len(texts)
    centring = np.eye(count) - 1 / count
    flat = centring @ kernel @ centring
    inverse = np.linalg.inv(flat + RIDGE * np.eye(count))
    middle = wanted.mean(axis=0)
    weights = inverse @ (wanted - middle)
    influence = np.diag(flat @ inverse) + 1 / count
    alone = wanted - (wanted - flat @ weights - middle) / (1 - influence)[:, None]  # each without itself
    harmless = combined(alone)[~harmful].max(axis=1)
    return Head(
        categories=categories,
        mean=mean,
        anchors=anchors,
        weights=weights,
        runs=0.5 * runs.T @ weights,
        bias=middle - kernel.mean(axis=0) @ weights,
        threshold=float(np.quantile(harmless, 1 - stopped)),
        sure=float(np.quantile(harmless, 1 - stopped / 10)),
        examples=examples,
    )
