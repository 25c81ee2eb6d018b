"""Takes a record back after it was admitted, and says which releases learnt from it; their policy says what ends."""

from spearhead.data.withdraw import withdraw as take_back
from spearhead.data.withdraw import withdrawn
from spearhead.pipeline.desk import opened, write_down
from spearhead.pipeline.told import Told
from spearhead.store import releases
from spearhead.store.home import Home


def withdraw(home: Home, record: str, *, reason: str) -> Told:
    """`spearhead data withdraw ID`: the next run is without the record, releases that learnt from it are marked."""
    engine = opened(home)
    take_back(home, engine, record, reason)
    marked = releases.mark_affected(home, engine, list(withdrawn(engine)))
    write_down(engine, "record withdrawn", record, {"reason": reason[:500], "releases": marked})
    words = [f"withdrew {record}"]
    words.append(f"releases that learnt from it: {', '.join(marked)}" if marked else "no release learnt from it")
    ended = [name for name in marked if releases.stopped(releases.live(home, engine, name))]
    if ended:
        words.append(f"ended by their policy: {', '.join(ended)}; a running server takes them down within seconds")
    words.append("the next `spearhead run` trains without it")
    return Told({"withdrawn": record, "affected": marked, "ended": ended}, words)
