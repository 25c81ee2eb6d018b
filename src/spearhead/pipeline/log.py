"""`spearhead audit`: whether the log is as it was written, and signed heads of it to keep elsewhere. Writes no row."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from spearhead.core.errors import InputError
from spearhead.core.files import write_whole
from spearhead.pipeline.desk import opened
from spearhead.pipeline.told import Told, table
from spearhead.provenance import audit, signing
from spearhead.store.home import Home


def act(home: Home, action: str, files: Sequence[Path], *, out: Path | None, last: int) -> Told:
    """`spearhead audit verify|sign|show`."""
    if files and action != "verify":
        raise InputError(f"audit {action}: takes no FILE; `spearhead audit verify FILE` reads one")
    if action == "verify":
        return verify(home, files)
    return sign(home, out) if action == "sign" else show(home, last)


def verify(home: Home, files: Sequence[Path]) -> Told:
    """Every row against the one before it, and the log against every signed head: those kept here, and `files`."""
    store = opened(home)
    heads = audit.kept(home.heads, *files, public=signing.ensure(home).public)
    found, rows = audit.problems(store, heads), audit.head(store).rows
    words = [
        f"row {row} is not as it was written, or a row before it is missing"
        if path is None
        else f"{path}: row {row} is not what it was when this head was signed"
        for row, path in found
    ]
    if not found:
        words = [f"{rows} rows, each as it was written; {len(heads)} signed head{'s' * (len(heads) != 1)} agree"]
        words += (
            [] if heads else ["no head was kept: `spearhead audit sign` writes one, and a log cut short shows then"]
        )
    told = [{"row": row, "head": "" if path is None else str(path)} for row, path in found]
    return Told({"rows": rows, "heads": len(heads), "problems": told}, words, exit_code=1 if found else 0)


def sign(home: Home, out: Path | None) -> Told:
    """Sign how far the log has come; a broken log is not signed."""
    store, keys = opened(home), signing.ensure(home)
    if (broken := audit.verify(store)) is not None:
        raise InputError(f"the log is broken at row {broken}: it is not signed; `spearhead audit verify` says more")
    head = audit.head(store)
    path = out or home.heads / f"head-{head.rows:09}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, audit.signed(head, key=keys.release))
    words = [f"wrote {path}: {head.rows} rows", "keep a copy where nobody who runs this installation can write"]
    return Told({"file": str(path), **asdict(head)}, words)


def show(home: Home, last: int) -> Told:
    """The newest rows."""
    if last < 1:
        raise InputError(f"--last {last}: wanted 1 or more")
    found = audit.newest(opened(home), limit=last)
    rows = [[row.id, row.happened, row.actor, row.action, row.subject, row.detail] for row in found]
    words = table(("row", "when", "who", "what", "of", "more"), rows) if rows else ["nothing is written yet"]
    return Told({"rows": [asdict(row) for row in found]}, words)
