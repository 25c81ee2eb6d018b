"""One's own password, changed by who knows it: all other windows of theirs are signed out, this one goes on."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spearhead.core.errors import InputError
from spearhead.core.sentence import Said
from spearhead.service.studio import people
from spearhead.service.studio.page import form, go, render, signed_in, studio, visitor


async def ask(request: Request) -> Response:
    """The form."""
    await signed_in(request)
    return _page(request)


async def change(request: Request) -> Response:
    """Another password; what is wrong with it is told beside the field."""
    person = await signed_in(request)
    fields = await form(request)
    old, new, again = (people.typed(fields.get(name)) for name in ("old", "new", "again"))
    who = visitor(request)
    if new != again:
        return _page(request, wrong="again")
    try:
        if not await studio(request).door.change(person, old, new, address=who.address, secret=who.secret):
            return _page(request, wrong="old")
    except InputError as error:
        return _page(request, wrong="new", why=error.said)
    return go("/password?said=changed")


def _page(request: Request, *, wrong: str = "", why: Said = "") -> Response:
    values = {
        "wrong": wrong,
        "why": why,
        "said": request.query_params.get("said") == "changed",
        "least": people.SHORTEST,
        "most": people.LONGEST,
    }
    return render(request, "password.html", values, status=400 if wrong else 200)


ROUTES = [Route("/password", ask), Route("/password", change, methods=["POST"])]
