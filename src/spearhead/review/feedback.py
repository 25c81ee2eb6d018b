"""What people's decisions say about which answer is the better one: pairs of answers to one prompt.

Reads the queue and the answers; knows no licences and no files. A decision of the system (nobody in time, a policy's
block) is no opinion and makes no pair.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.review.queue import SYSTEM
from spearhead.store.database import reading
from spearhead.store.tables import outputs, review_transitions, reviews


@dataclass(frozen=True, slots=True)
class Answer:
    """A text that a person decided on."""

    output: str
    review: str
    release: str
    prompt: str
    """JSON list of messages."""
    text: str
    approved: bool
    edits: str | None
    """The answer that a person changed into this one."""


@dataclass(frozen=True, slots=True)
class Preferred:
    """`chosen` is better than `rejected`, for a person made the one of the other, or decided so."""

    chosen: Answer
    rejected: Answer
    edited: bool


@dataclass(frozen=True, slots=True)
class Feedback:
    """Pairs in the order of their decisions, and what came to none."""

    pairs: tuple[Preferred, ...]
    alone: Mapping[str, int]
    """`approved` and `rejected`: decisions without a partner to the same prompt."""
    left_out: Mapping[str, int]
    """How many reviews were no use, by the reason."""


def feedback(store: Engine | Connection, *, scenario: str) -> Feedback:
    """Pairs from every decision that people took on texts of `scenario`."""
    left_out: Counter[str] = Counter()
    groups: dict[str, list[Answer]] = {}
    for found in _answers(store, scenario):
        if isinstance(found, str):
            left_out[found] += 1
        else:
            groups.setdefault(found.prompt, []).append(found)
    pairs: list[Preferred] = []
    alone = Counter({"approved": 0, "rejected": 0})
    for answers in groups.values():
        made = [pair for pair in _paired(answers) if pair.chosen.text != pair.rejected.text]
        used = {answer.output for pair in made for answer in (pair.chosen, pair.rejected)}
        pairs += made
        alone.update("approved" if answer.approved else "rejected" for answer in answers if answer.output not in used)
    return Feedback(tuple(pairs), dict(alone), dict(sorted(left_out.items())))


def asked(prompt: str) -> str | list[dict[str, str]]:
    """The one thing that a person said, or the messages where there are more than that."""
    messages: list[dict[str, str]] = json.loads(prompt)
    if len(messages) != 1 or messages[0].get("role") != "user":
        return messages
    return str(messages[0]["content"])


def _paired(answers: list[Answer]) -> Iterator[Preferred]:
    """Each edit with what it was made of; the others so that every decision counts once at least, and few twice."""
    by_id = {answer.output: answer for answer in answers}
    settled: set[str] = set()
    for answer in answers:
        before = by_id.get(answer.edits or "") if answer.approved else None
        while before is not None:
            yield Preferred(answer, before, edited=True)
            settled |= {answer.output, before.output}
            before = by_id.get(before.edits or "")
    approved = [answer for answer in answers if answer.approved]
    worse = [answer for answer in answers if not answer.approved and answer.output not in settled]
    better = [answer for answer in approved if answer.output not in settled] or (approved if worse else [])
    if worse and better:
        count = max(len(worse), len(better))
        for chosen, rejected in islice(zip(cycle(better), cycle(worse), strict=False), count):
            yield Preferred(chosen, rejected, edited=False)


def _answers(store: Engine | Connection, scenario: str) -> Iterator[Answer | str]:
    """The texts that people decided on, oldest first, or why a review is no use."""
    query = (
        sa.select(
            reviews.c.id.label("review"),
            reviews.c.state.label("standing"),
            outputs.c.id,
            outputs.c.release,
            outputs.c.state,
            outputs.c.mime,
            outputs.c.prompt,
            outputs.c.text,
            outputs.c.edits,
            outputs.c.erased,
        )
        .outerjoin(outputs, reviews.c.output == outputs.c.id)
        .where(reviews.c.scenario == scenario)
        .order_by(reviews.c.created, reviews.c.id)
    )
    with reading(store) as connection:
        deciders = _deciders(connection, scenario)
        rows = connection.execute(query).all()
    for row in rows:
        reason = _no_use(row, deciders.get(row.review, SYSTEM))
        yield reason or Answer(
            output=row.id,
            review=row.review,
            release=row.release,
            prompt=row.prompt,
            text=row.text,
            approved=row.standing in ("approved", "released"),
            edits=row.edits,
        )


def _deciders(connection: Connection, scenario: str) -> dict[str, str]:
    """Who took the last decision on each review."""
    query = (
        sa.select(review_transitions.c.review, review_transitions.c.actor)
        .join(reviews, reviews.c.id == review_transitions.c.review)
        .where(reviews.c.scenario == scenario, review_transitions.c.to_state.in_(("approved", "rejected")))
        .order_by(review_transitions.c.id)
    )
    return {row.review: row.actor for row in connection.execute(query)}


def _no_use(row: Any, decider: str) -> str:
    """Why this review says nothing about a text, or an empty text."""
    if row.standing == "withdrawn" or row.state == "withdrawn":
        return "withdrawn"
    if row.id is None:
        return "about no answer"
    if not row.mime.startswith("text/"):
        return "no text"
    if row.erased is not None or not row.text:
        return "erased"
    if not row.prompt:
        return "its prompt was not kept"
    if row.standing not in ("approved", "released", "rejected"):
        return "blocked by the policy" if row.standing == "auto_blocked" else "not decided"
    if decider == SYSTEM:
        return "nobody decided"
    if row.state == "edited" and row.standing != "rejected":
        return "approved after it had been edited"
    return ""
