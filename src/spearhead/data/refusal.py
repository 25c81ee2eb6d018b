"""Why something was not admitted. Holds no text of what was refused: it may be what nobody should keep."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """`kind` is counted, `reason` is for people; `record` is the id where it had come that far."""

    kind: str
    """unread, licence, no partner, short, long, alike, picture, language, duplicate, near-duplicate, near-duplicate of
    held-out, withdrawn, or `check:` and the check's name."""
    reason: str
    source: str
    record: str = ""


def counts(refusals: Iterable[Refusal]) -> dict[str, int]:
    """How many refusals of each kind, most first."""
    return dict(sorted(Counter(one.kind for one in refusals).items(), key=lambda pair: (-pair[1], pair[0])))


def examples(refusals: Iterable[Refusal], most: int = 3) -> dict[str, list[Refusal]]:
    """The first of each kind, commonest kinds first, none with a reason that differs from another's in figures alone.

    >>> [one.source for one in examples([Refusal("long", f"{n} characters", f"a#{n}") for n in range(9)])["long"]]
    ['a#0']
    """
    listed = list(refusals)
    found: dict[str, dict[str, Refusal]] = {kind: {} for kind in counts(listed)}
    for one in listed:
        known = found[one.kind]
        if len(known) < most:
            known.setdefault(re.sub(r"\d+", "0", one.reason), one)
    return {kind: list(known.values()) for kind, known in found.items()}


def commonest(refusals: Iterable[Refusal], most: int = 3) -> str:
    """The commonest kinds with an example each, as one clause.

    >>> commonest([Refusal("long", "text has 9 characters, wanted at most 5", "files:a#1")])
    '1 x long (files:a#1: text has 9 characters, wanted at most 5)'
    """
    listed = list(refusals)
    first: dict[str, Refusal] = {}
    for one in listed:
        first.setdefault(one.kind, one)
    clauses = [f"{n} x {kind} ({first[kind].source}: {first[kind].reason})" for kind, n in counts(listed).items()]
    return "; ".join(clauses[:most])
