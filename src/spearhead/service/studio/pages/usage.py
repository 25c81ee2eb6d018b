"""What was used and what it cost, what is left, and the invoices: a creator's own account, or all for an operator."""

from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spearhead.core.errors import InputError
from spearhead.ledger import invoices, keys, printed, standing
from spearhead.ledger.invoices import Invoice
from spearhead.service.studio import people, usage
from spearhead.service.studio.page import PageError, render, signed_in, studio, visitor
from spearhead.service.studio.people import Person

LOOKS = ("creator", "operator", "auditor")
ALL = ("operator", "auditor")
"""Who sees every account."""
EVERY = "all"
FORMS = {"json": "application/json", "csv": "text/csv; charset=utf-8", "pdf": "application/pdf"}


async def show(request: Request) -> Response:
    """Figures of one account or of all, by scenario, key or account, over some days."""
    person = await signed_in(request, *LOOKS)
    account = _account(request, person)
    by, days = request.query_params.get("by", "scenario"), request.query_params.get("days", "30")
    groups = [name for name in usage.GROUPS if name != "account" or account is None]
    if by not in groups or days not in map(str, usage.SPANS):
        raise PageError(404, "no_page")
    engine = studio(request).engine
    moment = engine.clock()

    def work(connection: Connection) -> dict[str, Any]:
        accounts = keys.all_accounts(connection)
        names = {one.id: one.name for one in accounts}
        if account is not None and account not in names:
            raise PageError(404, "no_page")
        parts, start = usage.parts(connection, by=by, days=int(days), moment=moment, account=account)
        own = keys.of_account(connection, account)
        # Work in the studio counts under the person's own number.
        persons = [one for one in people.everyone(connection) if account in (None, one.account)]
        return {
            "accounts": accounts if person.may(*ALL) else [],
            "names": {
                **names,
                **{key.id: f"{key.name} ({key.prefix}…)" for key in own},
                **{one.id: one.name for one in persons},
            },
            "sums": usage.sums(parts, by=by),
            "charts": usage.charts(parts, by=by, start=start, days=int(days)),
            "left": standing.of_account(connection, account, moment=moment) if account is not None else None,
            "invoices": usage.newest(connection, account),
        }

    values = {
        **await engine.desk.read(work),
        "account": account,
        "every": EVERY,
        "by": by,
        "groups": groups,
        "days": int(days),
        "spans": usage.SPANS,
        "width": usage.WIDTH,
        "height": usage.HEIGHT,
        "sees_all": person.may(*ALL),
    }
    return render(request, "usage.html", values)


async def invoice(request: Request) -> Response:
    """An invoice as a file, in the reader's language; JSON has none."""
    person = await signed_in(request, *LOOKS)
    number, form = str(request.path_params["number"])[:80], str(request.path_params["form"])
    if form not in FORMS:
        raise PageError(404, "no_page")
    found = await _invoice(request, person, number)
    language = visitor(request).language
    data = {
        "json": lambda: found.to_json().encode(),
        "csv": lambda: printed.as_csv(found, language=language).encode(),
        "pdf": lambda: printed.as_pdf(found, language=language),
    }[form]()
    name = f'attachment; filename="{found.number}.{form}"'
    return Response(data, headers={"content-type": FORMS[form], "content-disposition": name})


async def _invoice(request: Request, person: Person, number: str) -> Invoice:
    try:
        found = await studio(request).engine.desk.read(lambda connection: invoices.one(connection, number))
    except InputError as error:
        raise PageError(404, "no_page") from error
    if found.account != person.account and not person.may(*ALL):
        raise PageError(404, "no_page")
    return found


def _account(request: Request, person: Person) -> str | None:
    """Whose figures: one's own unless one may see others'; None for all."""
    asked = request.query_params.get("account")
    if not person.may(*ALL):
        if asked not in (None, person.account):
            raise PageError(403, "not_yours")
        return person.account
    if asked is None:
        return person.account if person.may("creator") else None
    return None if asked == EVERY else asked[:64]


ROUTES = [Route("/usage", show), Route("/usage/invoices/{number}.{form}", invoice)]
