"""The audit log: who did what to what, newest first, and whether all of it is as it was written. Changes nothing."""

import asyncio
import contextlib
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spearhead.core import money, sentence
from spearhead.provenance import audit, signing
from spearhead.provenance.audit import Row
from spearhead.service.studio import reviews
from spearhead.service.studio.page import PageError, render, signed_in, studio

LOOKS = ("auditor", "operator")
AT_ONCE = 50
TABLES = {
    "measure": ("usage.measures",),
    "span": ("usage.spans",),
    "scopes": ("keys.scopes",),
    "roles": ("keys.role",),
    "unit": ("usage.units",),
    "state": ("review.states", "gallery.states"),
    "refunded": ("audit.truth",),
}
"""Where the words are for the values of a detail of this name."""
TIMES = ("expires", "begins", "ends", "until")
"""Details that are moments."""
AMOUNTS = ("amount", "left", "due", "prompt", "completion")
"""Details that are billionths where a currency stands beside them."""


async def show(request: Request) -> Response:
    """Fifty rows, from the newest or from under the row `before`; with `check`, every row is looked at."""
    await signed_in(request, *LOOKS)
    before = request.query_params.get("before", "")
    if before and not (before.isascii() and before.isdecimal() and len(before) <= 12):
        raise PageError(404, "no_page")
    desk = studio(request).engine.desk
    rows = await desk.read(
        lambda connection: audit.newest(connection, limit=AT_ONCE + 1, before=int(before) if before else None)
    )
    names = await desk.read(lambda connection: reviews.names(connection, [row.actor for row in rows]))
    checked = await asyncio.to_thread(_check, request) if "check" in request.query_params else None
    values = {
        "rows": rows[:AT_ONCE],
        "more": rows[AT_ONCE - 1].id if len(rows) > AT_ONCE else None,
        "names": names,
        "checked": checked,
        "details": _details,
        "tables": TABLES,
        "times": TIMES,
    }
    return render(request, "audit.html", values)


def _details(row: Row) -> list[tuple[str, Any]]:
    """A row's details that say something: text, sentences, and sequences of these; amounts with their currency."""
    found = json.loads(row.detail)
    said_along = {"currency"} if any(type(found.get(name)) is int for name in AMOUNTS) else set()
    return [
        (name, _shown(name, value, found))
        for name, value in found.items()
        if value not in (None, "", [], {}) and name not in said_along
    ]


def _shown(name: str, value: Any, beside: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [str(one) for one in value]
    if type(value) is int and name in AMOUNTS:
        return f"{money.show(value)} {beside['currency']}" if beside.get("currency") else f"{value:,}"
    if type(value) is int and name == "most" and beside.get("measure") == "budget":
        return money.show(value)
    with contextlib.suppress(ValueError):
        return sentence.read(value) if isinstance(value, dict) else str(value)
    return json.dumps(value)


def _check(request: Request) -> dict[str, object]:
    """Not at the engine's desk: a long log must not keep answers waiting."""
    home, store = studio(request).home, studio(request).engine.desk.database
    heads = audit.kept(home.heads, public=signing.ensure(home).public)
    found = audit.problems(store, heads)
    return {"row": found[0][0] if found else None, "rows": audit.head(store).rows, "heads": len(heads)}


ROUTES = [Route("/audit", show)]
