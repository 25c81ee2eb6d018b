"""A person's texts, a folder of them or one file, looked through to write a scenario over them. Knows no tables.

They are read by `data/sources/files` and `data/readers.py` when the road is walked; this reads them by the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from spearhead.core.errors import InputError
from spearhead.data import language, readers
from spearhead.data.config import Cleaning, Source
from spearhead.data.items import Item, Unread
from spearhead.metrics import memorisation
from spearhead.metrics.words import places
from spearhead.scenario import album
from spearhead.scenario import table as tables

ENDINGS = tuple(suffix for suffix, kind in readers.SUFFIXES.items() if kind == "text")
FAMILY = "gpt"
"""What learns texts alone."""
FEWEST = 200
"""Records below which a scenario is not worth making: a tenth of them stops the training, another judges it."""
LEAST = 20_000
"""Characters below which it is not."""
WHOLE = 1024
"""Characters that the model can be judged by at once: wherever most of the texts lie in longer records, they are cut
smaller."""
SHORT = 256
LONGEST = Cleaning().longest
"""Characters of the longest record that is admitted."""
LOOKED = 200
"""Records whose language is looked at, spread over all, and characters of each."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a person's texts hold."""

    texts: int
    """Files that are read."""
    characters: int
    records: int
    """That can be learnt from."""
    reader: str
    """What is a record, by one of `data.readers`: a file (`text`), a paragraph, or a line."""
    encoding: str
    short: bool
    """Whether most records have `SHORT` characters at most."""
    languages: tuple[str, ...]
    """ISO 639 codes; none where they do not tell."""
    aside: Mapping[str, int]
    """Other files, by the end of their names."""
    refused: tuple[int, str] = (0, "")
    """How many files and records are left out, and why the first of them is."""

    @property
    def told(self) -> str:
        """What was taken for what, for a person."""
        of = {"text": "each is a record", "paragraphs": "each of their {:,} paragraphs is a record"}
        each = of.get(self.reader, "each of their {:,} lines is a record").format(self.records)
        return f"{_many(self.texts, 'text')} of {_many(self.characters, 'character')}; {each}, learnt whole"

    @property
    def left(self) -> str:
        """The other files, counted."""
        return album.counted(self.aside)

    @property
    def left_out(self) -> str:
        """What of the texts will be refused, for a person; empty where nothing is."""
        count, why = self.refused
        are = "is" if count == 1 else "are"
        return f"{count:,} cannot be learnt from and {are} left out: {why}" if count else ""


def holds(place: Path, *, family: str = "") -> bool:
    """Whether what a person names is to be taken for texts; `family` is what they want to learn it with, if any.

    Of pictures and texts in one folder, what is too little to learn from is left aside. Raises InputError where both
    are enough and no family tells which is meant.
    """
    if not album.holds(place):
        return place.is_file() and place.suffix.lower() in ENDINGS
    pictures, others = album.parted(place)
    texts = [name for name in others if name.suffix.lower() in ENDINGS]
    if not texts or not pictures or family:
        return bool(texts) and family in ("", FAMILY)
    many = len(pictures) >= album.FEWEST
    much = sum((place / name).stat().st_size for name in texts) >= LEAST
    if many and much:
        raise InputError(
            f"{place}: holds {len(pictures):,} pictures (as {pictures[0]}) and {_many(len(texts), 'text')} (as "
            f"{texts[0]}), and a scenario learns from one of them: --family gan, flow or vae takes the pictures alone, "
            f"--family {FAMILY} the texts; or name a folder that holds one of them"
        )
    return much or (not many and len(texts) > len(pictures))


def look(place: Path) -> Corpus:
    """What there is to learn from; raises InputError where it is too little, or in several encodings."""
    root, names, aside = place.parent, [PurePosixPath(place.name)], {}
    if place.is_dir():
        root, others = place, [name for each in album.parted(place) for name in each]
        names = sorted(name for name in others if name.suffix.lower() in ENDINGS)
        aside = album.endings(set(others) - set(names))
    encoding = _encoding(root, names)
    seen = {reader: _Seen() for reader in ("text", "paragraphs", "lines")}
    unread: list[str] = []
    for name in names:
        data = (root / name).read_bytes()
        for reader, found in seen.items():
            source = Source("files", licence="", credit="", reader=reader, encoding=encoding)
            items = list(readers.read(str(name), data, source, alone=False))
            found.add([item.texts["text"] for item in items if isinstance(item, Item)])
        unread += [f"{name} {item.reason}" for item in items if isinstance(item, Unread)]
    most = max(seen, key=lambda reader: (seen[reader].probable, seen[reader].count))
    reader = next((reader for reader, found in seen.items() if found.fits), most)
    found, texts = seen[reader], len(names) - len(unread)
    unread += [f"one has more than {LONGEST:,} characters"] * found.long
    refused = (len(unread), unread[0]) if unread else (0, "")
    records = found.count - found.long
    told = language.spoken(text[:LOOKED] for text in found.spread)
    made = Corpus(texts, found.characters, records, reader, encoding, 2 * found.short > records, told, aside, refused)
    if not found.enough or found.characters < LEAST:
        other = "to learn from a table, name a file in it, or a folder that `datasets` has saved to disk"
        beside = f"; beside them lie {made.left}: {other}" if aside else ""
        raise InputError(
            f"{place}: holds {_many(texts, 'text')} of {_many(found.characters, 'character')}, with "
            f"{_many(found.probable, reader.removesuffix('s'))} of {memorisation.SHORTEST} words or more: wanted "
            f"{LEAST:,} characters and {FEWEST} of those at least, and a million characters to learn much from"
            f"{f'; {made.left_out}' if unread else ''}{beside}"
        )
    return made


@dataclass(slots=True)
class _Seen:
    """What was seen of the texts, cut into records by one reader; lives as long as one look."""

    count: int = 0
    characters: int = 0
    probable: int = 0
    """Records that are long enough for half of them to be continued; counted until they are enough."""
    short: int = 0
    long: int = 0
    within: int = 0
    """Characters in records of `WHOLE` at most."""
    spread: list[str] = field(default_factory=list)
    every: int = 1

    def add(self, texts: Sequence[str]) -> None:
        """The records of one more file."""
        for text in texts:
            if self.count % self.every == 0:
                self.spread.append(text[:LOOKED])
                if len(self.spread) == 2 * LOOKED:
                    self.spread, self.every = self.spread[::2], 2 * self.every
            self.count += 1
            self.characters += len(text)
            self.short += len(text) <= SHORT
            self.within += len(text) if len(text) <= WHOLE else 0
            if len(text) > LONGEST:
                self.long += 1
            elif self.probable < FEWEST or self.characters < LEAST:
                self.probable += len(places(text)) >= memorisation.SHORTEST

    @property
    def enough(self) -> bool:
        """Whether records can be held out to judge by."""
        return self.probable >= FEWEST

    @property
    def fits(self) -> bool:
        """Whether they can, and most of what there is lies in records that are seen whole."""
        return self.enough and 2 * self.within >= self.characters


def _encoding(root: Path, names: Iterable[PurePosixPath]) -> str:
    """The one that all texts are in which can be read at all; raises InputError where they are in several."""
    found: dict[str, PurePosixPath] = {}
    for name in names:
        try:
            text, encoding = tables.decoded(root / name, tables.LOOKED)
        except InputError:
            continue  # told with its reason when it is read
        if not text.isascii() or encoding == "utf-16":
            found.setdefault(encoding, name)
    if len(found) > 1:
        told = " and ".join(f"{encoding} (as {name})" for encoding, name in found.items())
        raise InputError(f"{root}: its texts are in {told}: save all of them in UTF-8")
    return next(iter(found), "utf-8")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
