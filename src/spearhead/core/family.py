"""What a folder under `models/` exports as `FAMILY`: plain values and functions. Knows no network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Family:
    """One family of models, described without its network.

    `build` and `export` import what they need when they are called, so that reading a scenario needs no torch.
    Their arguments are the family's own; each is documented where it is defined.
    """

    name: str
    config: type
    """The frozen dataclass behind the `[model]` table."""
    presets: Mapping[str, Any]
    """Named values of `config`; `debug` is the smallest that still learns."""
    build: Callable[..., Any]
    export: Callable[..., Any]
    modality: str = "text"
    options: Mapping[str, Any] = field(default_factory=dict)
    """Sampling options as a JSON schema's properties: the API and the studio make their forms of it."""
