"""`scenario.toml` to a checked scenario, or one line that says what is wrong. Knows nothing of what a scenario does."""

import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from spearhead.core import digest
from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.review import policy
from spearhead.scenario import sourced
from spearhead.scenario.schema import CURRENCY, NAME, WORDS, Scenario, model_table, read_family_config

LARGEST = 1 << 20
"""Bytes a scenario file may have."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked scenario, the folder it lies in, and the digest of what it says (preset and changes included)."""

    scenario: Scenario
    folder: Path
    preset: str
    digest: str
    derived: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Keys of `[training]` that the file leaves to the model's family, with what they are."""


def load(path: Path, *, preset: str = "", changes: tuple[str, ...] = ()) -> Loaded:
    """Read a scenario file, or the `scenario.toml` of a folder.

    `preset` names one of its `[presets]`; `changes` are `training.steps=20` pairs, values written as in TOML.
    Raises InputError with one line: file, key, what was given, what is wanted.
    """
    file = path / "scenario.toml" if path.is_dir() else path
    if not file.is_file():
        near = Path("scenarios") / path.name
        found = (near / "scenario.toml").is_file() and not path.is_absolute() and near != path
        hint = f"did you mean {near}?" if found else "`spearhead new NAME` makes a scenario that runs"
        raise InputError(f"{file}: there is no such file; {hint}")
    if file.stat().st_size > LARGEST:
        raise InputError(f"{file}: {file.stat().st_size} bytes: wanted at most {LARGEST}")
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{file}: not TOML: {error}") from error
    written, presets = raw, _tables(raw.get("presets", {}), str(file))
    if preset:
        if preset not in presets:
            there = ", ".join(presets) or "none"
            raise InputError(f"{file}: presets.{preset}: there is no such preset; there are: {there}")
        raw = merge(raw, presets[preset])
    for change in changes:
        raw = merge(raw, _change(change))
    if raw.get("presets", {}) != presets:
        raise InputError("--set presets: choose a preset with --preset, and change the key itself: training.steps=20")
    scenario = check(raw, str(file))
    for name in presets:  # a mistake in one that is not asked for now is found now, and not when it is
        if name != preset:
            check(merge(written, presets[name]), f"{file}: presets.{name}")
    if sentence := next(sourced.absent(scenario.data, file.parent), ""):
        raise InputError(f"{file}: {sentence}")
    kept = {key: value for key, value in raw.items() if key != "presets"}
    mark = digest.of_value(json.loads(json.dumps(kept, default=str)))
    return Loaded(scenario, file.parent.absolute(), preset, mark, _derived(raw))


def _tables(presets: Any, name: str) -> dict[str, dict[str, Any]]:
    """The `[presets]`, each of them a table; raises InputError."""
    if not isinstance(presets, dict):
        raise InputError(f"{name}: presets: {presets!r} was given, wanted a table")
    for key, table in presets.items():
        if not isinstance(table, dict):
            raise InputError(f"{name}: presets.{key}: {table!r} was given, wanted a table")
    return presets


def check(raw: dict[str, Any], name: str) -> Scenario:
    """A scenario from plain tables; InputError names file, key, what was given and what is wanted."""
    if odd := next(_not_numbers(raw), None):
        raise InputError(f"{name}: {odd[0]}: {odd[1]} was given, wanted a finite number")
    try:
        plain = _with_policy(raw)
        if isinstance(model := raw.get("model"), dict):
            _check_model(model)
            if found := _derived(raw):
                plain = {**plain, "training": {**found, **raw.get("training", {})}}
        return Scenario.model_validate_json(json.dumps(plain, default=str))
    except ValidationError as error:
        raise InputError(f"{name}: {_sentence(error, Scenario)}") from error
    except _ModelError as error:
        raise InputError(f"{name}: {error}") from error.__cause__
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _not_numbers(value: Any, where: str = "") -> Iterator[tuple[str, float]]:
    """The keys whose value is infinite or no number, which TOML can write, with that value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _not_numbers(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _not_numbers(inner, f"{where}.{number}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield where, value


def _with_policy(raw: dict[str, Any]) -> dict[str, Any]:
    """`review.template` as the policy it stands for, changed by the table's other keys."""
    table = raw.get("review")
    if not isinstance(table, dict) or not isinstance(table.get("template"), str):
        return raw
    own = {key: value for key, value in table.items() if key != "template"}
    known = json.loads(json.dumps(dataclasses.asdict(policy.named(table["template"])), default=dict))
    return {**raw, "review": {**known, **own}}


def _derived(raw: dict[str, Any]) -> Mapping[str, Any]:
    """What of `[training]` follows from a model table that was checked; see `Family.plan`."""
    table = raw.get("training", {})
    if not isinstance(table, dict):
        return {}
    family = Catalogue("spearhead.models", "FAMILY")[raw["model"]["family"]]
    found: Mapping[str, Any] = family.plan(read_family_config(raw["model"]), table)
    return found


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with tables merged key by key and everything else replaced; neither argument is changed.

    A table that names another family is another table: the old family's keys mean nothing to it.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    {'a': {'b': 3, 'c': 2}}
    >>> merge({"model": {"family": "vae", "latent": 8}}, {"model": {"family": "gan"}})
    {'model': {'family': 'gan'}}
    """
    out = dict(base)
    for key, value in changes.items():
        old = out.get(key)
        if (
            isinstance(old, dict)
            and isinstance(value, dict)
            and value.get("family", old.get("family")) == old.get("family")
        ):
            out[key] = merge(old, value)
        else:
            out[key] = value
    return out


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `scenario.toml` for editors, the families' own keys included."""
    schema = Scenario.model_json_schema()
    families = []
    definitions = schema.setdefault("$defs", {})
    for name in Catalogue("spearhead.models", "FAMILY"):
        table = model_table(name).model_json_schema()
        definitions |= table.get("$defs", {})
        own = definitions[table["properties"]["config"]["$ref"].rpartition("/")[2]]
        families.append(
            {
                "type": "object",
                "properties": {"family": {"const": name}, **own["properties"]},
                "required": ["family", *own.get("required", [])],
                "additionalProperties": False,
            }
        )
    schema["properties"]["model"] = {"oneOf": families}
    rules = definitions["Policy"]
    rules["properties"]["template"] = {
        "type": "string",
        "enum": list(policy.templates()),
        "description": "The policy that stands here; other keys of this table change it.",
    }
    rules["anyOf"] = [{"required": ["template"]}, {"required": rules.pop("required")}]
    changes = {name: _loose(table, definitions) for name, table in schema["properties"].items() if name != "presets"}
    schema["properties"]["presets"]["additionalProperties"] = {
        "type": "object",
        "properties": {**changes, "model": {"type": "object"}},
        "additionalProperties": False,
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "spearhead scenario", **schema}


def _loose(table: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A table as a preset may change it: none of its keys is required."""
    if "$ref" not in table:
        return table
    whole = definitions[table["$ref"].rpartition("/")[2]]
    return {key: value for key, value in whole.items() if key not in ("required", "anyOf")}


class _ModelError(Exception):
    """A sentence about the `[model]` table."""


def _check_model(model: dict[str, Any]) -> None:
    families = Catalogue("spearhead.models", "FAMILY")
    name = model.get("family")
    if not isinstance(name, str) or name not in families:
        raise _ModelError(f"model.family: {name!r} is unknown: wanted one of {', '.join(families)}")
    table = model_table(name)
    rest = {key: value for key, value in model.items() if key != "family"}
    try:
        table.model_validate_json(json.dumps({"config": rest}, default=str))
    except ValidationError as error:
        raise _ModelError(_sentence(error, table, renamed={"config": "model"})) from error


def _change(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {text!r}: wanted KEY=VALUE, as in training.steps=20")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    for name in reversed(key.strip().split(".")):
        parsed = {name: parsed}
    return typing.cast(dict[str, Any], parsed)


_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "dataclass_type": "a table",
    "dataclass_exact_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


_FORMS = {NAME: "lower-case letters, digits and dashes", CURRENCY: "three capitals, as in USD", WORDS: "a name"}

_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _sentence(error: ValidationError, root: type, *, renamed: dict[str, str] | None = None) -> str:
    """The first thing that is wrong, and how many more there are."""
    items = error.errors(include_url=False)
    first = items[0]
    parts = _place(first)
    where = ".".join((renamed or {}).get(part, part) if n == 0 else part for n, part in enumerate(parts))
    # A key that takes a number or a word complains twice of one value: the word is told with the number's bound.
    word = next((it for it in items[1:] if it["type"] == "literal_error" and _place(it) == parts), None)
    others = len(items) - 1 - (word is not None)
    more = (f", or {word['ctx']['expected']}" if word else "") + (f" (and {others} more)" if others else "")
    given = repr(first["input"])
    given = given if len(given) <= 60 else given[:57] + "..."
    kind = first["type"]
    if kind == "string_pattern_mismatch":
        return f"{where}: {given} was given, wanted {_FORMS[first['ctx']['pattern']]}{more}"
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _keys(root, parts[:-1])
        near = difflib.get_close_matches(parts[-1], known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"{where}: unknown key; {hint}{more}"
    if kind in ("missing", "missing_argument"):
        return f"{where}: missing; it has no default{more}"
    if kind == "impossible":
        return f"{where}: {first['msg']}{more}" if where else f"{first['msg']}{more}"
    if kind == "literal_error":
        return f"{where}: {given} was given, wanted {first['ctx']['expected']}{more}"
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"{where}: {given} was given, wanted {words} {first['ctx'][bound]:g}{more}"
    if kind in _WANTED:
        return f"{where}: {given} was given, wanted {_WANTED[kind]}{more}"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{where}: {given} was given: {message}{more}"


def _place(item: Any) -> list[str]:
    """Where an error is, without the steps that are pydantic's own."""
    own = ("function-", "constrained-", "literal[")
    return [str(part) for part in item["loc"] if not str(part).startswith(own)]


def _keys(kind: Any, path: list[str]) -> list[str]:
    """The keys known at `path` below a model or dataclass type."""
    kind = _plain(kind)
    fields = _fields(kind)
    if not path:
        return sorted(fields)
    step, rest = path[0], path[1:]
    if step.isdigit() and typing.get_origin(kind) in (tuple, list):
        return _keys(typing.get_args(kind)[0], rest)
    return _keys(fields[step], rest) if step in fields else []


def _fields(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: item.annotation for name, item in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return dict(typing.get_type_hints(kind))
    return {}


def _plain(kind: Any) -> Any:
    """An annotation without Annotated and without `| None`."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _plain(typing.get_args(kind)[0])
    if origin in (types.UnionType, typing.Union):
        return _plain(next(arg for arg in typing.get_args(kind) if arg is not type(None)))
    return kind
