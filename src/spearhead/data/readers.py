"""From the bytes of one file to items. Knows file formats; does not know where the file came from or what it may do."""

import ast
import csv
import dataclasses
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from spearhead.core.errors import InputError
from spearhead.data import picture_files, poems
from spearhead.data.config import Source
from spearhead.data.items import Item, Unread, Unreadable

MOST_BYTES = 2 << 30
"""The longest file that is read."""
PARTS = ("input", "output", "text", "rejected")
"""`rejected`: an answer that people liked less than `output`, for learning by preference."""
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

    Without `columns`, columns named input, output and text fill the parts of these names. A pseudo-part `key` in
    `columns` names the column that joins two sources; without it the row's number does.
    """
    chosen: dict[str, str] | None = None
    for number, row in enumerate(table):
        if isinstance(row, str):
            yield Unread(str(number), row)
            continue
        if chosen is None:
            chosen = _columns(row, source)
        key = _cell(row.get(chosen["key"])) if "key" in chosen else str(number)
        if not key:
            yield Unread(str(number), f"column {chosen['key']!r} is empty: there is no key")
            continue
        texts = {part: _cell(row.get(column)) for part, column in chosen.items() if part != "key"}
        if missing := [chosen[part] for part, text in texts.items() if text is None]:
            yield Unread(key, f"column {missing[0]!r} holds no text")
            continue
        licence = str(row.get(source.licence_column) or "").strip() if source.licence_column else ""
        if source.licence_column and not licence:
            yield Unread(key, f"column {source.licence_column!r} names no licence")
            continue
        credit = str(row.get(source.credit_column) or "").strip() if source.credit_column else ""
        yield Item(key, {part: text for part, text in texts.items() if text is not None}, licence, credit=credit)


def _named(item: Item | Unread, name: str) -> Item | Unread:
    key = f"{name}:{item.key}" if item.key else name
    return dataclasses.replace(item, key=key)


def _columns(row: Mapping[str, Any], source: Source) -> dict[str, str]:
    """Part to column for a table whose first row is `row`."""
    have = ", ".join(map(str, list(row)[:20]))
    if source.columns:
        if unknown := [part for part in source.columns if part not in (*PARTS, "key")]:
            raise InputError(f"data.sources.columns fills {unknown[0]!r}: wanted {', '.join(PARTS)} or key")
        chosen = dict(source.columns)
    elif source.part:
        chosen = {source.part: source.part if source.part in row else "text"}
    else:
        chosen = {part: part for part in PARTS if part in row}
    if not set(chosen) - {"key"}:
        raise InputError(f"no column is named input, output or text (there are {have}): set data.sources.columns")
    for column in (*chosen.values(), *filter(None, (source.licence_column, source.credit_column))):
        if column not in row:
            raise InputError(f"there is no column {column!r}: the table has {have}")
    return chosen


def _cell(value: Any) -> str | None:
    """A cell as text: lists of texts are lines, numbers are digits; None when it holds neither."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple) and value and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return None


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


def delimiter(text: str) -> str:
    """What separates the cells of a table: the commonest of comma, tab and semicolon in its first line."""
    return max(",\t;", key=text.lstrip("\r\n").split("\n", 1)[0].count)


def _csv(data: bytes, source: Source) -> Iterator[Item | Unread]:
    text = _decoded(data, source).lstrip("\r\n")  # a blank line above the names of the columns is none of them
    csv.field_size_limit(MOST_BYTES)  # its own limit would stop the whole table at one long cell
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter(text))
    try:
        yield from rows(iter(table), source)
    except csv.Error as error:
        raise Unreadable(f"is not a table in CSV at line {table.line_num}: {error}") from error


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
        wanted = [name for name in (*source.columns.values(), source.licence_column, source.credit_column)]
        wanted = [name for name in wanted if name in names]
        columns = wanted if source.columns else names

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
