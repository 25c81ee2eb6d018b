"""What people look at when they review: the queue with what was found, one piece as it would leave, what it is like.

Reads the store and a release's own index. Decides nothing: `review/queue.py` moves items. Knows no browser.
"""

import contextlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.review import Direction, Finding, Policy
from spearhead.engine import outputs
from spearhead.engine.loaded import read_policy
from spearhead.engine.outputs import Output
from spearhead.index import copies, near, pictures
from spearhead.review import policy as policies
from spearhead.review import queue
from spearhead.review.queue import Item, Transition
from spearhead.store import releases
from spearhead.store.database import reading
from spearhead.store.home import Home
from spearhead.store.tables import outputs as output_table
from spearhead.store.tables import people, review_transitions, reviews, settings

LISTS = ("waiting", "mine", "decided")
PAGE = 50
"""Lines on a page of the queue."""
DECIDED = ("approved", "rejected", "released", "withdrawn")
_OPEN = (*queue.WAITING, "claimed")
_LABELS = range(0xE0000, 0xE1000)
"""Tags and variation selectors: how a manifest lies in a text (C2PA 2.4, text wrapper)."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the queue."""

    id: str
    scenario: str
    release: str
    state: str
    mime: str
    created: str
    expires: str
    holder: str | None
    """Who has it in hand."""
    lease: str | None
    people: int
    findings: tuple[Finding, ...]
    """The gravest first."""
    decided: bool
    """Whether the person who asks decided on it before: it waits for another one."""
    by: str | None
    """The last person who decided on it; None when nobody did."""
    decided_at: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many items there are for the person who asks; `held` are in other people's hands."""

    waiting: int
    mine: int
    held: int
    decided: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding and what it leads to under the piece's policy: allow, hold, block; empty when that policy is gone."""

    finding: Finding
    leads_to: str


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text: `plain`, `label` (put around what the model said), `found` (a finding's, with its category)
    or `hidden` (characters nobody sees)."""

    kind: str
    text: str
    note: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Everything about one item but its bytes."""

    item: Item
    output: Output
    messages: tuple[tuple[str, str], ...] | None
    """What was asked, as (role, words); None when it is not kept."""
    findings: tuple[Seen, ...]
    policy: Policy | None
    history: tuple[Transition, ...]
    approvals: int
    """Different people who approved these very bytes so far."""
    decided: bool
    """As in `Row`."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The training item that a piece is most like, from the index that the release carries."""

    record: str
    similarity: float
    """Of word pairs (Jaccard) or of pixels, 1 is the same."""
    spans: tuple[Span, ...] = ()
    """The words of the text; what both share is `found`."""
    shared: int = 0
    """Words of the longest run that both have."""
    png: bytes = b""
    """What the index keeps of a picture: 16 x 16."""


def count(store: Engine | Connection, reviewer: str, *, scenario: str | None = None, clock: Clock = now) -> Counts:
    """What waits, what `reviewer` has in hand, what others have, what was decided."""
    moment, r = stamp(clock()), reviews.c
    mine = sa.and_(r.state == "claimed", r.claimed_by == reviewer, r.lease > moment)
    waits = sa.or_(r.state.in_(queue.WAITING), sa.and_(r.state == "claimed", r.lease <= moment))
    held = sa.and_(r.state == "claimed", r.claimed_by != reviewer, r.lease > moment)
    kinds = [sa.func.sum(sa.case((kind, 1), else_=0)) for kind in (waits, mine, held, r.state.in_(DECIDED))]
    query = sa.select(*kinds)
    if scenario is not None:
        query = query.where(r.scenario == scenario)
    with reading(store) as connection:
        found = connection.execute(query).one()
    return Counts(*(int(value or 0) for value in found))


def scenarios(store: Engine | Connection) -> list[str]:
    """Scenarios that ever had something in the queue."""
    with reading(store) as connection:
        return list(connection.scalars(sa.select(reviews.c.scenario).distinct().order_by(reviews.c.scenario)))


def listed(
    store: Engine | Connection,
    which: str,
    *,
    reviewer: str,
    scenario: str | None = None,
    page: int = 1,
    clock: Clock = now,
) -> tuple[list[Row], bool]:
    """A page of a list and whether another follows; what waits oldest first, what was decided newest first.

    What waits includes what is in somebody's hands, so that a queue of ten never looks empty.
    """
    if which not in LISTS or page < 1:
        raise InputError(f"{which[:40]!r}, page {page}: wanted a page from 1 of {', '.join(LISTS)}.")
    r, moment = reviews.c, stamp(clock())
    later, line = review_transitions.alias().c, review_transitions.c
    query = sa.select(reviews, output_table.c.release, output_table.c.mime, output_table.c.findings).join_from(
        reviews, output_table, output_table.c.id == r.output
    )
    if which == "mine":
        query = query.where(r.state == "claimed", r.claimed_by == reviewer, r.lease > moment).order_by(r.lease, r.id)
    elif which == "waiting":
        query = query.where(r.state.in_(_OPEN)).order_by(r.created, r.id)
    else:
        # From the newest line of the history back: to sort by it would read all that was ever decided.
        follows = sa.exists().where(later.review == line.review, later.id > line.id)
        query = query.join(review_transitions, line.review == r.id)
        query = query.where(line.to_state.in_(DECIDED), ~follows).order_by(line.id.desc())
    if scenario is not None:  # of what was decided by no index, which would begin at the wrong end
        query = query.where((r.scenario + "" if which == "decided" else r.scenario) == scenario)
    with reading(store) as connection:
        rows = connection.execute(query.limit(PAGE + 1).offset((page - 1) * PAGE)).all()
        before = _decided(connection, [row.id for row in rows], reviewer)
        deciders = _deciders(connection, [row.id for row in rows])
    return [_row(row, decided=row.id in before, by=deciders.get(row.id), moment=moment) for row in rows[:PAGE]], len(
        rows
    ) > PAGE


def piece(store: Engine | Connection, review: str, *, reviewer: str, home: Home) -> Piece:
    """One item; raises InputError when there is none."""
    with reading(store) as connection:
        item = queue.find(connection, review)
        output = outputs.find(connection, item.output) if item and item.output else None
        if item is None or output is None:
            raise InputError(f"There is no review {review[:64]!r} of an output.")
        rules = policy_of(connection, output.release, digest=item.policy, home=home)
        approved = sa.select(sa.func.count(sa.distinct(review_transitions.c.actor))).where(
            review_transitions.c.review == review,
            review_transitions.c.from_state == "claimed",
            review_transitions.c.to_state.in_(("escalated", "approved")),
            review_transitions.c.blob == item.blob,
        )
        return Piece(
            item=item,
            output=output,
            messages=_messages(output.prompt),
            findings=tuple(_seen(finding, rules) for finding in outputs.read_findings(output.findings)),
            policy=rules,
            history=tuple(queue.history(connection, review)),
            approvals=int(connection.scalar(approved) or 0),
            decided=bool(_decided(connection, [review], reviewer)),
        )


def policy_of(connection: Connection, release: str, *, digest: str, home: Home) -> Policy | None:
    """The policy with this digest, from its scenario's settings or its release; None when neither holds it now."""
    scenario = release.partition("@")[0]
    query = sa.select(settings.c.value).where(settings.c.scenario == scenario, settings.c.kind == "policy")
    known = [json.loads(value) for value in connection.scalars(query.order_by(settings.c.id.desc()).limit(200))]
    if (folder := folder_of(release, home)) is not None:
        with contextlib.suppress(InputError):  # a release that cannot be read must not hide what waits
            known.append(releases.read(folder).manifest.policy)
    for raw in known:
        found = read_policy(raw)
        if policies.digest_of(found) == digest:
            return found
    return None


def folder_of(release: str, home: Home) -> Path | None:
    """Where `scenario@version` lies here; None when it is gone."""
    scenario, _, version = release.partition("@")
    if not releases.NAME.fullmatch(scenario) or not releases.VERSION.fullmatch(version):
        return None
    folder = home.releases / scenario / version
    return folder if (folder / releases.MANIFEST).is_file() else None


def names(store: Engine | Connection, actors: Sequence[str]) -> dict[str, str]:
    """What people call themselves, by the id that the queue writes down; whoever is unknown is called by that."""
    query = sa.select(people.c.id, people.c.name).where(people.c.id.in_(set(actors)))
    with reading(store) as connection:
        known = {row.id: row.name for row in connection.execute(query)}
    return {actor: known.get(actor, actor) for actor in actors}


def nearest(media: Media, folder: Path | None) -> Nearest | None:
    """The training item most like a piece, from the index of the release in `folder`; None when it carries none."""
    index = None if folder is None else folder / "parts" / "index"
    if index is None:
        return None
    if media.modality == "text" and (index / copies.NAMES).is_file():
        return _nearest_text(bare(media.text), copies.opened(index))
    if media.modality == "image" and (index / pictures.NAMES).is_file():
        return _nearest_picture(media, pictures.opened(index))
    return None


def bare(text: str) -> str:
    """A labelled text without the characters that nobody sees."""
    return "".join(character for character in text if not _hidden(character))


def spans(text: str, *, own: str = "", findings: Sequence[Finding] = ()) -> tuple[Span, ...]:
    """A text as it is shown: where findings lie in `own` (what the model said, which lies in it), what nobody sees.

    >>> [(span.kind, span.text or span.count) for span in spans("a\\u200bb c", own="a\\u200bb c")]
    [('plain', 'a'), ('hidden', 1), ('plain', 'b c')]
    """
    start = text.find(own) if own else -1
    notes: dict[int, str] = {}
    if start >= 0:
        for found in findings:
            if found.start is not None and found.end is not None and 0 <= found.start < found.end <= len(own):
                for place in range(start + found.start, start + found.end):
                    notes.setdefault(place, found.category)
    out: list[Span] = []
    for place, character in enumerate(text):
        note = notes.get(place, "")
        outside = start >= 0 and not start <= place < start + len(own)
        kind = "hidden" if _hidden(character) else "found" if note else "label" if outside else "plain"
        if out and (out[-1].kind, out[-1].note) == (kind, note if kind == "found" else ""):
            last = out.pop()
            out.append(Span(kind, last.text + ("" if kind == "hidden" else character), last.note, last.count + 1))
        else:
            out.append(Span(kind, "" if kind == "hidden" else character, note if kind == "found" else "", 1))
    return tuple(out)


def _hidden(character: str) -> bool:
    code = ord(character)
    if character in "\n\t" or code < 0x7F and code >= 0x20:
        return False
    return code in _LABELS or 0xFE00 <= code <= 0xFE0F or unicodedata.category(character) in ("Cf", "Cc", "Co", "Cn")


def _nearest_text(text: str, index: copies.CopyIndex) -> Nearest | None:
    if not near.WORD.search(text):
        return None
    match = index.nearest(text)
    words = index.text_of(match.id)
    shared = " ".join(near.words(match.span))
    run = copies.SPACES.sub("", shared) if match.span_id == match.id else ""
    at = words.find(run) if run else -1
    if at < 0:
        return Nearest(match.id, match.similarity, (Span("plain", words),), match.words)
    parts = (
        Span("plain", words[:at]),
        Span("found", run, "shared"),
        Span("plain", words[at + len(run) :]),
    )
    return Nearest(match.id, match.similarity, tuple(part for part in parts if part.text), match.words)


def _nearest_picture(media: Media, index: pictures.PictureIndex) -> Nearest:
    from spearhead.media.image import codec

    found = index.nearest(codec.read(media))
    png = codec.write(index.thumbnail(found.id))
    return Nearest(found.id, found.similarity, png=png.data)


def _row(row: "sa.Row[Any]", *, decided: bool, by: tuple[str, str] | None, moment: str) -> Row:
    held = row.state == "claimed" and (row.lease or "") > moment
    found = sorted(outputs.read_findings(row.findings), key=lambda finding: -finding.severity)
    return Row(
        id=row.id,
        scenario=row.scenario,
        release=row.release,
        state=row.state,
        mime=row.mime,
        created=row.created,
        expires=row.expires,
        holder=row.claimed_by if held else None,
        lease=row.lease if held else None,
        people=row.people,
        findings=tuple(found),
        decided=decided,
        by=by[0] if by else None,
        decided_at=by[1] if by else None,
    )


def _deciders(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Who decided last on each of these items, and when."""
    t = review_transitions.c
    query = (
        sa.select(t.review, t.actor, t.happened)
        .where(t.review.in_(ids), t.actor != queue.SYSTEM, t.to_state.in_(("approved", "rejected", "withdrawn")))
        .order_by(t.id)
    )
    return {review: (actor, happened) for review, actor, happened in connection.execute(query).tuples()}


def _decided(connection: Connection, ids: Sequence[str], reviewer: str) -> set[str]:
    """Those items that `reviewer` decided on before, as `queue.claim` counts it."""
    t = review_transitions.c
    query = sa.select(t.review).where(
        t.review.in_(ids),
        t.actor == reviewer,
        t.from_state == "claimed",
        t.to_state.in_(("escalated", "rejected", "approved")),
        t.reason != queue.GIVEN_BACK,
    )
    return set(connection.scalars(query))


def _seen(finding: Finding, rules: Policy | None) -> Seen:
    if rules is None:
        return Seen(finding, "")
    direction = Direction.PROMPT if outputs.of_prompt(finding) else Direction.OUTPUT
    return Seen(finding, policies.consequence(rules, finding, direction).value)


def _messages(text: str | None) -> tuple[tuple[str, str], ...] | None:
    if text is None:
        return None
    return tuple((str(one.get("role", "")), str(one.get("content", ""))) for one in json.loads(text))


def hash_of(media: Media) -> str:
    """The sha256 of the bytes that are shown, which a decision names."""
    return digest.of_bytes(media.data)
