"""What the studio says, in every language it speaks: `words/<language>/<page>.toml`. Knows no page."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from spearhead.core.sentence import flat

LANGUAGES = {"en": "English", "zh": "中文"}
"""Each by its own name; the first is spoken to whoever asks for none of them."""
_FOLDER = Path(__file__).parent / "words"


@cache
def book(language: str) -> Mapping[str, str]:
    """Every sentence of a language by `page.key`."""
    found: dict[str, str] = {}
    for file in sorted((_FOLDER / language).glob("*.toml")):
        found |= {f"{file.stem}.{key}": text for key, text in flat(tomllib.loads(file.read_text("utf-8")))}
    return found


def say(language: str, key: str, values: Mapping[str, object]) -> str:
    """A sentence with its `{places}` filled; raises KeyError on one that nobody wrote."""
    text = book(language)[key]
    return text.format_map(values) if values else text


def choose(cookie: str, accepted: str) -> str:
    """A language from the visitor's own choice, else from the header Accept-Language."""
    if cookie in LANGUAGES:
        return cookie
    best, chosen = 0.0, next(iter(LANGUAGES))
    for part in accepted[:400].split(","):
        name, _, weight = part.strip().partition(";q=")
        worth = float(weight) if re.fullmatch(r"[01](\.\d{1,3})?", weight) else 1.0
        if (short := name.strip().lower()[:2]) in LANGUAGES and worth > best:
            best, chosen = worth, short
    return chosen
