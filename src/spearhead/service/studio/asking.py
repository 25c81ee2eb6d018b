"""What a release may be asked: the fields of its form, made of its options schema, and the requests in a sent form.

Knows no page: a form is a mapping from names to texts.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from spearhead.core.errors import InputError
from spearhead.core.generation import Request
from spearhead.core.sampler import Sampler
from spearhead.core.sentence import said
from spearhead.engine import books
from spearhead.engine.loaded import Loaded
from spearhead.service.studio.line import number

LONGEST_PROMPT = 20_000
MOST_PROMPTS = 100
"""In a list."""
HEADINGS = ("prompt", "prompts", "input", "text", "提示词", "输入")
"""First cells of a table that name its column."""
LARGEST_SCHEMA = 1 << 20
OWN = ("seed", "prompt")
"""Properties of the schema that are fields of every form."""
Kind = Literal["whole", "number", "choice", "check", "lines", "text"]


@dataclass(frozen=True, slots=True)
class Field:
    """One option; `least` and `most` are written as the form wants them, empty for none."""

    name: str
    kind: Kind
    title: str
    default: Any = None
    least: str = ""
    most: str = ""
    choices: tuple[str, ...] = ()
    """Of the kind `choice`; for `lines`, nothing."""


@dataclass(frozen=True, slots=True)
class Ask:
    """The form of one release."""

    scenario: str
    modality: str
    fields: tuple[Field, ...]
    classes: tuple[str, ...]
    """What a picture model can make, in the reader's language; empty: a prompt is written freely."""
    names: Mapping[str, str]
    """Every name of a class, in small letters, and what it is shown as."""
    unprompted: bool
    """Whether there is nothing to say: a picture model without classes."""
    most: int = books.MOST_ANSWERS

    def named(self, words: str) -> str:
        """The class that these words name, as it is shown; the words themselves where they name none."""
        return self.names.get(words.strip().casefold(), words)


def of(loaded: Loaded, *, language: str) -> Ask:
    """The form of a release that is up, for a reader of `language`; one without an options schema has no options."""
    manifest = loaded.manifest
    properties: Mapping[str, Any] = {}
    if any(part.role == "options" for part in manifest.parts):
        file = loaded.release.file("options")
        if file.stat().st_size > LARGEST_SCHEMA:
            raise InputError(f"{file} is too large to be an options schema")
        properties = json.loads(file.read_text("utf-8"))["properties"]
    classes: tuple[str, ...] = ()
    names: dict[str, str] = {}
    if properties.get("prompt", {}).get("enum"):
        sampler = Sampler.read(loaded.release.file("sampler"))
        classes = sampler.shown(language)
        every = {**sampler.names, **{name: number for number, name in enumerate(sampler.classes)}}
        names = {name.casefold(): classes[number] for name, number in every.items()}
    fields = tuple(_field(name, raw) for name, raw in properties.items() if name not in OWN)
    unprompted = manifest.modality == "image" and not classes
    return Ask(manifest.scenario, manifest.modality, fields, classes, names, unprompted)


def requests(ask: Ask, sent: Mapping[str, str], *, prompts: Sequence[str], account: str) -> list[Request]:
    """One request for each prompt; raises InputError that names the field."""
    if ask.classes and (unknown := [one for one in prompts if one.casefold() not in ask.names]):
        raise InputError(said("service.studio.ask.no_class", given=unknown[0][:60], classes=ask.classes[:40]))
    for one in prompts:
        if len(one) > LONGEST_PROMPT:
            raise InputError(said("service.studio.ask.long", characters=len(one), most=LONGEST_PROMPT))
    if not prompts or not (ask.unprompted or all(prompts)):
        raise InputError(said("service.studio.ask.empty"))
    options = {field.name: value for field in ask.fields if (value := read(field, sent)) != field.default}
    count = _whole("count", sent.get("count", "1") or "1", least=1, most=ask.most)
    seed = _whole("seed", sent["seed"], least=0, most=2**63 - 1) if sent.get("seed") else None
    return [
        Request(
            scenario=ask.scenario,
            account=account,
            key=number(),
            prompt=one,
            count=count,
            options={name: value for name, value in options.items() if value is not None},
            seed=seed,
        )
        for one in prompts
    ]


def read(field: Field, sent: Mapping[str, str]) -> Any:
    """The value of a field; its default when it was left empty."""
    text = sent.get(field.name, "")
    match field.kind:
        case "check":
            return text != ""
        case "lines":
            return tuple(line for line in (one.strip("\r") for one in text.split("\n")) if line) or field.default
    if text == "":
        return field.default
    match field.kind:
        case "choice":
            if text not in field.choices:
                raise InputError(
                    said("service.studio.ask.choice", field=field.name, given=text[:40], choices=field.choices)
                )
            return text
        case "whole":
            return _whole(field.name, text, least=_bound(field.least, -(2**63)), most=_bound(field.most, 2**63 - 1))
        case "number":
            return _number(field, text)
    return text


def listed(text: str) -> list[str]:
    """Prompts from a pasted list, one a line; empty lines are nothing."""
    return _bounded([line.strip() for line in text.splitlines() if line.strip()])


def from_file(name: str, data: bytes) -> list[str]:
    """Prompts from a file: a text has one a line, a table its first column; raises InputError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(said("service.studio.ask.not_text", file=name[:80], byte=error.start)) from error
    if not name.lower().endswith(".csv"):
        return listed(text)
    try:
        rows = [row[0].strip() for row in csv.reader(io.StringIO(text), strict=True) if row and row[0].strip()]
    except csv.Error as error:
        raise InputError(said("service.studio.ask.no_table", file=name[:80], why=str(error))) from error
    return _bounded(rows[1:] if rows and rows[0].casefold() in HEADINGS else rows)


def values_of(ask: Ask, asked: Mapping[str, Any]) -> dict[str, str]:
    """What a form shows so that it asks for the same again: `asked` as `engine.outputs.asked_text` wrote it."""
    options = asked.get("options", {})
    shown = {field.name: as_text(field, options.get(field.name, field.default)) for field in ask.fields}
    seed = asked.get("seed")
    return {**shown, "count": str(asked.get("count", 1)), "seed": "" if seed is None else str(seed)}


def as_text(field: Field, value: Any) -> str:
    """A value as its field shows it."""
    if value is None:
        return ""
    if field.kind == "lines":
        return "\n".join(map(str, value))
    if field.kind == "check":
        return "on" if value else ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _field(name: str, raw: Mapping[str, Any]) -> Field:
    kinds = raw.get("type", "string")
    kind = next((one for one in kinds if one != "null"), "string") if isinstance(kinds, list) else kinds
    title, default = str(raw.get("title", name)), raw.get("default")
    least, most = raw.get("minimum", raw.get("exclusiveMinimum", "")), raw.get("maximum", "")
    if "enum" in raw:
        return Field(name, "choice", title, default, choices=tuple(str(one) for one in raw["enum"]))
    if kind in ("integer", "number"):
        return Field(name, "whole" if kind == "integer" else "number", title, default, str(least), str(most))
    if kind == "boolean":
        return Field(name, "check", title, bool(default))
    if kind == "array":
        return Field(name, "lines", title, tuple(default) if default else None)
    return Field(name, "text", title, default)


def _number(field: Field, text: str) -> float:
    try:
        value = float(text) if len(text) <= 40 else math.nan
    except ValueError:
        value = math.nan
    if not _float(field.least, -math.inf) <= value <= _float(field.most, math.inf):  # false for NaN too
        raise InputError(
            said("service.studio.ask.number", field=field.name, given=text[:40], least=field.least, most=field.most)
        )
    return value


def _whole(name: str, text: str, *, least: int, most: int) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 19 and least <= int(text) <= most):
        raise InputError(said("service.studio.ask.whole", field=name, given=text[:40], least=least, most=most))
    return int(text)


def _bound(text: str, otherwise: int) -> int:
    return int(float(text)) if text else otherwise


def _float(text: str, otherwise: float) -> float:
    return float(text) if text else otherwise


def _bounded(prompts: list[str]) -> list[str]:
    if len(prompts) > MOST_PROMPTS:
        raise InputError(said("service.studio.ask.many", prompts=len(prompts), most=MOST_PROMPTS))
    return prompts
