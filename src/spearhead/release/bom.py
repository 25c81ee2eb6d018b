"""A release as a CycloneDX 1.6 machine-learning bill of materials. Knows no file; the bundle validates what it writes.

Written out here because cyclonedx-python-lib has no model card yet (its Component says so); its strict JSON validator
checks the result.
"""

import uuid
from typing import Any

from spearhead.core import digest
from spearhead.core.errors import SpearheadError
from spearhead.core.manifest import Manifest

NAMESPACE = uuid.UUID("6f2a3a5e-4a0f-5a57-9d43-6f1f1f2f7c11")


def describe(manifest: Manifest) -> dict[str, Any]:
    """The whole document; equal manifests give equal documents."""
    name = manifest.name
    serial = uuid.uuid5(NAMESPACE, digest.of_bytes(manifest.to_json().encode()))
    sources = sorted({credit.source for credit in manifest.credits})
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": manifest.created,
            "tools": {
                "components": [
                    {"type": "application", "name": tool, "version": version}
                    for tool, version in sorted(manifest.made_by.items())
                    if tool != "base"
                ]
            },
            "component": _model(manifest, name, sources),
        },
        "components": [_data(manifest, source) for source in sources] + _base(manifest),
        "dependencies": [
            {"ref": name, "dependsOn": [f"data:{source}" for source in sources] + (["base"] if _base(manifest) else [])}
        ],
    }


def problem(document: str) -> str | None:
    """Why the document is no valid CycloneDX 1.6, or None."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document)
    return None if error is None else str(error)


def require_valid(document: str) -> None:
    """Raise SpearheadError when the document is no valid CycloneDX."""
    if (found := problem(document)) is not None:
        raise SpearheadError(f"the bill of materials is not valid CycloneDX 1.6: {found[:400]}")


def _model(manifest: Manifest, name: str, sources: list[str]) -> dict[str, Any]:
    files = [
        {
            "type": "file",
            "bom-ref": f"file:{part.path}",
            "name": part.path,
            "hashes": [{"alg": "SHA-256", "content": part.sha256}],
            "properties": [
                {"name": "spearhead:role", "value": part.role},
                {"name": "spearhead:bytes", "value": str(part.bytes)},
            ],
        }
        for part in manifest.parts
    ]
    figures = []
    for score in manifest.scores:
        figure: dict[str, Any] = {"type": f"{score.name} [{score.signature}]", "value": f"{score.value:.6g}"}
        if score.interval is not None:
            low, high = score.interval
            figure["confidenceInterval"] = {"lowerBound": f"{low:.6g}", "upperBound": f"{high:.6g}"}
        figures.append(figure)
        figures += [
            {"type": f"{score.name} [{score.signature}]", "slice": f"baseline {which}", "value": f"{value:.6g}"}
            for which, value in sorted(score.baselines.items())
        ]
    return {
        "type": "machine-learning-model",
        "bom-ref": name,
        "name": manifest.scenario,
        "version": manifest.version,
        "description": manifest.title,
        "licenses": [{"expression": _together(manifest)}],
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": f"{manifest.modality} generation",
                "architectureFamily": manifest.family,
                "datasets": [{"ref": f"data:{source}"} for source in sources],
                "inputs": [{"format": manifest.modality}],
                "outputs": [{"format": manifest.modality}],
            },
            "quantitativeAnalysis": {"performanceMetrics": figures},
            "considerations": {
                "useCases": [manifest.title],
                "technicalLimitations": [
                    f"prompt and answer together have at most {manifest.context} tokens",
                    f"made for {', '.join(manifest.languages)}; other languages were not measured",
                ],
                "performanceTradeoffs": [
                    f"layout {row.name}: {row.bytes} bytes, {row.tokens_per_second:.1f} tokens/s, "
                    f"{row.nats_per_token:+.4f} nats per token" + (" (released)" if row.chosen else "")
                    for row in manifest.layouts
                ],
            },
            "properties": [
                {"name": "spearhead:verdict", "value": manifest.verdict},
                {"name": "spearhead:scenario_digest", "value": manifest.scenario_digest},
                {"name": "spearhead:data_digest", "value": manifest.data_digest},
                {"name": "spearhead:records", "value": manifest.records},
            ],
        },
        "components": files,
    }


def _data(manifest: Manifest, source: str) -> dict[str, Any]:
    credits = [credit for credit in manifest.credits if credit.source == source]
    count = sum(credit.records for credit in credits)  # none: a model that it was made from
    return {
        "type": "data",
        "bom-ref": f"data:{source}",
        "name": source,
        "licenses": [{"expression": " AND ".join(_bracketed(sorted({c.spdx for c in credits})))}],
        "copyright": "; ".join(sorted({c.credit for c in credits if c.credit})) or "none asked for",
        "data": [
            {
                "type": "dataset",
                "name": source,
                **({"description": f"{count} records"} if count else {}),
                "classification": "public",
            }
        ],
    }


def _base(manifest: Manifest) -> list[dict[str, Any]]:
    base = manifest.made_by.get("base")
    return [{"type": "machine-learning-model", "bom-ref": "base", "name": base}] if base else []


def _together(manifest: Manifest) -> str:
    return " AND ".join(_bracketed(sorted({credit.spdx for credit in manifest.credits})))


def _bracketed(expressions: list[str]) -> list[str]:
    return [f"({text})" if " " in text and len(expressions) > 1 else text for text in expressions]
