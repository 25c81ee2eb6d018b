"""Numbers in a text by their value: digits, and English and Chinese number words. Knows no metric."""

import re
import unicodedata

_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_DIGIT = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEEN = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ENGLISH = (
    {"zero": 0}
    | {word: value for value, word in enumerate(_DIGIT, 1)}
    | {word: value for value, word in enumerate(_TEEN, 10)}
    | {word: 10 * value for value, word in enumerate(_TENS, 2)}
)
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_NUMBER_WORDS = "|".join([*_ENGLISH, *_SCALES])
_ENGLISH_RUN = re.compile(rf"\b(?:{_NUMBER_WORDS})(?:(?:\s+and\s+|[\s-]+)(?:{_NUMBER_WORDS}))*\b", re.IGNORECASE)
_HAN_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_HAN_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10_000, "亿": 100_000_000}
_HAN_RUN = re.compile(f"[{''.join(_HAN_DIGITS)}{''.join(_HAN_SCALES)}]+")
_LONGEST = 40
"""Words or characters of one number; the rest of a longer run is no number that anybody means."""


def in_digits(text: str) -> list[tuple[str, str]]:
    """(value, as written) of every number in digits; full-width digits are digits.

    >>> in_digits("1,000 men and 3.50")
    [('1000', '1,000'), ('3.5', '3.50')]
    """
    return [(_plain(written), written) for written in _DIGITS.findall(unicodedata.normalize("NFKC", text))]


def in_words(text: str) -> set[str]:
    """The values of the number words in a text.

    >>> sorted(in_words("two hundred and seventy-six; 三千二百; 二〇二四"))
    ['2024', '276', '3200']
    """
    english = {str(value) for run in _ENGLISH_RUN.findall(text) for value in _english(run)}
    return english | {str(_han(run)) for run in _HAN_RUN.findall(text)}


def _plain(written: str) -> str:
    if _THOUSANDS.fullmatch(written):
        written = written.replace(",", "")
    whole, dot, part = written.partition(".")
    if not whole.isdecimal() or (dot and not part.isdecimal()):
        return written  # a date, a version, a decimal comma: only itself
    part = part.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{part}" if part else "")


def _english(run: str) -> list[int]:
    """The numbers of a run of number words: `twenty five` is one number, `five six` are two."""
    found: list[int] = []
    total = current = 0
    for word in re.split(r"[\s-]+", run.lower())[:_LONGEST]:
        if word in _ENGLISH:
            value = _ENGLISH[word]
            room = 100 if value >= 10 else 10  # what stands here so far must leave these places empty
            if current % room or (value < 10 and current % 100 == 10):
                found.append(total + current)
                total = current = 0
            current += value
        elif word == "hundred":
            current = max(current, 1) * 100
        elif word in _SCALES:
            total, current = total + max(current, 1) * _SCALES[word], 0
    return [*found, total + current]


def _han(run: str) -> int:
    total = section = digit = 0
    for character in run[:_LONGEST]:
        if character in _HAN_DIGITS:
            digit = digit * 10 + _HAN_DIGITS[character]  # 二〇二四 is read digit by digit
            continue
        scale = _HAN_SCALES[character]
        if scale >= 10_000:
            total, section = total + max(section + digit, 1) * scale, 0
        else:
            section += max(digit, 1) * scale
        digit = 0
    return total + section + digit
