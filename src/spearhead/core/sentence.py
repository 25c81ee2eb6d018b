"""Sentences as data: the name of the words and the facts in them, said in a language where somebody reads them.

The words lie beside the code that says them: `words.toml` in its folder, a table a language. `release.bar.at_least` is
`bar.at_least` in `release/words.toml`. What makes a sentence knows no language, what shows one knows no meaning.
"""

import dataclasses
import re
import string
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from spearhead.core import figures, money

LANGUAGES = ("en", "zh")
"""The first is spoken to programs, in files, and on the command line."""
MOST_FACTS, DEEPEST = 32, 4
"""Of a sentence that is read from elsewhere; a fact may be a sentence, or several facts."""
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
_FACT = re.compile(r"[a-z_]{1,32}")
_BETWEEN = {";": "core.semicolon", "|": "core.or"}
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is said: `words` names its words in every language, `facts` fills their places."""

    words: str
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Text, numbers, None, sentences, and tuples of these; amounts are billionths, and their words say `:money`."""

    def __str__(self) -> str:
        return say(self)


Said = Sentence | str
"""A sentence; or one that somebody wrote in their own language, which is said as it is."""


def said(words: str, /, **facts: Any) -> Sentence:
    """A sentence.

    >>> str(said("release.bar.at_least", bound=0.5))
    'at least 0.5'
    """
    return Sentence(words, facts)


def say(what: Said, language: str = LANGUAGES[0]) -> str:
    """A sentence in a language. Never fails: what a file of a later version says comes out as its name and facts.

    >>> say(said("release.bar.at_least", bound=0.5), "zh")
    '不低于 0.5'
    """
    if isinstance(what, str):
        return what
    words = book(language).get(what.words)
    return _speaker(language).vformat(words, (), what.facts) if words is not None else _bare(what, language)


def named(table: str, name: str, language: str = LANGUAGES[0], *, otherwise: str | None = None) -> str:
    """What a table calls a name; `otherwise`, or the name itself, where it has none.

    >>> named("core.verdicts", "gold", "zh"), named("core.units", "furlong")
    ('真金', 'furlong')
    """
    return book(language).get(f"{table}.{name}", name if otherwise is None else otherwise)


@cache
def book(language: str) -> Mapping[str, str]:
    """The words of every sentence in a language, by name."""
    found: dict[str, str] = {}
    for file in sorted(_ROOT.rglob("words.toml")):
        place = ".".join(file.parent.relative_to(_ROOT).parts)
        table = tomllib.loads(file.read_text("utf-8")).get(language, {})
        found |= {f"{place}.{name}": words for name, words in flat(table)}
    return found


def read(raw: Any) -> Said:
    """A sentence from JSON values, as `dataclasses.asdict` gives them; raises ValueError on what is none."""
    found = _read(raw, 0)
    if not isinstance(found, Sentence | str):
        raise ValueError(f"wanted a sentence, got {type(raw).__name__}")
    return found


def plain(value: Any) -> Any:
    """Dataclasses and what they hold as JSON values, each sentence said: what a program is told.

    >>> plain([said("release.bar.at_least", bound=0.5), 1])
    ['at least 0.5', 1]
    """
    if isinstance(value, Sentence):
        return say(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


class _Speaker(string.Formatter):
    """Fills the places of a sentence.

    `{n:money}` is an amount, `{n:figure}` a measured number, `{unit:@core.units}` is named in the table `units` of
    `core/words.toml`; of several facts `{some}` parts them by commas, `{some:;}` by semicolons, `{some:|}` by "or".
    """

    def __init__(self, language: str) -> None:
        self._language, self._book = language, book(language)

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return kwargs.get(str(key), "?")

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, Sentence):
            return say(value, self._language)
        if isinstance(value, tuple):
            between = _BETWEEN.get(format_spec)
            rest = "" if between else format_spec
            return self._book[between or "core.comma"].join(self.format_field(one, rest) for one in value)
        if format_spec == "money":
            return money.show(value) if isinstance(value, int) else str(value)
        if format_spec == "figure":
            return figures.show(value) if isinstance(value, int | float) else str(value)
        if format_spec.startswith("@"):
            return named(format_spec[1:], str(value), self._language)
        try:
            return format(value, format_spec)
        except (TypeError, ValueError):  # a fact of another kind than the words want
            return str(value)


@cache
def _speaker(language: str) -> _Speaker:
    return _Speaker(language)


def _bare(what: Sentence, language: str) -> str:
    facts = (f"{name} {_speaker(language).format_field(fact, '')}" for name, fact in what.facts.items())
    return " ".join([f"{what.words}:", *facts]) if what.facts else what.words


def flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts of a table that may hold tables, as `table.name`.

    >>> list(flat({"bar": {"at_least": "x"}}))
    [('bar.at_least', 'x')]
    """
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", str(value)


def _read(raw: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"a sentence holds facts {DEEPEST} deep at most")
    if isinstance(raw, dict):
        words, facts = raw.get("words"), raw.get("facts")
        if raw.keys() != {"words", "facts"} or not isinstance(words, str) or not isinstance(facts, dict):
            raise ValueError("a sentence has words and facts, and nothing else")
        if not _NAME.fullmatch(words) or len(words) > 100 or len(facts) > MOST_FACTS:
            raise ValueError(f"a sentence has a name of words in 100 characters and at most {MOST_FACTS} facts")
        if strange := [name for name in facts if not _FACT.fullmatch(name)]:
            raise ValueError(f"{strange[0][:40]!r} is no name of a fact")
        return Sentence(words, {name: _read(fact, depth + 1) for name, fact in facts.items()})
    if isinstance(raw, list):
        return tuple(_read(one, depth + 1) for one in raw)
    if isinstance(raw, int) and abs(raw) >= 1 << 63:
        raise ValueError("a fact is a number of 64 bits at most")
    if raw is not None and not isinstance(raw, str | int | float):
        raise ValueError(f"a fact is text, a number or a sentence, got {type(raw).__name__}")
    return raw
