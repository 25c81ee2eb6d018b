"""What one server answers: the API under `/v1` and the signs of its health, and the studio everywhere else.

Neither knows of the other.
"""

from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from spearhead.engine.run import Engine
from spearhead.service.api import app as api
from spearhead.service.api import verify
from spearhead.service.api.limits import Limits
from spearhead.service.studio import app as studio
from spearhead.service.verify import Verifier
from spearhead.store.home import Home


def create_app(engine: Engine, *, home: Home, limits: Limits | None = None) -> FastAPI:
    """API and studio over an engine that is up; `.state.line` is the studio's line, to be closed before the engine."""
    verifier = Verifier(home)
    app = api.create_app(engine, limits=limits)
    verify.mount(app, verifier)
    pages = studio.create(engine, home=home, verifier=verifier)

    async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
        """Where no route of the API leads."""
        path = scope["path"].partition("?")[0]
        if scope["type"] != "http" or path.startswith("/v1") or api.misses_base(path):
            raise HTTPException(404)
        await pages(scope, receive, send)

    app.router.default = elsewhere
    app.state.line = pages.studio.line
    return app
