"""Small modules as ONNX: equal at any batch, free of this machine, and refused when they are not what was trained."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from spearhead.core.errors import InputError, SpearheadError
from spearhead.nn import onnx_file


class Small(nn.Module):
    """A convolution that a class shifts, with dropout and a normalisation that learns of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.names = nn.Embedding(3, 4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(self.norm(self.first(x))) + self.names(label)[:, :, None, None]
        pixels = self.drop(hidden)
        return pixels, pixels.mean(dim=(1, 2, 3))


class Burnt(nn.Module):
    """Its shape is a plain number by the time it is traced."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones(int(x.shape[0]), 1) * float(x.shape[0])


def inputs(count: int = 2) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(1)
    return {"x": torch.randn(count, 1, 5, 5, generator=rng), "label": torch.arange(count) % 3}


def small() -> Small:
    torch.manual_seed(0)
    return Small()


def run(path: Path, given: dict[str, Tensor]) -> Any:
    import onnxruntime  # type: ignore[import-untyped,unused-ignore]

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in given.items()})


def test_a_graph_gives_what_the_module_gives_at_any_batch(tmp_path: Path) -> None:
    module, path = small(), tmp_path / "model.onnx"
    module(*inputs(8).values())  # the normalisation has seen something
    onnx_file.write(module, inputs(), ["pixels", "mean"], path)
    module.eval()
    for count in (1, 2, 7, 64):
        pixels, mean = run(path, inputs(count))
        wanted = module(*inputs(count).values())
        np.testing.assert_allclose(pixels, wanted[0].detach().numpy(), atol=1e-6)
        np.testing.assert_allclose(mean, wanted[1].detach().numpy(), atol=1e-6)


def test_the_file_names_its_inputs_and_outputs_pins_its_operators_and_is_valid(tmp_path: Path) -> None:
    onnx_file.write(small(), inputs(), ["pixels", "mean"], tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    assert [value.name for value in graph.graph.input] == ["x", "label"]
    assert [value.name for value in graph.graph.output] == ["pixels", "mean"]
    assert [(item.domain, item.version) for item in graph.opset_import] == [("", 20)]
    dims = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.graph.input]
    assert dims == [["batch", 1, 5, 5], ["batch"]]
    assert not any(tensor.external_data for tensor in graph.graph.initializer)


def test_the_same_module_gives_the_same_bytes_and_they_tell_nothing_of_this_machine(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        onnx_file.write(small(), inputs(), ["pixels", "mean"], tmp_path / name)
    data = (tmp_path / "a.onnx").read_bytes()
    assert data == (tmp_path / "b.onnx").read_bytes()
    assert not [word for word in (b"site-packages", b"onnx_file_test", str(Path.cwd()).encode()) if word in data]


def test_writing_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    module = small()
    module.norm.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    onnx_file.write(module, inputs(), ["pixels", "mean"], tmp_path / "model.onnx")
    assert module.training and module.drop.training and not module.norm.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_graph_that_works_at_one_batch_size_alone_never_leaves(tmp_path: Path) -> None:
    with pytest.raises(SpearheadError, match="Burnt|cannot run"):
        onnx_file.write(Burnt(), {"x": torch.randn(3, 2)}, ["y"], tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_weights_that_changed_since_are_seen(tmp_path: Path) -> None:
    module, path = small(), tmp_path / "model.onnx"
    seen = onnx_file.write(module, inputs(), ["pixels", "mean"], path)
    assert onnx_file.require_equal(path, module, inputs()) <= seen < 1e-6, "told by the largest of the batches tried"
    assert onnx_file.require_equal(path, module, inputs(5)) < 1e-6
    with torch.no_grad():
        module.names.weight[2] += 2e-4
    with pytest.raises(SpearheadError, match=r"differs from the module by 0\.0002"):
        onnx_file.require_equal(path, module, inputs(5))
    with torch.no_grad():
        module.names.weight[2] = torch.nan
    with pytest.raises(SpearheadError, match="differs"):
        onnx_file.require_equal(path, module, inputs(5))


def test_what_onnx_has_no_operator_for_is_refused_in_a_sentence(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            values: Tensor = torch.linalg.eigvals(x)
            return values.real

    with pytest.raises(InputError, match="Odd cannot be written as ONNX"):
        onnx_file.write(Odd(), {"x": torch.eye(3)[None]}, ["y"], tmp_path / "model.onnx")
    with pytest.raises(InputError, match="none of x"):
        onnx_file.write(nn.ReLU(), {"x": torch.ones(1, 2)}, ["y"], tmp_path / "model.onnx", dynamic=["z"])
