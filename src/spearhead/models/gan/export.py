"""A trained maker as what a runtime serves: one ONNX graph, and how it is to be asked. The critic stays behind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spearhead.core.files import write_whole
from spearhead.core.sampler import Sampler
from spearhead.models.gan.network import Gan
from spearhead.models.gan.style import StyleMaker
from spearhead.models.pictures import Shape
from spearhead.nn import onnx_file


class Oneshot(nn.Module):
    """Noise (n, d) and label (n,) to pixels (n, c, h, w) in [0, 1]."""

    def __init__(self, model: Gan) -> None:
        super().__init__()
        self.maker = model.maker

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        out: Tensor = self.maker(noise, label)
        return _pixels(out, label)


class Styles(nn.Module):
    """As `Oneshot`, with a second noise `other` (n, d), whose style rules from `layer` (n,) on."""

    def __init__(self, maker: StyleMaker) -> None:
        super().__init__()
        self.maker = maker

    def forward(self, noise: Tensor, label: Tensor, other: Tensor, layer: Tensor) -> Tensor:
        return _pixels(self.maker.mixed(noise, other, label, layer=layer), label)


def _pixels(out: Tensor, label: Tensor) -> Tensor:
    # An unconditional maker does not look at the label; the graph takes one all the same.
    return (out.clamp(-1, 1) + 1) / 2 + 0 * label[:, None, None, None]


def export(model: Gan, folder: Path, shape: Shape) -> Mapping[str, Any]:
    """Write `model.onnx` and `sampler.json` into `folder`; say which step the weights are of.

    The graph equals the maker to 1e-4. `rolled_back` is whether training went on past the best held-out distance.
    """
    config, maker = model.config, model.maker
    sampler = Sampler(
        kind="oneshot",
        noise=(config.noise,),
        size=(shape.height, shape.width),
        channels=shape.channels,
        classes=shape.classes,
        truncation=config.truncation,
        layers=maker.layers if isinstance(maker, StyleMaker) else 0,
    )
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(3, config.noise, generator=rng)
    label = torch.arange(3) % max(1, len(shape.classes))
    inputs = {"noise": noise, "label": label}
    graph: nn.Module = Oneshot(model)
    if isinstance(maker, StyleMaker):
        inputs |= {"other": torch.randn(3, config.noise, generator=rng), "layer": torch.arange(3) % maker.layers}
        graph = Styles(maker)
    difference = onnx_file.write(graph, inputs, ["pixels"], folder / sampler.model)
    write_whole(folder / "sampler.json", sampler.to_json())
    of_step = int(model.taken)
    return {
        "maker_parameters": sum(parameter.numel() for parameter in maker.parameters()),
        "weights_of_step": of_step,
        "trained_steps": model.reached,
        "rolled_back": model.reached > of_step,
        "difference": difference,
    }
