"""Characters to the plain ones they stand for, with the way back to where they stood. Knows no terms and no policy.

Every character is folded on its own, so folding a stream piece by piece equals folding it whole.
"""

import re
import unicodedata
from collections.abc import Callable

# Letters of other alphabets that are drawn like Latin ones: Greek and Cyrillic, Armenian, Coptic, Cherokee, Lisu,
# Deseret and Osage, and Latin ones whose names do not say so. As they are and in small letters, whichever comes first.
_LOOKALIKES = {
    shape: letter
    for letter, shapes in {
        "a": "аαɑⲁᎪꓮ", "b": "вβьⲃᏴᏏꓐ", "c": "сϲⲥᏟꓚ", "d": "ԁᎠᏧꓓ", "e": "еεєҽⲉᎬꓰ", "f": "ғꓝ", "g": "ɡցԍᏀꓖ",
        "h": "нһհΗⲏᎻꓧ", "i": "іιɩıⲓᎥꓲ", "j": "јյϳᎫꓙ", "k": "кκҝⲕᏦꓗ", "l": "ӏլᏞꓡ", "m": "мΜⲙᎷꓟ", "n": "ηΝⲛꓠ",
        "o": "оοօⲟꓳ𐐬𐓪", "p": "рρⲣᏢꓑ", "q": "ԛզ", "r": "гґᎡꓣ", "s": "ѕᏚꓢ", "t": "тτⲧᎢꓔ", "u": "υսꓴ",
        "v": "νѵᏙꓦ", "w": "ԝωᎳꓪ", "x": "хχҳⲭꓫ", "y": "уүγΥⲩᎩꓬ", "z": "ΖⲍᏃꓜ",
    }.items()
    for shape in shapes
}  # fmt: skip
# Latin letters that NFKD leaves alone say in their names what they are: o with stroke, small capital b.
_LATIN = re.compile(r"LATIN (?:SMALL LETTER|LETTER SMALL CAPITAL) ([A-Z])(?: WITH .+)?")
# What people write in place of a letter. Only signs that do not end sentences, so that "kill!" stays "kill".
_INSTEAD = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "€": "e", "£": "l"}
# Traditional to simplified, for the characters that the Chinese lists use.
_VARIANTS = dict(
    zip(
        "製彈槍殺藥毒槍車炸擊動兒幼齡圖視頻買賣販銀號碼證偽幣錢騙詐詞賭場獄獵華與為麼樣做個幫們書購單電話傳戰爭滅種豬漢滾綁強姦輪腦雙國選舉票網絡釣魚勒軟體駭爾鈾離濃縮凈氣經錄隱開關鎖盜竊術聲東麗蘭紙結腕溫環歲裸聊",
        "制弹枪杀药毒枪车炸击动儿幼龄图视频买卖贩银号码证伪币钱骗诈词赌场狱猎华与为么样做个帮们书购单电话传战争灭种猪汉滚绑强奸轮脑双国选举票网络钓鱼勒软体骇尔铀离浓缩净气经录隐开关锁盗窃术声东丽兰纸结腕温环岁裸聊",
        strict=True,
    )
)
_FILLERS = "\u115f\u1160\u3164\uffa0\u034f\u2800\u17b4\u17b5"
BEYOND = "\ufffd"
"""Stands for every letter outside the basic plane in the Chinese folding."""
_FLAGS = range(0x1F1E6, 0x1F200)
"""Letters that come in pairs as flags."""
# Signs that end a sentence or a clause. All others are put between Chinese characters to break a word up.
_STOPS = frozenset("。!?;:")


def is_hidden(character: str) -> bool:
    """Whether a reader does not see the character: zero-width, marks, controls, variation selectors.

    >>> is_hidden(chr(0x200B)), is_hidden("a")
    (True, False)
    """
    if character in "\t\n\r\v\f\x85":
        return False
    return unicodedata.category(character) in ("Cf", "Mn", "Me", "Cc", "Cs", "Co", "Cn") or character in _FILLERS


def compatible(character: str) -> str:
    """The character in its plain width and form (NFKC); nothing for one that is not seen; dashes and spaces made one.

    >>> compatible("Ａ"), compatible("１"), compatible(chr(0x200B)), compatible("–")
    ('A', '1', '', '-')
    """
    if is_hidden(character):
        return ""
    kind = unicodedata.category(character)
    if kind == "Pd":
        return "-"
    if kind == "Zs":
        return " "
    return "".join(part for part in unicodedata.normalize("NFKC", character) if not is_hidden(part))


def _letters(character: str) -> str:
    """The character as small Latin letters where it is drawn like one, else in its compatible form."""
    if is_hidden(character):
        return ""
    number = ord(character)
    for first in (0x1F130, 0x1F150, 0x1F170, _FLAGS.start):  # squared, negative circled, negative squared, regional
        if first <= number < first + 26:
            return chr(ord("a") + number - first)
    found = []
    for part in unicodedata.normalize("NFKD", character):
        drawn = _LOOKALIKES.get(part)  # a capital eta is drawn as H, a small one as n
        found += [drawn] if drawn else [_drawn(small) for small in part.casefold() if not is_hidden(small)]
    return "".join(found)


def _drawn(small: str) -> str:
    if small.isascii() or small in _LOOKALIKES:
        return _LOOKALIKES.get(small, small)
    named = _LATIN.fullmatch(unicodedata.name(small, ""))
    return named.group(1).lower() if named else small


def latin(character: str) -> str:
    """For words: small letters and digits of the Latin alphabet; everything else is a space.

    >>> "".join(map(latin, "Ｂ0мb!"))
    'bomb '
    """
    plain = _letters(character)
    if not plain:
        return ""
    parts = (_INSTEAD.get(part, part) for part in plain)
    return "".join(part if part.isascii() and part.isalnum() else " " for part in parts)


def chinese(character: str) -> str:
    """For Chinese: the simplified character; what is put between characters to break a word up is dropped.

    >>> "".join(map(chinese, "炸 彈*製。作"))
    '炸弹制。作'
    """
    plain = "" if ord(character) in _FLAGS else _letters(character)
    kept = (_VARIANTS.get(part, part) for part in plain if not _is_joint(part))
    # pyahocorasick 2.3.1 corrupts the heap when a stream mixes characters of the basic plane with others
    # (WojciechMula/pyahocorasick#221): what lies beyond it never reaches the automaton.
    return "".join(part if part <= "\uffff" else BEYOND for part in kept)


def _is_joint(part: str) -> bool:
    """Whether a compatible character is a space, a sign or a picture that ends no sentence."""
    return part.isspace() or (part not in _STOPS and unicodedata.category(part)[0] in "PSZ")


class Fold(dict[int, str]):
    """A folding as a table for `str.translate`, filled as characters are met."""

    def __init__(self, one: Callable[[str], str]) -> None:
        super().__init__()
        self.one = one

    def __missing__(self, code: int) -> str:
        folded = self.one(chr(code))
        if len(self) < 70_000:  # every character of the basic plane; a hostile text cannot fill memory
            self[code] = folded
        return folded

    def char(self, character: str) -> str:
        """One character, folded."""
        return self[ord(character)]
