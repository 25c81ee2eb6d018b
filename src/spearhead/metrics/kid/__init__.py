"""Kernel distance (squared MMD with a cubic kernel) between the features of outputs and of held-out pictures.

Binkowski et al. 2018 (arXiv 1801.01401), equation 4: unbiased, so it may be below 0, and fit for small sets. The kernel
is torchmetrics'; its KernelInceptionDistance draws subsets of one size, here all pictures count. Times 1000.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.score import Better, Case
from spearhead.metrics.pictures import Ground
from spearhead.metrics.setting import Setting, bound

Array = np.ndarray[Any, np.dtype[np.float64]]

MOST = 4096
"""Reference pictures and cases that are compared with each other: the first of each."""


@dataclass(frozen=True, slots=True)
class Kid:
    """Over a ground's features and its reference."""

    ground: Ground | None = None
    name: ClassVar[str] = "kid"
    modality: ClassVar[str] = "image"
    better: ClassVar[Better] = "lower"
    draws: ClassVar[int] = 200

    def bind(self, setting: Setting) -> "Kid":
        """The metric on the pictures of a setting."""
        return Kid(bound(setting.ground, self.name))

    @property
    def signature(self) -> str:
        """The kernel, the extractor, the reference and the library."""
        where = self.ground.signature if self.ground is not None else "unbound"
        kernel = f"cubic,coef:1,gamma:1/width|all-pairs,at-most:{MOST}|x1000"
        return f"kid|{kernel}|{where}|torchmetrics:{metadata.version('torchmetrics')}"

    def over(self, cases: Sequence[Case]) -> Callable[[Array], float]:
        """The distance by how often each case was drawn; a case is never compared with itself."""
        ground = bound(self.ground, self.name)
        if not 2 <= len(cases) <= MOST:
            raise InputError(f"kid: {len(cases)} cases: wanted 2 to {MOST} (evaluation.cases)")
        found = ground.features(cases, self.name)
        reference = ground.reference_features()[:MOST]
        own, cross = _kernel(found, found), _kernel(found, reference).mean(1)  # (cases, cases), (cases,)
        alone = np.diagonal(own).copy()

        def among() -> float:
            known = _kernel(reference, reference)
            return float((known.sum() - np.trace(known)) / (len(known) * (len(known) - 1)))

        constant = ground.once("kid", among)

        def value(counts: Array) -> float:
            total = counts.sum()
            pairs = total**2 - (counts**2).sum()
            inner = (counts @ own @ counts - (counts**2) @ alone) / max(pairs, 1.0)
            return float(1000 * (inner + constant - 2 * (counts @ cross) / total))

        return value


def _kernel(one: Array, other: Array) -> Array:
    import torch
    from torchmetrics.image.kid import poly_kernel

    found: Array = poly_kernel(torch.from_numpy(one), torch.from_numpy(other)).numpy()
    return found


METRIC = Kid()
