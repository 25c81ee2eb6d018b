"""Where people decide what policies hold: the queue, one piece as it would leave, and the decision on its exact bytes.

Reviewers decide, auditors look. Every decision names the hash of the bytes that its page showed and the version that
the item had then, so that nobody decides on what they did not see.
"""

import asyncio
import re
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from spearhead.core import media as medias
from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.sentence import Said
from spearhead.engine import edits
from spearhead.engine.held import settle_decided
from spearhead.engine.outputs import MIME
from spearhead.provenance import audit
from spearhead.review import queue
from spearhead.review.queue import Item, Moved
from spearhead.service.studio import reviews
from spearhead.service.studio.page import PageError, form, go, render, signed_in, studio, text
from spearhead.service.studio.people import Person
from spearhead.service.studio.reviews import Piece, Span

T = TypeVar("T")
LOOKS = ("reviewer", "auditor")
LONGEST_REASON = 2000
SAID = ("approved", "joined", "rejected", "escalated", "back", "none", "edited", "renewed")
"""What the page before may have done; the next one says so."""
_DONE = {"approve": "piece approved", "reject": "piece rejected", "escalate": "piece handed on"}
_PERSON = re.compile(r"per_[0-9a-f]{20}")
_FILE = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}


async def list_(request: Request) -> Response:
    """What waits, what is in one's hands, what was decided."""
    person = await signed_in(request, *LOOKS)
    which = request.query_params.get("list", "waiting")
    scenario = request.query_params.get("scenario", "")[:120] or None
    page = _page(request)
    if which not in reviews.LISTS:
        raise PageError(404, "no_page")
    clock = studio(request).engine.clock

    def work(connection: Connection) -> dict[str, object]:
        rows, more = reviews.listed(connection, which, reviewer=person.id, scenario=scenario, page=page, clock=clock)
        return {
            "rows": rows,
            "more": more,
            "counts": reviews.count(connection, person.id, scenario=scenario, clock=clock),
            "scenarios": reviews.scenarios(connection),
            "names": reviews.names(connection, [name for row in rows for name in (row.holder, row.by) if name]),
        }

    found = await studio(request).engine.desk.read(work)
    values = {
        **found,
        "which": which,
        "lists": [name for name in reviews.LISTS if name != "mine" or person.may("reviewer")],
        "scenario": scenario or "",
        "number": page,
        "said": _said(request),
        "may_decide": person.may("reviewer"),
    }
    return render(request, "review.html", values)


async def next_(request: Request) -> Response:
    """Take the oldest item that waits for this person."""
    person = await signed_in(request, "reviewer")
    fields = await form(request)
    return await _next(request, person, scenario=text(fields, "scenario", most=120))


async def show(request: Request) -> Response:
    """One item: what was asked, what would leave, what was found, what it is like, what happened to it."""
    person = await signed_in(request, *LOOKS)
    return await _show(request, person)


async def claim(request: Request) -> Response:
    """Take this item."""
    person = await signed_in(request, "reviewer")
    await form(request)
    id = _id(request)
    clock = studio(request).engine.clock
    item = await _write(request, lambda c: queue.claim(c, reviewer=person.id, review=id, clock=clock))
    if item is None:
        return await _moved(request, person)
    return go(f"/review/{id}")


async def renew(request: Request) -> Response:
    """Let the lease begin anew: a page again, or for the script how many seconds there are now."""
    person = await signed_in(request, "reviewer")
    await form(request)
    id, clock = _id(request), studio(request).engine.clock
    try:
        item = await _write(request, lambda c: queue.renew(c, id, reviewer=person.id, clock=clock))
    except Moved:
        return await _moved(request, person)
    if request.headers.get("accept") == "application/json":
        return JSONResponse({"seconds": _seconds(request, item)})
    return go(f"/review/{id}?said=renewed")


async def back(request: Request) -> Response:
    """Give an item back undecided."""
    person = await signed_in(request, "reviewer")
    await form(request)
    id, clock = _id(request), studio(request).engine.clock
    try:
        await _write(request, lambda c: queue.give_back(c, id, reviewer=person.id, clock=clock))
    except Moved:
        return await _moved(request, person)
    return go("/review?said=back")


async def decide(request: Request) -> Response:
    """Approve, reject or escalate the very bytes that the form names."""
    person = await signed_in(request, "reviewer")
    fields = await form(request)
    id, clock = _id(request), studio(request).engine.clock
    decision, reason = text(fields, "decision", most=20), text(fields, "reason", most=LONGEST_REASON)
    blob, version = text(fields, "blob", most=64), _version(fields)
    if decision not in ("approve", "reject", "escalate"):
        raise PageError(400, "bad_form")
    if decision == "approve" and (await _piece(request, person)).output.erased:
        raise PageError(409, "moved")  # there are no bytes to approve any more
    if decision != "approve" and not reason:
        return await _show(request, person, wrong="review.no_reason", asked=decision)

    def work(connection: Connection) -> Item:
        if decision == "approve":
            item = queue.approve(
                connection, id, reviewer=person.id, blob=blob, reason=reason, version=version, clock=clock
            )
        else:
            act = queue.reject if decision == "reject" else queue.escalate
            item = act(connection, id, reviewer=person.id, reason=reason, blob=blob, version=version, clock=clock)
        # Not the reason: it may hold words of the piece, and what is erased is to be gone.
        detail = {"output": item.output, "blob": item.blob, "state": item.state}
        audit.append(connection, actor=person.id, action=_DONE[decision], subject=id, detail=detail, clock=clock)
        return item

    try:
        item = await _write(request, work)
    except Moved:
        return await _moved(request, person)
    await settle_decided(studio(request).engine)
    said = {"approve": "approved" if item.state == "approved" else "joined", "reject": "rejected"}.get(
        decision, "escalated"
    )
    if text(fields, "then", most=8) == "next":
        return await _next(request, person, scenario=text(fields, "scenario", most=120), said=said)
    return go(f"/review?said={said}")


async def edit(request: Request) -> Response:
    """Put other words in the place of a held text; they are reviewed and labelled, and are to be approved then."""
    person = await signed_in(request, "reviewer")
    fields = await form(request)
    id, engine = _id(request), studio(request).engine
    raw, version = fields.get("words", ""), _version(fields)
    if not isinstance(raw, str) or "\0" in raw:
        raise PageError(400, "bad_form")
    words = raw.replace("\r\n", "\n")  # browsers send every line's end so
    try:
        row = await edits.edit(engine, id, reviewer=person.id, text=words, version=version)
    except Moved:
        return await _moved(request, person)
    except InputError as error:
        return await _show(request, person, refused=error.said, words=words)
    await settle_decided(engine)
    await _write(request, lambda c: queue.claim(c, reviewer=person.id, review=row.review, clock=engine.clock))
    return go(f"/review/{row.review}?said=edited")


async def file(request: Request) -> Response:
    """The exact bytes that would leave."""
    person = await signed_in(request, *LOOKS)
    found = await _piece(request, person)
    media = await _media(request, found)
    kind = f"{media.mime}; charset=utf-8" if media.modality == "text" else media.mime
    headers = {**_FILE, "content-type": kind, "etag": f'"{found.item.blob}"', "x-ai-generated": "true"}
    if "download" in request.query_params or media.modality == "text":
        ending = "txt" if media.modality == "text" else media.mime.rpartition("/")[2]
        headers["content-disposition"] = f'attachment; filename="{found.output.id}.{ending}"'
    return Response(media.data, headers=headers)


async def nearest(request: Request) -> Response:
    """The training picture that this one is most like, as small as the index keeps it."""
    person = await signed_in(request, *LOOKS)
    found = await _piece(request, person)
    media = await _media(request, found)
    like = await asyncio.to_thread(
        reviews.nearest, media, reviews.folder_of(found.output.release, studio(request).home)
    )
    if like is None or not like.png:
        raise PageError(404, "no_page")
    return Response(like.png, headers={**_FILE, "content-type": "image/png"})


async def _show(
    request: Request,
    person: Person,
    *,
    wrong: str = "",
    refused: Said = "",
    words: str | None = None,
    asked: str = "",
) -> Response:
    found = await _piece(request, person)
    media = None if found.output.erased else await _media(request, found)
    own, is_text = found.output.text, found.output.mime.startswith("text/")
    folder = reviews.folder_of(found.output.release, studio(request).home)
    looked = medias.text(own) if is_text else media
    like = await asyncio.to_thread(reviews.nearest, looked, folder) if looked is not None else None
    shown: tuple[Span, ...] = ()
    if media is not None and is_text:
        places = [seen.finding for seen in found.findings]
        shown = await asyncio.to_thread(reviews.spans, media.text, own=own, findings=places)
    steps = found.history
    names = await studio(request).engine.desk.read(
        lambda c: reviews.names(c, [*(step.actor for step in steps), found.item.claimed_by or ""])
    )
    mine = found.item.state == "claimed" and found.item.claimed_by == person.id
    seconds = _seconds(request, found.item)
    values = {
        "piece": found,
        "item": found.item,
        "spans": shown,
        "is_text": is_text,
        "bytes": len(media.data) if media is not None else 0,
        "erased": found.output.erased,
        "own": own if words is None else words,
        "may_edit": found.output.mime == MIME and found.output.state == "held" and media is not None,
        "like": like,
        "names": names,
        "by_name": lambda reason: _PERSON.sub(lambda hit: names.get(hit.group(), hit.group()), reason),
        "mine": mine and seconds > 0,
        "seconds": seconds,
        "waits": found.item.state in queue.WAITING or (found.item.state == "claimed" and seconds == 0),
        "may_decide": person.may("reviewer"),
        "own_account": found.output.account == person.account,
        "wrong": wrong,
        "refused": refused,
        "asked": asked,
        "editing": words is not None,
        "said": _said(request),
        "longest": LONGEST_REASON,
        "scenario": found.item.scenario,
    }
    return render(request, "review_item.html", values, status=400 if wrong or refused else 200)


async def _next(request: Request, person: Person, *, scenario: str, said: str = "") -> Response:
    clock = studio(request).engine.clock
    item = await _write(request, lambda c: queue.claim(c, reviewer=person.id, scenario=scenario or None, clock=clock))
    if item is None:
        return go(f"/review?said={said or 'none'}")
    return go(f"/review/{item.id}" + (f"?said={said}" if said else ""))


async def _moved(request: Request, person: Person) -> Response:
    """Somebody was first, or the bytes are others: how it stands now, and nothing was decided."""
    found = await _piece(request, person)
    by_people = [step for step in found.history if step.actor != queue.SYSTEM]
    last = (by_people or found.history)[-1]
    values = {
        "item": found.item,
        "last": last,
        "actor": (await studio(request).engine.desk.read(lambda c: reviews.names(c, [last.actor])))[last.actor],
        "mine": found.item.claimed_by == person.id,
    }
    return render(request, "review_moved.html", values, status=409)


async def _piece(request: Request, person: Person) -> Piece:
    id, home = _id(request), studio(request).home
    try:
        return await studio(request).engine.desk.read(
            lambda connection: reviews.piece(connection, id, reviewer=person.id, home=home)
        )
    except InputError as error:
        raise PageError(404, "no_page") from error


async def _media(request: Request, found: Piece) -> Media:
    """The bytes that the item is bound to; the store refuses any that are not those."""
    if found.item.blob is None or found.output.erased:
        raise PageError(404, "no_page")
    return await studio(request).engine.sealer.file(found.item.blob, mime=found.output.mime)


async def _write(request: Request, work: Callable[[Connection], T]) -> T:
    return await studio(request).engine.desk.write(work)


def _seconds(request: Request, item: Item) -> int:
    """What is left of its lease."""
    if item.lease is None:
        return 0
    return max(0, int((datetime.fromisoformat(item.lease) - studio(request).engine.clock()).total_seconds()))


def _id(request: Request) -> str:
    return str(request.path_params["id"])[:64]


def _version(fields: FormData) -> int:
    version = text(fields, "version", most=9)
    if not (version.isascii() and version.isdecimal()):
        raise PageError(400, "bad_form")
    return int(version)


def _page(request: Request) -> int:
    number = request.query_params.get("page", "1")
    if not (number.isascii() and number.isdecimal() and len(number) <= 6 and int(number) >= 1):
        raise PageError(404, "no_page")
    return int(number)


def _said(request: Request) -> str:
    said = request.query_params.get("said", "")
    return said if said in SAID else ""


ROUTES = [
    Route("/review", list_),
    Route("/review/next", next_, methods=["POST"]),
    Route("/review/{id}", show),
    Route("/review/{id}/claim", claim, methods=["POST"]),
    Route("/review/{id}/renew", renew, methods=["POST"]),
    Route("/review/{id}/back", back, methods=["POST"]),
    Route("/review/{id}/decide", decide, methods=["POST"]),
    Route("/review/{id}/edit", edit, methods=["POST"]),
    Route("/review/{id}/file", file),
    Route("/review/{id}/nearest.png", nearest),
]
