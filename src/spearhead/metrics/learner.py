"""The small classifier as the one training loop learns it: what a step minimises, plain functions to choose from.

    model = Learner(build(size=28, channels=1, classes=10, seed=0), supervised)
    for step in train(model, Order([Pool(pixels, 128, labels)], seed=0), plan):
        ...

An objective is a plain function of network and batch; `functools.partial` gives it its settings. `classifier.train` is
another thing: the registered one that scores are measured with, whose weights must stay what they are. Knows no loop
and no attack.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from spearhead.metrics.classifier import Classifier
from spearhead.metrics.pools import Batch
from spearhead.nn.model import Model

SURE = 0.95
"""How probable a class must be to the network before it teaches itself by it (arXiv 2001.07685, section 4)."""


Objective = Callable[[Classifier, Batch], Tensor]
Change = Callable[[Tensor], Tensor]
"""A new version of every picture (n, c, s, s) in [0, 1], of the same class: see `views`."""


class Learner(Model):
    """A classifier with its objective; when it is judged its loss is the cross-entropy of the pictures as they are."""

    def __init__(self, network: Classifier, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        yield "loss", (self.objective if self.training else supervised)(self.network, batch)


def build(*, size: int, channels: int, classes: int, seed: int) -> Classifier:
    """An untrained classifier; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classifier(size=size, channels=channels, classes=classes)


# -- objectives --------------------------------------------------------------------------------------------------------
def unchanged(pixels: Tensor) -> Tensor:
    """The pictures as they are."""
    return pixels


def supervised(network: Classifier, batch: Batch, *, change: Change = unchanged, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the pictures with labels."""
    return F.cross_entropy(network(change(batch.pixels))[1], batch.labels, label_smoothing=smoothing)


def hardened(
    network: Classifier,
    batch: Batch,
    *,
    attack: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor],
    clean: float,
    change: Change = unchanged,
    smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of attacked pictures, and of the same ones unharmed with the weight `clean` (0 to below 1).

    `attack` takes pixels and the loss to raise (see `attacks`), against the network as it stands: judging, so that what
    it normalises by does not learn from half-made pictures. 0 is arXiv 1706.06083, 0.5 is arXiv 1412.6572, section 6.
    """
    pixels = change(batch.pixels)
    was = network.training
    network.eval()
    bent = attack(pixels, lambda x: F.cross_entropy(network(x)[1], batch.labels, reduction="sum"))
    network.train(was)
    harmed = F.cross_entropy(network(bent)[1], batch.labels, label_smoothing=smoothing)
    if not clean:
        return harmed
    unharmed = F.cross_entropy(network(pixels)[1], batch.labels, label_smoothing=smoothing)
    return clean * unharmed + (1 - clean) * harmed


def consistent(
    network: Classifier, batch: Batch, *, weak: Change, strong: Change, sure: float = SURE, weight: float = 1.0
) -> Tensor:
    """FixMatch (Sohn et al., arXiv 2001.07685, equations 3 and 4): pictures without labels teach too.

    Where the network is `sure` of the class of a weakly changed picture, it must give that class to the same picture
    strongly changed. The second term is the mean over all pictures without labels, those it is not sure of included.
    """
    with torch.no_grad():
        surest, said = network(weak(batch.bare))[1].softmax(1).max(1)
    n = len(batch.pixels)
    logits = network(torch.cat([weak(batch.pixels), strong(batch.bare)]))[1]
    taught: Tensor = F.cross_entropy(logits[n:], said, reduction="none") * (surest >= sure)
    known = F.cross_entropy(logits[:n], batch.labels)
    return known + weight * taught.mean()


# -- judging -----------------------------------------------------------------------------------------------------------
def right(
    network: Classifier,
    pixels: np.ndarray[Any, np.dtype[np.uint8]],
    labels: np.ndarray[Any, np.dtype[Any]],
    *,
    attack: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor] | None = None,
    batch: int = 500,
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether each picture (n, s, s, c) is given its class, (n,), here under an `attack` that knows the network."""
    network.eval()
    found = []
    for start in range(0, len(pixels), batch):
        x = (
            torch.from_numpy(np.ascontiguousarray(pixels[start : start + batch].transpose(0, 3, 1, 2)))
            .float()
            .div_(255)
        )
        wanted = torch.from_numpy(np.asarray(labels[start : start + batch], np.int64))
        if attack is not None:
            x = attack(x, lambda z, y=wanted: F.cross_entropy(network(z)[1], y, reduction="sum"))  # type: ignore[misc]
        with torch.no_grad():
            found.append((network(x)[1].argmax(1) == wanted).numpy())
    return np.concatenate(found)
