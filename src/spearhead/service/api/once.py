"""The caller's `Idempotency-Key`: a request that is sent again gets the answer that was kept. Knows no endpoint."""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from spearhead.core import digest
from spearhead.core.errors import SpearheadError
from spearhead.ledger import idempotency
from spearhead.ledger.idempotency import Replay
from spearhead.ledger.keys import Principal
from spearhead.service.api import errors
from spearhead.service.api.desk import Desk

log = logging.getLogger("spearhead.api")


async def begin(
    desk: Desk, http: Request, who: Principal, raw: Mapping[str, Any]
) -> tuple[str | None, Response | None]:
    """The key of this request, if it has one, and the kept answer, if there is one; raises StillRunning, KeyReused."""
    key = http.headers.get("idempotency-key")
    if key is None:
        return None, None
    if not (0 < len(key) <= idempotency.LONGEST_KEY and key.isprintable()):
        raise errors.wrong_value("Idempotency-Key", "Idempotency-Key: wanted 1 to 255 printable characters.")
    same = digest.of_bytes(json.dumps(raw, sort_keys=True).encode("ascii"))
    payload = {"path": http.url.path, "body": same}

    def work(connection: Connection) -> "idempotency.Fresh | Replay":
        return idempotency.begin(connection, who.account, key, payload=payload, clock=desk.clock)

    found = await desk.engine.desk.write(work)
    if not isinstance(found, Replay):
        return key, None
    headers = {**found.headers, "idempotent-replayed": "true", **desk.gate.headers(who.key)}
    if found.status >= 400:  # it will be the same every time
        headers["x-should-retry"] = "false"
        headers.pop("retry-after", None)
    return key, Response(found.body.encode(), status_code=found.status, headers=headers)


async def abandon(desk: Desk, who: Principal, key: str | None) -> None:
    """Nothing was begun under the key: it may be used again, even when the caller is being cancelled."""
    if key is not None:
        work = desk.engine.desk.write(lambda connection: idempotency.abandon(connection, who.account, key))
        await asyncio.shield(work)


async def keep(desk: Desk, who: Principal, key: str, *, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Keep an answer for repetitions of its request; of one that is too large, that there was one."""
    if len(body) > idempotency.LARGEST_BODY:
        error = errors.not_kept()
        status, headers, body = error.status, error.headers, error.body()

    def work(connection: Connection) -> None:
        account, text = who.account, body.decode()
        idempotency.finish(connection, account, key, status=status, headers=headers, body=text, clock=desk.clock)

    try:
        await desk.engine.desk.write(work)
    except SpearheadError as error:  # the answer itself is good: it goes out, and the key stays taken for its lease
        log.warning("an answer was not kept for repetitions: %s", error)
