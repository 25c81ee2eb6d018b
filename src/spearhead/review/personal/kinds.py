"""What personal numbers look like, token by token; check digits by python-stdnum. Knows no text around them but hints.

A token is a run of letters, digits and the signs that numbers and addresses are written with; a number may be
written as several tokens with single spaces between.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stdnum import iban, luhn
from stdnum.cn import ric, uscc

from spearhead.core.sentence import Sentence, said

TOKEN_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._%+-()/")
LONGEST_TOKEN = 320
"""Longer than any address (64 + 1 + 254 characters)."""
MOST_TOKENS = 10
"""An IBAN of 34 characters in groups of four takes nine."""

FEWEST_DIGITS = 8
"""Of a number in several tokens: no telephone has fewer."""
MOST_GROUPS = 5
"""Of a number in several tokens with nothing but spaces between, that is no IBAN and begins with no country code."""

_MAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}")
_PART = re.compile(r"[+(]+|[+(]*\d[\d().+-]*X?|[A-Z0-9]{1,4}")
_CN_MOBILE = re.compile(r"(?:(?:\+|00)?86)?1[3-9]\d{9}")
_LANDLINE = re.compile(r"\(?0\d{2,3}\)?-\d{7,8}")
_NORTH_AMERICAN = re.compile(r"(?:\+?1[-. ])?\(?[2-9]\d{2}\)?[-. ][2-9]\d{2}[-. ]\d{4}")
_CN_PASSPORT = re.compile(r"(?:E[A-HJ-NP-Z]|[EGDSPH]\d)\d{7}")
_ANY_PASSPORT = re.compile(r"[A-Z]{0,2}\d{6,9}")
_PASSPORT_WORD = re.compile(r"passport|护照", re.IGNORECASE)
_WORD = re.compile(r"[+(]?[0-9A-Za-z](?:[0-9A-Za-z+()-]|[._/](?=\d))*")
_USCC = re.compile(r"[0-9A-HJ-NP-RTUW-Y]{18}")
_SIGNS = re.compile(r"[^0-9A-Za-z]")
_IBAN_HEAD = re.compile(r"[A-Z]{2}\d{2}")
_DIGITS = str.maketrans("", "", "0123456789")
_ABROAD = ("+", "(+", "00")
_GROUPS = re.compile(r"[0-9A-Za-z]+")

CARD_GROUPS = frozenset([(4, 4, 4, 4), (4, 6, 5), (4, 4, 4, 4, 3), (4, 4, 4, 1), (4, 4, 4, 4, 1), (4, 4, 4, 4, 2)])
IDENTITY_GROUPS = frozenset([(6, 8, 4), (6, 4, 4, 4), (6, 4, 8), (3, 3, 4, 4, 4)])
MOBILE_GROUPS = frozenset([(3, 4, 4), (3, 3, 5), (4, 4, 3)])


@dataclass(frozen=True, slots=True)
class Kind:
    """What a number is and how much harm its leaving does."""

    words: Sentence
    severity: float


MAIL = Kind(said("review.personal.mail"), 0.5)
PHONE = Kind(said("review.personal.phone"), 0.5)
IDENTITY = Kind(said("review.personal.identity"), 0.9)
CARD = Kind(said("review.personal.card"), 0.9)
IBAN = Kind(said("review.personal.iban"), 0.9)
PASSPORT = Kind(said("review.personal.passport"), 0.7)
COMPANY = Kind(said("review.personal.company"), 0.3)


def may_continue(token: str) -> bool:
    """Whether the token can be a part, or the beginning of a part, of a number that is written in several tokens."""
    return _PART.fullmatch(token) is not None


def ends_sentence(token: str) -> str:
    """The token without the signs that end a sentence or a bracket."""
    return token.rstrip(".)/-")


def in_token(token: str, *, before: str) -> Iterator[tuple[Kind, int, int]]:
    """Every kind in one token, with its place in it; `before` is the text that leads to it."""
    if "@" in token:
        for found in _MAIL.finditer(token):
            yield MAIL, found.start(), found.end()
    for found in _WORD.finditer(token):
        word = found.group().rstrip("+(-")
        if sum(map(str.isdigit, word)) >= 6:
            for kind in _number(word, groups=tuple(len(part) for part in _GROUPS.findall(word)), before=before):
                yield kind, found.start(), found.start() + len(word)
                break


def in_tokens(tokens: Sequence[str]) -> Kind | None:
    """The kind of a number that is written as exactly these tokens, two or more."""
    joined = " ".join(tokens)
    if len(joined) - len(joined.translate(_DIGITS)) < FEWEST_DIGITS:
        return None
    parts = _GROUPS.findall(joined)
    groups = tuple(map(len, parts))
    if _IBAN_HEAD.fullmatch(parts[0]) and all(length == 4 for length in groups[:-1]):
        return IBAN if 15 <= sum(groups) <= 34 and iban.is_valid("".join(parts)) else None
    if len(groups) > MOST_GROUPS and "-" not in joined and not joined.startswith(_ABROAD):
        return None  # as most ends of a list of numbers are
    return next(_number(joined, groups=groups, before=""), None)


def _number(word: str, *, groups: tuple[int, ...], before: str) -> Iterator[Kind]:
    """The kind of a number in one piece or in groups; the strictest form first."""
    plain = _SIGNS.sub("", word)
    whole, one = len(groups) == 1, " " not in word
    if len(plain) == 18 and (one or groups in IDENTITY_GROUPS) and _is_identity(plain.upper()):
        yield IDENTITY
    if plain.isdigit() and _is_card(word, plain, groups):
        yield CARD
    if plain.isdigit() and _is_phone(word, plain, groups):
        yield PHONE
    if one:
        bank = plain.upper()
        if re.match(r"[A-Z]{2}\d{2}", bank) and 15 <= len(bank) <= 34 and iban.is_valid(bank):
            yield IBAN
        if _USCC.fullmatch(plain) and uscc.is_valid(plain):
            yield COMPANY
    passport = _CN_PASSPORT.fullmatch(plain) or (_ANY_PASSPORT.fullmatch(plain) and _PASSPORT_WORD.search(before))
    if passport and (whole or "-" in word):
        yield PASSPORT


def _is_identity(plain: str) -> bool:
    try:
        return bool(ric.is_valid(plain))
    except KeyError:  # of a county that python-stdnum does not know, as many that are no more: the rest was right
        return True


def _is_card(word: str, plain: str, groups: tuple[int, ...]) -> bool:
    written = len(groups) == 1 or groups in CARD_GROUPS or _apart(word, groups)
    likely = 13 <= len(plain) <= 19 and plain[0] in "3456" and len(set(plain)) > 1
    return written and likely and not word.startswith(("+", "(+")) and bool(luhn.is_valid(plain))


def _is_phone(word: str, plain: str, groups: tuple[int, ...]) -> bool:
    whole = len(groups) == 1
    if _CN_MOBILE.fullmatch(plain):
        local = groups[1:] if plain.startswith(("86", "0086")) and groups[0] in (2, 4) else groups
        if whole or len(local) == 1 or local in MOBILE_GROUPS or _apart(word, groups):
            return True
    if word.startswith(_ABROAD) and (8 if whole else 10) <= len(plain) <= 15:
        return True
    return bool(_LANDLINE.fullmatch(word) or _NORTH_AMERICAN.fullmatch(word))


def _apart(word: str, groups: tuple[int, ...]) -> bool:
    """Whether a number is written digit by digit, with signs between: with spaces it may be a list of any."""
    return " " not in word and set(groups) == {1}
