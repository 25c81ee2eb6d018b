"""Small sample data of a trade, from a few lines of our own: patterns filled with words. CC0-1.0, made by spearhead.

A file of `samples/` bears the name of a review template. A slot's entry is a word, or a list of words that go
together: `{quarter:0}` is its first and `{quarter:1}` its second.
"""

import itertools
import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

PAIRS = 700
"""Pairs of a sample at most."""
_PLACE = re.compile(r"\{(\w+)(?::(\d))?\}")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a scenario of a trade may learn first."""

    name: str
    title: str
    about: str
    patterns: tuple[tuple[str, str], ...]
    """Input and output."""
    slots: Mapping[str, Sequence[str | Sequence[str]]]

    def pairs(self) -> list[tuple[str, str]]:
        """At most `PAIRS` different pairs, the same at every call, in no order."""
        every = [pair for pattern in self.patterns for pair in self._filled(*pattern)]
        random.Random(0).shuffle(every)
        return list(dict(every).items())[:PAIRS]

    def _filled(self, asked: str, answered: str) -> Iterator[tuple[str, str]]:
        names = list(dict.fromkeys(name for name, _ in _PLACE.findall(asked + answered)))
        for chosen in itertools.product(*(self.slots[name] for name in names)):
            words = dict(zip(names, chosen, strict=True))
            yield _fill(asked, words), _fill(answered, words)


def _fill(pattern: str, words: Mapping[str, str | Sequence[str]]) -> str:
    def word(found: re.Match[str]) -> str:
        value = words[found[1]]
        return value if isinstance(value, str) else value[int(found[2])]

    return _PLACE.sub(word, pattern)


@cache
def samples() -> Mapping[str, Sample]:
    """Every sample in the package, by the name of its file."""
    found = {}
    for file in sorted(resources.files("spearhead.scenario").joinpath("samples").iterdir(), key=lambda file: file.name):
        name, raw = file.name.removesuffix(".toml"), tomllib.loads(file.read_text("utf-8"))
        patterns = tuple((one["input"], one["output"]) for one in raw["patterns"])
        found[name] = Sample(name, raw["title"], raw["about"], patterns, raw["slots"])
    return found
