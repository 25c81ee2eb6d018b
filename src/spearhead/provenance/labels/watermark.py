"""Invisible marks: several in a picture of 256 pixels or more, one in the wording of a text. Off unless asked for.

They say that this installation made the piece, not which output it was, and only its key can tell. Pictures are marked
here; a text is as it is made (`wording`).
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from threading import Lock
from typing import Protocol

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.media.image import codec
from spearhead.media.image.codec import DELIVERED, Pixels
from spearhead.provenance.labels import wording
from spearhead.provenance.labels.rivagan import RivaGan
from spearhead.provenance.labels.spread import Spread
from spearhead.provenance.labels.wording import Wording
from spearhead.provenance.signing import Keys
from spearhead.store.home import Home

FOUND = 1e-6
"""The p-value up to which a piece counts as marked: one in a million unmarked ones is taken for marked."""


class Mark(Protocol):
    """One way to mark pixels."""

    @property
    def name(self) -> str: ...
    def embed(self, pixels: Pixels) -> Pixels: ...
    def p_value(self, pixels: Pixels) -> float:
        """At most how likely another key would fit as well."""
        ...


@dataclass(frozen=True, slots=True)
class Detection:
    """What the detectors found: each mark's p-value, and one for all of them, corrected for their number."""

    p_value: float
    marks: Mapping[str, float]
    scored: int | None = None
    """Tokens that told, in a text."""

    @property
    def enough(self) -> bool:
        """Whether there is enough of it to say anything."""
        return self.scored is None or self.scored >= wording.LEAST

    @property
    def found(self) -> bool:
        """Whether the piece counts as marked."""
        return self.enough and self.p_value <= FOUND

    @property
    def technique(self) -> str:
        """The mark that was found best."""
        return min(self.marks, key=lambda name: self.marks[name])


class Watermark:
    """The marks of one key, made when they are first needed; safe to share between threads."""

    def __init__(self, make: Callable[[], Sequence[Mark]], *, wording: Wording | None = None) -> None:
        """`make` gives the marks of pictures; without `wording` nothing is looked for in texts."""
        self._make, self._wording, self._lock = make, wording, Lock()
        self._made: tuple[Mark, ...] | None = None

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The marks; raises InputError when they cannot be had."""
        with self._lock:
            if self._made is None:
                self._made = tuple(self._make())
            return self._made

    def embed(self, media: Media) -> Media:
        """A copy with every mark; raises InputError for what is no picture or has less than 256 pixels a side."""

        def marked(pixels: Pixels) -> Pixels:
            if min(pixels.shape[:2]) < DELIVERED:
                raise InputError(
                    f"the picture has {min(pixels.shape[:2])} pixels on its shortest side, an invisible mark needs "
                    f"{DELIVERED}: enlarge it first, or ask for none"
                )
            return reduce(lambda drawn, mark: mark.embed(drawn), self.marks, pixels)

        if media.modality != "image":
            raise InputError(f"no invisible mark can be drawn into {media.modality}: pictures can carry one")
        return codec.redraw(media, marked)

    def read(self, media: Media) -> Detection | None:
        """What is found in a piece; None where there is nothing to look at, or to look with."""
        if media.modality == "text":
            heard = self._wording.read(media) if self._wording else None
            return None if heard is None else Detection(heard.p_value, {Wording.name: heard.p_value}, heard.scored)
        try:
            pixels = codec.read(media)
        except InputError:
            return None
        marks = {mark.name: mark.p_value(pixels) for mark in self.marks}
        return Detection(min(1.0, len(marks) * min(marks.values())), marks)


def opened(home: Home, keys: Keys) -> Watermark:
    """The installation's marks; RivaGAN's networks are fetched at their first use, and nothing is loaded before."""
    secret = secret_of(keys)
    return Watermark(lambda: [Spread(secret), RivaGan.fetched(home, secret=secret)], wording=wording.opened(home, keys))


def secret_of(keys: Keys) -> bytes:
    """What pictures are marked by: it follows from the installation's release key, and does not give it away."""
    return hmac.new(keys.release, b"spearhead picture watermark", hashlib.sha256).digest()
