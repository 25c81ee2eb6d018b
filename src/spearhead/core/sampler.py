"""How a released picture model is run: what a runtime must know besides the ONNX graph. Plain data, kept as JSON."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from spearhead.core.errors import InputError

LARGEST = 1_000_000
"""Bytes of a sampler's file."""
MOST_STEPS = 250
"""Steps that a picture may take, asked for or by default: the runtime refuses more, so nothing else may promise it."""
MOST_LAYERS = 1024
"""Layers of style that a picture may have: the runtime takes no higher one, so nothing else may promise it."""
MOST = 4096
"""Classes, names and sides a sampler may have at most."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """One graph and the loop around it.

    `oneshot`: inputs `noise` float32 (n, *noise) standard normal and `label` int64 (n,), output `pixels` float32
    (n, c, h, w) in [0, 1]. A graph with `layers` of style has two inputs more, `other` float32 (n, *noise) and `layer`
    int64 (n,): from that layer on the style is that of the other noise (arXiv 1812.04948, section 3.1), with `layers`
    nowhere.

    `flow`: inputs `x` float32 (n, c, h, w), `time` float32 (n,) and `label` int64 (n,), output `velocity` float32
    (n, c, h, w); it is integrated from noise at time 0 to a picture in [-1, 1] at time 1. The label `len(classes)`
    means no class; guidance mixes both velocities (arXiv 2207.12598, equation 6). A graph that leaps has one input
    more, `length` float32 (n,): its velocity is the mean one over so much time, that of a step of Euler's; 0: the one
    at `time`, which is what Heun asks for.
    """

    kind: Literal["oneshot", "flow"]
    noise: tuple[int, ...]
    """Shape of one sample's noise."""
    size: tuple[int, int]
    """Height and width in pixels."""
    channels: int
    classes: tuple[str, ...] = ()
    """Class names in the order of their labels; empty: unconditional."""
    names: dict[str, int] = field(default_factory=dict)
    """Further names of classes, in any language."""
    steps: int = 1
    solver: Literal["euler", "heun"] = "euler"
    guidance: float = 1.0
    """1: none."""
    truncation: float = 1.0
    """The standard deviation of the noise of a oneshot graph."""
    layers: int = 0
    """Layers of a oneshot graph that each take a style, the coarsest first; 0: it has no styles to mix."""
    model: str = "model.onnx"

    def label(self, words: str) -> int:
        """The label that `words` name; raises InputError that lists the classes."""
        wanted = words.strip().casefold()
        for number, name in enumerate(self.classes):
            if name.casefold() == wanted:
                return number
        for name, number in self.names.items():
            if name.casefold() == wanted:
                return number
        if not self.classes and not wanted:
            return 0
        if not self.classes:
            raise InputError(f"the prompt is {words.strip()[:60]!r}, but this model knows no classes: wanted it empty")
        shown = ", ".join(self.shown("zh" if _is_chinese(wanted) else "en")[:40])
        raise InputError(f"the prompt {words.strip()[:60]!r} names no class; wanted one of: {shown}")

    def shown(self, language: str) -> tuple[str, ...]:
        """The classes for a reader of `language` ("zh", or else): each by its first name in that script, if it has one.

        >>> Sampler("oneshot", (1,), (1, 1), 1, ("boot", "bag"), names={"靴": 0, "boots": 0}).shown("zh")
        ('靴', 'bag')
        """
        names = [[name] for name in self.classes]
        for name, number in self.names.items():
            names[number].append(name)
        return tuple(next((one for one in some if _is_chinese(one) == (language == "zh")), some[0]) for some in names)

    def to_json(self) -> str:
        """Indented JSON with a final newline; further names stay in their order, of which the first is shown."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Sampler":
        """The sampler in a file; raises InputError."""
        try:
            if path.stat().st_size > LARGEST:
                raise InputError(f"{path} has {path.stat().st_size:,} bytes: wanted at most {LARGEST:,}")
            return cls.from_json(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> "Sampler":
        """Read strictly; raises InputError that names what is wrong."""
        try:
            raw: dict[str, Any] = json.loads(text)
            found = cls(
                **{
                    **raw,
                    "noise": tuple(int(n) for n in raw["noise"]),
                    "size": (int(raw["size"][0]), int(raw["size"][1])),
                    "channels": int(raw["channels"]),
                    "classes": tuple(str(name) for name in raw.get("classes", ())),
                    "names": {str(name): int(number) for name, number in dict(raw.get("names", {})).items()},
                    "steps": int(raw.get("steps", 1)),
                    "guidance": float(raw.get("guidance", 1.0)),
                    "truncation": float(raw.get("truncation", 1.0)),
                    "layers": int(raw.get("layers", 0)),
                    "model": str(raw.get("model", "model.onnx")),
                }
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(f"sampler.json cannot be read: {error}") from error
        if not (math.isfinite(found.guidance) and math.isfinite(found.truncation)):
            raise InputError("sampler.json: guidance or truncation is no number")
        sides = (*found.noise, *found.size, found.channels, found.steps)
        if found.kind not in ("oneshot", "flow") or found.solver not in ("euler", "heun"):
            raise InputError(f"sampler.json: kind {found.kind!r} or solver {found.solver!r} is unknown")
        if not all(1 <= side <= MOST for side in sides) or max(len(found.classes), len(found.names)) > MOST:
            raise InputError(f"sampler.json: a size, a step count or the classes lie outside 1 to {MOST}")
        if not 0 <= found.layers <= (MOST_LAYERS if found.kind == "oneshot" else 0):
            raise InputError(f"sampler.json: {found.layers} layers of style: wanted 0 to {MOST_LAYERS}, of a flow 0")
        if any(not 0 <= number < len(found.classes) for number in found.names.values()) or "/" in found.model:
            raise InputError("sampler.json: a name points at no class, or the model is not a plain file name")
        return found


def _is_chinese(name: str) -> bool:
    return any("\u3400" <= character <= "\u9fff" for character in name)
