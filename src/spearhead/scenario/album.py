"""A person's folder of pictures, looked at by the heads of its files, to write a scenario over it. Decodes no picture.

All of them are read by `data/sources/files` and `data/picture_files.py` when the road is walked; what this takes for a
picture and for its class, those do too.
"""

import contextlib
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from spearhead.core.errors import InputError
from spearhead.data import picture_files
from spearhead.data.sources import hub
from spearhead.media.image import codec, container

FEWEST = 50
"""Pictures below which a scenario is not worth making: a tenth of them stops the training, a fifth judges it."""
MOST_CLASSES = 1000
MEASURED = 500
"""Pictures whose size and colours are looked at, spread over all."""
SIDES = (64, 32)
"""What pictures are brought to: the first that half of them have on both sides, or else the last."""


@dataclass(frozen=True, slots=True)
class Album:
    """What a folder of pictures holds."""

    classes: Mapping[str, int]
    """Pictures by the name of the folder that they lie in, sorted; empty: they lie in none."""
    pictures: int
    side: int
    """Height and width that they are brought to, in pixels."""
    channels: int
    """1 where all that were looked at are grey, else 3."""
    aside: Mapping[str, int]
    """Files that are no PNG, JPEG or WebP picture, by the end of their names."""

    @property
    def told(self) -> str:
        """What was taken for what, for a person."""
        each = ", ".join(f"{name} ({count:,})" for name, count in list(self.classes.items())[:12])
        more = f" and {len(self.classes) - 12} more" if len(self.classes) > 12 else ""
        count = "1 class" if len(self.classes) == 1 else f"{len(self.classes)} classes, a folder each"
        of = f" of {count}: {each}{more}" if self.classes else " without classes"
        return f"{self.pictures:,} pictures{of}; each is cut to a square and brought to {self.side} pixels"

    @property
    def left(self) -> str:
        """What is left aside, counted."""
        return counted(self.aside)


def holds(place: Path) -> bool:
    """Whether what a person names is to be taken for a folder of pictures: any that `datasets` has not saved."""
    return place.is_dir() and not hub.saved(place)


def look(folder: Path) -> Album:
    """What there is to learn from; raises InputError where it is too little, or pictures lie beside folders of them."""
    names, others = parted(folder)
    aside = endings(others)
    kinds = ", ".join(picture_files.SUFFIXES)
    if not names:
        found = f"; there are {counted(aside)}" if aside else ""
        raise InputError(
            f"{folder}: holds no picture that is read ({kinds}){found}: name a file in "
            "it, or a folder that `datasets` has saved to disk, or one of pictures or of texts (.txt, .md)"
        )
    bare = [name for name in names if not name.parent.name]
    if bare and len(bare) < len(names):
        raise InputError(
            f"{folder}: {len(bare)} pictures (as {bare[0]}) lie beside folders of pictures: put them into folders too, "
            "one for each class, or take them away"
        )
    if len(names) < FEWEST:
        raise InputError(
            f"{folder}: holds {len(names)} pictures: wanted {FEWEST} at least, and some hundreds to learn much from"
        )
    classes = Counter(name.parent.name for name in names if name.parent.name)
    if len(classes) > MOST_CLASSES:
        raise InputError(f"{folder}: pictures lie in {len(classes):,} folders: wanted at most {MOST_CLASSES:,} classes")
    side, channels = _measured([folder / name for name in names[:: -(-len(names) // MEASURED)]])
    return Album(dict(sorted(classes.items())), len(names), side, channels, aside)


def parted(folder: Path) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
    """The files of a folder that are not hidden, in order: pictures by their first bytes, and all others."""
    pictures: list[PurePosixPath] = []
    others: list[PurePosixPath] = []
    for path in sorted(folder.rglob("*")):
        name = PurePosixPath(path.relative_to(folder).as_posix())
        if not path.is_file() or any(part.startswith(".") for part in name.parts):
            continue
        with path.open("rb") as stream:
            picture = container.recognise(stream.read(16)) is not None
        (pictures if picture else others).append(name)
    return pictures, others


def endings(files: Iterable[PurePosixPath]) -> dict[str, int]:
    """How many files there are by the end of their names, sorted."""
    return dict(sorted(Counter(name.suffix.lower() or "without an ending" for name in files).items()))


def names(album: Album) -> dict[str, str]:
    """The folder of each class to the class as it is asked for: composed characters, however a file system wrote it."""
    return {own: unicodedata.normalize("NFC", own).strip() for own in album.classes}


def _measured(paths: list[Path]) -> tuple[int, int]:
    """The side to bring pictures to, and their channels; what cannot be opened says nothing."""
    from PIL import Image

    codec.unwarned()
    sides, grey = [], True
    for path in paths:
        with contextlib.suppress(Exception), Image.open(path) as image:  # decoders raise whatever a damaged head does
            sides.append(min(image.size))
            grey = grey and (image.mode in ("1", "L", "LA") or image.mode.startswith("I;16"))
    usual = statistics.median(sides) if sides else 0
    return next((side for side in SIDES if usual >= side), SIDES[-1]), 1 if grey and sides else 3


def counted(found: Mapping[str, int]) -> str:
    """As in `3 .csv, 1 .pdf`."""
    return ", ".join(f"{count:,} {ending}" for ending, count in found.items())
