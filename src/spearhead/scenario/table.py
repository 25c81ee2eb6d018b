"""The head of a person's table, to find the columns to learn from. Guesses nothing that it cannot show.

The whole table is read by `data/readers.py` when the road is walked; what this takes for a table, that does too.
"""

import codecs
import contextlib
import csv
import io
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spearhead.core.errors import InputError
from spearhead.core.record import before, role_of
from spearhead.data import conversations, language, picture_files, readers, shapes
from spearhead.data.config import Source
from spearhead.data.items import Item, Unread, Unreadable
from spearhead.data.sources import hub

KINDS = {suffix: kind for suffix, kind in readers.SUFFIXES.items() if kind in ("csv", "jsonl", "json", "parquet")}
LOOKED = 1 << 20
"""Bytes of a text that are looked at."""
ROWS = readers.LOOKED
KINDS_LOOKED = 8
"""Shapes of rows among which the commonest is looked for."""
NAME = 60
"""Characters that a column's name has at most, where one has to tell it from data."""


@dataclass(frozen=True, slots=True)
class Head:
    """A table's reader, its columns in their order, and its first rows."""

    reader: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    encoding: str = "utf-8"
    split: str = ""
    """Of a saved data set, whose reader is `hub`: the split that is learnt from; empty where it has none."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a table is read, and what of it is learnt from."""

    reader: str
    """One of `data.readers`, or `hub` for a folder that `datasets` saved."""
    encoding: str
    columns: Mapping[str, str]
    """As `data.sources.columns` says it: what is filled, and by which column."""
    aside: tuple[str, ...]
    """The columns that nothing is learnt from."""
    system: str = ""
    """The system message that all of its first conversations begin with."""
    conversing: bool = False
    """Whether its first rows hold messages, or anything that is said before what they give."""
    refused: tuple[int, int, str] = (0, 0, "")
    """Of how many first rows how many cannot be read, and why the first of them cannot."""
    split: str = ""
    languages: tuple[str, ...] = ()
    """ISO 639 codes of what its first answers are written in; none where they do not tell."""

    @property
    def told(self) -> str:
        """What was taken for what, for a person."""
        named = {part: repr(column) for part, column in self.columns.items()}
        beside = "".join(f", under the {part} of {named[part]}" for part in ("system", "history") if part in named)
        if "messages" in named:
            return (
                f"column {named['messages']} holds conversations{beside}: each answer of the assistant's is learnt, "
                "given what was said before it"
            )
        if "text" in named:
            return f"column {named['text']} holds texts, each of which is learnt whole"
        wanted = f"{named['output']} what is wanted"
        if "rejected" in named:
            wanted = f"{named['output']} the answer that is preferred to {named['rejected']}"
        under = f", with {named['input']} under it," if "instruction" in named and "input" in named else ""
        given = named.get("instruction", named.get("input"))
        if given is None:
            return f"what {named['output']} and {named['rejected']} begin with alike is what is given{beside}, {wanted}"
        return f"column {given}{under} is what is given{beside}, {wanted}"

    @property
    def left_out(self) -> str:
        """What of its first rows will be refused, for a person; empty where nothing is."""
        count, looked, why = self.refused
        return f"of its first {looked:,} rows {count:,} cannot be read and are left out: {why}" if count else ""


def shape(table: Path, *, named: str = "") -> Shape:
    """How to read a table, and its columns to learn from.

    `named` are some by name: what is given and what is wanted, as in `question,answer`, with a third that is liked
    less, or one of conversations or texts. Without it they are told by their usual names (see `data.shapes.known`), or
    are the only two that there are; which of three or more others is meant is not guessed. Raises InputError.
    """
    head = _head(table)
    have = ", ".join(head.columns) or "none"
    if head.columns and not head.rows:
        raise InputError(
            f"{table}: has names of columns ({have}) and no row below them: there is nothing to learn from"
        )
    if twice := next((name for name in head.columns if head.columns.count(name) > 1), None):
        raise InputError(f"{table}: two columns are named {twice!r}: give each a name of its own")
    if named:
        return _of(table, head, _named(table, head, named))
    if found := _known(head):
        _paired(table, head, found)
        return _of(table, head, found)
    if not head.columns and head.reader in ("json", "jsonl"):
        raise InputError(f"{table}: holds no rows: wanted objects in JSON, each with its columns by name")
    if head.rows and (talk := next((name for name in shapes.TALKS if name in head.columns), "")):
        raise InputError(
            f"{table}: its column {talk!r} holds no messages: wanted a list of objects with role and content, or from "
            "and value; --columns names others to learn from"
        )
    if worse := next((two[1] for two in shapes.CHOICES if two[1] in head.columns), ""):
        raise InputError(f"{table}: column {worse!r} holds the answers that are liked less, and no column the better")
    if len(head.columns) < 2:
        raise InputError(f"{table}: wanted two columns, input and output, or one of texts; found {have}")
    if len(head.columns) > 2:
        raise InputError(
            f"{table}: which columns? Give --columns with what is given and what is wanted, or with one of texts or "
            f"conversations, of: {have}"
        )
    if head.reader == "csv" and (cell := _looks_like_data(head)):
        raise InputError(
            f"{table}: its first line looks like data ({cell!r}), not like names of columns: put input,output above it"
        )
    return _of(table, head, {"input": head.columns[0], "output": head.columns[1]})


def _named(table: Path, head: Head, named: str) -> dict[str, str]:
    """The columns that a person names; raises InputError."""
    wanted = tuple(name.strip() for name in named.split(","))
    if missing := next((name for name in wanted if name not in head.columns), None):
        raise InputError(f"--columns: {table} has no column {missing!r}; there are: {', '.join(head.columns)}")
    if len(wanted) == len(set(wanted)) == 1:
        found = shapes.known(("messages",), [{"messages": row.get(wanted[0])} for row in head.rows])
        return {"messages" if found else "text": wanted[0]}
    if len(set(wanted)) != len(wanted) or len(wanted) > 3:
        raise InputError(
            f"--columns {named!r}: wanted two names, as in question,answer, a third of answers that are liked less, or "
            "one of conversations or texts"
        )
    if wanted in shapes.CHOICES:
        return {"output": wanted[0], "rejected": wanted[1]}
    return dict(zip(("input", "output", "rejected"), wanted, strict=False))


def _known(head: Head) -> dict[str, str]:
    """The columns by their usual names; of rows of several shapes those of the shape that most of them have."""
    kinds = list(dict.fromkeys(tuple(row) for row in head.rows))[:KINDS_LOOKED]
    found = [shapes.known(names, head.rows) for names in (head.columns, *kinds)]
    return max(found, key=lambda one: len(_tried(head, one)[0]) if one else -1)


def _tried(head: Head, columns: Mapping[str, str]) -> tuple[list[Item], list[str]]:
    """What the first rows hold, read in this way, and why some of them cannot be."""
    source = Source("files", licence="", credit="", columns=dict(columns), encoding=head.encoding)
    tried = list(readers.rows(iter(head.rows), source))
    return [one for one in tried if isinstance(one, Item)], [one.reason for one in tried if isinstance(one, Unread)]


def _paired(table: Path, head: Head, columns: Mapping[str, str]) -> None:
    """Raises InputError where a column beside answers says which of them are good: half of them would be learnt."""
    if "rejected" in columns or "output" not in columns:
        return
    marks = [mark for row in head.rows if (mark := row.get("label")) is not None]
    if marks and all(str(mark).strip().lower() in ("true", "false") for mark in marks):  # CSV has them as words
        raise InputError(
            f"{table}: its column 'label' says which answers are good and which are not, and such are learnt in pairs "
            "alone: make a table of prompt, chosen and rejected, or leave the bad ones and the column out"
        )


def _of(table: Path, head: Head, columns: Mapping[str, str]) -> Shape:
    """The shape of a table with these columns, of which the first rows are tried; raises InputError where none does."""
    items, unread = _tried(head, columns)
    if unread and not items:
        of = f"none of its first {len(unread):,} rows" if len(unread) > 1 else "not even its first row"
        raise InputError(f"{table}: {of} can be read: {unread[0]}")
    first = {item.texts.get(before(0, "system"), "") for item in items}
    said = any(role_of(part) for item in items for part in item.texts) or any(
        conversations.listed(row.get(name)) for row in head.rows for name in columns.values()
    )
    aside = tuple(name for name in head.columns if name not in columns.values() and name.strip())
    if column := next((name for name in columns.values() if _names_pictures(head, name)), ""):
        raise InputError(
            f"{table}: column {column!r} names picture files, and no model here learns from captions: give --data "
            "the folder of the pictures, in folders of their classes if they have any"
        )
    system = first.pop() if len(first) == 1 else ""
    refused = (len(unread), len(head.rows), unread[0] if unread else "")
    languages = language.spoken(item.texts.get("output", item.texts.get("text", "")) for item in items)
    return Shape(head.reader, head.encoding, columns, aside, system, said, refused, head.split, languages)


def _names_pictures(head: Head, name: str) -> bool:
    """Whether every cell of a column that was looked at ends as the name of a picture does."""
    cells = [str(row.get(name) or "").strip().lower() for row in head.rows]
    return bool(cells) and all(cell.endswith(picture_files.SUFFIXES) for cell in cells)


def _head(table: Path) -> Head:
    if table.is_dir():
        if not hub.saved(table):
            raise InputError(f"{table}: a folder: name a file in it, or a folder that `datasets` has saved to disk")
        split, names, first = hub.first(table, most=ROWS)
        return Head("hub", names, tuple(first), split=split)
    kind = KINDS.get(table.suffix.lower())
    if not table.is_file():
        raise InputError(f"{table}: there is no such file")
    if kind is None:
        raise InputError(f"{table}: wanted a file that ends in {', '.join(KINDS)}, or a folder that `datasets` saved")
    if kind == "parquet":
        import pyarrow.parquet

        try:
            file = pyarrow.parquet.ParquetFile(table)
            columns = file.schema_arrow
            looked = [one.name for one in columns if "binary" not in str(one.type)]  # pictures can be long
            batch = next(file.iter_batches(ROWS, columns=looked), None)
            return Head(kind, tuple(columns.names), tuple(batch.to_pylist()) if batch is not None else ())
        except Exception as error:  # pyarrow has no common error class for broken files
            raise InputError(f"{table}: not a parquet file: {error}") from error
    text, encoding = decoded(table, LOOKED if kind in ("csv", "jsonl") else readers.MOST_BYTES)
    if kind == "csv":
        try:
            return _csv(text, encoding, whole=table.stat().st_size <= LOOKED)
        except csv.Error as error:
            raise InputError(f"{table}: not a table in CSV: {error}") from error
    try:
        rows = tuple(itertools.islice(_objects(text, kind), ROWS))
    except Unreadable as error:
        raise InputError(f"{table}: {error}") from error
    except (ValueError, RecursionError) as error:
        where = "its first line is not JSON" if kind == "jsonl" else "not JSON"
        raise InputError(f"{table}: {where}: {error}") from error
    return Head(kind, tuple(dict.fromkeys(str(name) for row in rows for name in row)), rows, encoding)


def decoded(table: Path, most: int) -> tuple[str, str]:
    """The first bytes of a file as text, and the encoding that they are in; raises InputError."""
    with table.open("rb") as stream:
        data = stream.read(most)
    cut = len(data) == most  # then perhaps in the middle of a character

    def read(encoding: str) -> str:
        return codecs.getincrementaldecoder(encoding)().decode(data, final=not cut)

    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return read("utf-16"), "utf-16"
    try:
        return read("utf-8-sig"), "utf-8"
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise InputError(f"{table}: looks binary, not like text: it holds NUL bytes") from error
        try:
            text = read("gb18030")
        except UnicodeDecodeError:
            text = ""
        if _chinese(text):
            return text, "gb18030"
        raise InputError(f"{table}: not UTF-8 text at byte {error.start}: save it as UTF-8") from error


def _chinese(text: str) -> bool:
    """Whether most of what is not ASCII are the everyday characters of GB 2312.

    Accents of Latin-1 that happen to be valid GB 18030 come out as rare ones.
    """
    foreign = [char for char in text if char > "\x7f"]
    usual = sum(bool(char.encode("gb2312", "ignore")) for char in foreign)
    return bool(foreign) and usual >= 0.9 * len(foreign)


def _csv(text: str, encoding: str, *, whole: bool) -> Head:
    csv.field_size_limit(readers.MOST_BYTES)
    text, between = readers.ruled(text)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=whole)
    columns = tuple(next(table, ()))
    rows = ({**dict.fromkeys(columns), **dict(zip(columns, row, strict=False))} for row in table if row)
    return Head("csv", columns, tuple(itertools.islice(rows, ROWS)), encoding)


def _objects(text: str, kind: str) -> Iterator[Mapping[str, Any]]:
    """The objects of JSON text, the first of them first."""
    if kind == "jsonl":
        first, *others = [line for line in text.split("\n") if line.strip()] or ["{}"]
        values = [json.loads(first)]
        with contextlib.suppress(ValueError, RecursionError):  # the last of them can be cut off
            values += map(json.loads, others[: ROWS - 1])
    else:
        values = readers.entries(json.loads(text))
    yield from (value for value in values if isinstance(value, dict))


def _looks_like_data(head: Head) -> str:
    """A cell of the first line that is hardly a name: empty, long, a number, a sentence, or said again below."""
    for name in head.columns:
        plain = name.strip()
        number = plain.replace(".", "", 1).replace(",", "").lstrip("+-").isdecimal()
        again = any((row.get(name) or "").strip() == plain for row in head.rows)
        if not plain or len(plain) > NAME or number or plain[-1] in ".!?。！？" or again:
            return name[:NAME]
    return ""
