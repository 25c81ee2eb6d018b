"""The studio as one ASGI app over an engine that is up. Knows which pages there are, not what they do."""

from importlib import import_module
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from spearhead.core.errors import SpearheadError
from spearhead.engine.run import Engine
from spearhead.service.studio import pages
from spearhead.service.studio.door import Door, TooOften
from spearhead.service.studio.frame import Frame, said
from spearhead.service.studio.line import Line
from spearhead.service.studio.page import PageError, SignIn, Studio
from spearhead.service.verify import Verifier
from spearhead.store.home import Home

ROUTES: list[BaseRoute] = [route for name in pages.PAGES for route in import_module(f"{pages.__name__}.{name}").ROUTES]
"""Of every page."""


def create(engine: Engine, *, home: Home, verifier: Verifier) -> Frame:
    """The pages and their files; `.studio` is what they share."""
    files = Mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    handlers: dict[Any, Any] = dict.fromkeys((HTTPException, SpearheadError, PageError, SignIn, TooOften), said)
    inner = Starlette(routes=[files, *ROUTES], exception_handlers={**handlers, Exception: said})
    studio = inner.state.studio = Studio(
        engine=engine,
        home=home,
        door=Door(engine.desk, clock=engine.clock),
        verifier=verifier,
        line=Line(engine),
        places=pages.PLACES,
    )
    return Frame(inner, studio=studio)
