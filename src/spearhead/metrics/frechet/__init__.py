"""Frechet distance between the features of outputs and of held-out pictures, by torchmetrics.

Heusel et al. 2017, equation 6: |m - m'|^2 + Tr(C + C' - 2 (C C')^(1/2)). Only with Inception-V3's features would it be
the "FID"; the signature says whose features these are. It falls with the number of outputs: compare equal numbers.
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


@dataclass(frozen=True, slots=True)
class Frechet:
    """Over a ground's features and its whole reference."""

    ground: Ground | None = None
    name: ClassVar[str] = "frechet"
    modality: ClassVar[str] = "image"
    better: ClassVar[Better] = "lower"
    bounds: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def bind(self, setting: Setting) -> "Frechet":
        """The metric on the pictures of a setting."""
        return Frechet(bound(setting.ground, self.name))

    @property
    def signature(self) -> str:
        """The extractor, the reference and the library."""
        where = self.ground.signature if self.ground is not None else "unbound"
        return f"frechet|{where}|torchmetrics:{metadata.version('torchmetrics')}"

    @property
    def draws(self) -> int:
        """Fewer where a draw takes the eigenvalues of a large matrix."""
        return 100 if self.ground is None or self.ground.extractor.facts.width <= 64 else 40

    def over(self, cases: Sequence[Case]) -> Callable[[Array], float]:
        """The distance by how often each case was drawn."""
        import torch

        ground = bound(self.ground, self.name)
        if len(cases) < 2:
            raise InputError("frechet: one picture has no covariance: wanted at least two cases")
        found = torch.from_numpy(ground.features(cases, self.name))  # (cases, width)
        distance = _distance(ground.reference_features())

        def value(counts: Array) -> float:
            distance.reset()
            distance.update(found.repeat_interleave(torch.from_numpy(counts).long(), dim=0), real=False)
            return max(0.0, float(distance.compute()))

        return value


def _distance(reference: Array) -> Any:
    """torchmetrics' distance over features as they are, the reference already in it."""
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    class AsTheyAre(torch.nn.Module):
        num_features = reference.shape[1]

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features

    distance = FrechetInceptionDistance(feature=AsTheyAre(), reset_real_features=False).set_dtype(torch.float64)
    distance.update(torch.from_numpy(reference), real=True)
    return distance


METRIC = Frechet()
