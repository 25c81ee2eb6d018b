"""Signing in and out. One answer for an unknown name and a wrong password; a session is new at every sign-in."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spearhead.service.studio import people
from spearhead.service.studio.frame import cookie
from spearhead.service.studio.page import form, go, render, safe, studio, text, visitor


async def ask(request: Request) -> Response:
    """The form."""
    after = safe(request.query_params.get("next", "/"))
    if visitor(request).person is not None:
        return go(after)
    return render(request, "login.html", {"after": after, "name": "", "wrong": False})


async def enter(request: Request) -> Response:
    """Let a person in."""
    fields = await form(request)
    name, after = text(fields, "name", most=200), safe(text(fields, "next", most=2000) or "/")
    who = visitor(request)
    asked = people.typed(fields.get("password"))
    secret = await studio(request).door.enter(name, asked, address=who.address, old=who.secret)
    if secret is None:
        return render(request, "login.html", {"after": after, "name": name, "wrong": True}, status=401)
    answer = go(after)
    answer.headers["set-cookie"] = cookie(request.scope, secret)
    return answer


async def leave(request: Request) -> Response:
    """End the session; the browser gets a new one that is nobody's."""
    await form(request)
    await studio(request).door.leave(visitor(request).secret)
    answer = go("/login")
    answer.headers["set-cookie"] = cookie(request.scope, "")
    return answer


ROUTES = [
    Route("/login", ask),
    Route("/login", enter, methods=["POST"]),
    Route("/logout", leave, methods=["POST"]),
]
