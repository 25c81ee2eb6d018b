"""What goes wrong, as clients of the OpenAI API expect it: a status, four keys, the headers that steer a retry."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spearhead.core.errors import InputError
from spearhead.engine.run import UnknownModel
from spearhead.ledger.groups import KeyReused
from spearhead.ledger.holds import NotEnoughCredit
from spearhead.ledger.idempotency import StillRunning
from spearhead.ledger.limits import BudgetSpent, LimitReached
from spearhead.runtimes.failure import OptionRefused, PromptTooLong, RuntimeFailed
from spearhead.store.database import StoreUnavailable

PATIENCE = 120
"""Seconds that clients wait at most because they were told to; for a longer wait many try again at once instead."""
ENDED = "server_ended"
"""The code of an answer that was not whole when the server had to end."""


class ApiError(Exception):
    """An answer that is an error; `kind` is the envelope's `type`."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        message = message.encode("utf-8", "replace").decode()  # half of a surrogate pair cannot be sent
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.code = status, message, kind, param, code
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The envelope, always with all four keys."""
        return json.dumps({"error": self.envelope()}, ensure_ascii=False).encode()

    def envelope(self) -> dict[str, Any]:
        """What stands under `error`."""
        return {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}


@dataclass(frozen=True, slots=True)
class _Wait:
    """Headers that ask a client to come again in so many seconds."""

    seconds: int = 1
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", {"retry-after": str(self.seconds)})


def wrong_key() -> ApiError:
    """One answer to an unknown, an expired and a blocked key."""
    return ApiError(
        401,
        "The API key is missing, unknown, expired or blocked: send one that works as `Authorization: Bearer KEY`.",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )


def unsupported(param: str, why: str) -> ApiError:
    """A parameter of the API that this server knows and cannot honour."""
    return ApiError(400, f"{param} cannot be honoured here: {why}", param=param, code="unsupported_parameter")


def wrong_value(param: str, message: str) -> ApiError:
    """A parameter with a value that cannot be used."""
    return ApiError(400, message, param=param, code="invalid_value")


def of(error: Exception) -> ApiError:
    """Any failure as an answer; what is not foreseen says nothing of its inside."""
    match error:
        case ApiError():
            return error
        case UnknownModel():
            return ApiError(404, str(error), param="model", code=error.code)
        case PromptTooLong():
            return ApiError(400, str(error), param="messages", code=error.code)
        case NotEnoughCredit() | BudgetSpent():
            # Needs a person, so no Retry-After; the official clients would send it twice more otherwise. 402 would stop
            # more of them, but 429 with this code is what all of them know it by.
            return ApiError(
                429,
                str(error),
                kind="insufficient_quota",
                code="insufficient_quota",
                headers={"x-should-retry": "false"},
            )
        case LimitReached():
            again = {} if error.seconds is None else _Wait(error.seconds).headers
            if error.seconds is None or error.seconds > PATIENCE:
                again["x-should-retry"] = "false"
            return ApiError(429, str(error), kind=error.measure, code="rate_limit_exceeded", headers=again)
        case StillRunning():
            return ApiError(409, str(error), kind="conflict_error", code="request_in_progress", headers=_Wait().headers)
        case KeyReused():
            return ApiError(422, str(error), param="Idempotency-Key", code="idempotency_key_reused")
        case StoreUnavailable():
            return ApiError(
                503,
                "The server cannot reach its records now; nothing was charged. Try again in a moment.",
                kind="server_error",
                code="store_unavailable",
                headers=_Wait(2).headers,
            )
        case RuntimeFailed():
            return ApiError(503, str(error), kind="server_error", code=error.code, headers=_Wait().headers)
        case OptionRefused():
            return wrong_value(error.option, str(error))
        case InputError():
            return ApiError(400, str(error), code=getattr(error, "code", None))
    return ApiError(500, "The server failed; the log names this request.", kind="server_error", code="internal_error")


def not_kept() -> ApiError:
    """What a repetition of a request hears whose answer was too large to be kept."""
    return ApiError(
        409,
        "The request under this key was answered and charged, and its answer was too large to be kept for a "
        "repetition: the outputs are at /v1/outputs. Take a new key to ask again.",
        kind="conflict_error",
        code="answer_not_kept",
        headers={"x-should-retry": "false", "content-type": "application/json"},
    )


def ended() -> ApiError:
    """What is said where the server ends and an answer takes longer than it waits."""
    return ApiError(
        503,
        "The server ends, and waits no longer for this answer; what had been made was charged.",
        kind="server_error",
        code=ENDED,
        headers={"retry-after": "5"},
    )


def cut_off() -> ApiError:
    """What a repetition of a request hears whose client had left: it is over, and what was made was charged."""
    return ApiError(
        500,
        "The client of the first request under this key left before the answer was whole; what had been made was "
        "charged. Take a new key to ask again.",
        kind="server_error",
        code="request_cut_off",
        headers={"x-should-retry": "false", "content-type": "application/json"},
    )
