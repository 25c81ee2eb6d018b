"""What a verb has to say: values for machines, lines for people, an exit code. Computes nothing."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Told:
    """The answer of a verb."""

    values: Mapping[str, Any]
    words: Sequence[str]
    exit_code: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The values, for `--json`."""
        return dict(self.values)

    def lines(self) -> list[str]:
        """The lines for a person."""
        return list(self.words)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Rows in columns; numbers stand to the right.

    >>> table(["a", "b"], [["x", 1], ["long", 20]])
    ['a      b', 'x      1', 'long  20']
    """
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(_width(row[n]) for row in (head, *cells)) for n in range(len(head))]
    right = [
        bool(rows) and all(isinstance(row[n], int | float) or _is_number(str(row[n])) for row in rows)
        for n in range(len(head))
    ]

    def line(row: Sequence[str]) -> str:
        gaps = (" " * (w - _width(c)) for c, w in zip(row, widths, strict=True))
        return "  ".join(gap + c if r else c + gap for c, gap, r in zip(row, gaps, right, strict=True)).rstrip()

    return [line(head), *(line(row) for row in cells)]


def _width(text: str) -> int:
    """Places that a text takes in a terminal: two for each Chinese character.

    >>> _width("a 三角")
    6
    """
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace(",", "").lstrip("-").isdigit() or text == "–"
