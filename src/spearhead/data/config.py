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
    """`files`, `package` or `hub`."""
    licence: str
    """SPDX expression; there is no default."""
    credit: str
    """Whom to credit."""
    part: str = ""
    """`input`, `output` or `text`; empty: the reader's own columns name the parts (see `columns`)."""
    columns: dict[str, str] = field(default_factory=dict)
    """Part to column, for tables: `{input = "question", output = "answer"}`; `key` names the column that joins, and
    `rejected` an answer that people liked less than `output` (see training.objective). `{messages = "messages"}` names
    one of conversations (lists of `role` and `content`, or `from` and `value`): each answer is a record, with what was
    said before it. `{instruction = "instruction", input = "input", output = "output"}` are Alpaca's: an instruction
    over an input that may be empty. Beside each, `system` names a column of system messages, beside the last `history`
    one of pairs that were said before. What fills input, output and rejected may be lists of messages too; of output
    and rejected that are whole conversations, or stand without an input, what they begin with alike is given. Empty:
    columns with the usual names of all these are found."""
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
    """package: where it is fetched from, with your own pip, npm or apt."""
    package: str = ""
    """package: its name."""
    version: str = ""
    """package: its exact version."""
    sha256: str = ""
    """package: of the file that is fetched, 64 hexadecimal digits in lower case. files: what the one file that `path`
    names must have; empty: it may change."""
    member: str = ""
    """Path or glob inside the package."""
    # files
    path: str = ""
    """File or folder; relative to the scenario's folder."""
    endings: tuple[str, ...] = ()
    """files: of a folder, only files whose names end so, as in `[".txt", ".md"]`; empty: all that are not hidden."""
    encoding: str = "utf-8"
    """Of texts, as in utf-8, gb18030 or utf-16."""
    # hub
    dataset: str = ""
    """Name on the hub, or a local copy's folder."""
    split: str = "train"
    """hub: which split of it."""
    revision: str = ""
    """hub: a commit or tag; empty: the newest."""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What a record must look like. Lengths are in characters, of each part."""

    languages: tuple[str, ...] = ()
    """Allowed languages by code; empty: any."""
    shortest: Whole = 1
    """A record with a shorter part is refused."""
    longest: Count = 20_000
    """A record with a longer part is refused."""
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
    """Where the records come from, one table each."""
    rights: tuple[Literal["train", "share", "sell"], ...] = ("train", "share", "sell")
    """What every record's licence must allow."""
    cleaning: Cleaning = Cleaning()
    """What a record must look like."""
    pictures: PictureRules = PictureRules()
    """Sides of pictures, and which of them count as alike."""
    validation: float = 0.02
    """Share by content hash that training is judged by as it goes (early stop, search)."""
    test: float = 0.02
    """Share by content hash that the bars alone are judged by."""
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
