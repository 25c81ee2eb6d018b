"""Text as words that are right for Chinese too: where no spaces are written, a character is a word. Knows no score."""

import re
import unicodedata

SINGLE = (
    "\u0e00-\u0eff\u1780-\u17ff\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
)
"""Characters that are words by themselves (Thai, Lao, Khmer, kana, Han), as the inside of a regular expression."""
SIGNATURE = "words:nfkc,casefold,unspaced-by-character"

_WORD = re.compile(f"[{SINGLE}]|[^\\W_{SINGLE}]+")
_HAN = re.compile("[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd]")


def words(text: str) -> list[str]:
    """The words of a text without case and punctuation; on ASCII exactly what rouge-score's own tokenizer gives.

    >>> words("The LORD's 2 fish; 你好 world")
    ['the', 'lord', 's', '2', 'fish', '你', '好', 'world']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def places(text: str) -> list[int]:
    """Where each word of a text as it stands begins.

    >>> places("Go, now 你好")
    [0, 4, 8, 9]
    """
    return [found.start() for found in _WORD.finditer(text)]


def is_mainly_han(text: str) -> bool:
    """Whether more than half of a text's words are Han characters.

    >>> is_mainly_han("我喜欢 machine learning"), is_mainly_han("the word 道 is old")
    (True, False)
    """
    found = _WORD.findall(text)
    return 2 * sum(1 for word in found if _HAN.fullmatch(word)) > len(found)


def grams(items: list[str], n: int) -> list[tuple[str, ...]]:
    """All runs of `n` items.

    >>> grams(["a", "b", "c"], 2)
    [('a', 'b'), ('b', 'c')]
    """
    return list(zip(*(items[start:] for start in range(n)), strict=False))
