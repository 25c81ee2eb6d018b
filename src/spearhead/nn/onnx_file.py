"""ONNX graphs: written from a torch module, and held against it. Knows no family and no sampler.

The tracing exporter is used, not the one over `torch.export`: the latter needs two more packages and took 4 to 11
seconds a graph where this takes 0.4, for graphs that run alike. What tracing can get wrong, a shape that was burnt in,
does not get past `write`: it runs every graph at three batch sizes and compares it with the module.
"""

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.files import write_whole

OPSET = 20
"""Operators of ONNX 1.15 (2023); every runtime of the last two years reads them."""
MOST_BYTES = 1 << 30
"""Weights lie in the one file, and protobuf ends at 2 GiB."""

Arrays = Sequence["np.ndarray[Any, np.dtype[Any]]"]


def write(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    path: Path,
    *,
    dynamic: Sequence[str] | None = None,
    tolerance: float = 1e-4,
) -> float:
    """Write `module` as it works in evaluation to `path`, weights and all, checked and equal to the module.

    Gives the largest difference that was found between an output of the graph and the module's.

    `inputs` are examples by name in the order of `module.forward`; axis 0 of each input in `dynamic` (None: of every
    one) and of every output is the batch and may have any length. The file holds no path, no time and no other trace
    of this machine: the same module gives the same bytes. Raises InputError when the module cannot be written, and
    SpearheadError when the graph does not give what the module gives, at the given batch size or at others.
    """
    import onnx

    named = tuple(inputs if dynamic is None else dynamic)
    if unknown := [name for name in named if name not in inputs]:
        raise InputError(f"dynamic input {unknown[0]!r} is none of {', '.join(inputs)}")
    size = sum(value.numel() * value.element_size() for value in (*module.parameters(), *module.buffers()))
    if size > MOST_BYTES:
        raise InputError(f"the weights take {size:,} bytes: wanted at most {MOST_BYTES:,} for one ONNX file")
    with _evaluating(module) as device, warnings.catch_warnings(), tempfile.TemporaryDirectory() as draft:
        # That it is deprecated is decided above; what tracing warns of is what the comparison below looks for.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit._trace.TracerWarning)
        try:
            torch.onnx.export(
                module,
                tuple(value.to(device) for value in inputs.values()),
                f"{draft}/model.onnx",
                input_names=list(inputs),
                output_names=list(outputs),
                opset_version=OPSET,
                dynamic_axes={name: {0: "batch"} for name in (*named, *outputs)} if named else None,
                dynamo=False,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise InputError(f"{type(module).__name__} cannot be written as ONNX: {first[:300]}") from error
        graph = onnx.load(f"{draft}/model.onnx")
    _plain(graph)
    onnx.checker.check_model(graph, full_check=True)
    data = graph.SerializeToString(deterministic=True)
    worst = max(_compare(data, module, changed, tolerance=tolerance) for changed in _batches(inputs, named))
    write_whole(path, data)
    return worst


def require_equal(path: Path, module: nn.Module, inputs: Mapping[str, Tensor], *, tolerance: float = 1e-4) -> float:
    """The largest difference between the graph's outputs and the module's; raises SpearheadError above `tolerance`."""
    return _compare(path.read_bytes(), module, inputs, tolerance=tolerance)


def _compare(data: bytes, module: nn.Module, inputs: Mapping[str, Tensor], *, tolerance: float) -> float:
    with _evaluating(module) as device, torch.no_grad():
        given = module(*(value.to(device) for value in inputs.values()))
    wanted = [value.float().cpu().numpy() for value in ((given,) if isinstance(given, Tensor) else given)]
    got = _run(data, {name: value.cpu().numpy() for name, value in inputs.items()})
    if [value.shape for value in got] != [value.shape for value in wanted]:
        raise SpearheadError(
            f"the ONNX graph of {type(module).__name__} gives shapes {[value.shape for value in got]}, "
            f"the module {[value.shape for value in wanted]}"
        )
    worst = max(float(np.abs(a.astype(np.float64) - b).max(initial=0.0)) for a, b in zip(got, wanted, strict=True))
    if not worst <= tolerance:  # not a number is no equality either
        raise SpearheadError(
            f"the ONNX graph of {type(module).__name__} differs from the module by {worst:.2g}: wanted at most "
            f"{tolerance:g}, at a batch of {len(next(iter(inputs.values())))}"
        )
    return worst


def _run(data: bytes, inputs: Mapping[str, Any]) -> Arrays:
    import onnxruntime  # type: ignore[import-untyped,unused-ignore]

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
        found: Arrays = session.run(None, dict(inputs))
    except Exception as error:  # the runtime has no base class of its own, and some of its errors are RuntimeErrors
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise SpearheadError(f"onnxruntime cannot run the graph: {first[:300]}") from error
    return found


def _batches(inputs: Mapping[str, Tensor], named: Sequence[str]) -> Iterator[Mapping[str, Tensor]]:
    """The inputs as they are, then one row of each, then one row more than were given."""
    yield inputs
    if named:
        yield {name: value[:1] if name in named else value for name, value in inputs.items()}
        yield {name: torch.cat([value, value[:1]]) if name in named else value for name, value in inputs.items()}


def _plain(graph: Any) -> None:
    """Take out what tells where and how a node was traced."""
    graph.doc_string = graph.graph.doc_string = ""
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[torch.device]:
    """The module in evaluation, on the device where it lies; each part is put back as it was."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield next((value.device for value in module.parameters()), torch.device("cpu"))
    finally:
        for part, mode in modes:
            part.training = mode
