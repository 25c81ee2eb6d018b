"""`POST /v1/embeddings`: texts as vectors, by the model that comes with the server, once the operator gave it a price.

What is particular: `input_type` (`query` or `passage`), for the model was trained with two kinds of texts. Without it
all are queries, which is right where like is compared with like. A vector is no content: no review, no label.
"""

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from spearhead.core.manifest import PriceTag
from spearhead.engine import embeddings
from spearhead.engine.embeddings import MODEL, MOST_TEXTS, WIDTH, Array, Batch, Embedder, live_price
from spearhead.ledger.keys import Principal
from spearhead.runtimes.failure import PromptTooLong, RuntimeFailed
from spearhead.service.api import asks, errors, once
from spearhead.service.api.asks import Text, only
from spearhead.service.api.desk import Desk
from spearhead.service.api.errors import ApiError, unsupported, wrong_value
from spearhead.service.api.frame import read_body, unless_gone
from spearhead.service.api.limits import Ticket

Who = Callable[..., Awaitable[Principal]]


class EmbeddingBody(BaseModel):
    """`POST /v1/embeddings`."""

    model_config = ConfigDict(extra="ignore")
    model: Annotated[StrictStr, Field(min_length=1, max_length=200)]
    input: (
        Annotated[Text, Field(min_length=1)]
        | Annotated[list[Annotated[Text, Field(min_length=1)]], Field(min_length=1, max_length=MOST_TEXTS)]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[StrictInt, Field(ge=WIDTH, le=WIDTH)] | None = None
    input_type: Literal["query", "passage"] | None = Field(None, description="spearhead: what the texts are")
    user: StrictStr | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A checked body."""

    model: str
    texts: tuple[str, ...]
    query: bool
    encoded: bool
    """As base64 of little-endian floats of 32 bits instead of numbers."""


def mount(app: FastAPI, desk: Desk, who: Who) -> None:
    """Add the route to the app."""
    embedder = Embedder()
    refusals: dict[int | str, dict[str, Any]] = {
        400: {"description": "The request cannot be used; the error names the parameter"},
        404: {"description": "There is no such model, or it has no price"},
        429: {"description": "A limit or the credit is used up"},
    }

    @app.post("/v1/embeddings", openapi_extra=asks.described(EmbeddingBody), responses=refusals)
    async def create(request: Request) -> Response:
        """A vector for each text."""
        principal = await who(request, "generate", route="embeddings")
        raw = asks.read_json(await read_body(request.receive, request.headers))
        key, kept = await once.begin(desk, request, principal, raw)
        if kept is not None:
            return kept
        try:
            ask, tag = read(raw), await desk.engine.desk.read(live_price)
            _offered(desk, ask, tag)
            batch = await _measured(embedder, ask)
            ticket = await desk.gate.enter(principal, tokens=batch.units)
        except BaseException:
            await once.abandon(desk, principal, key)
            raise
        assert tag is not None
        number, account = request.scope["state"]["number"], principal.account
        work = embeddings.run(desk.engine, embedder, batch, account=account, key=principal.key, request=number, tag=tag)
        try:
            vectors, receipt = await unless_gone(work, request.receive)
        except Exception as error:
            raise await _over(desk, principal, key, ticket, error) from error
        desk.gate.leave(ticket, tokens=receipt.usage.prompt)
        desk.figures.units.labels(embeddings.release(), "prompt").inc(receipt.usage.prompt)
        desk.figures.charged.labels(receipt.currency).inc(receipt.amount)
        body = written(vectors, ask, tokens=receipt.usage.prompt)
        headers = {"content-type": "application/json", "x-spearhead-release": embeddings.release()}
        headers |= desk.gate.headers(principal.key)
        if key is not None:
            await once.keep(desk, principal, key, status=200, headers=headers, body=body)
        return Response(body, headers=headers)


async def _over(desk: Desk, who: Principal, key: str | None, ticket: Ticket, error: Exception) -> ApiError:
    """The answer to a request that failed; what was begun counts, and is not begun again under the same key."""
    answer = errors.of(error)
    begun = isinstance(error, RuntimeFailed) or answer.code == "request_cut_off"
    if begun:
        desk.gate.leave(ticket, tokens=ticket.tokens)
    else:
        desk.gate.refused(ticket)
    answer.headers = {**desk.gate.headers(who.key), **answer.headers}
    if begun and key is not None:
        headers = {"content-type": "application/json", **answer.headers}
        await once.keep(desk, who, key, status=answer.status, headers=headers, body=answer.body())
    else:
        await once.abandon(desk, who, key)
    return answer


def read(raw: Mapping[str, Any]) -> Ask:
    """A request for vectors; raises a 400 that names the parameter."""
    given = raw.get("input")
    if isinstance(given, list) and given and not all(isinstance(item, str) for item in given):
        raise unsupported("input", "token ids are not taken, for they are those of another model; send text")
    if isinstance(given, list) and not 1 <= len(given) <= MOST_TEXTS:
        raise wrong_value("input", f"input has {len(given)} texts: wanted 1 to {MOST_TEXTS}.")
    if isinstance(given, list) and "" in given:
        raise wrong_value(f"input[{given.index('')}]", f"input[{given.index('')}] is empty: it means nothing.")
    if not only(WIDTH)(raw.get("dimensions")):
        raise unsupported("dimensions", f"vectors have {WIDTH} numbers and cannot be cut; leave it out")
    body = asks.validated(EmbeddingBody, raw)
    texts = (body.input,) if isinstance(body.input, str) else tuple(body.input)
    for number, text in enumerate(texts):
        asks.check_text(text, f"input[{number}]" if isinstance(body.input, list) else "input")
    return Ask(body.model, texts, body.input_type != "passage", body.encoding_format == "base64")


def model(tag: PriceTag | None) -> list[dict[str, Any]]:
    """Its entry among the models, where it has a price."""
    if tag is None:
        return []
    return [{"id": MODEL, "object": "model", "created": _CREATED, "owned_by": embeddings.PACKAGE}]


_CREATED = 1_684_108_800
"""When the model was published, 15 May 2023."""


def _offered(desk: Desk, ask: Ask, tag: PriceTag | None) -> None:
    """Raise a 404 or 400 when the model is not to be had."""
    if ask.model != MODEL:
        desk.engine.loaded(ask.model)
        what = f"The model {ask.model[:80]!r} makes no vectors: {MODEL} does."
        raise ApiError(400, what, param="model", code="wrong_endpoint")
    if tag is None:
        why = (
            f"it has no price yet. The operator sets one: spearhead bill price {MODEL} --set prompt=AMOUNT"
            if embeddings.there()
            else "it is not installed: spearhead[review] holds it"
        )
        raise ApiError(404, f"The model {MODEL} is not served here, for {why}.", param="model", code="model_not_found")


async def _measured(embedder: Embedder, ask: Ask) -> Batch:
    """The texts with their tokens; raises a 400 on too many."""
    try:
        return await embedder.measure(ask.texts, query=ask.query)
    except PromptTooLong as error:
        raise ApiError(400, str(error), param="input", code=error.code) from error


def written(vectors: Array, ask: Ask, *, tokens: int) -> bytes:
    """The body of an answer."""
    rows = vectors.astype("<f4")
    encode: Callable[[Any], Any] = _base64 if ask.encoded else _numbers
    data = [{"object": "embedding", "index": n, "embedding": encode(row)} for n, row in enumerate(rows)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "data": data, "model": MODEL, "usage": usage}
    return json.dumps(answer, separators=(",", ":")).encode()


def _base64(row: Array) -> str:
    return base64.b64encode(row.tobytes()).decode("ascii")


def _numbers(row: Array) -> list[float]:
    found: list[float] = row.tolist()
    return found
