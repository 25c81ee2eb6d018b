"""A release put together: parts, documents, labelled samples, manifest and signature, whole or not at all.

Knows no measuring: everything that the manifest declares comes in measured and judged.
"""

import dataclasses
import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spearhead.core import clock as clocks
from spearhead.core import digest
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.files import whole_folder
from spearhead.core.manifest import Manifest, Part
from spearhead.core.media import Label, Media
from spearhead.core.media import text as text_media
from spearhead.core.score import Case
from spearhead.provenance import seal, signing
from spearhead.provenance.signer import Signer
from spearhead.release import bom, card, gate
from spearhead.store import releases
from spearhead.store.home import Home

VARYING = ("created", "version", "parts", "layouts")
"""What may differ between two releases of the same thing: when, how it was named, and what a clock measured."""
ROLES = {
    "parts/model.gguf": "model",
    "parts/model.onnx": "model",
    "parts/adapter.gguf": "adapter",
    "parts/tokenizer.json": "tokenizer",
    "parts/sampler.json": "sampler",
    "parts/options.schema.json": "options",
}

Content = Path | bytes


def bundle(
    home: Home,
    declared: Manifest,
    *,
    parts: Mapping[str, Path],
    options: Mapping[str, Any],
    records: Iterable[str],
    croissant: Path,
    reports: Sequence[Path] = (),
    index: Path | None = None,
    samples: Sequence[Case] = (),
    version: str = "",
    clock: clocks.Clock = clocks.now,
) -> Path:
    """The folder of the release, `home.releases/<scenario>/<version>`: signed, verified, and there only when whole.

    `declared` is the manifest but for `version`, `created`, `parts` and `records`, which are filled in here. The
    version is the given one, else the next whole number; the same content again gives the release that is there.
    `parts` are the runtime's files by name (see `ROLES`), `records` the ids of the records that it learnt from,
    `index` a folder, `reports` the pages of the run, one a language (see `releases.report_name`). Raises BarMissed when
    a bar was missed, InputError when the version is taken by other content.
    """
    gate.require(declared.bars)
    if not releases.NAME.fullmatch(declared.scenario):
        raise InputError(f"scenario {declared.scenario!r} is no name: wanted small letters, digits and hyphens")
    if version and not releases.VERSION.fullmatch(version):
        raise InputError(f"version {version!r} is no name: wanted letters, digits, dots and hyphens")
    keys = signing.ensure(home)
    learnt = "".join(f"{record}\n" for record in sorted({_id(record) for record in records})).encode()
    if unknown := [name for name in parts if f"parts/{name}" not in ROLES]:
        raise InputError(f"{unknown[0]!r} is no part of a release: wanted {', '.join(map(_base, ROLES))}")
    contents: dict[str, Content] = {f"parts/{name}": path for name, path in parts.items()}
    contents |= {"parts/options.schema.json": _json(options), releases.RECORDS: learnt}
    contents |= {f"parts/index/{path.relative_to(index).as_posix()}": path for path in _files(index)} if index else {}
    manifest = dataclasses.replace(
        declared,
        parts=tuple(_part(name, content) for name, content in contents.items()),
        records=digest.of_bytes(learnt),
    )
    place = home.releases / declared.scenario
    with _alone(place):
        there = releases.published(home, scenario=declared.scenario)
        for release in there:
            if _essence(release.manifest) == _essence(manifest) and version in ("", release.manifest.version):
                _sound(release.folder, keys.public)
                return release.folder
        if any(release.manifest.version == version for release in there):
            raise InputError(
                f"{declared.scenario}@{version} is there with other content, and a release never changes: "
                "name another version"
            )
        manifest = dataclasses.replace(manifest, version=version or _next(there), created=clocks.stamp(clock()))
        with whole_folder(place / manifest.version) as draft:
            for name, content in contents.items():
                _put(draft / name, content)
            documents: dict[str, Content] = {
                "data.croissant.json": croissant,
                "card.md": card.write(manifest).encode(),
                **_samples(manifest, samples, signer=Signer(keys, time_stamps=home.time_stamps)),
            }
            documents |= {page.name: page for page in reports}
            for name, content in documents.items():
                _put(draft / name, content)
            manifest = _with(manifest, {name: draft / name for name in documents})
            bill = _json(bom.describe(manifest))
            bom.require_valid(bill.decode())
            _put(draft / "bom.cdx.json", bill)
            text = _with(manifest, {"bom.cdx.json": bill}).to_json().encode()
            _put(draft / releases.MANIFEST, text)
            _put(draft / releases.SIGNATURE, signing.sign_bytes(text, key=keys.release))
            _sound(draft, keys.public)
        return place / manifest.version


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One release of a scenario at a time, so that two do not take the same version."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _samples(manifest: Manifest, cases: Sequence[Case], *, signer: Signer) -> dict[str, Content]:
    """A labelled file for each case: what was asked, what came, what was wanted."""
    if not cases:
        return {}
    out = dict[str, Content]()
    for number, case in enumerate(cases, 1):
        piece, ending = _sample(case)
        name = f"samples/{number:04d}.{ending}"
        label = Label(
            producer=str(manifest.labels.get("producer", "")),
            produce_id=f"{manifest.name}/{name}",
            release=manifest.name,
            created=manifest.created,
        )
        out[name] = seal.seal(piece, label, signer=signer).data
    return out


def _sample(case: Case) -> tuple[Media, str]:
    """What a sample shows, and how its file name ends: a text with what was asked and wanted, else the piece alone."""
    if case.output.modality != "text":
        return case.output, case.output.mime.rpartition("/")[2]
    pieces = [("Input", case.input), ("Output", case.output), ("Reference", case.reference)]
    body = "\n\n".join(f"## {title}\n\n{piece.text}" for title, piece in pieces if piece is not None)
    return text_media(body + "\n", mime="text/markdown"), "md"


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _essence(manifest: Manifest) -> str:
    """A digest of what makes a release this one and no other."""
    fields = {key: value for key, value in dataclasses.asdict(manifest).items() if key not in VARYING}
    parts = sorted((part.path, part.sha256) for part in manifest.parts if part.path.startswith("parts/"))
    return digest.of_value([json.loads(digest.canonical(fields)), parts])


def _next(there: Sequence[releases.Release]) -> str:
    numbers = [int(release.manifest.version) for release in there if release.manifest.version.isdecimal()]
    return str(max(numbers, default=0) + 1)


def _sound(folder: Path, public: bytes) -> None:
    if problems := releases.verify(folder, public_key=public):
        raise SpearheadError(f"the release in {folder} is not sound: {problems[0]}")


def _with(manifest: Manifest, more: Mapping[str, Content]) -> Manifest:
    return dataclasses.replace(
        manifest, parts=(*manifest.parts, *(_part(name, content) for name, content in more.items()))
    )


def _part(name: str, content: Content) -> Part:
    role = ROLES.get(name, "index" if name.startswith("parts/index/") else "document")
    role = "sample" if name.startswith("samples/") else role
    if isinstance(content, bytes):
        return Part(name, digest.of_bytes(content), len(content), role)
    try:
        return Part(name, digest.of_file(content), content.stat().st_size, role)
    except OSError as error:
        raise InputError(f"{content} cannot be read for the release: {error.strerror}") from error


def _put(path: Path, content: Content) -> None:
    if isinstance(content, Path) and not content.is_file():
        raise InputError(f"{content} is no file: it cannot go into the release")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            shutil.copyfile(content, path)
    except OSError as error:
        raise SpearheadError(f"{path} could not be written: {error.strerror or error}; nothing was released") from error


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _id(record: str) -> str:
    if len(record) != 64 or not record.isalnum() or not record.isascii():
        raise InputError(f"{record[:80]!r} is no record id: wanted 64 hexadecimal characters")
    return record


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
