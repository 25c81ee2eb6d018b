"""The options that a request may set, as a JSON Schema that the API checks and the studio makes its form of."""

from collections.abc import Mapping
from typing import Any

from spearhead.core.errors import InputError

LONGEST_STOP, MOST_STOPS = 256, 4


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
    for name, value in generation.items():
        if name == "context":
            continue
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
