"""What every page gets whatever it shows: its visitor, its headers, and errors as pages in words. Knows no page."""

import logging
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from spearhead.core.errors import InputError, SpearheadError
from spearhead.ledger.holds import NotEnoughCredit
from spearhead.ledger.limits import BudgetSpent, LimitReached
from spearhead.runtimes.failure import RuntimeFailed
from spearhead.service.studio import page, words
from spearhead.service.studio.door import LIFE, TooOften
from spearhead.service.studio.page import LOOKS, PageError, SignIn, Studio, Visitor
from spearhead.store.database import StoreUnavailable

log = logging.getLogger("spearhead.studio")
Message = MutableMapping[str, Any]
App = Callable[[MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Any]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "x-frame-options": "DENY",
}
COOKIE = "spearhead"
YEAR = 365 * 24 * 3600
PASSING = (429, 500, 503)
"""Failures after which the same page may be there in a moment."""


class Frame:
    """Wraps the pages."""

    def __init__(self, app: App, *, studio: Studio) -> None:
        self._app, self.studio = app, studio

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """One request."""
        scope["state"]["route"] = "studio"
        is_file = scope["path"].startswith("/static/")
        cookies = _cookies(scope)
        known = cookies.get(cookie_name(scope), "")
        visitor = scope["state"]["visitor"] = await self._visitor(scope, cookies, known="" if is_file else known)
        begun = ended = False

        async def sending(message: Message) -> None:
            nonlocal begun, ended
            if message["type"] == "http.response.start":
                begun = True
                given = {name for name, _ in message.get("headers", ())}
                more = dict(HEADERS)
                if not is_file:
                    more["cache-control"] = "no-store"
                    if known != visitor.secret and b"set-cookie" not in given:
                        more["set-cookie"] = cookie(scope, visitor.secret)
                message["headers"] = [
                    *message.get("headers", ()),
                    *((name.encode(), value.encode()) for name, value in more.items() if name.encode() not in given),
                ]
            else:
                ended = not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            log.error("%s %r failed", scope["state"]["number"], scope["path"][:200], exc_info=error)
            if begun and not ended:
                raise  # the connection must break, so that nobody takes the page for whole

    async def _visitor(self, scope: Any, cookies: dict[str, str], *, known: str) -> Visitor:
        headers = dict(scope["headers"])
        language = words.choose(cookies.get("language", ""), headers.get(b"accept-language", b"").decode("latin-1"))
        look = cookies.get("look", "")
        client = scope.get("client")
        made = Visitor(
            secret=known if 40 <= len(known) <= 64 and known.isascii() else secrets.token_urlsafe(32),
            person=None,
            language=language,
            look=look if look in LOOKS else LOOKS[0],
            address=str(client[0]) if client else "",
        )
        if known:
            try:
                made.person = await self.studio.door.whose(known)
            except SpearheadError as error:
                made.trouble = error
        return made


def cookie_name(scope: MutableMapping[str, Any]) -> str:
    """The session's; over https no other host can have set it."""
    return f"__Host-{COOKIE}" if scope.get("scheme") == "https" else COOKIE


def cookie(scope: MutableMapping[str, Any], secret: str) -> str:
    """The header that keeps a session's secret in the browser, out of reach of scripts; an empty one takes it away."""
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    life = int(LIFE.total_seconds()) if secret else 0
    return f"{cookie_name(scope)}={secret}; Path=/; Max-Age={life}; HttpOnly; SameSite=Lax{secure}"


async def said(request: Request, error: Exception) -> Response:
    """Any failure as a page with the ways on, or as the way to the page that helps; to a script of ours, its words."""
    if isinstance(error, SignIn):
        return page.go(f"/login?next={quote(error.path, safe='')}")
    known = _known(error)
    if known.status == 500 and isinstance(error, SpearheadError):  # what nobody foresaw is written down by the frame
        log.error("%s failed: %s", request.scope["state"]["number"], error)
    back = page.before(request)
    if "application/json" in request.headers.get("accept", ""):
        told = {"problem": _problem(request, known), "code": known.key}
        return JSONResponse(told, status_code=known.status, headers=known.headers)
    values = {
        "status": known.status,
        "title": known.key,
        "detail": known.detail,
        "again": page.here(request) if request.method == "GET" and known.status in PASSING else "",
        "enter": f"/login?next={quote(back or '/', safe='')}" if known.status == 401 else "",
        "back": back if back != page.here(request) or request.method != "GET" else "",
    }
    return page.render(request, "error.html", values, status=known.status, headers=known.headers)


def _problem(request: Request, known: PageError) -> str:
    """The same words for a script of ours, which shows them where the person is."""
    language = page.visitor(request).language
    title, text = (words.say(language, f"error.{known.key}.{part}", {}) for part in ("title", "text"))
    detail = page.say(request, known.detail)
    return "\n".join(filter(None, (title, text, detail)))


def _known(error: Exception) -> PageError:
    match error:
        case PageError():
            return error
        case HTTPException(status_code=405):
            return PageError(405, "wrong_method")
        case HTTPException():
            return PageError(404, "no_page")
        case TooOften(seconds=seconds):
            return PageError(429, "too_often", headers={"retry-after": str(seconds)})
        case StoreUnavailable():
            return PageError(503, "no_store", headers={"retry-after": "2"})
        case NotEnoughCredit() | BudgetSpent():
            return PageError(402, "no_credit", detail=error.said)
        case LimitReached():
            return PageError(429, "limit", detail=error.said)
        case RuntimeFailed():
            return PageError(503, "no_runtime", detail=error.said, headers={"retry-after": "2"})
        case InputError():
            return PageError(400, "bad_input", detail=error.said)
        case _:
            return PageError(500, "broken")


def _cookies(scope: MutableMapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name == b"cookie" and len(value) < 8192:
            for part in value.decode("latin-1").split(";"):
                key, _, text = part.strip().partition("=")
                found.setdefault(key, text)
    return found
