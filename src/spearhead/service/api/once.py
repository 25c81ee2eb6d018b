"""The caller's `Idempotency-Key`: a request that is sent again gets the answer that was kept. Knows no endpoint."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from spearhead.core import digest
from spearhead.core.errors import InputError, SpearheadError
from spearhead.ledger import idempotency
from spearhead.ledger.idempotency import Replay
from spearhead.ledger.keys import Principal
from spearhead.service.api import errors
from spearhead.service.api.desk import Desk
from spearhead.store.database import StoreUnavailable

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
        server = desk.engine.server
        return idempotency.begin(connection, who.account, key, payload=payload, server=server, clock=desk.clock)

    found = await desk.engine.desk.write(work)
    if not isinstance(found, Replay):
        if found.again and any(job.once == key and job.request.account == who.account for job in desk.engine.under_way):
            raise idempotency.still_running(key)  # its lease only seemed to be over: the clock was set, or stood
        return key, None
    headers = {**found.headers, "idempotent-replayed": "true", **desk.gate.headers(who.key)}
    if found.status >= 400:  # it will be the same every time
        headers["x-should-retry"] = "false"
        headers.pop("retry-after", None)
    return key, Response(found.body.encode(), status_code=found.status, headers=headers)


async def abandon(desk: Desk, who: Principal, key: str | None) -> None:
    """Nothing was begun under the key: it may be used again, even when the caller is being cancelled."""
    if key is not None:
        server = desk.engine.server
        work = desk.engine.desk.write(lambda c: idempotency.abandon(c, who.account, key, server=server))
        await asyncio.shield(work)


async def keep(desk: Desk, who: Principal, key: str, *, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Keep an answer for repetitions of its request; of one that is too large, that there was one.

    A database that is away is asked again in the background: a key that was charged under is not to come free.
    """
    if len(body) > idempotency.LARGEST_BODY:
        error = errors.not_kept()
        status, headers, body = error.status, error.headers, error.body()

    def work(connection: Connection) -> None:
        account, text, server = who.account, body.decode(), desk.engine.server
        idempotency.finish(
            connection, account, key, status=status, headers=headers, body=text, server=server, clock=desk.clock
        )

    def again(connection: Connection) -> None:
        with contextlib.suppress(InputError):  # it was written after all
            work(connection)

    try:
        await desk.engine.desk.write(work)
    except StoreUnavailable as error:  # the answer itself is good and goes out; for its lease the key stays taken
        log.warning("an answer is not kept for repetitions yet: %s", error)
        desk.engine.later(again, account=who.account, lost=f"an answer to {who.account}, for repetitions")
    except SpearheadError as error:
        log.warning("an answer was not kept for repetitions: %s", error)
