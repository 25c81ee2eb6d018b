"""`spearhead policy`: which policy a scenario is reviewed by, and another one from now on. Decides nothing."""

import dataclasses
import tomllib
from pathlib import Path

from spearhead.core.errors import InputError
from spearhead.core.review import Policy
from spearhead.pipeline.desk import ACTOR, opened, write_down
from spearhead.pipeline.told import Told, table
from spearhead.review import live, policy
from spearhead.store import releases
from spearhead.store.database import writing
from spearhead.store.home import Home

LARGEST = 1 << 20


def policies(home: Home, scenario: str, *, template: str, file: Path | None) -> Told:
    """Show, or set with a template or a file of the keys that `[review]` has."""
    releases.expected(home)
    found = releases.published(home, scenario=scenario)
    if not found:
        raise InputError(f"There is no release of {scenario[:64]!r} here: a live policy stands in a release's place.")
    if template and file is not None:
        raise InputError("policy: give --template or --file, not both")
    store, manifest = opened(home), found[-1].manifest
    if template or file is not None:
        rules = policy.named(template) if template else _of(file or Path())
        with writing(store) as connection:
            digest = live.set_policy(connection, scenario, rules, modality=manifest.modality, actor=ACTOR)
            write_down(connection, "policy set", scenario, {"policy": digest, "template": template})
    known = live.history(store, scenario)
    rows = [[since, who, policy.digest_of(one)[:12], ", ".join(one.checks)] for since, who, one in known]
    if not rows:
        rows = [["its release", "", "", ", ".join(manifest.policy["checks"])]]
    values = [
        {"since": since, "actor": who, "digest": policy.digest_of(one), "policy": dataclasses.asdict(one)}
        for since, who, one in known
    ]
    words = table(("since", "by", "digest", "checks"), rows)
    return Told({"scenario": scenario, "policies": values}, words)


def _of(file: Path) -> Policy:
    if not file.is_file() or file.stat().st_size > LARGEST:
        raise InputError(f"{file}: wanted a TOML file of at most {LARGEST:,} bytes with checks and rules")
    try:
        raw = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{file}: not TOML: {error}") from error
    inner = raw.get("review", raw.get("policy", raw))
    if not isinstance(inner, dict):
        raise InputError(f"{file}: wanted a table [review] with checks and rules")
    if isinstance(inner.get("template"), str):
        known = dataclasses.asdict(policy.named(inner["template"]))
        inner = {**known, "checks": list(known["checks"]), "rules": list(known["rules"]), **inner}
        del inner["template"]
    return policy.read(inner, name=str(file))
