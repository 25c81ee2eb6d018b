"""The first page: whoever is signed in goes to the first place that is theirs, everybody else to the door."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spearhead.service.studio.page import go, signed_in, studio


async def first(request: Request) -> Response:
    """Send the browser on."""
    person = await signed_in(request)
    mine = [place.path for place in studio(request).places if person.may(*place.roles)]
    return go(mine[0] if mine else "/verify")


ROUTES = [Route("/", first)]
