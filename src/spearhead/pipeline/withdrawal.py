"""Takes a record back after it was admitted: says which releases learnt from it, and deletes what is left of it."""

import shutil
from contextlib import ExitStack

from sqlalchemy import Engine

from spearhead.core.errors import InputError
from spearhead.data.withdraw import holding, withdrawn
from spearhead.data.withdraw import withdraw as take_back
from spearhead.pipeline.desk import opened, write_down
from spearhead.pipeline.road import alone
from spearhead.pipeline.steps import DATA
from spearhead.pipeline.told import Told
from spearhead.store import releases
from spearhead.store.home import Home


def withdraw(home: Home, record: str, *, reason: str) -> Told:
    """`spearhead data withdraw ID`: the next run is without the record, releases that learnt from it are marked.

    Data sets that hold it are deleted with all that runs made of them: the releases stay, and their policy says what
    becomes of them.
    """
    engine = opened(home)
    take_back(home, engine, record, reason)
    marked = releases.mark_affected(home, engine, list(withdrawn(engine)))
    write_down(engine, "record withdrawn", record, {"reason": reason[:500], "releases": marked})
    words = [f"withdrew {record}"]
    words.append(f"releases that learnt from it: {', '.join(marked)}" if marked else "no release learnt from it")
    ended = [name for name in marked if releases.stopped(releases.live(home, engine, name))]
    if ended:
        words.append(f"ended by their policy: {', '.join(ended)}; a running server takes them down within seconds")
    deleted = _purged(home, engine)
    words += [*deleted.words, "the next `spearhead run` trains without it"]
    return Told({"withdrawn": record, "affected": marked, "ended": ended, **deleted.values}, words)


def purge(home: Home) -> Told:
    """`spearhead data purge`: what a withdrawal left because a run was under way."""
    return _purged(home, opened(home))


def _purged(home: Home, engine: Engine) -> Told:
    """Delete data sets that hold a withdrawn record, and the steps of runs that rest on them."""
    with ExitStack() as locks:
        busy = []
        for lock in sorted(home.runs.glob("**/.lock")):
            try:
                locks.enter_context(alone(lock.parent))
            except InputError:
                busy.append(lock.parent)
        held = holding(home, engine)
        there = {folder.name for folder in home.data.glob("*") if folder not in held}
        # What rests on data that are there no more rests on data that somebody took away.
        rest = [note.parent for note in sorted(home.runs.glob("**/" + DATA)) if note.read_text("utf-8") not in there]
        gone = [step for step in rest if not any(place in step.parents for place in busy)]
        if not busy:  # any run may read them
            gone += held
        for folder in gone:
            shutil.rmtree(folder)
    names = [str(folder.relative_to(home.root)) for folder in gone]
    words = [f"deleted what is left of it: {', '.join(names)}"] if names else ["nothing is left to delete"]
    if busy and (held or len(rest) > len(names)):
        under_way = ", ".join(str(place.relative_to(home.runs)) for place in busy)
        words = [
            *words,
            f"kept for a run that is under way ({under_way}): `spearhead data purge` deletes it after that",
        ]
    return Told({"deleted": names, "under_way": [str(place.relative_to(home.runs)) for place in busy]}, words)
