"""Takes a record back after it was admitted, and says which releases learnt from it. Stops none: the policy does."""

from spearhead.data.withdraw import withdraw as take_back
from spearhead.data.withdraw import withdrawn
from spearhead.pipeline.desk import opened
from spearhead.pipeline.told import Told
from spearhead.store import releases
from spearhead.store.home import Home


def withdraw(home: Home, record: str, *, reason: str) -> Told:
    """`spearhead data withdraw ID`: the next run is without the record, releases that learnt from it are marked."""
    engine = opened(home)
    take_back(home, engine, record, reason)
    marked = releases.mark_affected(home, engine, list(withdrawn(engine)))
    words = [f"withdrew {record}"]
    words.append(f"releases that learnt from it: {', '.join(marked)}" if marked else "no release learnt from it")
    words.append("the next `spearhead run` trains without it")
    return Told({"withdrawn": record, "affected": marked}, words)
