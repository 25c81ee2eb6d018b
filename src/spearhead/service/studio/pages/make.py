"""Make: the form of every release that is up, and the line of one's own work with its drafts as they come."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from spearhead.core import money
from spearhead.core.errors import InputError
from spearhead.core.sentence import Said, said
from spearhead.engine import outputs
from spearhead.engine.loaded import Loaded
from spearhead.ledger import journal
from spearhead.service.studio import asking, page, words
from spearhead.service.studio.asking import Ask
from spearhead.service.studio.line import News, Work
from spearhead.service.studio.page import PageError, Studio, form, go, render, signed_in, studio, visitor
from spearhead.service.studio.people import Person

ROLE = "creator"
LARGEST_LIST = 256 << 10
"""Bytes of a file of prompts."""
MOST_LIST_FORM = 4 << 20
STILL_THERE = 15.0
"""Seconds after which a stream without news says that it is alive, and looks whether its reader is still signed in."""


async def show(request: Request) -> Response:
    """Form and line."""
    person = await signed_in(request, ROLE)
    chosen, values = request.query_params.get("scenario", ""), dict[str, Any]()
    if number := request.query_params.get("from", ""):
        chosen, values = await _again(request, person, number[:64])
    elif work := studio(request).line.find(person, request.query_params.get("work", "")):
        chosen, values = work.request.scenario, _once_more(request, work)
    await studio(request).line.look_again(person)
    return await _page(request, person, chosen=chosen, values=values, again=bool(values))


async def make(request: Request) -> Response:
    """Put what was asked for into the line."""
    person = await signed_in(request, ROLE)
    fields = await form(request, most=MOST_LIST_FORM)
    sent = {name: value for name, value in fields.items() if isinstance(value, str)}
    chosen = sent.get("scenario", "")
    try:
        loaded = _loaded(studio(request), chosen)
        if loaded is None:
            raise InputError(said("service.studio.ask.gone", scenario=chosen[:80]))
        prompts = await _prompts(fields, sent)
        asked = asking.requests(_form(request, loaded), sent, prompts=prompts, account=person.account)
        for one in asked[:1]:  # all of them alike but for their words: what the model cannot do is said at once
            await asyncio.to_thread(studio(request).engine.prepare, one, key=person.id)
        studio(request).line.add(person, asked)
    except InputError as error:
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse({"problem": page.say(request, error.said)}, status_code=400)
        return await _page(request, person, chosen=chosen, values=sent, problem=error.said)
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"added": len(asked)})
    return go(f"/make?scenario={chosen}#line")


async def cancel(request: Request) -> Response:
    """Stop one piece of work, or all of it."""
    person = await signed_in(request, ROLE)
    fields = await form(request)
    studio(request).line.cancel(person, page.text(fields, "work"))
    return _done(request)


async def clear(request: Request) -> Response:
    """Show what is over no more."""
    person = await signed_in(request, ROLE)
    await form(request)
    studio(request).line.clear(person)
    return _done(request)


async def news(request: Request) -> Response:
    """What happens to one's work, as server-sent events: `work` with a card, `more` with an answer's next words."""
    person = await signed_in(request, ROLE)
    request.scope["state"]["route"] = "studio news"  # lasts as long as its window: apart from how fast pages are
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_told(request, person), media_type="text/event-stream", headers=headers)


async def _told(request: Request, person: Person) -> AsyncIterator[bytes]:
    line, door, secret = studio(request).line, studio(request).door, visitor(request).secret
    news = line.listen(person)
    try:
        cards = [_card(request, one) for one in line.of(person)]
        whole = {"cards": cards, "person": person.id, "balance": await _balance(request, person)}
        yield b"retry: 1000\n\n" + _event("all", whole)
        while True:
            try:
                async with asyncio.timeout(STILL_THERE):
                    one = await news.get()
            except TimeoutError:
                if not await door.still(secret):
                    return
                yield b": still here\n\n"
                continue
            if one is None:
                return
            yield await _said(request, person, one)
    finally:
        line.deaf(person, news)


async def _said(request: Request, person: Person, one: News) -> bytes:
    if one.delta:
        return _event("more", {"work": one.work.id, "index": one.index, "part": one.part, "delta": one.delta})
    left = {"balance": await _balance(request, person)} if one.work.over else {}
    return _event("work", _card(request, one.work) | left)


def _card(request: Request, work: Work) -> dict[str, Any]:
    body = page.part(request, "make_card.html", {"work": work})
    return {"work": work.id, "state": work.state, "html": body}


def _event(kind: str, value: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


async def _page(
    request: Request, person: Person, *, chosen: str, values: dict[str, Any], problem: Said = "", again: bool = False
) -> Response:
    room = studio(request)
    names = sorted({one.manifest.scenario for one in room.engine.releases.values()})
    before = [one.request.scenario for one in room.line.of(person)[:1]]
    loaded = next(filter(None, (_loaded(room, name) for name in (chosen, *before, *names))), None)
    ask = _form(request, loaded) if loaded else None
    shown = {
        "names": {name: one.manifest.title for name in names if (one := _loaded(room, name))},
        "ask": ask,
        "price": loaded.price if loaded else None,
        "languages_of": loaded.manifest.languages if loaded else (),
        "example": _example(loaded),
        "values": {**(asking.values_of(ask, {}) if ask else {}), "prompt": "", "list": "", **values},
        "line": room.line.of(person),
        "problem": problem,
        "again": again,
        "balance": await _balance(request, person),
        "most_prompts": asking.MOST_PROMPTS,
    }
    return render(request, "make.html", shown, status=400 if problem else 200)


async def _balance(request: Request, person: Person) -> str:
    """What there is to spend, in words."""
    engine = studio(request).engine
    found = await engine.desk.read(lambda connection: journal.balance(connection, person.account, clock=engine.clock))
    values = {"amount": money.show(found.available), "currency": found.currency}
    return words.say(visitor(request).language, "make.balance", values)


async def _prompts(fields: FormData, sent: dict[str, str]) -> list[str]:
    """The list when there is one, else the one prompt."""
    file = fields.get("file")
    if isinstance(file, UploadFile) and file.filename:
        data = await file.read(LARGEST_LIST + 1)
        if len(data) > LARGEST_LIST:
            raise InputError(said("service.studio.ask.large", most=LARGEST_LIST >> 10))
        return asking.from_file(file.filename, data)
    if many := asking.listed(sent.get("list", "")):
        return many
    return [sent.get("prompt", "").strip()]


async def _again(request: Request, person: Person, number: str) -> tuple[str, dict[str, Any]]:
    """Scenario and form values that ask for an output of one's own account once more."""
    room = studio(request)
    found = await room.engine.desk.read(lambda connection: outputs.find(connection, number))
    if found is None or found.account != person.account or found.erased:
        raise PageError(404, "no_page")
    scenario = found.release.partition("@")[0]
    loaded = _loaded(room, scenario)
    asked = json.loads(found.asked or "{}")
    messages = json.loads(found.prompt or "[]")
    values = asking.values_of(_form(request, loaded), asked) if loaded else {}
    values |= {"prompt": messages[-1]["content"] if messages else "", "count": "1"}
    values["seed"] = "" if found.seed is None else str(found.seed)
    return scenario, values


def _once_more(request: Request, work: Work) -> dict[str, Any]:
    """Form values that ask for a piece of one's line once more."""
    loaded = _loaded(studio(request), work.request.scenario)
    asked = json.loads(outputs.asked_text(work.request))
    return {**(asking.values_of(_form(request, loaded), asked) if loaded else {}), "prompt": work.request.prompt}


def _form(request: Request, loaded: Loaded) -> Ask:
    return asking.of(loaded, language=visitor(request).language)


def _loaded(room: Studio, name: str) -> Loaded | None:
    return room.engine.releases.get(name)


def _example(loaded: Loaded | None) -> str:
    examples = loaded.template.examples if loaded else ()
    return examples[0].input[:200] if examples else ""


def _done(request: Request) -> Response:
    return JSONResponse({}) if "application/json" in request.headers.get("accept", "") else go("/make#line")


ROUTES = [
    Route("/make", show),
    Route("/make", make, methods=["POST"]),
    Route("/make/news", news),
    Route("/make/cancel", cancel, methods=["POST"]),
    Route("/make/clear", clear, methods=["POST"]),
]
