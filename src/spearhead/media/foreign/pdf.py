"""PDF: the label as the entry AIGC of the document information (ISO 32000-2, 14.3.3; TC260-PG-20258A, 6.3).

A label is appended as a revision of the file (7.5.6), so that every byte of what was there stays; the next one takes
its place. pypdf reads, within bounds; the revision is written here, so that equal files give equal bytes.
"""

import io
import logging
import re
import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spearhead.core import digest
from spearhead.core.errors import InputError

if TYPE_CHECKING:
    from pypdf import PdfReader
    from pypdf.generic import DictionaryObject

MIME = "application/pdf"
MOST_BYTES, _MOST_READS, _MOST_ENTRIES, _MOST_OBJECTS = 256 << 20, 1_000_000, 400_000, 8_388_607
_LIMITS = {
    "zlib_maximum_output_length": 4 << 20,
    "zlib_maximum_recovery_input_length": 1 << 20,
    "lzw_maximum_output_length": 1 << 20,
    "run_length_maximum_output_length": 1 << 20,
    "brotli_maximum_output_length": 1 << 20,
    "stream_filters_maximum_length": 2,
    "stream_decoding_work_maximum_length": 8 << 20,
    "maximum_declared_stream_length": 16 << 20,
    "array_maximum_element_count": 10_000,
    "dictionary_maximum_element_count": 1_000,
    "disable_legacy_handling": True,
}
"""What pypdf may spend on a table of objects, on a stream of objects and on the information."""
_NAME = "/AIGC"
_MARK = b"\n%AIGC\n"
"""A comment that a revision of ours begins with."""
_OURS = re.compile(rb"\d{1,7} \d{1,5} obj\n<< /AIGC \(((?:\\[()\\]|[^()\\]){0,65536})\)")
_WORDS = re.compile(rb"/AIGC\s{0,16}\(((?:\\.|[^\\)]){0,65536})\)", re.DOTALL)
_DIGITS = re.compile(rb"/AIGC\s{0,16}<([0-9A-Fa-f \t\r\n\f]{0,131072})>")
_LOOKED_AT = 16
_LAST = re.compile(rb"startxref\s{1,8}(\d{1,12})\s{0,8}%%EOF")
_TABLE, _STREAM = re.compile(rb"xref\s"), re.compile(rb"\d{1,7}\s{1,8}\d{1,5}\s{1,8}obj\b")
_SPECIAL, _ESCAPED = re.compile(rb"([()\\])"), re.compile(rb"\\([()\\])")
_OWN = ("/Size", "/Info", "/ID", "/Prev", "/XRefStm", "/Type", "/W", "/Index", "/Length", "/Filter", "/DecodeParms")
"""What a trailer says of itself; all else is handed on to the next."""


@dataclass(frozen=True, slots=True)
class _Document:
    """What of a file a revision hands on: the information without the label, its number, the trailer."""

    label: str | None
    info: tuple[bytes, ...]
    number: int
    generation: int
    size: int
    trailer: tuple[bytes, ...]
    identity: bytes
    """The first of its two identifiers in hexadecimal, which stays; empty when it has none."""
    encrypted: bool


class _Counted(io.BytesIO):
    """Bytes that are read so many times, and no more."""

    left = _MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any stream; raises InputError where it is too often."""
        self.left -= 1
        if self.left < 0:
            raise InputError("the PDF takes too long to read")
        return super().read(size)


def recognise(data: bytes) -> str | None:
    """The mime type by the first bytes."""
    return MIME if data[:5] == b"%PDF-" else None


def label(data: bytes) -> str | None:
    """The text of the label; of a file that is damaged or locked, the one that stands in the open last."""
    try:
        return _read(data).label
    except InputError:
        return _in_the_open(data)


def put(data: bytes, text: str) -> bytes:
    """The file with a revision behind it that has this label alone, in ASCII; one of ours that is there goes."""
    base = content(data)
    return base + _revision(base, text)


def content(data: bytes) -> bytes:
    """The file before our revision, if that is the last and holds what we write and nothing else; else all of it."""
    start = data.rfind(_MARK)
    ours = _OURS.match(data, start + len(_MARK)) if start > 0 else None
    if ours is not None:
        base = data[:start]
        try:
            if _revision(base, _ESCAPED.sub(rb"\1", ours[1]).decode("ascii")) == data[start:]:
                return base
        except (InputError, UnicodeError):
            pass
    return data


def _revision(data: bytes, text: str) -> bytes:
    """What is to follow this file, so that its information has this label; raises InputError where nothing may."""
    document, found = _read(data), [*_LAST.finditer(data, max(0, len(data) - 2048))]
    if document.encrypted:
        raise InputError("the PDF is encrypted: label it before it is encrypted")
    if b"/ByteRange" in data:
        raise InputError("the PDF is signed, and a label would be a change after it: label it before it is signed")
    if document.size > _MOST_OBJECTS:
        raise InputError(f"the PDF has more than {_MOST_OBJECTS:,} objects")
    place = int(found[-1][1]) if found else len(data)
    in_table = _TABLE.match(data, place)
    if not in_table and not _STREAM.match(data, place):
        raise InputError("the PDF does not say where its table of objects is: write it anew")
    out = bytearray(_MARK)
    place_of_info = len(data) + len(out)
    words = _SPECIAL.sub(rb"\\\1", text.encode("ascii"))
    entries = b" ".join((b"/AIGC (" + words + b")", *document.info))
    out += b"%d %d obj\n<< %b >>\nendobj\n" % (document.number, document.generation, entries)
    start, size = len(data) + len(out), max(document.size, document.number + 1)
    handed = [*document.trailer, b"/Info %d %d R" % (document.number, document.generation), b"/Prev %d" % place]
    if document.identity:
        second = digest.of_bytes(b"%b %d" % (document.identity, len(data)))[:32].encode()  # another of each revision
        handed.append(b"/ID [<%b> <%b>]" % (document.identity, second))
    if in_table:
        out += b"xref\n0 1\n0000000000 65535 f \n%d 1\n" % document.number
        out += b"%010d %05d n \ntrailer\n<< /Size %d " % (place_of_info, document.generation, size)
        out += b" ".join(handed) + b" >>\n"
    else:
        rows = struct.pack(">BQHBQH", 1, place_of_info, document.generation, 1, start, 0)
        out += b"%d 0 obj\n<< /Type /XRef /Size %d /W [1 8 2] /Index [%d 1 %d 1] /Length %d " % (
            (size, size + 1, document.number, size, len(rows))
        )
        out += b" ".join(handed) + b" >>\nstream\n" + rows + b"\nendstream\nendobj\n"
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def _in_the_open(data: bytes) -> str | None:
    """The entry that stands last in the bytes, of those few that are looked at."""
    at = len(data)
    for _ in range(_LOOKED_AT):
        at = data.rfind(_NAME.encode(), 0, at)
        if at < 0:
            return None
        if found := _WORDS.match(data, at):
            raw = _ESCAPED.sub(rb"\1", found[1])
        elif found := _DIGITS.match(data, at):
            digits = found[1].translate(None, b" \t\r\n\f")
            raw = bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode("ascii"))
        else:
            continue
        return raw[2:].decode("utf-16-be", "replace") if raw[:2] == b"\xfe\xff" else raw.decode("utf-8", "replace")
    return None


def _read(data: bytes) -> _Document:
    """The document within bounds; raises InputError."""
    if len(data) > MOST_BYTES:
        raise InputError(f"the PDF has {len(data):,} bytes: at most {MOST_BYTES:,} are read")
    from pypdf import PdfReader, apply_configuration

    logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)  # what it says of a file, we say in a sentence
    stream = _Counted(data)
    try:
        with apply_configuration(None, **_LIMITS):
            return _told(PdfReader(stream, strict=True, xref_stream_maximum_entries=_MOST_ENTRIES))
    except Exception as error:  # a file that is made to mislead it can make it raise anything
        if stream.left < 0:
            raise InputError("the PDF takes too long to read: write it anew") from error
        raise InputError("the PDF is damaged or locked: its objects or its information cannot be read") from error


def _told(reader: "PdfReader") -> _Document:
    """What the reader says; raises anything on a file that is not well formed."""
    from pypdf.generic import ArrayObject, ByteStringObject, DictionaryObject, IndirectObject, TextStringObject

    trailer, numbers = reader.trailer, [*reader.xref_objStm, *(one for some in reader.xref.values() for one in some)]
    size = max(1 + max(numbers), int(str(trailer["/Size"])))
    where = trailer.raw_get("/Info") if "/Info" in trailer else None
    info = trailer.get("/Info", None)
    info = info.get_object() if info is not None else None
    words = info.get(_NAME) if isinstance(info, DictionaryObject) else None
    words = words.get_object() if words is not None else None
    if isinstance(words, ByteStringObject):
        words = TextStringObject(words.decode("utf-8", "replace"))
    number, generation = (where.idnum, where.generation) if isinstance(where, IndirectObject) else (size, 0)
    identity = trailer.get("/ID")
    identity = identity.get_object() if identity is not None else None
    first = identity[0].get_object() if isinstance(identity, ArrayObject) and identity else None
    return _Document(
        str(words) if isinstance(words, TextStringObject) else None,
        _entries(info, without=(_NAME,)) if isinstance(info, DictionaryObject) else (),
        number,
        generation,
        size,
        _entries(trailer, without=_OWN),
        first.original_bytes.hex().encode() if isinstance(first, TextStringObject | ByteStringObject) else b"",
        reader.is_encrypted,
    )


def _entries(of: "DictionaryObject", *, without: Collection[str]) -> tuple[bytes, ...]:
    """Name and value of each entry as they stand in a file, but of these."""
    out = []
    for name, value in of.items():
        if name not in without:
            entry = io.BytesIO()
            name.write_to_stream(entry)
            entry.write(b" ")
            value.write_to_stream(entry)
            out.append(entry.getvalue())
    return tuple(out)
