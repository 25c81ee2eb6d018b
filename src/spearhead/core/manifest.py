"""What a release says of itself: plain data, read and written as JSON; unknown fields are refused."""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from spearhead.core import sentence
from spearhead.core.errors import InputError
from spearhead.core.sentence import Said


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a release; `role` is model, tokenizer, options, index, sample or document."""

    path: str
    sha256: str
    bytes: int
    role: str


@dataclass(frozen=True, slots=True)
class Credit:
    """A licence that went into the release, the credit it asks for and how many records came under it."""

    spdx: str
    credit: str
    source: str
    records: int
    rights: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """A score of the release, with the trivial baselines measured alike beside it."""

    name: str
    value: float
    interval: tuple[float, float] | None
    better: str
    signature: str
    baselines: dict[str, float] = field(default_factory=dict)
    p_values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Planted:
    """What a model gives away of random sequences (canaries) that were planted equally often in its training data."""

    repeats: int
    """How often each stood in the training data; 0: never, as what is guessed."""
    canaries: int
    passes: float
    """How often training read the data, about."""
    exposure: float
    """Mean exposure in bits (arXiv 1802.08232)."""
    interval: tuple[float, float] | None
    greatest: float
    """Bits that the sample of unplanted sequences can show at most."""
    possible: float
    """Bits of the format."""
    by_chance: float
    """Mean bits of what was never seen."""
    extracted: int
    """How many were said when their beginning was given."""
    probes: int
    signature: str


@dataclass(frozen=True, slots=True)
class BarResult:
    """A bar, what was measured against it, and whether it was reached."""

    bar: str
    wanted: Said
    got: Said
    passed: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """A candidate layout of the weights with its measured speed and loss of quality."""

    name: str
    bytes: int
    tokens_per_second: float
    nats_per_token: float
    """What is lost; of pictures the largest difference of an output of the graph from the trained model's."""
    chosen: bool


@dataclass(frozen=True, slots=True)
class PriceTag:
    """Billionths of `currency` per million units."""

    currency: str
    prompt: int
    completion: int
    unit: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole declaration of a release; `parts` covers every file but the manifest and its signature."""

    scenario: str
    version: str
    title: str
    created: str
    modality: str
    family: str
    runtime: str
    """`llamacpp`, `onnx` or `remote`."""
    context: int
    languages: tuple[str, ...]
    scenario_digest: str
    data_digest: str
    parts: tuple[Part, ...]
    credits: tuple[Credit, ...]
    scores: tuple[Measured, ...]
    bars: tuple[BarResult, ...]
    layouts: tuple[Layout, ...]
    verdict: str
    """`gold` or `foam`."""
    verdict_reasons: tuple[Said, ...]
    """Older releases hold them as English text."""
    template: dict[str, Any]
    """Fields of `core.template.Template`."""
    generation: dict[str, Any]
    """Default sampling options: temperature, top_p, top_k, min_p, max_tokens, seed."""
    policy: dict[str, Any]
    """Fields of `core.review.Policy` on the day of release; the live one is a row in the store."""
    price: PriceTag
    economics: dict[str, Any]
    """Cost per accepted piece in billionths and seconds, and its `arithmetic`: sentences, as JSON values."""
    labels: dict[str, Any]
    made_by: dict[str, str]
    """Versions of spearhead, the base model and the libraries that made it."""
    records: str
    """sha256 of the list of record ids that it learnt from (the list itself is a part)."""
    canaries: tuple[Planted, ...] = ()
    """By rising `repeats`; empty where none were planted."""

    @property
    def name(self) -> str:
        """`scenario@version`."""
        return f"{self.scenario}@{self.version}"

    def to_json(self) -> str:
        """Indented JSON with a final newline; equal manifests give equal text."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read strictly: a missing, unknown or ill-typed field raises InputError and names it."""
        try:
            raw = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"manifest.json is not JSON: {error}") from error
        value = _read(cls, raw, "manifest")
        assert isinstance(value, cls)
        return value


def _read(kind: Any, raw: Any, where: str) -> Any:
    """`raw` as a value of the annotated type `kind`."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return raw
    if kind == Said:
        try:
            return sentence.read(raw)
        except ValueError as error:
            raise InputError(f"{where}: {error}") from error
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(raw, dict):
            raise InputError(f"{where}: wanted an object, got {type(raw).__name__}")
        hints = typing.get_type_hints(kind)
        if unknown := sorted(raw.keys() - hints.keys()):
            raise InputError(f"{where}: unknown field {unknown[0]!r}")
        required = [f.name for f in dataclasses.fields(kind) if _is_required(f)]
        if missing := [name for name in required if name not in raw]:
            raise InputError(f"{where}: field {missing[0]!r} is missing")
        return kind(**{name: _read(hints[name], value, f"{where}.{name}") for name, value in raw.items()})
    if origin in (types.UnionType, typing.Union):
        options = [option for option in args if option is not type(None)]
        return None if raw is None and len(options) < len(args) else _read(options[0], raw, where)
    if origin is tuple:
        if not isinstance(raw, list):
            raise InputError(f"{where}: wanted a list, got {type(raw).__name__}")
        kinds = [args[0]] * len(raw) if len(args) == 2 and args[1] is Ellipsis else list(args)
        if len(kinds) != len(raw):
            raise InputError(f"{where}: wanted {len(kinds)} values, got {len(raw)}")
        return tuple(_read(kind, item, f"{where}[{n}]") for n, (kind, item) in enumerate(zip(kinds, raw, strict=True)))
    if origin is dict:
        if not isinstance(raw, dict):
            raise InputError(f"{where}: wanted an object, got {type(raw).__name__}")
        return {str(key): _read(args[1], value, f"{where}.{key}") for key, value in raw.items()}
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if not isinstance(raw, kind) or (kind is int and isinstance(raw, bool)):
        raise InputError(f"{where}: wanted {kind.__name__}, got {type(raw).__name__}")
    return raw


def _is_required(item: "dataclasses.Field[Any]") -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
