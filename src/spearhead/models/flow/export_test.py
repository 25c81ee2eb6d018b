"""The graph that leaves gives what the network gives, and the sampler says how to use it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from spearhead.core.sampler import Sampler
from spearhead.models.flow.conftest import NETWORKS
from spearhead.models.flow.export import export
from spearhead.models.flow.network import Flow
from spearhead.nn import onnx_file


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_graph_gives_the_velocity_of_the_network(made: Callable[..., Flow], tmp_path: Path, name: str) -> None:
    model = made(name).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    facts = export(model, tmp_path, model.shape)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()) and model.training
    inputs = {
        "x": torch.randn(11, 3, model.shape.height, model.shape.width) * 2,
        "time": torch.linspace(0, 1, 11),
        "label": torch.arange(11) % 4,
    }
    if model.config.leaps:
        inputs["length"] = torch.linspace(1, 0, 11)
    assert onnx_file.require_equal(tmp_path / "model.onnx", model.velocity, inputs, tolerance=1e-4) < 1e-4
    assert facts["graph_bytes"] == (tmp_path / "model.onnx").stat().st_size


def test_the_sampler_says_how_the_graph_is_used(made: Callable[..., Flow], tmp_path: Path) -> None:
    model = made("unet")
    export(model, tmp_path, model.shape)
    sampler = Sampler.read(tmp_path / "sampler.json")
    assert (sampler.kind, sampler.noise, sampler.size, sampler.channels) == ("flow", (3, 8, 8), (8, 8), 3)
    assert (sampler.classes, sampler.steps, sampler.solver, sampler.guidance) == (("a", "b", "c"), 4, "heun", 1.5)
    free = made("dit", classes=0)
    export(free, tmp_path, free.shape)
    assert Sampler.read(tmp_path / "sampler.json").guidance == 1.0


def test_the_same_weights_give_the_same_file(made: Callable[..., Flow], tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        model = made("unet")
        export(model, tmp_path / folder, model.shape)
    a, b = ((tmp_path / folder / "model.onnx").read_bytes() for folder in "ab")
    assert a == b
