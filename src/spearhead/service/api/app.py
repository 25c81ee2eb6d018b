"""The routes. Knows who may do what; what is done stands in the files beside this one."""

import asyncio
import json
import secrets
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import spearhead
from spearhead.core import digest, money
from spearhead.core.errors import SpearheadError
from spearhead.core.generation import Usage
from spearhead.engine import books
from spearhead.engine.embeddings import MODEL, live_price
from spearhead.engine.outputs import Output
from spearhead.engine.run import Engine
from spearhead.ledger import rates
from spearhead.ledger.keys import Doorkeeper, Principal
from spearhead.service.api import (
    answers,
    asks,
    earlier,
    embeddings,
    errors,
    generate,
    moderations,
    replies,
    responses,
    usage,
)
from spearhead.service.api.asks import ChatBody, CompletionBody, ImageBody
from spearhead.service.api.desk import Desk
from spearhead.service.api.errors import ApiError
from spearhead.service.api.figures import Figures
from spearhead.service.api.frame import App, Frame, Receive, Send
from spearhead.service.api.limits import Gate, Limits
from spearhead.service.api.responses import ResponseBody
from spearhead.service.memory import resident
from spearhead.store.tables import accounts

READY_SECONDS = 2.0
ENDPOINTS = (
    "/chat/completions",
    "/completions",
    "/responses",
    "/embeddings",
    "/images/generations",
    "/moderations",
    "/models",
)
"""What clients join to a base address, which ends in `/v1`; a longer one before its own end."""
_INSTEAD = {
    "/messages": "/chat/completions",
    "/images/edits": "/images/generations",
    "/images/variations": "/images/generations",
}
"""Endpoints that other servers have, and the one here that does what can be done."""


class Plain(APIRoute):
    """A route whose function takes the request and the parts of its path as they are: there is nothing to solve.

    One whose path has no parts is found without the router, too: see `front`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The function itself."""
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            response: Response = await endpoint(request, **request.path_params)
            return response

        return handle


def create_app(engine: Engine, *, limits: Limits | None = None) -> FastAPI:
    """The API over an engine that is up."""
    app = FastAPI(title="spearhead", version=spearhead.__version__, docs_url=None, redoc_url=None)
    counts = Figures()
    desk = Desk(engine, Gate(limits or Limits(), engine.desk), counts, engine.clock)
    door = Doorkeeper(engine.desk.database, clock=engine.clock)
    app.state.figures = counts
    app.add_middleware(Frame, figures=counts)
    process = secrets.token_hex(8)
    app.router.route_class = Plain

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        what = f"{request.method} {request.url.path[:200]}"
        if error.status_code == 405:
            return _failed(ApiError(405, f"{what}: this method is not allowed here.", code="method_not_allowed"))
        text = f"{what}: there is no such route{_hint(request)}."
        return _failed(ApiError(error.status_code, text, code="unknown_url"))

    @app.exception_handler(ApiError)
    async def said(request: Request, error: ApiError) -> Response:
        return _failed(error)

    @app.exception_handler(SpearheadError)
    async def meant(request: Request, error: SpearheadError) -> Response:
        return _failed(errors.of(error))

    async def who(request: Request, scope: str, *, route: str) -> Principal:
        request.scope["state"]["route"] = route
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise errors.wrong_key()
        principal = door.remembered(secret.strip()) or await asyncio.to_thread(door.authenticate, secret.strip())
        if principal is None:
            raise errors.wrong_key()
        if not principal.may(scope):
            raise ApiError(403, f"This key may not do that: it lacks the scope {scope!r}.", code="missing_scope")
        return principal

    @app.post("/v1/chat/completions", openapi_extra=asks.described(ChatBody), responses=_STREAM)
    async def chat(request: Request) -> Response:
        """Answer a conversation; with `stream: true` as server-sent events."""
        principal = await who(request, "generate", route="chat")
        return await generate.answer(desk, request, who=principal, kind="chat")

    @app.post("/v1/completions", openapi_extra=asks.described(CompletionBody), responses=_STREAM)
    async def completion(request: Request) -> Response:
        """Answer a prompt; with `stream: true` as server-sent events."""
        principal = await who(request, "generate", route="completions")
        return await generate.answer(desk, request, who=principal, kind="completion")

    @app.post("/v1/responses", openapi_extra=asks.described(ResponseBody), responses=_STREAM)
    async def response(request: Request) -> Response:
        """Answer a text or a conversation in the shape of the Responses API; with `stream: true` as its events."""
        principal = await who(request, "generate", route="responses")
        return await generate.answer(desk, request, who=principal, kind="response")

    @app.post("/v1/images/generations", openapi_extra=asks.described(ImageBody), responses=_STREAM)
    async def picture(request: Request) -> Response:
        """Make pictures."""
        principal = await who(request, "generate", route="images")
        return await generate.answer(desk, request, who=principal, kind="image")

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        """Every name that `model` may have."""
        await who(request, "read", route="models")
        own = embeddings.model(await engine.desk.read(live_price))
        return JSONResponse(
            {"object": "list", "data": [_model(engine, name) for name in sorted(engine.releases)] + own}
        )

    @app.get("/v1/models/{model:path}")
    async def model(request: Request, model: str) -> Response:
        """One of them; none named, as some clients end the address of the list in a slash, all of them."""
        if not model:
            return await models(request)
        await who(request, "read", route="models")
        if model == MODEL and (own := embeddings.model(await engine.desk.read(live_price))):
            return JSONResponse(own[0])
        engine.loaded(model)
        return JSONResponse(_model(engine, model))

    async def output_of(request: Request, id: str) -> Output:
        principal = await who(request, "read", route="outputs")
        return await earlier.find(engine, id, who=principal, unknown=_unknown("output", id))

    @app.get(
        "/v1/outputs/{id}", responses={202: {"description": "Held for a person"}, 410: {"description": "Rejected"}}
    )
    async def output(request: Request, id: str) -> Response:
        """An answer by its own number or that of its review: 202 while held, 410 once it is not to be had."""
        found = await output_of(request, id)
        if found.state == "held":
            held = {"id": found.id, "object": "output", "state": "held", "review": found.review, "model": found.release}
            return JSONResponse(held, status_code=202, headers={"retry-after": "30"})
        body = {
            "id": found.id,
            "object": "output",
            "state": found.state,
            "model": found.release,
            "created": _created(found),
            "request": found.request,
            **({"text": found.text} if found.mime.startswith("text/") else {"mime": found.mime}),
            "finish_reason": found.finish,
            "completion_tokens": found.completion_units,
            "file": f"/v1/outputs/{found.id}/file",
        }
        return JSONResponse(body, headers=_labels(engine, found))

    @app.get(
        "/v1/responses/{id}", responses={202: {"description": "Held for a person"}, 410: {"description": "Rejected"}}
    )
    async def response_again(request: Request, id: str) -> Response:
        """A response by its number, as it stands now: 202 while a person decides, 410 once it is not to be had."""
        principal = await who(request, "read", route="responses")
        number = earlier.response_output(id)
        found = await earlier.find(engine, number, who=principal, unknown=_unknown("response", id))
        if (echo := responses.kept(found)) is None:
            raise _unknown("response", id)
        held, options = found.state == "held", json.loads(found.options)
        head = replies.head(id=id, created=_created(found), model=found.release, options=options, echo=echo)
        paid = await engine.desk.read(
            lambda connection: books.receipt(connection, found.request, account=found.account)
        )
        body = replies.whole(
            head,
            text="" if held else found.text,
            finish="content_filter" if held else found.finish,
            usage=paid.usage if paid else Usage(),
        )
        more = {"retry-after": "30", "x-review-id": found.review or ""} if held else {}
        return JSONResponse(body, status_code=202 if held else 200, headers={**_labels(engine, found), **more})

    @app.get("/v1/outputs/{id}/file", responses={200: {"content": {"text/plain": {}}}})
    async def file(request: Request, id: str) -> Response:
        """The labelled file of an answer."""
        found = await output_of(request, id)
        if found.state == "held":
            raise ApiError(409, f"The output {found.id} waits for a person.", param="id", code="output_held")
        media = await engine.file(found)
        is_text = media.modality == "text"
        ending = "txt" if is_text else media.mime.rpartition("/")[2]
        headers = {
            "content-type": f"{media.mime}; charset=utf-8" if is_text else media.mime,
            "content-disposition": f'attachment; filename="{found.id}.{ending}"',
            "etag": f'"{digest.of_bytes(media.data)}"',
            **_labels(engine, found),
        }
        return Response(media.data, headers=headers)

    @app.get("/v1/receipts/{number}")
    async def receipt(request: Request, number: str) -> Response:
        """What a request came to; its number is the `x-request-id` of its answer."""
        principal = await who(request, "read", route="receipts")
        found = await engine.desk.read(
            lambda connection: books.receipt(connection, number[:200], account=principal.account)
        )
        if found is None:
            raise ApiError(404, f"There is no receipt {number[:80]!r} of this account.", code="not_found")
        return JSONResponse(
            {
                "id": found.request,
                "object": "receipt",
                "usage": answers.usage_json(found.usage),
                "amount": money.show(found.amount),
                "amount_billionths": found.amount,
                "currency": found.currency,
                "settled": found.settled,
            }
        )

    usage.mount(app, engine, who)

    moderations.mount(app, desk, who)

    embeddings.mount(app, desk, who)

    @app.get("/health", include_in_schema=False)
    async def health(request: Request) -> Response:
        request.scope["state"]["route"] = "health"
        return JSONResponse({"status": "ok"})

    @app.get("/ready", include_in_schema=False)
    async def ready(request: Request) -> Response:
        request.scope["state"]["route"] = "ready"
        parts = await _parts(engine, process=process)
        if all(parts.values()):
            return JSONResponse({"status": "ready", "parts": parts})
        return JSONResponse({"status": "not ready", "parts": parts}, status_code=503, headers={"retry-after": "1"})

    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        # They tell of money: for this machine itself, or for who runs it.
        local = request.client is not None and request.client.host in ("127.0.0.1", "::1")
        if not local or "x-forwarded-for" in request.headers:
            await who(request, "admin", route="metrics")
        request.scope["state"]["route"] = "metrics"
        for loaded in set(engine.releases.values()):
            name = loaded.manifest.name
            counts.runtime_up.labels(name).set(loaded.runtime.ready)
            counts.restarts.labels(name).set(loaded.runtime.restarts)
            counts.recycled.labels(name).set(loaded.runtime.recycled)
        counts.files_waiting.set(engine.spare.waiting)
        for part, size in resident(engine).items():
            counts.resident.labels(part).set(size)
        text, kind = counts.text(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": kind})

    return app


def front(app: FastAPI) -> App:
    """The app by its shortest way: to a route whose path has no parts lead neither the router nor FastAPI's layers.

    There are ten of those, each waits for the one within, and for such a route none of them does anything.
    """
    own = [route for route in app.routes if isinstance(route, Plain) and "{" not in route.path]
    known = {(method, route.path): route.endpoint for route in own for method in route.methods or ()}

    async def answer(scope: Any, receive: Receive, send: Send) -> None:
        response = await known[scope["method"], scope["path"]](Request(scope, receive, send))
        await response(scope, receive, send)

    framed = Frame(answer, figures=app.state.figures)

    async def served(scope: Any, receive: Receive, send: Send) -> None:
        known_here = scope["type"] == "http" and (scope["method"], scope["path"]) in known
        await (framed if known_here else app)(scope, receive, send)

    return served


def misses_base(path: str) -> bool:
    """Whether this is an endpoint at a wrong base address, as a client asks whose own lacks the `/v1`."""
    return path.endswith(ENDPOINTS)


def _hint(request: Request) -> str:
    """What to do about a route that is not there, where that can be told."""
    path = request.url.path
    for name, here in _INSTEAD.items():
        if path.endswith(name):
            return f"; ask at /v1{here}"
    if misses_base(path):
        return f"; a client's base address ends in /v1, once: {str(request.base_url)[:200]}v1"
    return ""


async def _parts(engine: Engine, *, process: str) -> dict[str, bool]:
    """Whether the database answers and every runtime runs, as of now: nothing is remembered."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            # A row that is really written: a lock, a full or lost disk and a missing schema all show.
            await engine.desk.write(
                partial(_touch, process=process, moment=int(engine.clock().timestamp() * 1000)), durable=False
            )
        database = True
    except (SpearheadError, TimeoutError):
        database = False
    runtimes = {loaded.manifest.name: loaded.runtime.ready for loaded in set(engine.releases.values())}
    return {"database": database, **runtimes}


def _touch(connection: Connection, *, process: str, moment: int) -> None:
    connection.execute(sa.select(accounts.c.id).limit(1)).all()
    rates.beat(connection, process=process, moment=moment)


def _model(engine: Engine, name: str) -> dict[str, Any]:
    manifest = engine.loaded(name).manifest
    created = int(datetime.fromisoformat(manifest.created).timestamp())
    return {"id": name, "object": "model", "created": created, "owned_by": manifest.labels["producer"]}


def _created(output: Output) -> int:
    return int(datetime.fromisoformat(output.created).timestamp())


def _unknown(kind: str, id: str) -> ApiError:
    return ApiError(404, f"There is no {kind} {id[:80]!r} of this account.", param="id", code="not_found")


def _labels(engine: Engine, output: Output) -> dict[str, str]:
    if output.release not in engine.releases:
        return {"x-ai-generated": "true", "x-spearhead-release": output.release, "x-spearhead-output": output.id}
    return answers.label_headers([engine.label(output)], release=output.release)


def _failed(error: ApiError) -> Response:
    headers = {"content-type": "application/json", **error.headers}
    return Response(error.body(), status_code=error.status, headers=headers)


_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {}, "text/event-stream": {}}},
    400: {"description": "The request cannot be used; the error names the parameter"},
    401: {"description": "The key is missing, unknown, expired or blocked"},
    409: {"description": "The first request under this Idempotency-Key still runs"},
    422: {"description": "This Idempotency-Key was used for another request"},
    429: {"description": "A limit or the credit is used up"},
    503: {"description": "Try again in a moment"},
}
