"""Text as a record wants it: one Unicode form, no control characters, no debris. Knows no languages and no rights."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from spearhead.core.errors import InputError
from spearhead.data.config import Cleaning

# Everything of Unicode category Cc but tab and newline, the marks that steer direction (a way to hide text), byte
# order marks, and the code points of lone surrogates. Joiners stay: several scripts and emoji need them.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Cleaner:
    """Compiled rules of a scenario's `[data.cleaning]`."""

    drop: Mapping[str, "re.Pattern[str]"]
    replace: tuple[tuple["re.Pattern[str]", str], ...]
    shortest: int
    longest: int
    convert: Callable[[str], str] | None = None
    """Chinese to the scenario's script."""

    @classmethod
    def of(cls, cleaning: Cleaning) -> "Cleaner":
        """Raises InputError on a rule that is not a regular expression or on lengths that nothing can have."""
        if not 0 < cleaning.shortest <= cleaning.longest:
            raise InputError(
                f"data.cleaning: shortest is {cleaning.shortest} and longest {cleaning.longest}: "
                "wanted 0 < shortest <= longest"
            )
        return cls(
            drop={part: compiled(rule, f"drop.{part}") for part, rule in cleaning.drop.items()},
            replace=tuple((compiled(rule, "replace"), by) for rule, by in cleaning.replace.items()),
            shortest=cleaning.shortest,
            longest=cleaning.longest,
            convert=_converter(cleaning.script),
        )

    def __call__(self, part: str, text: str) -> str:
        """The clean text of a part: NFC, newlines as `\\n`, control characters and the scenario's debris gone."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if CONTROL.search(text):
            text = CONTROL.sub("", text)
        if not text.isascii():
            text = unicodedata.normalize("NFC", text)
        if self.convert is not None:
            text = self.convert(text)
        if rule := self.drop.get(part):
            text = rule.sub("", text)
        for rule, by in self.replace:
            text = rule.sub(by, text)
        return text.strip()

    def misfit(self, part: str, text: str) -> str:
        """Why a clean text is too short or too long, or an empty text."""
        if len(text) < self.shortest:
            return f"{part} has {len(text)} characters, wanted at least {self.shortest}"
        if len(text) > self.longest:
            return f"{part} has {len(text)} characters, wanted at most {self.longest}"
        return ""


def _converter(script: str) -> Callable[[str], str] | None:
    if not script:
        return None
    try:
        import opencc
    except ImportError as error:
        raise InputError("data.cleaning.script needs OpenCC: pip install '.[train]'") from error
    convert: Callable[[str], str] = opencc.OpenCC({"simplified": "t2s", "traditional": "s2t"}[script]).convert
    return convert


def compiled(rule: str, where: str) -> "re.Pattern[str]":
    """A rule of the scenario; InputError names `where` it stands."""
    try:
        return re.compile(rule)
    except re.error as error:
        raise InputError(f"data.cleaning.{where}: {rule!r} is not a regular expression: {error}") from error
