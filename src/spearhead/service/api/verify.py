"""`POST /v1/verify`: which labels of a file hold and which layer that rests on, free and without a key."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from spearhead.core.errors import InputError
from spearhead.service.api.errors import ApiError
from spearhead.service.api.frame import read_body
from spearhead.service.verify import LARGEST, TooMany, Verifier, as_json

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def mount(app: FastAPI, verifier: Verifier) -> None:
    """Add the route."""

    @app.post("/v1/verify", openapi_extra=_BODY, responses={429: {"description": "Too many files of this address"}})
    async def verify(request: Request) -> Response:
        """Look at the file that is the body: `curl --data-binary @FILE`."""
        request.scope["state"]["route"] = "verify"
        try:
            verifier.count(request.client.host if request.client else "")
            data = await read_body(request.receive, request.headers, most=LARGEST)
            return JSONResponse(as_json(await verifier.look(data)))
        except TooMany as error:
            headers = {"retry-after": str(error.seconds)}
            raise ApiError(429, str(error), kind="requests", code="rate_limit_exceeded", headers=headers) from error
        except InputError as error:
            raise ApiError(400, str(error), code="invalid_file") from error
