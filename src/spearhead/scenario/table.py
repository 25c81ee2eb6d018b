"""The head of a person's table, to find the two columns to learn from. Guesses nothing that it cannot show.

The whole table is read by `data/readers.py` when the road is walked; what this takes for a table, that does too.
"""

import csv
import io
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spearhead.core.errors import InputError
from spearhead.data import readers
from spearhead.data.items import Unreadable

KINDS = {suffix: kind for suffix, kind in readers.SUFFIXES.items() if kind in ("csv", "jsonl", "json", "parquet")}
LOOKED = 1 << 20
"""Bytes of a text that are looked at."""
ROWS = 200
NAME = 60
"""Characters that a column's name has at most, where one has to tell it from data."""


@dataclass(frozen=True, slots=True)
class Head:
    """A table's reader, its columns in their order, and its first rows."""

    reader: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]


def pair(table: Path, *, named: str = "") -> tuple[str, tuple[str, str]]:
    """The reader of a table and its two columns to learn from, what is given and what is wanted.

    `named` are the two by name, as in `question,answer`. Without it they are `input` and `output`, or the only two
    that there are; which of three or more is meant is not guessed. Raises InputError.
    """
    head = _head(table)
    have = ", ".join(head.columns) or "none"
    if head.columns and not head.rows and head.reader == "csv":
        raise InputError(
            f"{table}: has names of columns ({have}) and no row below them: there is nothing to learn from"
        )
    if twice := next((name for name in head.columns if head.columns.count(name) > 1), None):
        raise InputError(f"{table}: two columns are named {twice!r}: give each a name of its own")
    if named:
        wanted = tuple(name.strip() for name in named.split(","))
        if len(wanted) != 2 or wanted[0] == wanted[1]:
            raise InputError(f"--columns {named!r}: wanted two names, as in question,answer")
        if missing := next((name for name in wanted if name not in head.columns), None):
            raise InputError(f"--columns: {table} has no column {missing!r}; there are: {have}")
        return head.reader, (wanted[0], wanted[1])
    if {"input", "output"} <= set(head.columns):
        return head.reader, ("input", "output")
    if len(head.columns) < 2:
        raise InputError(f"{table}: wanted two columns, input and output; found {have}")
    if len(head.columns) > 2:
        raise InputError(f"{table}: which columns? Give --columns with what is given and what is wanted, of: {have}")
    if head.reader == "csv" and (cell := _looks_like_data(head)):
        raise InputError(
            f"{table}: its first line looks like data ({cell!r}), not like names of columns: put input,output above it"
        )
    return head.reader, (head.columns[0], head.columns[1])


def _head(table: Path) -> Head:
    kind = KINDS.get(table.suffix.lower())
    if kind is None:
        raise InputError(f"{table}: wanted a file that ends in {', '.join(KINDS)}")
    if not table.is_file():
        raise InputError(f"{table}: there is no such file")
    if kind == "parquet":
        import pyarrow.parquet

        try:
            return Head(kind, tuple(pyarrow.parquet.read_schema(table).names), ())
        except Exception as error:  # pyarrow has no common error class for broken files
            raise InputError(f"{table}: not a parquet file: {error}") from error
    if kind == "csv":
        try:
            return _csv(_text(table, LOOKED))
        except csv.Error as error:
            raise InputError(f"{table}: not a table in CSV: {error}") from error
    lines = _text(table, LOOKED if kind == "jsonl" else readers.MOST_BYTES)
    try:
        rows = tuple(itertools.islice(_objects(lines, kind), 1))
    except Unreadable as error:
        raise InputError(f"{table}: {error}") from error
    except (ValueError, RecursionError) as error:
        where = "its first line is not JSON" if kind == "jsonl" else "not JSON"
        raise InputError(f"{table}: {where}: {error}") from error
    return Head(kind, tuple(map(str, rows[0])) if rows else (), rows)


def _text(table: Path, most: int) -> str:
    with table.open("rb") as stream:
        data = stream.read(most)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(data) == most and error.start > most - 4:  # a character was cut in two
            return data[: error.start].decode("utf-8-sig")
        raise InputError(f"{table}: not UTF-8 text at byte {error.start}: save it as UTF-8") from error


def _csv(text: str) -> Head:
    table = csv.reader(io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=readers.delimiter(text))
    columns = tuple(next(table, ()))
    rows = (dict(zip(columns, row, strict=False)) for row in table if row)
    return Head("csv", columns, tuple(itertools.islice(rows, ROWS)))


def _objects(text: str, kind: str) -> Iterator[Mapping[str, Any]]:
    """The objects of JSON text, the first of them first."""
    if kind == "jsonl":
        first = next((line for line in text.split("\n") if line.strip()), "{}")
        values = [json.loads(first)]
    else:
        values = readers.entries(json.loads(text))
    yield from (value for value in values if isinstance(value, dict))


def _looks_like_data(head: Head) -> str:
    """A cell of the first line that is hardly a name: empty, long, a number, a sentence, or said again below."""
    for name in head.columns:
        plain = name.strip()
        number = plain.replace(".", "", 1).replace(",", "").lstrip("+-").isdecimal()
        again = any(row.get(name, "").strip() == plain for row in head.rows)
        if not plain or len(plain) > NAME or number or plain[-1] in ".!?。！？" or again:
            return name[:NAME]
    return ""
