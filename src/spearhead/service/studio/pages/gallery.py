"""Gallery: one's own account's outputs, searched, shown, compared, taken along with their labels, traced and erased."""

import asyncio
import dataclasses
from datetime import date

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spearhead.core.errors import InputError
from spearhead.core.generation import Receipt
from spearhead.core.media import Media
from spearhead.core.sentence import said
from spearhead.engine import books, erasure, outputs
from spearhead.engine.held import settle_decided
from spearhead.engine.outputs import Output
from spearhead.provenance import trace as tracing
from spearhead.service.studio import shelf
from spearhead.service.studio.page import PageError, form, go, render, signed_in, studio
from spearhead.service.studio.people import Person
from spearhead.service.studio.shelf import Wanted
from spearhead.store.blobs import Blobs

ROLES = ("creator", "auditor")
SHOWN = ("image/png", "image/jpeg", "image/webp")
"""Files that a page shows; all others are only taken along."""


async def look(request: Request) -> Response:
    """A page of outputs."""
    person = await signed_in(request, *ROLES)
    wanted = _wanted(request)

    def read(connection: Connection) -> tuple[shelf.Found, list[str]]:
        return shelf.search(connection, person.account, wanted), shelf.scenarios(connection, person.account)

    found, scenarios = await studio(request).engine.desk.read(read)
    top = found.outputs[0].id if found.outputs and wanted.page == 1 else wanted.top
    values = {
        "wanted": wanted,
        "found": found,
        "scenarios": scenarios,
        "states": (*shelf.STATES, "erased"),
        "before": _link(request, wanted.page - 1, top=top) if wanted.page > 1 else "",
        "after": _link(request, wanted.page + 1, top=top) if found.more else "",
        "prompt_of": shelf.prompt_of,
        "filtered": dataclasses.replace(wanted, page=1, top="") != Wanted(),
    }
    return render(request, "gallery.html", values)


async def one(request: Request) -> Response:
    """Everything about an output."""
    person = await signed_in(request, *ROLES)
    found = await _own(request, person)

    def read(connection: Connection) -> tuple[Receipt | None, Output | None]:
        receipt = books.receipt(connection, found.request, account=person.account)
        return receipt, outputs.find(connection, found.edits) if found.edits else None

    receipt, edited = await studio(request).engine.desk.read(read)
    values = {
        "output": found,
        "prompt": shelf.prompt_of(found),
        "asked": shelf.asked_of(found),
        "receipt": receipt,
        "edited": edited,
        "up": found.release.partition("@")[0] in studio(request).engine.releases,
        "mine": person.may("creator"),
    }
    return render(request, "gallery_one.html", values)


async def file(request: Request) -> Response:
    """The labelled file, to be taken along."""
    found, media = await _file(request)
    is_text = media.modality == "text"
    ending = "txt" if is_text else media.mime.rpartition("/")[2]
    headers = {"content-disposition": f'attachment; filename="{found.id}.{ending}"', "x-ai-generated": "true"}
    kind = f"{media.mime}; charset=utf-8" if is_text else media.mime
    return Response(media.data, headers={"content-type": kind, **headers})


async def picture(request: Request) -> Response:
    """The same file, to be shown in a page."""
    _, media = await _file(request)
    if media.mime not in SHOWN:
        raise PageError(404, "no_page")
    headers = {"content-type": media.mime, "content-disposition": "inline", "x-ai-generated": "true"}
    return Response(media.data, headers=headers)


async def compare(request: Request) -> Response:
    """Two outputs side by side, with what is different marked."""
    person = await signed_in(request, *ROLES)
    numbers = [number[:64] for number in request.query_params.getlist("one")][:3]
    if len(numbers) != 2 or numbers[0] == numbers[1]:
        raise PageError(400, "not_two")
    both = [await _find(request, person, number) for number in numbers]
    texts = [one.text if one.state == "released" and one.mime.startswith("text/") else "" for one in both]
    sides = await asyncio.to_thread(shelf.differences, *texts)
    values = {
        "sides": [
            {"output": one, "prompt": shelf.prompt_of(one), "pieces": pieces}
            for one, pieces in zip(both, sides, strict=True)
        ],
        "lines": shelf.table_of(both),
    }
    return render(request, "gallery_compare.html", values)


async def trace(request: Request) -> Response:
    """From the file back to release, sources, licences and credits."""
    found, media = await _file(request)
    room = studio(request)
    store = room.engine.desk.database
    way = await asyncio.to_thread(tracing.trace, media.data, room.home, store, mime=media.mime)
    return render(request, "gallery_trace.html", {"output": found, "way": way})


async def erase(request: Request) -> Response:
    """Erase an output for good."""
    person = await signed_in(request, "creator")
    await form(request)
    found = await _own(request, person)
    room = studio(request)
    blobs, clock = Blobs(room.home.blobs), room.engine.clock

    def work(connection: Connection) -> None:
        why = said("engine.erased.in_studio")
        erasure.erase(connection, found.id, blobs=blobs, actor=person.id, reason=why, clock=clock)

    await room.engine.desk.write(work, account=person.account)
    room.line.forget(found.request)
    return go(f"/gallery/{found.id}")


async def _file(request: Request) -> tuple[Output, Media]:
    person = await signed_in(request, *ROLES)
    found = await _own(request, person)
    if found.state != "released" or found.erased is not None:
        raise PageError(410 if found.state != "held" else 409, "not_to_be_had")
    return found, await studio(request).engine.file(found)


async def _own(request: Request, person: Person) -> Output:
    return await _find(request, person, request.path_params["id"][:64])


async def _find(request: Request, person: Person, number: str) -> Output:
    """An output of the person's own account; there is no other."""
    engine = studio(request).engine
    found = await engine.desk.read(lambda connection: outputs.find(connection, number))
    if found is None or found.account != person.account:
        raise PageError(404, "no_page")
    if found.state == "held":
        await settle_decided(engine)  # a person may have decided a moment ago
        id = found.id
        found = await engine.desk.read(lambda connection: outputs.find(connection, id)) or found
    return found


def _wanted(request: Request) -> Wanted:
    query = request.query_params
    number, state = query.get("page", "1"), query.get("state", "")
    good = number.isascii() and number.isdecimal() and 1 <= len(number) <= 5
    return Wanted(
        words=query.get("words", "").replace("\0", "")[: shelf.LONGEST_WORDS].strip(),
        scenario=query.get("scenario", "").replace("\0", "")[:120],
        state=state if state in (*shelf.STATES, "erased") else "",
        since=_day(query.get("since", "")),
        until=_day(query.get("until", "")),
        page=min(max(1, int(number)), shelf.MOST_PAGES) if good else 1,
        top=query.get("top", "").replace("\0", "")[:64],
    )


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10]) if text else None
    except ValueError as error:
        raise InputError(said("service.studio.form.day", given=text[:20])) from error


def _link(request: Request, number: int, *, top: str) -> str:
    """Another page of what is shown; the first one begins with the newest."""
    plain = request.url.remove_query_params(["page", "top"])
    return "/gallery?" + plain.include_query_params(page=number, **({"top": top} if top and number > 1 else {})).query


ROUTES = [
    Route("/gallery", look),
    Route("/gallery/compare", compare),
    Route("/gallery/{id}", one),
    Route("/gallery/{id}/file", file),
    Route("/gallery/{id}/picture", picture),
    Route("/gallery/{id}/trace", trace),
    Route("/gallery/{id}/erase", erase, methods=["POST"]),
]
