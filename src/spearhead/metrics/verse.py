"""The lines of a Chinese poem, and the form of a quatrain. Knows no rhyme and no score."""

import re

LENGTHS = (5, 7)
"""Characters of a line of a quatrain (jueju)."""
_BETWEEN = re.compile(r"[\s，。？！；：、,.?!;:…—]+")
_HAN = re.compile("[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")


def lines(text: str) -> list[str]:
    """The lines of a poem without their punctuation, whether it stands in couplets or line by line.

    >>> lines("白日依山尽，黄河入海流。\\n欲穷千里目，更上一层楼。")
    ['白日依山尽', '黄河入海流', '欲穷千里目', '更上一层楼']
    """
    return [piece for piece in _BETWEEN.split(text) if piece]


def quatrain(text: str) -> list[str] | None:
    """The four lines of a quatrain: all of five or all of seven Han characters; None for anything else."""
    found = lines(text)
    if len(found) != 4 or len({len(one) for one in found}) != 1 or len(found[0]) not in LENGTHS:
        return None
    return found if all(_HAN.fullmatch(one) for one in found) else None
