"""Typing noise: what fingers do to a text. Knows no records and no scores; randomness is passed in."""

import numpy as np

ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")


def neighbours() -> dict[str, str]:
    """Keys beside each letter on a QWERTY keyboard, whose rows are shifted by about half a key."""
    found: dict[str, str] = {}
    for number, row in enumerate(ROWS):
        for place, key in enumerate(row):
            beside = [row[at] for at in (place - 1, place + 1) if 0 <= at < len(row)]
            for other, shifts in ((number - 1, (0, 1)), (number + 1, (-1, 0))):
                if 0 <= other < len(ROWS):
                    beside += [ROWS[other][place + s] for s in shifts if 0 <= place + s < len(ROWS[other])]
            if key.isalpha():
                found[key] = "".join(one for one in beside if one.isalpha())
    return found


def typos(text: str, *, rng: np.random.Generator, rate: float = 0.05) -> str:
    """`text` with each letter mistyped with probability `rate`: left out, doubled, swapped with the next, or, on a
    Latin keyboard, a neighbouring key in the same case. Spaces, digits and punctuation stay; so does rate 0.

    >>> typos("In the beginning", rng=np.random.default_rng(3), rate=0.0)
    'In the beginning'
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate is {rate}: wanted a probability")
    beside = neighbours()
    hits = rng.random(len(text)) < rate
    out: list[str] = []
    at = 0
    while at < len(text):
        letter = text[at]
        if not (hits[at] and letter.isalpha()):
            out.append(letter)
            at += 1
            continue
        ways = ["omit", "double"]
        if at + 1 < len(text) and text[at + 1].isalpha() and text[at + 1] != letter:
            ways.append("swap")
        keys = beside.get(letter.lower(), "")
        if keys:
            ways.append("slip")
        way = ways[int(rng.integers(len(ways)))]
        if way == "double":
            out.append(letter * 2)
        elif way == "swap":
            out.append(text[at + 1] + letter)
            at += 1
        elif way == "slip":
            key = keys[int(rng.integers(len(keys)))]
            out.append(key.upper() if letter.isupper() else key)
        at += 1
    return "".join(out)
