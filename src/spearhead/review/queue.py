"""The queue in which people decide what policies hold. Knows states and who may move them; knows nothing of content.

    received -> auto_passed | auto_blocked | needs_human -> claimed (lease) -> approved | rejected | escalated
    approved -> released -> withdrawn;  rejected | auto_blocked -> appealed -> claimed

`escalated` waits for another person: because someone asked, or because a policy wants several to approve. Every
transition is compare-and-set on the row's version and written down with actor, reason, policy and bytes.
"""

import contextlib
import dataclasses
import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest, sentence
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.core.review import Decision
from spearhead.core.sentence import Said, said
from spearhead.store.database import reading, writing
from spearhead.store.tables import review_transitions, reviews

SYSTEM = "system"
"""The actor of transitions that no person makes."""
WAITING = ("needs_human", "escalated", "appealed")
LEASE = timedelta(minutes=15)
LONGEST = 2000
"""Characters of a reason."""
GIVEN_BACK = "given back"
"""How the reason of a return is kept, which is no decision: whoever gives an item back may take it again."""
_RETURN = said("review.queue.given_back")

_MOVES = {
    "received": ("auto_passed", "auto_blocked", "needs_human"),
    "needs_human": ("claimed", "rejected"),
    "escalated": ("claimed", "rejected"),
    "appealed": ("claimed", "rejected"),
    "claimed": ("approved", "rejected", "escalated", *WAITING),
    "approved": ("released",),
    "released": ("withdrawn",),
    "rejected": ("appealed",),
    "auto_blocked": ("appealed",),
    "auto_passed": ("released",),
}
_AUTO = {Decision.ALLOW: "auto_passed", Decision.BLOCK: "auto_blocked", Decision.HOLD: "needs_human"}


class Moved(InputError):
    """An item is not as the caller saw it: someone else was first, a lease ended, its bytes are others. Look again."""


@dataclass(frozen=True, slots=True)
class Item:
    """One row of the queue."""

    id: str
    output: str | None
    scenario: str
    state: str
    version: int
    blob: str | None
    """sha256 of the final, labelled bytes: an approval is of these and no others."""
    policy: str
    people: int
    claimed_by: str | None
    lease: str | None
    created: str
    expires: str


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of an item's history."""

    from_state: str
    to_state: str
    actor: str
    reason: Said
    """A person's own words, or a sentence of ours; in rows of before sentences were kept, English words of ours."""
    policy: str
    blob: str | None
    happened: str


def create(
    store: Engine | Connection,
    decision: Decision,
    *,
    scenario: str,
    policy: str,
    blob: str | None,
    output: str | None = None,
    people: int = 1,
    held_hours: float = 24,
    reason: Said = "",
    review: str | None = None,
    clock: Clock = now,
) -> Item:
    """Enter a piece with what the policy decided; a held one waits for a person from now on."""
    if people < 1:
        raise InputError(f"a policy wants at least one person to approve, got {people}")
    moment = clock()
    item = Item(
        id=review or f"rev_{uuid.uuid4().hex}",
        output=output,
        scenario=scenario,
        state="received",
        version=1,
        blob=blob,
        policy=policy,
        people=people,
        claimed_by=None,
        lease=None,
        created=stamp(moment),
        expires=stamp(moment + timedelta(hours=held_hours)),
    )
    with writing(store) as connection:
        connection.execute(reviews.insert().values({name: getattr(item, name) for name in Item.__slots__}))
        return _move(connection, item, _AUTO[decision], actor=SYSTEM, reason=reason, moment=moment)


def claim(
    store: Engine | Connection,
    *,
    reviewer: str,
    scenario: str | None = None,
    review: str | None = None,
    lease: timedelta = LEASE,
    clock: Clock = now,
) -> Item | None:
    """Give the oldest waiting item to `reviewer` for the length of a lease, or None when none is for them.

    Never an item that they decided on before: a second approval and an appeal are another person's.
    """
    moment = clock()
    decided = (  # asked of the few that wait, not of all that this person ever decided on
        sa.select(review_transitions.c.review)
        .where(review_transitions.c.review == reviews.c.id)
        .where(review_transitions.c.actor == reviewer)
        .where(review_transitions.c.from_state == "claimed")
        .where(review_transitions.c.to_state.in_(("escalated", "rejected", "approved")))
        .where(review_transitions.c.reason != GIVEN_BACK)
    )
    wanted = (
        sa.select(reviews)
        .where(reviews.c.state.in_(WAITING), reviews.c.expires > stamp(moment), ~sa.exists(decided))
        .order_by(reviews.c.created, reviews.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if scenario is not None:
        wanted = wanted.where(reviews.c.scenario == scenario)
    if review is not None:
        wanted = wanted.where(reviews.c.id == review)
    with writing(store) as connection:
        _return_expired(connection, moment)
        row = connection.execute(wanted).one_or_none()
        if row is None:
            return None
        held = {"claimed_by": reviewer, "lease": stamp(moment + lease)}
        return _move(connection, _item(row), "claimed", actor=reviewer, reason="", moment=moment, values=held)


def renew(
    store: Engine | Connection, review: str, *, reviewer: str, lease: timedelta = LEASE, clock: Clock = now
) -> Item:
    """Let a lease that still runs begin anew; raises Moved when it does not. No transition: the item stays theirs.

    It never ends later than one that began when the item's own time ran out: what it costs is held no longer.
    """
    moment = clock()
    with writing(store) as connection:
        item = _claimed(connection, review, reviewer=reviewer, moment=moment)
        last = datetime.fromisoformat(item.expires)
        changed = connection.execute(
            reviews.update()
            .where(reviews.c.id == item.id, reviews.c.version == item.version, reviews.c.state == item.state)
            .values(lease=stamp(min(moment, last) + lease))
        )
        if changed.rowcount != 1:
            raise Moved(f"someone else moved {item.id} first: look at it again")
        return _found(connection, review)


def approve(
    store: Engine | Connection,
    review: str,
    *,
    reviewer: str,
    blob: str,
    reason: str = "",
    version: int | None = None,
    clock: Clock = now,
) -> Item:
    """Approve exactly the bytes with this sha256. Where the policy wants more people, the item goes to the next one.

    With `version`, that of the item when they looked, nothing may have moved it since; so in every decision.
    """
    moment = clock()
    with writing(store) as connection:
        item = _claimed(connection, review, reviewer=reviewer, moment=moment, version=version)
        if item.blob is None or blob != item.blob:
            raise Moved(f"{review} was approved for other bytes than it holds: look at it again")
        approvals = sa.select(sa.func.count(sa.distinct(review_transitions.c.actor))).where(
            review_transitions.c.review == review,
            review_transitions.c.actor != reviewer,
            review_transitions.c.from_state == "claimed",
            review_transitions.c.to_state == "escalated",
            review_transitions.c.blob == blob,
        )
        given = 1 + int(connection.execute(approvals).scalar_one())
        target = "approved" if given >= item.people else "escalated"
        why = reason or said("review.queue.approved", given=given, of=item.people)
        return _move(connection, item, target, actor=reviewer, reason=why, moment=moment, blob=blob)


def reject(
    store: Engine | Connection,
    review: str,
    *,
    reviewer: str,
    reason: Said,
    blob: str | None = None,
    version: int | None = None,
    clock: Clock = now,
) -> Item:
    """Reject an item that `reviewer` holds; the reason is kept, and which bytes they saw.

    With `blob`, the sha256 of what they looked at, it must be what the item holds.
    """
    return _decide(store, review, "rejected", reviewer=reviewer, reason=reason, seen=blob, version=version, clock=clock)


def escalate(
    store: Engine | Connection,
    review: str,
    *,
    reviewer: str,
    reason: str,
    blob: str | None = None,
    version: int | None = None,
    clock: Clock = now,
) -> Item:
    """Hand an item on to another person without approving it; `blob` as in `reject`."""
    return _decide(
        store, review, "escalated", reviewer=reviewer, reason=reason, seen=blob, version=version, clock=clock
    )


def give_back(store: Engine | Connection, review: str, *, reviewer: str, clock: Clock = now) -> Item:
    """Return an item undecided; it waits as it did before."""
    moment = clock()
    with writing(store) as connection:
        item = _claimed(connection, review, reviewer=reviewer, moment=moment)
        return _move(connection, item, _came_from(connection, item), actor=reviewer, reason=_RETURN, moment=moment)


def release(store: Engine | Connection, review: str, *, actor: str = SYSTEM, clock: Clock = now) -> Item:
    """What was approved has left."""
    return _by(store, review, "released", actor=actor, reason="", clock=clock)


def withdraw(store: Engine | Connection, review: str, *, actor: str, reason: str, clock: Clock = now) -> Item:
    """What had left is taken back."""
    return _by(store, review, "withdrawn", actor=actor, reason=reason, clock=clock)


def appeal(
    store: Engine | Connection,
    review: str,
    *,
    actor: str,
    reason: str,
    held_hours: float = 24,
    clock: Clock = now,
) -> Item:
    """Ask for another look at what was rejected or blocked; it waits anew, for another person."""
    moment = clock()
    with writing(store) as connection:
        later = {"expires": stamp(moment + timedelta(hours=held_hours))}
        item = _found(connection, review)
        return _move(connection, item, "appealed", actor=actor, reason=reason, moment=moment, values=later)


def expire(store: Engine | Connection, *, clock: Clock = now) -> list[Item]:
    """Return items whose lease has ended to the queue, and reject those that nobody decided in time: gives these."""
    moment = clock()
    overdue = (
        sa.select(reviews)
        .where(reviews.c.state.in_(WAITING), reviews.c.expires <= stamp(moment))
        .order_by(reviews.c.created, reviews.c.id)
        .with_for_update(skip_locked=True)
    )
    with writing(store) as connection:
        _return_expired(connection, moment)
        return [
            _move(connection, _item(row), "rejected", actor=SYSTEM, reason=said("review.queue.in_time"), moment=moment)
            for row in connection.execute(overdue).all()
        ]


def find(store: Engine | Connection, review: str) -> Item | None:
    """The item of this id."""
    with reading(store) as connection:
        row = connection.execute(sa.select(reviews).where(reviews.c.id == review)).one_or_none()
    return None if row is None else _item(row)


def waiting(store: Engine | Connection, *, scenario: str | None = None, limit: int = 100) -> list[Item]:
    """Items that wait for a person, oldest first, those in someone's hands among them."""
    wanted = sa.select(reviews).where(reviews.c.state.in_((*WAITING, "claimed")))
    if scenario is not None:
        wanted = wanted.where(reviews.c.scenario == scenario)
    with reading(store) as connection:
        rows = connection.execute(wanted.order_by(reviews.c.created, reviews.c.id).limit(limit)).all()
    return [_item(row) for row in rows]


def history(store: Engine | Connection, review: str) -> list[Transition]:
    """Every transition of an item, oldest first."""
    wanted = sa.select(review_transitions).where(review_transitions.c.review == review)
    with reading(store) as connection:
        rows = connection.execute(wanted.order_by(review_transitions.c.id)).all()
    fields = [{name: getattr(row, name) for name in Transition.__slots__} for row in rows]
    return [Transition(**{**row, "reason": _told(row["reason"])}) for row in fields]


def _decide(
    store: Engine | Connection,
    review: str,
    target: str,
    *,
    reviewer: str,
    reason: Said,
    clock: Clock,
    seen: str | None,
    version: int | None,
) -> Item:
    if not str(reason).strip():
        raise InputError("a decision against a piece needs a reason")
    moment = clock()
    with writing(store) as connection:
        item = _claimed(connection, review, reviewer=reviewer, moment=moment, version=version)
        if seen is not None and seen != item.blob:
            raise Moved(f"{review} was {target} for other bytes than it holds: look at it again")
        # An escalation decides nothing: bytes beside it would count as an approval of them.
        blob = item.blob if target == "rejected" else None
        return _move(connection, item, target, actor=reviewer, reason=reason, moment=moment, blob=blob)


def _kept(reason: Said) -> str:
    """A reason for its column: a sentence as JSON, a person's own words as they are, but never as a sentence."""
    if isinstance(reason, str):
        own = reason[:LONGEST]
        return own if _told(own) == own else f"{own[: LONGEST - 1]}."
    if reason == _RETURN:
        return GIVEN_BACK
    text = digest.canonical(dataclasses.asdict(reason))
    return text if len(text) <= LONGEST else str(reason)[:LONGEST]


def _told(text: str) -> Said:
    """A reason from its column."""
    if text == GIVEN_BACK:
        return _RETURN
    if text.startswith('{"facts":'):
        with contextlib.suppress(ValueError, RecursionError):
            return sentence.read(json.loads(text))
    return text


def _by(store: Engine | Connection, review: str, target: str, *, actor: str, reason: str, clock: Clock) -> Item:
    moment = clock()
    with writing(store) as connection:
        item = _found(connection, review)
        return _move(connection, item, target, actor=actor, reason=reason, moment=moment, blob=item.blob)


def _found(connection: Connection, review: str) -> Item:
    row = connection.execute(sa.select(reviews).where(reviews.c.id == review).with_for_update()).one_or_none()
    if row is None:
        raise InputError(said("review.queue.none", review=review))
    return _item(row)


def _claimed(
    connection: Connection, review: str, *, reviewer: str, moment: datetime, version: int | None = None
) -> Item:
    """The item, which `reviewer` must hold under a lease that still runs, and not have lost meanwhile."""
    item = _found(connection, review)
    if item.state != "claimed" or item.claimed_by != reviewer:
        raise Moved(f"{review} is {item.state.replace('_', ' ')} and not in the hands of {reviewer}: claim it")
    if item.lease is None or item.lease <= stamp(moment):
        raise Moved(f"the lease of {reviewer} on {review} ended at {item.lease}: claim it again")
    if version is not None and version != item.version:
        raise Moved(f"{review} went through other hands since it was looked at: look at it again")
    return item


def _return_expired(connection: Connection, moment: datetime) -> None:
    ended = (
        sa.select(reviews)
        .where(reviews.c.state == "claimed", reviews.c.lease <= stamp(moment))
        .with_for_update(skip_locked=True)
    )
    for row in connection.execute(ended).all():
        item = _item(row)
        target = _came_from(connection, item)
        _move(connection, item, target, actor=SYSTEM, reason=said("review.queue.lease"), moment=moment)


def _came_from(connection: Connection, item: Item) -> str:
    """The state in which a claimed item waited."""
    last = (
        sa.select(review_transitions.c.from_state)
        .where(review_transitions.c.review == item.id, review_transitions.c.to_state == "claimed")
        .order_by(review_transitions.c.id.desc())
        .limit(1)
    )
    return str(connection.execute(last).scalar_one())


def _move(
    connection: Connection,
    item: Item,
    target: str,
    *,
    actor: str,
    reason: Said,
    moment: datetime,
    blob: str | None = None,
    values: "dict[str, str] | None" = None,
) -> Item:
    """Compare-and-set an item to `target` and write the transition down; raises InputError when someone was first."""
    if target not in _MOVES.get(item.state, ()):
        raise Moved(f"{item.id} is {item.state.replace('_', ' ')}: it cannot become {target.replace('_', ' ')}")
    fields: dict[str, object] = {"claimed_by": None, "lease": None, **(values or {})}
    changed = connection.execute(
        reviews.update()
        .where(reviews.c.id == item.id, reviews.c.version == item.version, reviews.c.state == item.state)
        .values(state=target, version=item.version + 1, **fields)
    )
    if changed.rowcount != 1:
        raise Moved(f"someone else moved {item.id} first: look at it again")
    connection.execute(
        review_transitions.insert().values(
            review=item.id,
            from_state=item.state,
            to_state=target,
            actor=actor,
            reason=_kept(reason),
            policy=item.policy,
            blob=blob,
            happened=stamp(moment),
        )
    )
    return _item(connection.execute(sa.select(reviews).where(reviews.c.id == item.id)).one())


def _item(row: "sa.Row[tuple[object, ...]]") -> Item:
    return Item(**{name: row._mapping[name] for name in Item.__slots__})
