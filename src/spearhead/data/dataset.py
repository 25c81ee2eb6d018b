"""Admitted data on disk: three splits, the refusals, a summary and a Croissant description. Knows no sources.

Texts lie in JSON lines, records with pictures in Parquet; equal content gives equal bytes (of one version of Arrow),
and the summary holds the sha256 of the other files.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spearhead.core import digest, media
from spearhead.core.errors import InputError
from spearhead.core.manifest import Credit
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.data import croissant, pictured, pictures
from spearhead.data.admit import Origin
from spearhead.data.refusal import Refusal, counts
from spearhead.data.split import SPLITS

SUMMARY = "summary.json"
REFUSALS = "refusals.jsonl"
CROISSANT = "croissant.json"
MOST_CLASSES = 1000
"""Classes that the summary counts."""


class Dataset:
    """An opened data folder; `summary` is what `summary.json` says."""

    def __init__(self, folder: Path, summary: Mapping[str, Any]) -> None:
        self.folder, self.summary = folder, dict(summary)

    @classmethod
    def open(cls, folder: Path) -> "Dataset":
        """Raises InputError when the folder is not whole, or not what was written there."""
        try:
            summary = json.loads((folder / SUMMARY).read_text("utf-8"))
            expected = summary["files"]
            wrong = [name for name, sha in expected.items() if digest.of_file(folder / name) != sha]
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"{folder} is not a prepared data folder: {error}; run `spearhead data` again") from error
        if wrong:
            raise InputError(f"{folder / wrong[0]} was changed after it was prepared: delete {folder} and run again")
        return cls(folder, summary)

    @property
    def digest(self) -> str:
        """Stands for the configuration, the content of the sources and what was withdrawn."""
        return str(self.summary["digest"])

    def read(self, split: str) -> Iterator[Record]:
        """The records of `train`, `validation` or `test`, in the order of their ids."""
        if split not in SPLITS:
            raise InputError(f"split {split!r} is unknown: wanted {', '.join(SPLITS)}")
        table = self.folder / f"{split}.parquet"
        if table.exists():
            yield from pictured.read(table)
            return
        with (self.folder / f"{split}.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                yield _record(json.loads(line))

    def refusals(self) -> Iterator[Refusal]:
        """What was left out, and why."""
        with (self.folder / REFUSALS).open(encoding="utf-8") as lines:
            for line in lines:
                yield Refusal(**json.loads(line))

    def credits(self) -> tuple[Credit, ...]:
        """Every licence that records came under, with the credit it asks for; a pair counts in both its sources."""
        return tuple(
            Credit(one["spdx"], one["credit"], one["source"], one["records"], tuple(one["rights"]))
            for one in self.summary["credits"]
        )

    def names(self) -> dict[str, str]:
        """Further names of classes, in any language, to the class as it stands in the records."""
        return dict(self.summary.get("names", {}))

    @property
    def conversing(self) -> int:
        """How many records have something that was said before their input."""
        return int(self.summary.get("conversing", 0))

    def classes(self) -> dict[str, dict[str, int]]:
        """How many pictures of each class there are in each split; empty where the records are no such pictures."""
        return {name: dict(found) for name, found in self.summary.get("classes", {}).items()}

    def counts(self) -> dict[str, int]:
        """Records by split."""
        return {split: int(self.summary["records"][split]) for split in SPLITS}


def write(
    folder: Path,
    *,
    name: str,
    records: Mapping[str, Sequence[Record]],
    origins: Mapping[str, tuple[Origin, ...]],
    refusals: Sequence[Refusal],
    facts: Mapping[str, Any],
) -> None:
    """Fill `folder`; `origins` by record id, `facts` go into the summary as they are."""
    everything = [record for split in SPLITS for record in records[split]]
    with_pictures = any(pictures.of(record) is not None for record in everything)
    suffix = "parquet" if with_pictures else "jsonl"
    modalities = {part: piece.modality for record in everything for part, piece in record.parts.items()}
    for split in SPLITS:
        if with_pictures:
            pictured.write(folder / f"{split}.parquet", records[split], modalities)
        else:
            _lines(folder / f"{split}.jsonl", map(_row, records[split]))
    _lines(folder / REFUSALS, (dataclasses.asdict(one) for one in refusals))
    credits = _credits(origins)
    data_files = {
        file: digest.of_file(folder / file) for file in (*(f"{split}.{suffix}" for split in SPLITS), REFUSALS)
    }
    described = croissant.describe(
        name=name,
        sources=sorted({one["source"] for one in credits}),
        licences=sorted({record.licence.spdx for record in everything}),
        credits=sorted({one["credit"] for one in credits if one["credit"]}),
        parts=dict(sorted(modalities.items())),
        checks=facts["checks"],
        files={file: (sha, (folder / file).stat().st_size) for file, sha in data_files.items() if file != REFUSALS},
    )
    (folder / CROISSANT).write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", "utf-8")
    summary = {
        **facts,
        "digest": name,
        "records": {split: len(records[split]) for split in SPLITS},
        "characters": {
            split: sum(
                len(piece.text)
                for record in records[split]
                for piece in record.parts.values()
                if piece.modality == "text"
            )
            for split in SPLITS
        },
        **({"classes": _classes(records)} if with_pictures else {}),
        **({"conversing": talks} if (talks := sum(bool(record.before) for record in everything)) else {}),
        "licences": dict(sorted(Counter(record.licence.spdx for record in everything).items())),
        "credits": credits,
        "refusals": counts(refusals),
        "files": {**data_files, CROISSANT: digest.of_file(folder / CROISSANT)},
    }
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _classes(records: Mapping[str, Sequence[Record]]) -> dict[str, dict[str, int]]:
    """Pictures by class and split; empty when there are no classes, or more than anybody would look at."""
    tally = {split: Counter(r.parts["input"].text for r in records[split] if "input" in r.parts) for split in SPLITS}
    names = sorted(set().union(*tally.values()))
    if len(names) > MOST_CLASSES:
        return {}
    return {name: {split: tally[split][name] for split in SPLITS} for name in names}


def _credits(origins: Mapping[str, tuple[Origin, ...]]) -> list[dict[str, Any]]:
    tally = Counter(origin for group in origins.values() for origin in dict.fromkeys(group))
    ordered = sorted(tally.items(), key=lambda pair: (pair[0].label, pair[0].licence.spdx, pair[0].licence.credit))
    return [
        {
            "source": origin.label,
            "spdx": origin.licence.spdx,
            "credit": origin.licence.credit,
            "rights": origin.licence.rights.names,
            "records": count,
        }
        for origin, count in ordered
    ]


def _row(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "parts": {name: record.parts[name].text for name in sorted(record.parts)},
        "licence": record.licence.spdx,
        "rights": record.licence.rights.names,
        "credit": record.licence.credit,
        "source": record.source,
    }


def _record(row: Mapping[str, Any]) -> Record:
    return Record(
        {name: media.text(text) for name, text in row["parts"].items()},
        Licence(row["licence"], Right.named(row["rights"]), row["credit"]),
        row["source"],
    )


def _lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
