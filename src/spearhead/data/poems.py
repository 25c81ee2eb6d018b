"""From files of Chinese poems (JSON lists of title, author and paragraphs) to quatrains. Knows no rhyme."""

import json
import re
from collections.abc import Iterator
from typing import Any

from spearhead.data.config import Source
from spearhead.data.items import Item, Unread, Unreadable

LENGTHS = (5, 7)
"""Characters of a line."""
FRAGMENT = "句"
"""The title that editors give to lines whose poem is lost."""
_HAN = re.compile("[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_MARK = re.compile("[，。？！；、：,.?!;:]")


def quatrains(text: str, source: Source) -> Iterator[Item | Unread]:
    """Title and poem of every quatrain (jueju): four lines of five, or four of seven characters.

    Poems of another form are passed over without a word, fragments and poems with lost characters are named. The poem
    is two couplets on a line each, with a comma inside and the mark of the edition (or a full stop) after each.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"is not JSON: {error}") from error
    if not isinstance(value, list):
        raise Unreadable("is not a JSON list of poems")
    for number, poem in enumerate(value):
        lines = _lines(poem)
        if lines is None:
            continue
        title = str(poem.get("title") or "").strip()
        if not title or title == FRAGMENT:
            yield Unread(str(number), "is a fragment or has no title")
        elif not all(_HAN.fullmatch(words) for words, _ in lines):
            yield Unread(str(number), "has lost characters, or signs that are none")
        else:
            first, second, third, fourth = (words for words, _ in lines)
            ends = [mark if mark in "？！" else "。" for _, mark in (lines[1], lines[3])]
            yield Item(
                str(number), {"input": title, "output": f"{first}，{second}{ends[0]}\n{third}，{fourth}{ends[1]}"}
            )


def _lines(poem: Any) -> list[tuple[str, str]] | None:
    """The four lines of a quatrain, each with the mark after it; None for anything else."""
    paragraphs = poem.get("paragraphs") if isinstance(poem, dict) else None
    if not isinstance(paragraphs, list) or not 1 <= len(paragraphs) <= 4:
        return None
    if not all(isinstance(one, str) and len(one) <= 64 for one in paragraphs):
        return None
    whole = "".join(paragraphs).strip()
    pieces = _MARK.split(whole)
    marks = _MARK.findall(whole)
    if len(pieces) == 5 and not pieces[4]:
        pieces = pieces[:4]
    if len(pieces) != 4 or len({len(one) for one in pieces}) != 1 or len(pieces[0]) not in LENGTHS:
        return None
    return list(zip(pieces, [*marks, "。"][:4], strict=True))
