"""A manifest that says the least, for tests of what reads one."""

from typing import Any

from spearhead.core.manifest import Manifest, PriceTag


def manifest(**changes: Any) -> Manifest:
    """What a release of a text model says at the least; `changes` replace fields."""
    fields: dict[str, Any] = dict(
        scenario="tiny",
        version="1",
        title="Tiny",
        created="2026-11-22T00:00:00Z",
        modality="text",
        family="pretrained",
        runtime="llamacpp",
        context=64,
        languages=("en",),
        scenario_digest="0" * 64,
        data_digest="1" * 64,
        parts=(),
        credits=(),
        scores=(),
        bars=(),
        layouts=(),
        verdict="gold",
        verdict_reasons=(),
        template={},
        generation={},
        policy={},
        price=PriceTag("EUR", 1, 1, "token"),
        economics={},
        labels={},
        made_by={},
        records="",
    )
    return Manifest(**{**fields, **changes})
