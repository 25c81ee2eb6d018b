"""The AIGC map in the YAML front matter at the head of a text: put in, taken out, read. Knows only text."""

import re
from collections.abc import Mapping

from spearhead.media import gb45438

_MOST = 16_384  # characters at the head in which a label is looked for
_FENCE = re.compile(r"---[ \t]*\r?\n")
_CLOSE = re.compile(r"^---[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
_MAPPING_LINE = re.compile(r"[^\s:#][^:\n]*:(?:[ \t].*)?|[ \t]+.*|- .*|#.*|[ \t]*")
_AIGC = re.compile(r"^AIGC:[ \t]*([^\r\n]*)\r?\n((?:[ \t]+[^\r\n]*(?:\r?\n|\Z))*)", re.MULTILINE)
_MEMBER = re.compile(r"[ \t]+[\"']?([A-Za-z0-9]+)[\"']?:[ \t]*(.*?)[ \t]*$")


def _block(text: str) -> tuple[int, int, int] | None:
    """Where the front matter's lines begin and end and where the text after it begins; None without front matter."""
    opening = _FENCE.match(text)
    closing = _CLOSE.search(text, opening.end(), _MOST) if opening else None
    if not opening or not closing:
        return None
    lines = text[opening.end() : closing.start()].splitlines()
    if not any(line.strip() for line in lines) or not all(map(_MAPPING_LINE.fullmatch, lines)):
        return None
    return opening.end(), closing.start(), closing.end()


def read(text: str) -> dict[str, str] | None:
    """The label at the head of `text`, or None."""
    block = _block(text)
    found = _AIGC.search(text, block[0], block[1]) if block else None
    if not found:
        return None
    inline, nested = found.groups()
    if inline.strip().startswith("{"):
        return gb45438.from_json(inline)
    raw: dict[str, str] = {}
    for line in nested.splitlines():
        if member := _MEMBER.fullmatch(line):
            name, value = member.groups()
            raw.setdefault(name, _scalar(value))
    return gb45438.tidy(raw)


def _scalar(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def without(text: str) -> str:
    """`text` without its label; everything else stays to the byte."""
    while (block := _block(text)) and (found := _AIGC.search(text, block[0], block[1])):
        start, end, after = block
        rest = text[start : found.start()] + text[found.end() : end]
        # A front matter that was ours alone goes with the empty line that follows it.
        ours = re.sub(r"\A\r?\n", "", text[after:])
        text = text[:start] + rest + text[end:] if rest.strip() else ours
    return text


def put(text: str, label: Mapping[str, str]) -> str:
    """`text` with exactly this label at its head; a front matter that is there keeps its own keys.

    One whose first line is indented has none, and gets ours before it: inside, that line would be read as the label's.
    """
    body = without(text)
    lines = "".join(f'  {name}: "{value}"\n' for name, value in label.items())
    if (block := _block(body)) and not body.startswith((" ", "\t"), block[0]):
        return f"{body[: block[0]]}AIGC:\n{lines}{body[block[0] :]}"
    return f"---\nAIGC:\n{lines}---\n\n{body}"
