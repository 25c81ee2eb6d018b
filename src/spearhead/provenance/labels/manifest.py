"""What our C2PA manifests claim, and what a manifest that was read says and whether it holds. Knows no file format."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from spearhead import __version__
from spearhead.core.errors import InputError
from spearhead.core.media import Label
from spearhead.provenance.signer import SETTINGS

RELEASE = "org.spearhead.release"
"""Our own assertion: release, produce id and time of making."""
USES = ("cawg.ai_inference", "cawg.ai_generative_training", "cawg.ai_training", "cawg.data_mining")
MARKED = "c2pa.watermarked.unbound"
"""The action of drawing an invisible mark that names no manifest."""
UNTRUSTED = "signingCredential.untrusted"
MISMATCH = "assertion.dataHash.mismatch"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says and whether it holds. `state` is Valid, Trusted or Invalid; `failures` are C2PA codes.

    A manifest by an installation's own certificate is Valid, and its one failure is `signingCredential.untrusted`.
    """

    state: str
    failures: tuple[str, ...]
    issuer: str
    generator: str
    digital_source_type: str
    release: str
    produce_id: str
    created: str
    training: Mapping[str, str]
    watermarked: bool = False
    """Whether it says that an invisible mark was drawn."""
    stamped: str = ""
    """When an authority saw the signature; empty when none says so."""
    stamp_trusted: bool = False
    """Whether that authority is one that the reader knows."""

    @property
    def valid(self) -> bool:
        """Whether signature and content hold, whoever signed."""
        return self.state in ("Valid", "Trusted")


def definition(label: Label, *, mime: str, training: str) -> dict[str, Any]:
    """What is to be signed; `training` is what others may do with it: allowed, notAllowed or constrained."""
    if training not in ("allowed", "notAllowed", "constrained"):
        raise InputError(f"training {training!r}: wanted allowed, notAllowed or constrained")
    action = {"action": "c2pa.created", "digitalSourceType": label.digital_source_type, "when": label.created}
    actions = [action, {"action": MARKED, "when": label.created}] if label.watermark else [action]
    release = {"release": label.release, "produce_id": label.produce_id, "created": label.created}
    assertions = {
        "c2pa.actions.v2": {"actions": actions},
        RELEASE: release,
        "cawg.training-mining": {"entries": {use: {"use": training} for use in USES}},
    }
    return {
        "claim_version": 2,
        "claim_generator_info": [{"name": "spearhead", "version": __version__}],
        "title": label.produce_id,
        "format": mime,
        "assertions": [{"label": name, "data": data, "created": True} for name, data in assertions.items()],
    }


@cache
def context() -> Any:
    """The reader's settings, made once."""
    import c2pa

    return c2pa.Context(c2pa.Settings.from_dict(SETTINGS))


def parse(report: str) -> Mapping[str, Any]:
    """The library's detailed report; empty when it is none."""
    try:
        return _mapping(json.loads(report))
    except ValueError:
        return {}


def hard_binding(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The assertion that binds the manifest to its file: exclusions, algorithm, hash. Empty unless just one."""
    assertions = _mapping(_active(report).get("assertion_store"))
    found = [assertions[name] for name in assertions if name.startswith("c2pa.hash.")]
    return _mapping(found[0]) if len(found) == 1 else {}


def judge(report: Mapping[str, Any], *, bound: bool | None = None) -> Manifest:
    """What the active manifest of a report says; `bound` replaces the library's own finding about the content."""
    manifest = _active(report)
    assertions = _mapping(manifest.get("assertion_store"))
    results = _mapping(_mapping(report.get("validation_results")).get("activeManifest"))
    failures, passed = _codes(results.get("failure")), _codes(results.get("success"))
    if bound is not None:
        failures.discard(MISMATCH)
        failures |= set() if bound else {MISMATCH}
    if "claimSignature.validated" not in passed:
        failures.add("claimSignature.mismatch")
    bad = failures - {UNTRUSTED}
    listed = _mapping(assertions.get("c2pa.actions.v2")).get("actions")
    actions = _mapping(_first(listed))
    release = _mapping(assertions.get(RELEASE))
    signature = _mapping(manifest.get("signature"))
    stamped = "timeStamp.validated" in passed and "claimSignature.mismatch" not in failures
    entries = _mapping(_mapping(assertions.get("cawg.training-mining")).get("entries"))
    return Manifest(
        state="Invalid" if bad else "Valid" if failures else "Trusted",
        failures=tuple(sorted(failures)),
        issuer=_words(signature.get("issuer")),
        generator=_generator(_mapping(manifest.get("claim")).get("claim_generator_info")),
        digital_source_type=_words(actions.get("digitalSourceType")),
        release=_words(release.get("release")),
        produce_id=_words(release.get("produce_id")),
        created=_words(release.get("created")),
        training={_words(use): _words(_mapping(entry).get("use")) for use, entry in entries.items()},
        watermarked=isinstance(listed, list) and any(_mapping(one).get("action") == MARKED for one in listed),
        stamped=_words(signature.get("time")) if stamped else "",
        stamp_trusted=stamped and "timeStamp.trusted" in passed,
    )


def broken(code: str) -> Manifest:
    """A manifest that cannot be read, and why."""
    return Manifest("Invalid", (code,), "", "", "", "", "", "", {})


def _active(report: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(_mapping(report.get("manifests")).get(str(report.get("active_manifest"))))


def _codes(statuses: Any) -> set[str]:
    return {str(_mapping(status).get("code")) for status in statuses} if isinstance(statuses, list) else set()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None


def _words(value: Any) -> str:
    return value[:500] if isinstance(value, str) else ""


def _generator(value: Any) -> str:
    info = _mapping(_first(value) if isinstance(value, list) else value)
    return f"{_words(info.get('name'))} {_words(info.get('version'))}".strip()
