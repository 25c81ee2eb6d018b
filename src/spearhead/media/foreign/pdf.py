"""PDF: a label in the document information, read where it stands in the open. None is written.

An entry `/AIGC (...)` or `/AIGC <...>` is looked for in the bytes; one in a compressed or encrypted object is missed.
"""

import re

MIME = "application/pdf"
_WORDS = re.compile(rb"/AIGC\s{0,16}\(((?:\\.|[^\\)]){0,65536})\)", re.DOTALL)
_HEX = re.compile(rb"/AIGC\s{0,16}<([0-9A-Fa-f\s]{0,131072})>")
_ESCAPED = re.compile(rb"\\([()\\])")


def recognise(data: bytes) -> str | None:
    """The mime type by the first bytes."""
    return MIME if data[:5] == b"%PDF-" else None


def label(data: bytes) -> str | None:
    """The text of the label that was written last."""
    found = [*_WORDS.finditer(data), *_HEX.finditer(data)]
    if not found:
        return None
    last = max(found, key=lambda one: one.start())
    if last.re is _HEX:
        digits = bytes(last[1]).translate(None, b" \t\r\n\f")
        raw = bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode("ascii"))
    else:
        raw = _ESCAPED.sub(rb"\1", bytes(last[1]))
    return raw[2:].decode("utf-16-be", "replace") if raw[:2] == b"\xfe\xff" else raw.decode("utf-8", "replace")
