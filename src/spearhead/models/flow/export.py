"""A trained flow as a graph of its velocity and the solver around it. Integrates nothing."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from spearhead.core.files import write_whole
from spearhead.core.sampler import Sampler
from spearhead.models.flow.blocks import Conv, Dense
from spearhead.models.flow.network import Flow
from spearhead.models.pictures import Shape
from spearhead.nn import onnx_file


def export(model: Flow, folder: Path, shape: Shape) -> Mapping[str, Any]:
    """Write `model.onnx` (x, time, label and, with leaps, length to velocity) and `sampler.json` into `folder`.

    Gives facts for the report.
    """
    network = copy.deepcopy(model.velocity).cpu().eval()
    for layer in network.modules():
        if isinstance(layer, Conv | Dense):
            layer.fold()
    rng = torch.Generator().manual_seed(0)
    count = len(shape.classes) + 1  # every class and none
    inputs = {
        "x": torch.randn(count, shape.channels, shape.height, shape.width, generator=rng),
        "time": torch.linspace(0, 1, count),
        "label": torch.arange(count),
    }
    if model.config.leaps:
        inputs["length"] = 1 - inputs["time"]
    path = folder / "model.onnx"
    difference = onnx_file.write(network, inputs, ("velocity",), path)
    config = model.config
    sampler = Sampler(
        kind="flow",
        noise=(shape.channels, shape.height, shape.width),
        size=(shape.height, shape.width),
        channels=shape.channels,
        classes=shape.classes,
        steps=config.steps,
        solver=config.solver,
        guidance=config.guidance if shape.classes else 1.0,
    )
    write_whole(folder / "sampler.json", sampler.to_json())
    size = path.stat().st_size
    return {"graph_bytes": size, "solver": config.solver, "solver_steps": config.steps, "difference": difference}
