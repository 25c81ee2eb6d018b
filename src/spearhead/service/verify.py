"""The free look at a file's labels, for anybody: bounded in bytes, in how many at once and in how often from one
address. Knows no account; keeps nothing of the file.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from spearhead.core import sentence
from spearhead.core.errors import InputError, SpearheadError
from spearhead.provenance import recognise, signing
from spearhead.provenance import verify as verifying
from spearhead.provenance.labels import rivagan, watermark, wording
from spearhead.provenance.labels.rivagan import RivaGan
from spearhead.provenance.labels.spread import Spread
from spearhead.provenance.labels.watermark import Watermark
from spearhead.provenance.verify import Layer
from spearhead.service.tries import Tries, whole
from spearhead.store.home import Home

LARGEST = 16 << 20
"""Bytes of a file that is looked at here; the command looks at larger ones."""
AT_ONCE = 2
WAITING = 16
WINDOW, MOST = 60.0, 20
"""Files of one address in so many seconds."""


class TooMany(SpearheadError):
    """Too many files of one address, or of everybody; `seconds` until the next is looked at."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many files at once: come again in {seconds} s.")
        self.seconds = seconds


class Verifier:
    """Looks at files. Counts addresses in this process's memory."""

    def __init__(self, home: Home, *, clock: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        self._home, self._most = home, most
        self._room = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._tries = Tries(seconds=WINDOW, clock=clock)
        self._marks: Watermark | None = None

    def count(self, address: str) -> None:
        """Count a file of `address` before it is read; raises TooMany."""
        subject = whole(address)
        if (wait := self._tries.left(subject, most=self._most)) > 0:
            raise TooMany(int(wait) + 1)
        self._tries.count(subject)

    async def look(self, data: bytes) -> tuple[Layer, ...]:
        """The layers of a file; raises InputError when there is no file, TooMany when too many wait."""
        if not data:
            raise InputError("There is no file, or an empty one: choose a file that left a generator.")
        if len(data) > LARGEST:
            raise InputError(f"The file has {len(data):,} bytes: at most {LARGEST:,} are looked at here.")
        if self._waiting >= WAITING:
            raise TooMany(2)
        self._waiting += 1
        try:
            async with self._room:
                return await asyncio.to_thread(self._look, data)
        finally:
            self._waiting -= 1

    def _look(self, data: bytes) -> tuple[Layer, ...]:
        if self._marks is None:
            self._marks = _marks(self._home)
        return verifying.of_media(recognise.recognise(data), watermark=self._marks)


def _marks(home: Home) -> Watermark:
    """The installation's invisible marks that can be looked for with what is here: a stranger's file fetches nothing.

    RivaGAN's networks are here once a picture was marked with them.
    """
    keys = signing.ensure(home)
    secret = watermark.secret_of(keys)

    def make() -> list[watermark.Mark]:
        found: list[watermark.Mark] = [Spread(secret)]
        if (home.packages / rivagan.SHA256).is_dir():
            found.append(RivaGan.fetched(home, secret=secret))
        return found

    return Watermark(make, wording=wording.opened(home, keys))


def as_json(layers: tuple[Layer, ...]) -> dict[str, Any]:
    """What the endpoint says: every layer, and on which ones the word rests."""
    relied = [layer.name for layer in layers if layer.state == "valid" and layer.name != "visible"]
    return {
        "object": "verification",
        "holds": verifying.holds(layers),
        "made_by_ai": any(layer.state != "absent" for layer in layers),
        "relied_on": relied,
        "layers": [_as_json(layer) for layer in layers],
    }


def _as_json(layer: Layer) -> dict[str, Any]:
    """A layer; numbers only of those that have any."""
    return {name: value for name, value in sentence.plain(layer).items() if value is not None}
