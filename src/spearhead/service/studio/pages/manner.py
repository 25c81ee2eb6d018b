"""In which language and which light the studio is shown: the visitor's choice, kept in their browser."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spearhead.service.studio import words
from spearhead.service.studio.frame import YEAR
from spearhead.service.studio.page import LOOKS, form, go, text


async def choose(request: Request) -> Response:
    """Keep a choice and go back to the page that it was made on."""
    fields = await form(request)
    answer = go(text(fields, "next", most=2000) or "/")
    secure = request.url.scheme == "https"
    for name, allowed in (("language", tuple(words.LANGUAGES)), ("look", LOOKS)):
        if (value := text(fields, name)) in allowed:
            answer.set_cookie(name, value, max_age=YEAR, samesite="lax", httponly=True, secure=secure)
    return answer


ROUTES = [Route("/manner", choose, methods=["POST"])]
