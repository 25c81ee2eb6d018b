"""What a page is made with: who asks, what they sent, what is shown. Knows no page and no table.

See the package's docstring for how to add a page.
"""

import contextlib
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from spearhead.core import clock, figures, money, sentence
from spearhead.core.errors import SpearheadError
from spearhead.core.sentence import Said
from spearhead.engine.run import Engine
from spearhead.service.studio import words
from spearhead.service.studio.door import Door
from spearhead.service.studio.line import Line
from spearhead.service.studio.people import Person
from spearhead.service.verify import Verifier
from spearhead.store.home import Home

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_FORM = 1 << 20
"""Bytes of a form without a file."""
MOST_FIELDS = 200
LOOKS = ("auto", "light", "dark")


class PageError(Exception):
    """A page that says what went wrong; `key` names the sentence, `detail` is one of an error's own."""

    def __init__(self, status: int, key: str, *, detail: Said = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {key} {detail}")
        self.status, self.key, self.detail, self.headers = status, key, detail, dict(headers or {})


class SignIn(Exception):
    """Whoever asks must sign in first, and comes back to `path` then."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation: where it leads and who sees it (no roles: everybody)."""

    name: str
    path: str
    roles: tuple[str, ...] = ()


@dataclass(slots=True)
class Studio:
    """What every page may reach: `studio(request)`."""

    engine: Engine
    home: Home
    door: Door
    verifier: Verifier
    line: Line
    places: tuple[Place, ...]
    rooms: dict[str, Any] = field(default_factory=dict)
    """What a page keeps between requests, under its own name."""


@dataclass(slots=True)
class Visitor:
    """Whoever asks: `request.state.visitor`, found by the frame before a page runs."""

    secret: str
    """Of the session; of nobody's before they sign in."""
    person: Person | None
    language: str
    look: str
    address: str
    trouble: SpearheadError | None = None
    """Why it is not known who they are."""

    @property
    def token(self) -> str:
        """What every form of this visitor carries; it tells nothing of the secret."""
        return hmac.new(self.secret.encode(), b"spearhead studio forms", hashlib.sha256).hexdigest()


def studio(request: Request) -> Studio:
    """What every page may reach."""
    found = request.app.state.studio
    assert isinstance(found, Studio)
    return found


def visitor(request: Request) -> Visitor:
    """Whoever asks."""
    found = request.state.visitor
    assert isinstance(found, Visitor)
    return found


async def signed_in(request: Request, *roles: str) -> Person:
    """The person who asks, who has one of `roles` (none named: any). Else they sign in first, or are told no."""
    who = visitor(request)
    if who.trouble is not None:
        raise who.trouble  # a database that is away is never a person who must sign in
    if who.person is None:
        if request.method != "GET":
            raise PageError(401, "signed_out")
        raise SignIn(here(request))
    if roles and not who.person.may(*roles):
        raise PageError(403, "not_yours")
    return who.person


async def form(request: Request, *, most: int = MOST_FORM) -> FormData:
    """The fields that were sent, once it is certain that they come from a page of ours. Call it for every POST.

    Refuses what another site made the browser send, by Origin and Sec-Fetch-Site and by the token of the session,
    and more than `most` bytes.
    """
    _same_origin(request)
    body = await _body(request, most=most)
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    again = Request(request.scope, receive)
    try:
        fields = await again.form(max_files=4, max_fields=MOST_FIELDS, max_part_size=most)
    except Exception as error:  # starlette's, python-multipart's and codecs' errors have no class in common
        raise PageError(400, "bad_form") from error
    token = request.headers.get("x-form-token") or fields.get("token")
    if not isinstance(token, str) or not hmac.compare_digest(token.encode(), visitor(request).token.encode()):
        raise PageError(403, "stale_form")
    return fields


def text(fields: FormData, name: str, *, most: int = 1000) -> str:
    """A field's text without the spaces around it; empty when it was not sent."""
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise PageError(400, "bad_form")
    if len(value) > most:
        raise PageError(400, "too_long")
    if "\0" in value:
        raise PageError(400, "bad_form")
    return value.strip()


def render(
    request: Request,
    template: str,
    values: Mapping[str, Any] | None = None,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A page of `templates/`; it can use `t("page.key", n=3)`, `person`, `token`, `language`, `path` and `values`.

    `say(sentence)` says what came as data, `named("review.categories", "privacy")` gives a word of such a table.
    """
    made = part(request, template, values)
    return HTMLResponse(made, status_code=status, headers=dict(headers or {}))


def part(request: Request, template: str, values: Mapping[str, Any] | None = None) -> str:
    """A template as a text: a piece of a page, with the same names as in `render`."""
    who = visitor(request)
    person = who.person

    def t(key: str, **places: object) -> str:
        return words.say(who.language, key, places)

    def has(key: str) -> bool:
        return key in words.book(who.language)

    context = {
        **(values or {}),
        "t": t,
        "say": partial(say, request),
        "named": partial(sentence.named, language=who.language),
        "has": has,
        "person": person,
        "token": who.token,
        "language": who.language,
        "languages": words.LANGUAGES,
        "look": who.look,
        "looks": LOOKS,
        "path": request.url.path,
        "here": here(request),
        "places": [
            place
            for place in studio(request).places
            if not place.roles or (person is not None and person.may(*place.roles))
        ],
    }
    return templates().get_template(template).render(context)


def say(request: Request, what: Said) -> str:
    """A sentence in the visitor's language."""
    return sentence.say(what, visitor(request).language)


def go(path: str) -> Response:
    """Send the browser on to a page of ours, after a POST or instead of a page."""
    return RedirectResponse(safe(path), status_code=303)


def safe(path: str) -> str:
    """`path` when it leads to a page of ours, else the first page: nobody is sent to another site."""
    parts = urlsplit(path) if path.isprintable() and len(path) <= 2000 and "\\" not in path else None
    inside = parts is not None and not parts.scheme and not parts.netloc
    return path if inside and path.startswith("/") and not path.startswith("//") else "/"


def here(request: Request) -> str:
    """Path and query of the page itself; for what answers a form, of the page that holds the form."""
    if request.method not in ("GET", "HEAD"):
        return before(request) or "/"
    query = request.url.query
    return quote(request.url.path, safe="/@") + (f"?{query}" if query else "")


def before(request: Request) -> str:
    """Path and query of the page of ours that led here, as the browser tells; empty when it does not."""
    try:
        parts = urlsplit(request.headers.get("referer", "")[:2000])
    except ValueError:
        return ""
    if parts.netloc != request.headers.get("host", ""):
        return ""
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return path if path != "/" and safe(path) == path else ""


@cache
def templates() -> "Environment":
    """The templates, compiled when they are first shown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {"money": money.show, "figure": figures.show, "when": clock.shown, "from_json": json.loads}
    return made


def _same_origin(request: Request) -> None:
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None:
        raise PageError(403, "foreign_form")
    if site is not None and site != "same-origin":
        raise PageError(403, "foreign_form")
    if origin is not None and urlsplit(origin[:300]).netloc != request.headers.get("host", ""):
        raise PageError(403, "foreign_form")


async def _body(request: Request, *, most: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > most:
        raise PageError(413, "too_large", headers={"connection": "close"})
    pieces, size = [], 0
    with contextlib.suppress(StopAsyncIteration):
        async for piece in request.stream():
            size += len(piece)
            if size > most:
                raise PageError(413, "too_large", headers={"connection": "close"})
            pieces.append(piece)
    return b"".join(pieces)
