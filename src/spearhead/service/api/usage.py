"""What was used and what it cost: the organization's reports in OpenAI's shape, and everybody's own figures.

A project is a team, a user an account, a model a release. Reports want the scope `admin`; `/v1/usage` and
`/v1/invoices` tell an account of itself. Knows nothing of how amounts are made.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from spearhead.core import money
from spearhead.core.errors import InputError
from spearhead.core.sentence import LANGUAGES
from spearhead.engine.embeddings import MODEL
from spearhead.engine.run import Engine
from spearhead.ledger import invoices, limits, plans, printed, standing, usage
from spearhead.ledger.invoices import Invoice
from spearhead.ledger.keys import Principal
from spearhead.ledger.usage import Part
from spearhead.service.api.errors import ApiError, unsupported, wrong_value

Who = Callable[..., Awaitable[Principal]]
KINDS = {"completions": "token", "embeddings": "token", "images": "picture", "audio_speeches": "character"}
"""Reports and the unit that each counts."""
_MOST = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
"""Buckets on a page: when nothing is said, and at most."""
_COST_DAYS = (7, 180)
_FILTERS = {"project_ids": "project_id", "user_ids": "user_id", "api_key_ids": "api_key_id", "models": "model"}


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """What a report is asked for."""

    start: datetime
    end: datetime
    width: str
    last: datetime
    """Where this page ends: at most `end`."""
    group_by: tuple[str, ...]
    only: dict[str, list[str]]


def mount(app: FastAPI, engine: Engine, who: Who) -> None:
    """Add the routes; `who(request, scope, route=...)` says who asks."""

    @app.get("/v1/organization/usage/{kind}")
    async def organization_usage(request: Request, kind: str) -> Response:
        """Units by bucket and group."""
        await who(request, "admin", route="organization_usage")
        if kind not in KINDS:
            raise ApiError(404, f"There is no usage of {kind[:40]!r}: there is {', '.join(KINDS)}.", code="not_found")
        window = _window(request, costs=False, now=engine.clock())
        of = {"scenario": MODEL} if kind == "embeddings" else {"without": MODEL}
        found = await engine.desk.read(lambda connection: _parts(connection, window, **of))
        return _page(window, [part for part in found if part.unit == KINDS[kind]], lambda part: _used(kind, part))

    @app.get("/v1/organization/costs")
    async def organization_costs(request: Request) -> Response:
        """Money by day and group."""
        await who(request, "admin", route="organization_costs")
        window = _window(request, costs=True, now=engine.clock())
        found = await engine.desk.read(lambda connection: _parts(connection, window, "currency"))
        return _page(window, found, lambda part: _cost(window, part))

    @app.get("/v1/usage")
    async def own_usage(request: Request) -> Response:
        """What the caller's account used this month, what it has, its plan, its limits, its invoices."""
        principal = await who(request, "read", route="usage")
        return JSONResponse(await engine.desk.read(lambda connection: _own(connection, principal, engine.clock())))

    @app.get("/v1/invoices")
    async def own_invoices(request: Request) -> Response:
        """The invoices of the caller's account."""
        principal = await who(request, "read", route="invoices")
        found = await engine.desk.read(lambda connection: invoices.of_account(connection, principal.account))
        return JSONResponse({"object": "list", "data": [_short(one) for one in found]})

    @app.get("/v1/invoices/{number}", responses={200: {"content": {"text/csv": {}, "application/pdf": {}}}})
    async def own_invoice(request: Request, number: str) -> Response:
        """One of them; `?format=csv` or `pdf`, `&language=zh`."""
        principal = await who(request, "read", route="invoices")
        form, language = request.query_params.get("format", "json"), request.query_params.get("language", LANGUAGES[0])
        if form not in ("json", "csv", "pdf") or language not in LANGUAGES:
            raise wrong_value("format", f"format is json, csv or pdf, and language {' or '.join(LANGUAGES)}.")
        try:
            found = await engine.desk.read(lambda connection: invoices.one(connection, number[:80]))
        except InputError:
            found = None
        if found is None or not (found.account == principal.account or principal.may("admin")):
            raise ApiError(404, f"There is no invoice {number[:80]!r} of this account.", param="id", code="not_found")
        if form == "json":
            return Response(found.to_json().encode(), headers={"content-type": "application/json"})
        pdf = form == "pdf"
        data = printed.as_pdf(found, language=language) if pdf else printed.as_csv(found, language=language).encode()
        kind = "application/pdf" if pdf else "text/csv; charset=utf-8"
        name = f'attachment; filename="{found.number}.{form}"'
        return Response(data, headers={"content-type": kind, "content-disposition": name})


def _parts(
    connection: Connection, window: Window, *more: str, scenario: str | None = None, without: str | None = None
) -> list[Part]:
    names = tuple(name for name in window.group_by if name in usage.GROUPS)
    return usage.buckets(
        connection,
        start=window.start,
        end=window.last,
        width=window.width,
        group_by=(*names, *more),
        only=window.only,
        scenario=scenario,
        without=without,
    )


def _window(request: Request, *, costs: bool, now: datetime) -> Window:
    query = request.query_params
    width = query.get("bucket_width", "1d")
    if width not in (("1d",) if costs else usage.WIDTHS):
        raise wrong_value("bucket_width", f"bucket_width is {'1d' if costs else ', '.join(usage.WIDTHS)}.")
    seconds = timedelta(seconds=usage.WIDTHS[width])
    usual, most = _COST_DAYS if costs else _MOST[width]
    limit = _number(query.get("limit"), "limit", least=1, most=most) or usual
    start = _moment(query.get("page"), "page") or _moment(query.get("start_time"), "start_time")
    if start is None:
        raise ApiError(400, "start_time is missing: seconds since 1970.", param="start_time", code="missing_parameter")
    # Times are whole seconds, and the one that runs belongs to what was used up to now.
    end = _moment(query.get("end_time"), "end_time") or now + timedelta(seconds=1)
    if end <= start:
        raise wrong_value("end_time", "end_time is later than start_time.")
    whole = usage.WIDTHS[width]
    start = datetime.fromtimestamp(int(start.timestamp()) // whole * whole, UTC)
    groups = _list(request, "group_by")
    allowed = ("project_id", "line_item", "api_key_id") if costs else ("project_id", "user_id", "api_key_id", "model")
    for name in groups:
        if name == "batch" and not costs:
            continue  # nothing here is a batch
        if name not in allowed:
            raise wrong_value("group_by", f"group_by {name[:40]!r}: wanted {', '.join(allowed)}.")
    if query.get("batch") == "true":
        raise unsupported("batch", "there are no batches")
    only = {column: values for name, column in _FILTERS.items() if (values := _list(request, name))}
    named = tuple("model" if name == "line_item" else name for name in groups)
    return Window(start, end, width, min(end, start + limit * seconds), named, only)


def _list(request: Request, name: str) -> list[str]:
    values = [*request.query_params.getlist(name), *request.query_params.getlist(f"{name}[]")]
    if len(values) > 100:
        raise wrong_value(name, f"{name}: at most 100 values.")
    return [value[:200] for value in values]


def _number(text: str | None, name: str, *, least: int, most: int) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 12 and least <= int(text) <= most):
        raise wrong_value(name, f"{name} is a whole number from {least} to {most}.")
    return int(text)


_LATEST = int(datetime(9998, 1, 1, tzinfo=UTC).timestamp())
"""The last moment that can be asked for: the end of a page after it must be a date too."""


def _moment(text: str | None, name: str) -> datetime | None:
    seconds = _number(text, name, least=0, most=_LATEST)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _page(window: Window, parts: Sequence[Part], shown: Callable[[Part], dict[str, Any]]) -> Response:
    """Every bucket, those without use too."""
    step, start = timedelta(seconds=usage.WIDTHS[window.width]), window.start
    data = []
    while start < window.last:
        results = [shown(part) for part in parts if part.start == start]
        stop = min(start + step, window.end)
        data.append(
            {
                "object": "bucket",
                "start_time": int(start.timestamp()),
                "end_time": int(stop.timestamp()),
                "results": results,
            }
        )
        start += step
    more = window.last < window.end
    following = str(int(window.last.timestamp())) if more else None
    return JSONResponse({"object": "page", "data": data, "has_more": more, "next_page": following})


def _used(kind: str, part: Part) -> dict[str, Any]:
    said = {
        "object": f"organization.usage.{kind}.result",
        "num_model_requests": part.requests,
        "project_id": part.project_id,
        "user_id": part.user_id,
        "api_key_id": part.api_key_id,
        "model": part.model,
    }
    if kind == "images":
        return {**said, "images": part.completion_units, "source": None, "size": None}
    if kind == "audio_speeches":
        return {**said, "characters": part.completion_units}
    if kind == "embeddings":
        return {**said, "input_tokens": part.prompt_units}
    return {
        **said,
        "input_tokens": part.prompt_units,
        "output_tokens": part.completion_units,
        "input_cached_tokens": 0,
        "input_audio_tokens": 0,
        "output_audio_tokens": 0,
        "batch": None,
        "service_tier": None,
    }


def _cost(window: Window, part: Part) -> dict[str, Any]:
    line = part.model if "model" in window.group_by else None
    return {
        "object": "organization.costs.result",
        # A number, for clients expect one; whoever adds up takes the billionths.
        "amount": {"value": part.amount / money.BILLION, "currency": (part.currency or "").lower()},
        "amount_billionths": part.amount,
        "line_item": line,
        "project_id": part.project_id,
        "api_key_id": part.api_key_id,
        "quantity": part.prompt_units + part.completion_units,
        "quantity_unit": part.unit,
    }


def _own(connection: Connection, principal: Principal, moment: datetime) -> dict[str, Any]:
    account = principal.account
    start, end = limits.window("month", moment)
    lines = usage.report(connection, account=account, since=start, until=end)
    stands = standing.of_account(connection, account, moment=moment, key=principal.key)
    live = [
        {
            "id": grant.id,
            "unit": grant.unit or grant.currency,
            "left": rest,
            "of": grant.amount,
            "expires": grant.expires,
            "note": grant.note,
        }
        for grant, rest in stands.grants
    ]
    return {
        "object": "usage",
        "account": account,
        "currency": stands.currency,
        "month": start.date().isoformat()[:7],
        "lines": [dataclasses.asdict(line) for line in lines],
        "amount_billionths": sum(line.amount for line in lines),
        "available_billionths": stands.available,
        "reserved_billionths": stands.reserved,
        "owed_billionths": stands.owed,
        "grants": live,
        "plan": None if stands.subscription is None else _plan(stands.subscription, moment),
        "limits": [{**dataclasses.asdict(limit), "used": used} for limit, used in stands.limits],
        "invoices": [_short(one) for one in invoices.of_account(connection, account)],
    }


def _plan(subscription: plans.Subscription, moment: datetime) -> dict[str, Any]:
    runs = plans.period(subscription, moment)
    return {
        "name": subscription.plan.name,
        "terms": dataclasses.asdict(subscription.plan),
        "trial": runs.trial,
        "period_start": runs.start.isoformat(),
        "period_end": runs.end.isoformat(),
        "ends": subscription.ended.isoformat() if subscription.ended else None,
    }


def _short(one: Invoice) -> dict[str, Any]:
    return {
        "object": "invoice",
        "id": one.number,
        "starts": one.starts,
        "ends": one.ends,
        "currency": one.currency,
        "due": money.show(one.due),
        "due_billionths": one.due,
    }
