"""Whether a file carries a label that holds, and which layer says so: free, for anybody, without signing in."""

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spearhead.core.errors import InputError
from spearhead.provenance.verify import Layer
from spearhead.service.studio.page import PageError, form, render, studio, visitor
from spearhead.service.verify import LARGEST, TooMany, as_json

ROOM = 1 << 16
"""Bytes of a form around its file."""


async def ask(request: Request) -> Response:
    """The form."""
    return _page(request)


async def look(request: Request) -> Response:
    """The same page with what was found."""
    verifier = studio(request).verifier
    try:
        verifier.count(visitor(request).address)
        file = (await form(request, most=LARGEST + ROOM)).get("file")
        if not isinstance(file, UploadFile):
            return _page(request, problem="verify.no_file")
        layers = await verifier.look(await file.read())
    except TooMany as error:
        raise PageError(429, "too_often", headers={"retry-after": str(error.seconds)}) from error
    except InputError:
        return _page(request, problem="verify.no_file")
    return _page(request, layers=layers, name=(file.filename or "")[:200])


def _page(request: Request, *, layers: tuple[Layer, ...] = (), name: str = "", problem: str = "") -> Response:
    found = as_json(layers) if layers else None
    values = {"found": found, "layers": layers, "name": name, "problem": problem, "largest": LARGEST >> 20}
    return render(request, "verify.html", values, status=400 if problem else 200)


ROUTES = [Route("/verify", ask), Route("/verify", look, methods=["POST"])]
