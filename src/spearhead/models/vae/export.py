"""A trained autoencoder as a graph that makes pictures: prior and decoder, from noise and class. Encodes nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spearhead.core.files import write_whole
from spearhead.core.sampler import Sampler
from spearhead.models.pictures import Shape
from spearhead.models.vae.network import Vae
from spearhead.nn import onnx_file


class Maker(nn.Module):
    """noise (n, model.noise) and label (n,) -> pixels (n, c, h, w) in [0, 1]; mixture components are constants."""

    def __init__(self, model: Vae) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            mean, logvar = model.components() if model.pseudo is not None else (None, None)
        self.register_buffer("mean", mean)
        self.register_buffer("logvar", logvar)

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        mean, logvar = self.get_buffer("mean"), self.get_buffer("logvar")
        components = (mean, logvar) if self.model.pseudo is not None else None
        pixels = (self.model.paint(noise, label, components) + 1) / 2
        if not self.model.classes:
            pixels = pixels + 0 * label.to(pixels.dtype)[:, None, None, None]  # an input unused is dropped from a graph
        return pixels


def export(model: Vae, folder: Path, shape: Shape) -> Mapping[str, Any]:
    """Write `model.onnx` and `sampler.json` into `folder`; gives what the report says of them."""
    maker = Maker(model).eval()
    device = next(model.parameters()).device
    rng = torch.Generator().manual_seed(0)
    classes = shape.classes if model.classes else ()
    labels = torch.arange(4) % max(1, len(classes))
    inputs = {"noise": torch.randn(4, model.noise, generator=rng).to(device), "label": labels.to(device)}
    path = folder / "model.onnx"
    difference = onnx_file.write(maker, inputs, ("pixels",), path)
    sampler = Sampler("oneshot", (model.noise,), (shape.height, shape.width), shape.channels, classes)
    write_whole(folder / "sampler.json", sampler.to_json().encode())
    return {"noise": model.noise, "graph_bytes": path.stat().st_size, "difference": difference}
