"""The options that a request may set, as a JSON Schema that the API checks and the studio makes its form of."""

from collections.abc import Mapping
from typing import Any

from spearhead.core.errors import InputError
from spearhead.core.sampler import MOST_STEPS, Sampler

LONGEST_STOP, MOST_STOPS = 256, 4
CROP, RESIZE = r"^\d{1,5}x\d{1,5}\+\d{1,5}\+\d{1,5}$", r"^\d{1,5}x\d{1,5}$"
SHORTEST, LONGEST_SIDE, MOST_SIZES = 256, 1024, 8
"""Pixels of a delivered picture's shortest side at least and longest side at most, and how many sizes are offered."""


def schema(generation: Mapping[str, Any], *, context: int) -> dict[str, Any]:
    """JSON Schema (2020-12) of the sampling options; `generation` gives the scenario's defaults.

    An unknown default raises InputError: it would be an option that nobody can set.
    """
    most = max(1, context - 1)
    properties: dict[str, dict[str, Any]] = {
        "temperature": {"type": "number", "minimum": 0, "maximum": 2, "title": "Temperature"},
        "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "title": "Top-p"},
        "top_k": {"type": "integer", "minimum": 0, "maximum": 1000, "title": "Top-k"},
        "min_p": {"type": "number", "minimum": 0, "maximum": 1, "title": "Min-p"},
        "max_tokens": {"type": "integer", "minimum": 1, "maximum": most, "title": "Longest answer"},
        "stop_repeats": {"type": "integer", "minimum": 0, "maximum": 100, "title": "Stop after so many repeats"},
        "seed": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**32 - 2, "title": "Seed"},
        "stop": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_STOP},
            "maxItems": MOST_STOPS,
            "title": "Stop texts",
        },
    }
    given = {name: value for name, value in generation.items() if name != "context"}
    return _schema(properties, given)


def for_pictures(generation: Mapping[str, Any], *, sampler: Sampler) -> dict[str, Any]:
    """JSON Schema (2020-12) of what a request for pictures may set; `sampler` says what the model can."""
    height, width = sampler.size
    least, most = -(-SHORTEST // min(height, width)), max(1, LONGEST_SIDE // max(height, width))
    sizes = [f"{width * times}x{height * times}" for times in range(least, max(least, most) + 1)]
    properties: dict[str, dict[str, Any]] = {
        "size": {"type": "string", "enum": ["auto", *sizes[:MOST_SIZES]], "default": "auto", "title": "Size"},
        "format": {"type": "string", "enum": ["png", "jpeg", "webp"], "default": "png", "title": "Format"},
        "parameters": {"type": "boolean", "default": True, "title": "Say inside the file how it was made"},
        "seed": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**63 - 1, "title": "Seed"},
        "brightness": {"type": "number", "minimum": 0, "maximum": 4, "default": 1, "title": "Brightness"},
        "contrast": {"type": "number", "minimum": 0, "maximum": 4, "default": 1, "title": "Contrast"},
        "crop": {"type": "string", "pattern": CROP, "title": "Part, WIDTHxHEIGHT+LEFT+TOP of the model's pixels"},
        "resize": {"type": "string", "pattern": RESIZE, "title": "Resize to WIDTHxHEIGHT"},
    }
    if sampler.kind == "flow":
        steps = {"type": "integer", "minimum": 1, "maximum": MOST_STEPS, "default": sampler.steps, "title": "Steps"}
        properties["steps"] = steps
        guidance = {"type": "number", "minimum": 0, "maximum": 20, "default": sampler.guidance, "title": "Guidance"}
        properties |= {"guidance": guidance} if sampler.classes else {}
    else:
        spread = {"type": "number", "exclusiveMinimum": 0, "maximum": 2, "default": sampler.truncation}
        properties["truncation"] = {**spread, "title": "Spread of the noise"}
    if sampler.layers:
        mixing = {"type": "integer", "minimum": 0, "maximum": sampler.layers - 1, "default": 0}
        properties["mixing"] = {**mixing, "title": "Layer from which a second style rules (0: none)"}
        second = {"type": ["integer", "null"], "minimum": 0, "maximum": 2**63 - 1}
        properties["mixing_seed"] = {**second, "title": "Seed of the picture with the second style"}
    if sampler.classes:
        properties["prompt"] = {"type": "string", "enum": list(sampler.classes), "title": "What to make"}
    return _schema(properties, generation)


def _schema(properties: dict[str, dict[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if name not in properties:
            raise InputError(f"generation option {name!r} is unknown: there are {', '.join(properties)}")
        properties[name]["default"] = value
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Generation options",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
