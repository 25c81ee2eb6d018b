"""From the bytes of one file to items. Knows file formats; does not know where the file came from or what it may do."""

import ast
import csv
import dataclasses
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from spearhead.core.errors import InputError
from spearhead.data import conversations, picture_files, poems, shapes
from spearhead.data.config import Source
from spearhead.data.items import Item, Unread, Unreadable

MOST_BYTES = 2 << 30
"""The longest file that is read."""
PARTS = shapes.PARTS
FILLED = (*PARTS, *shapes.SHAPES, "key")
"""What `data.sources.columns` may name a column for."""
LOOKED = 200
"""Rows by which the shape of a table is told."""
SPLITS = ("train", "validation", "valid", "dev", "test", "eval")
"""Lists of a JSON file that are parts of a data set, and no columns of a row."""
SUFFIXES = {
    ".txt": "text",
    ".md": "text",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".yml": "chatterbot",
    ".yaml": "chatterbot",
    ".idx": "idx",
    **dict.fromkeys(picture_files.SUFFIXES, "picture"),
}


def read(name: str, data: bytes, source: Source, *, alone: bool) -> Iterator[Item | Unread]:
    """The items of the file `name`; `alone` says that the source has no other, so keys need not name the file.

    What cannot be read is an Unread, so that one bad file does not stop a folder of good ones. Raises InputError
    when the scenario itself asks for the impossible (an unknown reader, a column that no table has).
    """
    kind = source.reader
    if kind == "auto":
        suffix = ".idx" if picture_files.is_idx(name) else PurePosixPath(name).suffix.lower()
        if suffix not in SUFFIXES:
            yield Unread(
                name, f"no reader for {suffix or 'a name without a suffix'}; name one: {', '.join((*READERS, *NAMED))}"
            )
            return
        kind = SUFFIXES[suffix]
    if kind not in READERS and kind not in NAMED:
        raise InputError(f"data.sources.reader is {kind!r}: wanted one of {', '.join((*READERS, *NAMED))}")
    if len(data) > MOST_BYTES:
        yield Unread(name, f"has {len(data)} bytes, at most {MOST_BYTES} are read: split it")
        return
    if not data[:1024].strip() and not data.strip():
        yield Unread(name, "is empty")
        return
    try:
        if kind in NAMED:
            yield from NAMED[kind](name, data, source)
            return
        for item in READERS[kind](data, source):
            yield item if alone else _named(item, name)
    except Unreadable as error:
        yield Unread(name, str(error))


def rows(table: Iterator[Mapping[str, Any] | str], source: Source) -> Iterator[Item | Unread]:
    """Rows of any table as items: the scenario's `columns` say which column fills which part.

    In place of a row that cannot be read stands the reason, and it counts: else every later row of two sources that
    are joined by number would meet another one's.

    Without `columns`, columns named input, output and text fill the parts of these names, or else the shape is told by
    the usual names (see `shapes.known`). A pseudo-part `key` in `columns` names the column that joins two sources;
    without it the row's number does. A row can be several items, the key followed by a number.
    """
    first: list[Mapping[str, Any] | str] = []
    broken: Exception | None = None
    try:
        first.extend(itertools.islice(table, LOOKED))
    except Exception as error:  # the rows above it are good: it is told when its turn comes
        broken = error
    chosen = _columns([row for row in first if not isinstance(row, str)], source)
    for number, row in enumerate(_rest(first, broken, table)):
        if isinstance(row, str):
            yield Unread(str(number), row)
            continue
        key = shapes.cell(row.get(chosen["key"])) if "key" in chosen else str(number)
        if not key:
            yield Unread(str(number), f"column {chosen['key']!r} is empty: there is no key")
            continue
        try:
            columns = {part: name for part, name in chosen.items() if part != "key"}
            found = shapes.records(row, columns, side=bool(source.part))
        except Unreadable as error:
            yield Unread(key, str(error))
            continue
        licence = str(row.get(source.licence_column) or "").strip() if source.licence_column else ""
        if source.licence_column and not licence:
            yield Unread(key, f"column {source.licence_column!r} names no licence")
            continue
        credit = str(row.get(source.credit_column) or "").strip() if source.credit_column else ""
        for turn, texts in enumerate(found, 1):
            yield Item(
                f"{key}.{turn}" if "messages" in chosen or len(found) > 1 else key, texts, licence, credit=credit
            )


def _rest(
    first: Sequence[Mapping[str, Any] | str], broken: Exception | None, table: Iterator[Mapping[str, Any] | str]
) -> Iterator[Mapping[str, Any] | str]:
    """The rows that were looked at before, then what broke off there, or the others."""
    yield from first
    if broken is not None:
        raise broken
    yield from table


def needed(source: Source) -> set[str]:
    """The columns that `rows` looks at, where the source names its `columns`."""
    beside = filter(None, (source.licence_column, source.credit_column))
    return {*source.columns.values(), *beside, *conversations.TOOLS}


def _named(item: Item | Unread, name: str) -> Item | Unread:
    key = f"{name}:{item.key}" if item.key else name
    return dataclasses.replace(item, key=key)


def _columns(first: Sequence[Mapping[str, Any]], source: Source) -> dict[str, str]:
    """Part to column for a table with these `first` rows; nothing where there are none."""
    if not first:
        return {}
    names = list(dict.fromkeys(name for row in first for name in row))
    have = ", ".join(map(str, names[:20]))
    if source.columns:
        if unknown := [part for part in source.columns if part not in FILLED]:
            raise InputError(f"data.sources.columns fills {unknown[0]!r}: wanted one of {', '.join(FILLED)}")
        if odd := shapes.misshapen(source.columns):
            raise InputError(f"data.sources.columns: {odd}")
        chosen = dict(source.columns)
    elif source.part:
        chosen = {source.part: source.part if source.part in names else "text"}
    elif (found := shapes.known(names, first)) and "rejected" in found:
        chosen = found
    else:
        chosen = {part: part for part in PARTS if part in names}
        if "output" in chosen and "instruction" in names:
            raise InputError("a column instruction stands beside output: set data.sources.columns to say what it is")
        chosen = chosen or found
    if not set(chosen) - {"key"}:
        raise InputError(
            f"no column is named input, output, text or messages (there are {have}): set data.sources.columns"
        )
    for column in (*chosen.values(), *filter(None, (source.licence_column, source.credit_column))):
        if column not in names:
            raise InputError(f"there is no column {column!r}: the table has {have}")
    return chosen


def _decoded(data: bytes, source: Source) -> str:
    encoding = "utf-8-sig" if source.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else source.encoding
    if b"\0" in data[:65536] and "16" not in encoding and "32" not in encoding:
        raise Unreadable("looks binary: it holds NUL bytes")
    try:
        return data.decode(encoding)
    except LookupError as error:
        raise InputError(f"data.sources.encoding {source.encoding!r} is unknown: try utf-8 or gb18030") from error
    except UnicodeDecodeError as error:
        raise Unreadable(
            f"is not {source.encoding}: byte 0x{data[error.start]:02x} at offset {error.start}; "
            "set data.sources.encoding, or convert the file"
        ) from error


def _text(data: bytes, source: Source) -> Iterator[Item | Unread]:
    yield Item("", {source.part or "text": _decoded(data, source)})


def _lines(data: bytes, source: Source) -> Iterator[Item | Unread]:
    # Split at newlines alone: the line and paragraph separators of Unicode would shift a parallel file.
    for number, line in enumerate(_decoded(data, source).split("\n")):
        if line.strip():
            yield Item(str(number), {source.part or "text": line.removesuffix("\r")})


def _paragraphs(data: bytes, source: Source) -> Iterator[Item | Unread]:
    blocks = _decoded(data, source).replace("\r\n", "\n").split("\n\n")
    for number, block in enumerate(blocks):
        if block.strip():
            yield Item(str(number), {source.part or "text": block.strip("\n")})


def ruled(text: str) -> tuple[str, str]:
    """A table in CSV from the names of its columns on, and what separates its cells.

    Blank lines above the names are none of the table, nor is the `sep=;` that spreadsheets write; without that, it is
    the commonest of comma, tab and semicolon outside quotes in the line of the names.
    """
    text = text.lstrip("\r\n")
    if told := re.match("sep=([^\r\n])\r?\n", text, re.IGNORECASE):
        return text[told.end() :].lstrip("\r\n"), told[1]
    names = re.sub('"[^"]*"', "", text.split("\n", 1)[0])
    return text, max(",\t;", key=names.count)


def _csv(data: bytes, source: Source) -> Iterator[Item | Unread]:
    text, between = ruled(_decoded(data, source))
    csv.field_size_limit(MOST_BYTES)  # its own limit would stop the whole table at one long cell
    # Strict: a quote that nothing closes would else make one cell of two rows, and nobody would know.
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=between, strict=True)

    def whole() -> Iterator[Mapping[str, Any] | str]:
        for row in table:
            spare = row.pop(None, None)
            if spare and any(cell.strip() for cell in spare):
                count = len(row) + len(spare)
                yield f"line {table.line_num} has {count} cells for {len(row)} columns: quote cells with {between!r}"
            else:
                yield row

    try:
        names = list(table.fieldnames or ())
        for column in (*source.columns.values(), *(() if source.columns else PARTS)):
            if names.count(column) > 1:
                raise Unreadable(f"has two columns named {column!r}: give each a name of its own")
        yield from rows(whole(), source)
    except csv.Error as error:
        raise Unreadable(
            f"is not a table in CSV at line {table.line_num}: {error}; nothing is read from there on"
        ) from error


def _jsonl(data: bytes, source: Source) -> Iterator[Item | Unread]:
    def table() -> Iterator[Mapping[str, Any] | str]:
        for number, line in enumerate(_decoded(data, source).split("\n"), 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield f"line {number} is not JSON: {error}"
                continue
            yield value if isinstance(value, dict) else f"line {number} is not a JSON object"

    yield from rows(table(), source)


def entries(value: Any) -> list[Any]:
    """The rows of a JSON value: a list, or the one list inside `{"data": [...]}` and its like; raises Unreadable."""
    if isinstance(value, dict):
        if len(parts := [name for name in SPLITS if isinstance(value.get(name), list)]) > 1:
            raise Unreadable(f"holds several lists ({', '.join(parts)}): make a file of each, and give one of them")
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        value = lists[0] if len(lists) == 1 else [value]
    if not isinstance(value, list):
        raise Unreadable("is not a JSON list of objects")
    return value


def _json(data: bytes, source: Source) -> Iterator[Item | Unread]:
    try:
        value = json.loads(_decoded(data, source))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"is not JSON: {error}") from error
    value = entries(value)
    if not any(isinstance(row, dict) for row in value):
        raise Unreadable("is not a JSON list of objects")
    table = (
        row if isinstance(row, dict) else f"entry {number} is no JSON object" for number, row in enumerate(value, 1)
    )
    yield from rows(table, source)


def _parquet(data: bytes, source: Source) -> Iterator[Item | Unread]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
        names = file.schema_arrow.names
        columns = [name for name in names if name in needed(source)] if source.columns else names

        def table() -> Iterator[Mapping[str, Any]]:
            for batch in file.iter_batches(batch_size=4096, columns=columns):
                yield from batch.to_pylist()

        yield from rows(table(), source)
    except (pyarrow.ArrowException, OSError) as error:
        raise Unreadable(f"is not a whole parquet file: {error}") from error


def _pythonbible(data: bytes, source: Source) -> Iterator[Item | Unread]:
    """A translation of the `pythonbible` packages: Python source that is parsed, never run.

    Its call holds the whole scripture as one string, then where each verse starts and where it ends, by verse id.
    """
    try:
        tree = ast.parse(_decoded(data, source))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"is not Python source: {error}") from error
    calls = [node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)]
    if not calls:
        raise Unreadable("holds no translation: wanted `bible = Bible(...)`")
    values = [_constant(node) for node in calls[0].args]
    texts = [value for value in values if isinstance(value, str)]
    tables = [value for value in values if isinstance(value, dict)]
    if not texts or len(tables) < 2:
        raise Unreadable("holds no translation: wanted a text and the starts and ends of its verses")
    scripture, (starts, ends) = texts[0], tables[:2]
    for verse, start in starts.items():
        end = ends.get(verse)
        if end is None or not 0 <= start <= end <= len(scripture):
            yield Unread(str(verse), "has no valid start and end in the scripture")
        else:
            yield Item(str(verse), {source.part or "text": scripture[start:end]})


def _constant(node: ast.expr) -> Any:
    """A string, or a table of whole numbers; None for anything else (names, enumerations)."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Dict):
        pairs = list(zip(node.keys, node.values, strict=True))
        if all(isinstance(k, ast.Constant) and isinstance(v, ast.Constant) for k, v in pairs):
            table = {k.value: v.value for k, v in pairs if isinstance(k, ast.Constant) and isinstance(v, ast.Constant)}
            if all(type(key) is int and type(value) is int for key, value in table.items()):
                return table
    return None


def _chatterbot(data: bytes, source: Source) -> Iterator[Item | Unread]:
    """Dialogues in YAML under `conversations`: each turn is the input of the next."""
    import yaml

    try:
        # BaseLoader makes texts, lists and maps and nothing else: no objects, and `yes` stays a word.
        value = yaml.load(_decoded(data, source), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise Unreadable(f"is not YAML: {str(error).splitlines()[0]}") from error
    talks = value.get("conversations") if isinstance(value, dict) else None
    if not isinstance(talks, list):
        raise Unreadable("holds no list `conversations`")
    for number, talk in enumerate(talks):
        turns = talk if isinstance(talk, list) else []
        if len(turns) < 2 or not all(isinstance(turn, str) for turn in turns):
            yield Unread(str(number), "is not a dialogue of two turns or more")
            continue
        for step, (asked, answered) in enumerate(zip(turns, turns[1:], strict=False)):
            yield Item(f"{number}.{step}", {"input": asked, "output": answered})


def _quatrains(data: bytes, source: Source) -> Iterator[Item | Unread]:
    yield from poems.quatrains(_decoded(data, source), source)


def _wordnet(data: bytes, source: Source) -> Iterator[Item | Unread]:
    """A `data.*` file of WordNet: one row a synset, with columns synset, word, words, question, gloss and examples.

    A line is `offset file type count word id ... pointers | gloss` (wndb(5WN)); the count is hexadecimal, words have
    underscores for spaces. The gloss is the definition without its quoted examples.
    """

    def table() -> Iterator[Mapping[str, Any] | str]:
        for number, line in enumerate(_decoded(data, source).split("\n"), 1):
            if not line.strip() or line.startswith("  "):  # the licence at the head is indented
                continue
            head, _, gloss = line.partition(" | ")
            fields = head.split(" ")
            if len(fields) < 6 or not re.fullmatch("[0-9a-f]{2}", fields[3]) or not gloss.strip():
                yield f"line {number} is not a synset of WordNet"
                continue
            words = [
                re.sub(r"\((a|p|ip)\)$", "", word).replace("_", " ") for word in fields[4::2][: int(fields[3], 16)]
            ]
            definition, *examples = re.split(r';\s*(?=")', gloss.strip())
            yield {
                "synset": fields[0] + fields[2],
                "word": words[0],
                "words": ", ".join(words),
                "question": f"What does {words[0]} mean?",
                "gloss": definition.rstrip("; "),
                "examples": "; ".join(examples),
            }

    columns = {"key": "synset", **(source.columns or {"input": "question", "output": "gloss"})}
    yield from rows(table(), dataclasses.replace(source, columns=columns))


READERS: Mapping[str, Callable[[bytes, Source], Iterator[Item | Unread]]] = {
    "text": _text,
    "lines": _lines,
    "paragraphs": _paragraphs,
    "csv": _csv,
    "jsonl": _jsonl,
    "json": _json,
    "parquet": _parquet,
    "pythonbible": _pythonbible,
    "chatterbot": _chatterbot,
    "wordnet": _wordnet,
    "quatrains": _quatrains,
}
NAMED: Mapping[str, Callable[[str, bytes, Source], Iterator[Item | Unread]]] = {
    "idx": picture_files.idx,
    "picture": picture_files.picture,
}
"""Readers to which the file's name says something; the keys that they give are whole."""
