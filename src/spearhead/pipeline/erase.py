"""`spearhead erase`: prompts and outputs that are to be gone, and how long they are kept. Knows no page."""

import sys

from spearhead.core.errors import InputError
from spearhead.engine import erasure
from spearhead.pipeline.desk import account_named, opened
from spearhead.pipeline.told import Told
from spearhead.store.blobs import Blobs
from spearhead.store.home import Home

ACTOR = "command line"
FOREVER = "forever"


def erase(home: Home, *, output: str, account: str, older_than: int | None, keep: str, reason: str, sure: bool) -> Told:
    """Erase an output, an account's outputs or old ones, or say how many days they are kept from now on.

    What leaves nothing of anybody is asked about first unless it is `sure`; who names an account has said whose.
    """
    store, blobs = opened(home), Blobs(home.blobs)
    if sum((bool(output), bool(account) or older_than is not None, bool(keep))) != 1:
        raise InputError("erase: name one OUTPUT, or --account and --older-than (one or both), or --keep DAYS")
    if keep:
        days = None if keep == FOREVER else _days(keep)
        if days == 0 and not sure:
            _ask("every output there is and every one to come")
        erasure.keep_for(store, days, actor=ACTOR)
        time = "until they are erased by hand" if days is None else f"for {days} days; a running server sees to it"
        return Told({"keep_days": days}, [f"outputs are kept {time}"])
    if output:
        done = erasure.erase(store, output, blobs=blobs, actor=ACTOR, reason=reason or erasure.ASKED)
    else:
        id = account_named(store, account).id if account else None
        if not older_than and not account and not sure:
            _ask("every output of every account")
        done = erasure.erase_all(
            store, blobs=blobs, actor=ACTOR, account=id, days=older_than, reason=reason or erasure.ASKED
        )
    words = [f"erased {done.outputs} outputs: their words and files are gone, what was charged for them stays"]
    if done.waiting:
        words.append(f"{done.waiting} wait for a person and were left: erase them once they are decided")
    return Told({"erased": done.outputs, "waiting": done.waiting}, words)


def _ask(what: str) -> None:
    """Go on only with a yes, typed on the terminal."""
    will = f"this erases {what}, words and files, for good"
    if not sys.stdin.isatty():
        raise InputError(f"erase: {will}; where that is meant, say --yes")
    print(f"{will}. Type yes to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline(16).strip().lower() != "yes":
        raise InputError("erase: it was not answered with yes; nothing was changed")


def _days(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 6):
        raise InputError(f"--keep {text[:20]!r}: wanted a number of days, or {FOREVER}")
    return int(text)
