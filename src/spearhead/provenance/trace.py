"""The way back from a file: its labels, the output, the release, the data it learnt from, the credits owed.

Works offline, from the file and an installation's home; a database adds what is known of the very output.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest, sentence
from spearhead.core.errors import InputError
from spearhead.core.manifest import Credit
from spearhead.core.sentence import Said, said
from spearhead.provenance import recognise, seal, verify
from spearhead.provenance.labels import wording
from spearhead.store import releases, tables
from spearhead.store.database import reading
from spearhead.store.home import Home


@dataclass(frozen=True, slots=True)
class Output:
    """What the database knows of the output."""

    id: str
    request: str
    state: str
    created: str
    policy: str
    review: str | None
    identical: bool
    """Whether the file is, byte for byte, the one that was stored."""
    options: Mapping[str, Any]
    """What it was sampled with."""
    units: int
    """Tokens, pictures or seconds that were made."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the release declares of its making."""

    release: str
    title: str
    created: str
    verdict: str
    scenario_digest: str
    data_digest: str
    records: int
    records_digest: str
    affected: tuple[str, ...]
    """Withdrawn records that it learnt from, where a database knows."""
    made_by: dict[str, str]
    credits: tuple[Credit, ...]
    watermark: bool
    """Whether it asks for an invisible mark in what it makes."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything that was found; `problems` says what is missing or does not fit, in sentences."""

    sha256: str
    produce_id: str
    invisible: str
    """Whether an invisible mark was drawn into it, and if it should have been, why not; empty: nobody asked for one."""
    layers: tuple[verify.Layer, ...]
    output: Output | None
    origin: Origin | None
    problems: tuple[Said, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values, in English."""
        found: dict[str, Any] = sentence.plain(self)
        return found


def trace(data: bytes, home: Home, store: Engine | Connection | None, *, mime: str | None = None) -> Trace:
    """Walk back from a file; raises InputError when the file carries no label that leads anywhere."""
    media = recognise.named(data, mime) if mime else recognise.recognise(data)
    seen, layers = seal.read(media), verify.of_media(media)
    number = seen.produce_id
    signed = seen.c2pa.release if seen.c2pa and seen.c2pa.valid else ""
    if not number and not signed:
        raise InputError("the file carries no label that names what made it: there is nothing to trace")
    problems: list[Said] = [
        said("provenance.trace.layer", layer=layer.name, detail=layer.detail)
        for layer in layers
        if layer.state == "invalid"
    ]
    output, named = _output(data, store, number)
    if store is not None and output is None:
        problems.append(said("provenance.trace.no_output", output=number))
    if signed and named and signed != named:
        problems.append(said("provenance.trace.two_releases", signed=signed, named=named))
    release = named or signed
    origin = _origin(home, store, release, problems) if release else None
    if not release:
        problems.append(said("provenance.trace.no_release"))
    mark = _invisible(seen, output, origin)
    return Trace(digest.of_bytes(data), number, mark, layers, output, origin, tuple(problems))


def render(found: Trace) -> list[str]:
    """Lines for a terminal."""
    lines = [f"file       sha256 {found.sha256}", f"number     {found.produce_id or 'none'}"]
    lines += [f"{layer.name:<10} {layer.state}: {layer.detail}" for layer in found.layers]
    lines += [f"mark       {found.invisible}"] if found.invisible else []
    if output := found.output:
        same = "the stored file" if output.identical else "not the stored file byte for byte"
        lines.append(f"output     {output.state}, made {output.created}, request {output.request}; {same}")
    if origin := found.origin:
        lines += [
            f"release    {origin.release} ({origin.title}), made {origin.created}, verdict {origin.verdict}",
            f"data       {origin.records} records, list sha256 {origin.records_digest}",
        ]
        lines += [f"made by    {name} {version}" for name, version in sorted(origin.made_by.items())]
        for credit in origin.credits:
            rights = ", ".join(credit.rights)
            came = f"{credit.records} records from {credit.source}" if credit.records else credit.source
            lines.append(f"licence    {credit.spdx} ({rights}): {came}")
        lines += [f"credit     {words}" for words in dict.fromkeys(credit.credit for credit in origin.credits)]
        if origin.affected:
            lines.append(f"withdrawn  records that it learnt from: {len(origin.affected)}")
    return [*lines, *(f"problem    {problem}" for problem in found.problems)]


def _invisible(seen: seal.Seen, output: Output | None, origin: Origin | None) -> str:
    if seen.c2pa is not None and seen.c2pa.valid and seen.c2pa.watermarked:
        return "an invisible mark was drawn into it and read back, by its manifest"
    if origin is None or not origin.watermark:
        return ""
    why = "its wording does not show one"
    if output is not None and (output.options.get("temperature") == 0 or output.options.get("top_k") == 1):
        why = "the likeliest token was taken each time, which leaves no choice to mark"
    elif output is not None and output.units < wording.LEAST:
        why = f"it has {output.units} tokens, and nothing is claimed below {wording.LEAST}"
    return f"no invisible mark, though its release asks for one: {why}"


def _output(data: bytes, store: Engine | Connection | None, number: str) -> tuple[Output | None, str]:
    """The output's row and the release that it names."""
    if store is None or not number:
        return None, ""
    with reading(store) as connection:
        row = connection.execute(sa.select(tables.outputs).where(tables.outputs.c.id == number)).one_or_none()
    if row is None:
        return None, ""
    found = Output(
        id=row.id,
        request=row.request,
        state=row.state,
        created=row.created,
        policy=row.policy,
        review=row.review,
        identical=row.blob == digest.of_bytes(data),
        options=json.loads(row.options),
        units=row.completion_units,
    )
    return found, str(row.release)


def _origin(home: Home, store: Engine | Connection | None, name: str, problems: list[Said]) -> Origin | None:
    scenario, _, version = name.partition("@")
    if not releases.NAME.fullmatch(scenario) or not releases.VERSION.fullmatch(version):
        problems.append(said("provenance.trace.no_name"))  # never a path: the name is a stranger's
        return None
    folder = home.releases / scenario / version
    if not folder.is_dir():
        problems.append(said("provenance.trace.not_here", release=name))
        return None
    try:
        manifest = releases.read(folder).manifest
    except InputError as error:
        problems.append(error.said)
        return None
    if manifest.name != name:
        problems.append(said("provenance.trace.other", release=name, found=manifest.name))
        return None
    records = [part for part in manifest.parts if part.path == releases.RECORDS]
    listed = folder / releases.RECORDS
    if not records or not listed.is_file() or digest.of_file(listed) != manifest.records:
        problems.append(said("provenance.trace.no_records", release=name))
    return Origin(
        release=name,
        title=manifest.title,
        created=manifest.created,
        verdict=manifest.verdict,
        scenario_digest=manifest.scenario_digest,
        data_digest=manifest.data_digest,
        records=_count(listed),
        records_digest=manifest.records,
        affected=_affected(store, scenario, version),
        made_by=dict(manifest.made_by),
        credits=manifest.credits,
        watermark=bool(manifest.labels.get("watermark")),
    )


def _count(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as stream:
        return sum(1 for line in stream if line.strip())


def _affected(store: Engine | Connection | None, scenario: str, version: str) -> tuple[str, ...]:
    if store is None:
        return ()
    table = tables.releases
    wanted = sa.select(table.c.affected).where(table.c.scenario == scenario, table.c.version == version)
    with reading(store) as connection:
        found = connection.execute(wanted).scalar()
    return tuple(_list(found))


def _list(text: object) -> list[str]:
    values = json.loads(str(text)) if text else []
    return [str(value) for value in values] if isinstance(values, list) else []
