"""Pretrained causal language models, tuned: what the catalogue sees. Imports no torch."""

from pathlib import Path
from typing import Any

from spearhead.core.family import Family
from spearhead.models.pretrained.config import Base, Config


def _build(config: Config, folder: Path, *, steps: int, seed: int, device: str = "cpu", **perturbation: Any) -> Any:
    """See `build.build`; `noise`, `adversarial` and `size` make its `Perturbation`."""
    from spearhead.models.pretrained.build import build
    from spearhead.models.pretrained.network import Perturbation

    return build(config, folder, steps=steps, seed=seed, device=device, perturbation=Perturbation(**perturbation))


def _export(model: Any, folder: Path, *, base: Path) -> Path:
    """See `export.export`."""
    from spearhead.models.pretrained.export import export

    return export(model, folder, base=base)


FAMILY = Family(
    name="pretrained",
    config=Config,
    presets={
        "debug": Config(base=Base(licence="CC0-1.0", credit=""), method="lora", rank=4, alpha=8.0),
        "default": Config(base=Base(licence="CC0-1.0", credit=""), method="lora", rank=16, alpha=32.0),
    },
    build=_build,
    export=_export,
    options={
        "temperature": {"type": "number", "minimum": 0, "maximum": 2, "default": 0},
        "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 1},
        "top_k": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 0},
        "min_p": {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
        "max_tokens": {"type": "integer", "minimum": 1, "default": 256},
        "seed": {"type": "integer", "minimum": 0},
    },
)
