"""Files that a kill left between their bytes and their row: no row leads to them, so no erasure would find them either.

Only files with a mark (store/blobs.py) are looked at, which are the few whose row nobody saw yet. Knows no labels.
"""

from itertools import islice

import sqlalchemy as sa
from sqlalchemy import Engine

from spearhead.store.blobs import Blobs
from spearhead.store.database import reading
from spearhead.store.tables import outputs

GRACE = 24 * 3600.0
"""Seconds for which a file may wait for its row: a database that is away is asked for longer than one would think."""
LOOKS = 6
"""Looks in a row, which found its row missing, before a file goes, whatever the clock says of its age."""
TOGETHER = 500


class Orphans:
    """What one server found of them so far; `look` now and then."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._missing: dict[tuple[str, str], int] = {}
        """Looks in a row that found no row, by file and row."""

    def look(self, store: Engine) -> int:
        """Take the marks of files whose rows are there, and delete files that have waited for too long; their number.

        A look that fails ends the row of those before it: what could not be read could not be written either.
        """
        before, self._missing = self._missing, {}
        missing: dict[tuple[str, str], int] = {}
        gone = 0
        there = self._blobs.marks()
        while marks := list(islice(there, TOGETHER)):
            with reading(store) as connection:
                query = sa.select(outputs.c.id, outputs.c.blob).where(outputs.c.id.in_([one.row for one in marks]))
                named = {(blob, id) for id, blob in connection.execute(query).tuples()}
            for mark in marks:
                name = (mark.sha, mark.row)
                if name in named:
                    self._blobs.unmark(*name)
                elif (looks := before.get(name, 0) + 1) >= LOOKS and mark.age >= GRACE:
                    gone += self._blobs.clear(mark)
                else:
                    missing[name] = looks
        self._missing = missing
        return gone
