"""A run as it stands after a step, on disk: safetensors and JSON, whole or not at all, exact to the bit.

Knows models only as named tensors. Reads nothing but what it can check; never a pickle.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from spearhead.core.errors import InputError
from spearhead.core.files import whole_folder
from spearhead.nn.disk import trouble_told
from spearhead.nn.model import Model
from spearhead.training.explosion import Level
from spearhead.training.scaling import Scale

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run is. `fingerprint` names the plan and the data; only the same may go on from here."""

    fingerprint: str
    step: int = 0
    elapsed: float = 0.0
    """Seconds of training proper."""
    units: int = 0
    weight: int = 0
    best_step: int = -1
    best_loss: float = float("inf")
    waited: int = 0
    """Validations since the best one."""
    precision: str = "float32"
    ended: str = ""
    """Why it ended, once it has."""
    level: Level = Level()
    """Where the loss has been."""
    scale: Scale = Scale()
    """Of the loss, in float16."""


def learning(model: Model) -> Tensors:
    """The model's own tensors that training changes: learning parameters and saved buffers (no copies)."""
    parameters = dict(model.named_parameters())
    learn = {name: p.detach() for name, p in parameters.items() if p.requires_grad}
    if not any(True for _ in model.buffers()):
        return learn
    every = dict(model.named_parameters(remove_duplicate=False))  # a tied weight has two names and is no buffer
    return learn | {name: value for name, value in model.state_dict().items() if name not in every}


def snapshot(model: Model) -> Tensors:
    """A copy of `learning(model)`."""
    return {name: value.clone() for name, value in learning(model).items()}


def put_back(model: Model, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors of `snapshot` into the model; raises InputError when names or shapes differ."""
    mine = learning(model)
    if mine.keys() != tensors.keys():
        odd = sorted(mine.keys() ^ tensors.keys())
        raise InputError(f"the saved weights are of another model ({odd[0]} is only in one of them): remove the run")
    with torch.no_grad():
        for name, value in tensors.items():
            if mine[name].shape != value.shape:
                shapes = f"{tuple(value.shape)}, the model's {tuple(mine[name].shape)}"
                raise InputError(f"the saved {name} has shape {shapes}: remove the run")
            mine[name].copy_(value)


def save(
    folder: Path,
    position: Position,
    *,
    model: Model,
    optimisers: Mapping[str, Optimizer],
    best: Mapping[str, Tensor],
    average: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write the run as `folder/step-<n>` and remove the older ones; a crash leaves one of them whole."""
    target = folder / f"step-{position.step:08d}"
    tensors, scalars = _optimiser_state(optimisers)
    with whole_folder(target) as draft, trouble_told(target):
        save_file(_plain(learning(model)), draft / "weights.safetensors")
        save_file(_plain(best), draft / "best.safetensors")
        if average is not None:
            save_file(_plain(average), draft / "average.safetensors")
        save_file(tensors, draft / "optimiser.safetensors")
        save_file(_plain(model.memory() | _random_state()), draft / "memory.safetensors")
        state = {"position": dataclasses.asdict(position), "optimiser": scalars}
        (draft / "state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
    for old in folder.glob("step-*"):  # what is left of one whose removal was cut off too
        if old != target:
            shutil.rmtree(old)
    return target


def read(folder: Path) -> Position | None:
    """Where the run in `folder` stands, or None when there is none."""
    saved = _saved(folder)
    return _state(saved[-1])[0] if saved else None


def load(
    folder: Path, *, model: Model, optimisers: Mapping[str, Optimizer]
) -> tuple[Position, Tensors, Tensors | None]:
    """Put the newest checkpoint into model, optimisers and torch's generator.

    Gives position, best weights and the moving average, None where the run keeps none.
    """
    path = _saved(folder)[-1]
    position, scalars = _state(path)
    try:
        weights, best = load_file(path / "weights.safetensors"), load_file(path / "best.safetensors")
        kept, memory = load_file(path / "optimiser.safetensors"), load_file(path / "memory.safetensors")
        mean = path / "average.safetensors"
        average = load_file(mean) if mean.exists() else None
    except (SafetensorError, OSError) as error:
        raise InputError(f"checkpoint {path} is damaged ({error}): remove it and start again") from error
    put_back(model, weights)
    _restore_optimisers(optimisers, kept, scalars)
    torch.set_rng_state(memory.pop("random/torch"))
    for name in [name for name in memory if name.startswith("random/cuda")]:
        torch.cuda.set_rng_state(memory.pop(name))
    model.remember(memory)
    return position, best, average


def _saved(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if (path / "state.json").is_file())


def _state(path: Path) -> tuple[Position, dict[str, Any]]:
    try:
        raw = json.loads((path / "state.json").read_text(encoding="utf-8"))
        told = raw["position"]
        parts = {"level": Level(**told["level"]), "scale": Scale(**told.get("scale", {}))}
        return Position(**{**told, **parts}), raw["optimiser"]
    except (json.JSONDecodeError, KeyError, TypeError, OSError) as error:
        raise InputError(f"checkpoint {path} is damaged ({error}): remove it and start again") from error


def _plain(tensors: Mapping[str, Tensor]) -> Tensors:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _random_state() -> Tensors:
    state = {"random/torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["random/cuda"] = torch.cuda.get_rng_state()
    return state


def _optimiser_state(optimisers: Mapping[str, Optimizer]) -> tuple[Tensors, dict[str, Any]]:
    tensors: Tensors = {}
    scalars: dict[str, Any] = {}
    for name, optimiser in optimisers.items():
        for number, values in optimiser.state_dict()["state"].items():
            for key, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"{name}/{number}/{key}"] = value.detach().cpu().contiguous()
                elif value is not None:
                    scalars[f"{name}/{number}/{key}"] = value
    return tensors, scalars


def _restore_optimisers(optimisers: Mapping[str, Optimizer], tensors: Tensors, scalars: dict[str, Any]) -> None:
    for name, optimiser in optimisers.items():
        state: dict[int, dict[str, Any]] = {}
        for key, value in {**tensors, **scalars}.items():
            group, number, part = key.rsplit("/", 2)
            if group == name:
                state.setdefault(int(number), {})[part] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        for parameter, values in optimiser.state.items():  # a fused step reads both as one lies in memory
            for part, value in values.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape and value.is_floating_point():
                    values[part] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
