"""Small models whose output layer has something to say: it begins at zero."""

from collections.abc import Callable

import pytest
import torch

from spearhead.models.flow.config import Config
from spearhead.models.flow.network import Flow, build
from spearhead.models.pictures import Shape

NETWORKS = {
    "unet": Config(size=8, channels=3, width=16, heads=2, blocks=1, steps=4),
    "flat": Config(size=6, channels=3, patch=1, width=16, levels=(1,), blocks=1, heads=2, steps=4),
    "dit": Config(size=8, channels=3, network="dit", width=16, heads=2, blocks=2, steps=4),
    "leaps": Config(size=8, channels=3, width=16, heads=2, blocks=1, leaps=0.5, steps=4, solver="euler", guidance=1.0),
}


@pytest.fixture
def made() -> Callable[..., Flow]:
    """`made(name, classes=3)`: a model with random weights in every layer."""

    def make(name: str, *, classes: int = 3) -> Flow:
        config = NETWORKS[name]
        shape = Shape(config.size, config.size, config.channels, tuple("abcdefgh"[:classes]))
        model = build(config, shape, steps=1, seed=4)
        rng = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for parameter in model.parameters():
                if not parameter.any():
                    parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.3)
        return model.eval()

    return make
