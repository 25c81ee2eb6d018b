"""`spearhead withdraw`: takes back an output that had left. Knows no page."""

import dataclasses

from spearhead.core import money
from spearhead.engine import recall
from spearhead.pipeline.desk import ACTOR, opened
from spearhead.pipeline.told import Told
from spearhead.store.home import Home


def withdraw(home: Home, output: str, *, reason: str, refund: bool) -> Told:
    """Take back one output and say what becomes of its money."""
    done = recall.recall(opened(home), output, actor=ACTOR, reason=reason, refund=refund)
    amount = f"{money.show(done.charged)} {done.currency}".strip()
    words = [f"withdrew {done.output}: its address answers 410 now; what was downloaded is where it is"]
    if done.refunded:
        words.append(f"{amount} are given back to {done.account}")
    else:
        words.append(f"{amount} of {done.request} stay charged: `spearhead bill correct` undoes a request's charge")
    return Told(dataclasses.asdict(done), words)
