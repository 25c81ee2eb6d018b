"""Records with pictures on disk, in Parquet: a column a part, pictures as the bytes of their PNG. Knows no folder.

Other people's tools read it as it is; the texts that thousands of records share take a byte or two each.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spearhead.core import media
from spearhead.core.errors import InputError
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right

OWN = ("id", "licence", "rights", "credit", "source")
"""Columns that are no part."""
ROWS = 4096
"""Records read or written at a time."""


def write(path: Path, records: Sequence[Record], modalities: Mapping[str, str]) -> None:
    """All records as rows, in their order; `modalities` by part."""
    import pyarrow
    import pyarrow.parquet

    texts, parts = pyarrow.string(), dict(sorted(modalities.items()))
    schema = pyarrow.schema(
        [
            ("id", texts),
            *((part, texts if modality == "text" else pyarrow.binary()) for part, modality in parts.items()),
            *((name, texts) for name in OWN[1:]),
        ]
    )
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as out:
        for start in range(0, len(records), ROWS):
            rows = [_row(record, parts) for record in records[start : start + ROWS]]
            out.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def read(path: Path) -> Iterator[Record]:
    """The records of a file that `write` wrote; raises InputError on another."""
    import pyarrow
    import pyarrow.parquet

    licences: dict[tuple[str, str, str], Licence] = {}
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            columns = {field.name: field.type for field in table.schema_arrow}
            parts = [(name, kind == pyarrow.string()) for name, kind in columns.items() if name not in OWN]
            for batch in table.iter_batches(batch_size=ROWS):
                rows = {name: batch.column(name).to_pylist() for name in columns}
                for number in range(batch.num_rows):
                    terms = rows["licence"][number], rows["rights"][number], rows["credit"][number]
                    if terms not in licences:
                        licences[terms] = Licence(terms[0], Right.named(terms[1].split()), terms[2])
                    found = {
                        name: media.text(value) if is_text else media.Media("image", "image/png", value)
                        for name, is_text in parts
                        if (value := rows[name][number]) is not None
                    }
                    yield Record(found, licences[terms], rows["source"][number])
    except (pyarrow.ArrowException, OSError, KeyError) as error:
        raise InputError(f"{path} is not a file of records: {error}; run `spearhead data` again") from error


def _row(record: Record, parts: Mapping[str, str]) -> dict[str, Any]:
    held = {
        part: None if piece is None else piece.text if piece.modality == "text" else piece.data
        for part in parts
        for piece in [record.parts.get(part)]
    }
    return {
        "id": record.id,
        **held,
        "licence": record.licence.spdx,
        "rights": " ".join(record.licence.rights.names),
        "credit": record.licence.credit,
        "source": record.source,
    }
