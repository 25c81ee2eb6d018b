"""Keys, plans, credit, limits, teams, people for operators; their own keys for creators. A key's secret is shown once.

Auditors look. A creator may block a key of their own account, which can only help; all else is an operator's.
"""

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spearhead.core import money
from spearhead.core.errors import InputError
from spearhead.core.sentence import said
from spearhead.ledger import grants, journal, limits, plans, pots
from spearhead.ledger import keys as ledger
from spearhead.ledger.keys import Issued, Key
from spearhead.ledger.plans import Plan
from spearhead.provenance import audit
from spearhead.service.studio import keys, people
from spearhead.service.studio.page import PageError, form, go, render, signed_in, studio, text
from spearhead.service.studio.people import Person

T = TypeVar("T")
LOOKS = ("creator", "operator", "auditor")
ALL = ("operator", "auditor")
SAID = (
    "blocked",
    "given",
    "voided",
    "subscribed",
    "changed",
    "ended",
    "limited",
    "offered",
    "teamed",
    "joined",
    "left",
)
MOST_DAYS = 3660
_PLAN_MONEY = ("fee", "owing", "trial_credit")
_PLAN_COUNTS = ("included", "trial_days", "trial_units")


async def list_(request: Request) -> Response:
    """All keys, accounts, plans and people; or one's own keys."""
    return await _list(request, await signed_in(request, *LOOKS))


async def account(request: Request) -> Response:
    """One account with everything that can be done for it."""
    return await _account(request, await signed_in(request, *ALL))


async def create(request: Request) -> Response:
    """A new key of an account; this answer alone shows its secret."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    id, clock = _id(request), studio(request).engine.clock
    name, days = text(fields, "name", most=200), _number(fields, "days", most=MOST_DAYS)
    scopes = tuple(scope for scope in ledger.SCOPES if scope in fields.getlist("scope"))

    def work(connection: Connection) -> Issued:
        expires = clock() + timedelta(days=days) if days else None
        made = ledger.create(connection, id, name=name, scopes=scopes, expires=expires, clock=clock)
        detail = {"account": id, "name": name, "scopes": list(scopes), "expires": made.key.expires}
        _write_down(request, connection, person, "key made", made.key.id, detail)
        return made

    return await _account(request, person, issued=await _write(request, work))


async def rotate(request: Request) -> Response:
    """A new key in the place of one that works on for some days; this answer alone shows its secret."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    id, clock = _id(request), studio(request).engine.clock
    days = _number(fields, "days", most=90)

    def work(connection: Connection) -> Issued:
        made = ledger.rotate(connection, id, grace=timedelta(days=days), clock=clock)
        _write_down(request, connection, person, "key rotated", id, {"to": made.key.id, "days": days})
        return made

    issued = await _write(request, work)
    return await _account(request, person, issued=issued, of=issued.key.account)


async def block(request: Request) -> Response:
    """Stop a key now and for good."""
    person = await signed_in(request, "operator", "creator")
    await form(request)
    id, clock = _id(request), studio(request).engine.clock

    def work(connection: Connection) -> Key:
        found = next((key for key in ledger.of_account(connection) if key.id == id), None)
        if found is None or not (person.may("operator") or found.account == person.account):
            raise PageError(404, "no_page")
        _write_down(request, connection, person, "key blocked", id, {"account": found.account})
        return ledger.block(connection, id, clock=clock)

    found = await _write(request, work)
    return go(f"/keys/accounts/{found.account}?said=blocked" if person.may("operator") else "/keys?said=blocked")


async def give(request: Request) -> Response:
    """Give an account credit; a form that is sent twice gives once."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    id, clock = _id(request), studio(request).engine.clock
    amount, days = _amount(fields, "amount"), _number(fields, "days", most=MOST_DAYS)
    note, once = text(fields, "note", most=200), text(fields, "once", most=64)
    promotional = text(fields, "promotional", most=4) == "yes"
    if not once:
        raise PageError(400, "bad_form")

    def work(connection: Connection) -> None:
        made = grants.give(
            connection,
            id,
            amount,
            key=f"studio:{once}",
            promotional=promotional,
            expires=clock() + timedelta(days=days) if days else None,
            note=note,
            clock=clock,
        )
        detail = {"account": id, "amount": amount, "currency": made.currency, "note": note, "expires": made.expires}
        _write_down(request, connection, person, "credit given", made.id, detail)

    await _write(request, work)
    return go(f"/keys/accounts/{id}?said=given")


async def void(request: Request) -> Response:
    """End a grant: what is left of it is booked back."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    id, grant, clock = _id(request), text(fields, "grant", most=64), studio(request).engine.clock

    def work(connection: Connection) -> None:
        if grant not in {one.id for one, _ in grants.of_account(connection, id)}:
            raise PageError(404, "no_page")
        ended, rest = grants.void(connection, grant, clock=clock)
        _write_down(request, connection, person, "credit voided", grant, {"account": id, **ended.so_much(rest)})

    await _write(request, work)
    return go(f"/keys/accounts/{id}?said=voided")


async def subscribe(request: Request) -> Response:
    """Begin a plan for an account."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    id, plan, clock = _id(request), text(fields, "plan", most=64), studio(request).engine.clock

    def work(connection: Connection) -> None:
        made = plans.subscribe(connection, id, plan, clock=clock)
        _write_down(request, connection, person, "plan begun", made.id, {"account": id, "plan": plan})

    await _write(request, work)
    return go(f"/keys/accounts/{id}?said=subscribed")


async def change(request: Request) -> Response:
    """Let another plan follow an account's own when its period is over."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    id, plan, clock = _id(request), text(fields, "plan", most=64), studio(request).engine.clock

    def work(connection: Connection) -> None:
        made = plans.change(connection, id, plan, clock=clock)
        detail = {"account": id, "plan": plan, "begins": made.started.isoformat()}
        _write_down(request, connection, person, "plan changed", made.id, detail)

    await _write(request, work)
    return go(f"/keys/accounts/{id}?said=changed")


async def end(request: Request) -> Response:
    """End an account's plan with its period."""
    person = await signed_in(request, "operator")
    await form(request)
    id, clock = _id(request), studio(request).engine.clock

    def work(connection: Connection) -> None:
        made = plans.end(connection, id, clock=clock)
        detail = {"account": id, "plan": made.plan.name, "ends": str(made.ended)}
        _write_down(request, connection, person, "plan ended", made.id, detail)

    await _write(request, work)
    return go(f"/keys/accounts/{id}?said=ended")


async def limit(request: Request) -> Response:
    """Set or lift a limit of an account or of one of its keys."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    id = _id(request)

    def own(connection: Connection) -> set[str]:
        return {f"account:{id}", *(f"key:{key.id}" for key in ledger.of_account(connection, id))}

    await _limit(request, person, fields, own=own)
    return go(f"/keys/accounts/{id}?said=limited")


async def make_team(request: Request) -> Response:
    """A new team, without members."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    name, clock = text(fields, "name", most=64), studio(request).engine.clock

    def work(connection: Connection) -> None:
        limits.create_team(connection, name, clock=clock)
        _write_down(request, connection, person, "team made", name, {})

    await _write(request, work)
    return go("/keys?said=teamed")


async def join(request: Request) -> Response:
    """Let an account, with its keys and people, be a member of a team and of no other."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    team, id, clock = _id(request), text(fields, "account", most=64), studio(request).engine.clock

    def work(connection: Connection) -> None:
        limits.join(connection, team, id, clock=clock)
        _write_down(request, connection, person, "member joined", team, {"account": id})

    await _write(request, work)
    return go("/keys?said=joined")


async def leave(request: Request) -> Response:
    """Take an account out of a team."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    team, id = _id(request), text(fields, "account", most=64)

    def work(connection: Connection) -> None:
        limits.quit_team(connection, team, id)
        _write_down(request, connection, person, "member left", team, {"account": id})

    await _write(request, work)
    return go("/keys?said=left")


async def limit_team(request: Request) -> Response:
    """Set or lift a limit of a team."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    await _limit(request, person, fields, own=lambda connection: {f"team:{_id(request)}"})
    return go("/keys?said=limited")


async def offer(request: Request) -> Response:
    """Offer a plan under its name from now on; subscriptions that are there keep theirs."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    values: dict[str, Any] = {name: _amount(fields, name) for name in _PLAN_MONEY if text(fields, name)}
    values |= {name: _number(fields, name) for name in _PLAN_COUNTS if text(fields, name)}
    if tax := text(fields, "tax"):
        # A per cent is ten thousand millionths.
        values["tax"] = _amount(fields, "tax") // 100_000 if tax else 0
    made = Plan(
        name=text(fields, "name", most=64),
        currency=text(fields, "currency", most=3),
        months=_number(fields, "months", most=12),
        unit=text(fields, "unit", most=16),
        **values,
    )
    clock = studio(request).engine.clock

    def work(connection: Connection) -> None:
        plans.offer(connection, made, actor=person.id, clock=clock)
        _write_down(request, connection, person, "plan offered", made.name, {"currency": made.currency})

    await _write(request, work)
    return go("/keys?said=offered")


async def _list(request: Request, person: Person) -> Response:
    sees_all, moment = person.may(*ALL), studio(request).engine.clock()

    def work(connection: Connection) -> dict[str, Any]:
        payers = keys.payers(connection, moment=moment) if sees_all else []
        return {
            "keys": keys.shown(connection, None if sees_all else person.account, moment=moment),
            "payers": payers,
            "teams": keys.teams(connection, [one.account for one in payers], moment=moment) if sees_all else [],
            "plans": keys.offered(connection) if sees_all else [],
            "people": people.everyone(connection) if sees_all else [],
        }

    found = await studio(request).engine.desk.read(work)
    values = {
        **found,
        "names": {payer.account.id: payer.account.name for payer in found["payers"]},
        "currencies": {payer.account.id: payer.account.currency for payer in found["payers"]},
        "sees_all": sees_all,
        "may_change": person.may("operator"),
        "may_block": person.may("operator", "creator"),
        "own": person.account,
        "units": tuple(pots.UNITS),
        "measures": limits.MEASURES,
        "spans": limits.SPANS,
        "said": _said(request),
    }
    return render(request, "keys.html", values)


async def _account(request: Request, person: Person, *, issued: Issued | None = None, of: str = "") -> Response:
    id, moment = of or _id(request), studio(request).engine.clock()

    def work(connection: Connection) -> dict[str, Any]:
        found = next((payer for payer in keys.payers(connection, moment=moment) if payer.account.id == id), None)
        if found is None:
            raise PageError(404, "no_page")
        return {
            "payer": found,
            "account": found.account,
            "keys": keys.shown(connection, id, moment=moment),
            "balance": journal.balance(connection, id, clock=lambda: moment),
            "grants": [(grant, rest) for grant, rest in grants.of_account(connection, id) if rest],
            "history": plans.of_account(connection, id),
            "follows": plans.following(connection, id, moment),
            "offered": keys.offered(connection, found.account.currency),
            "people": [one for one in people.everyone(connection) if one.account == id],
        }

    values = {
        **await studio(request).engine.desk.read(work),
        "issued": issued,
        "may_change": person.may("operator"),
        "once": secrets.token_hex(12),
        "scopes": ledger.SCOPES,
        "measures": limits.MEASURES,
        "spans": limits.SPANS,
        "unit_codes": {code: name for name, code in pots.UNITS.items()},
        "said": _said(request),
    }
    return render(request, "account.html", values)


async def _limit(request: Request, person: Person, fields: FormData, *, own: Callable[[Connection], set[str]]) -> None:
    """Set or lift the limit in a form; its subject is one of the page's `own`."""
    clock = studio(request).engine.clock
    subject, measure = text(fields, "subject", most=80), text(fields, "measure", most=16)
    span = "" if measure == "parallel" else text(fields, "span", most=16)
    wanted = text(fields, "most", most=24)
    most = None if not wanted else _amount(fields, "most") if measure == "budget" else _number(fields, "most")

    def work(connection: Connection) -> None:
        if subject not in own(connection):
            raise PageError(404, "no_page")
        limits.set_limit(connection, subject, measure=measure, span=span, most=most, actor=person.id, clock=clock)
        detail = {"measure": measure, "span": span, "most": most}
        _write_down(request, connection, person, "limit set", subject, detail)

    await _write(request, work)


async def _write(request: Request, work: Callable[[Connection], T]) -> T:
    return await studio(request).engine.desk.write(work)


def _write_down(
    request: Request, connection: Connection, person: Person, action: str, subject: str, detail: dict[str, Any]
) -> None:
    clock = studio(request).engine.clock
    audit.append(connection, actor=person.id, action=action, subject=subject, detail=detail, clock=clock)


def _id(request: Request) -> str:
    return str(request.path_params["id"])[:64]


def _number(fields: FormData, name: str, *, most: int = limits.MOST) -> int:
    """A whole number from 0; 0 where the field is empty."""
    words = text(fields, name, most=24)
    if not words:
        return 0
    if not (words.isascii() and words.isdecimal() and int(words) <= most):
        raise InputError(said("service.studio.form.whole", field=name, given=words, most=most))
    return int(words)


def _amount(fields: FormData, name: str) -> int:
    try:
        return money.parse(text(fields, name, most=30))
    except ValueError as error:
        raise InputError(said("service.studio.form.amount", field=name, given=text(fields, name, most=30))) from error


def _said(request: Request) -> str:
    said = request.query_params.get("said", "")
    return said if said in SAID else ""


ROUTES = [
    Route("/keys", list_),
    Route("/keys/plans", offer, methods=["POST"]),
    Route("/keys/teams", make_team, methods=["POST"]),
    Route("/keys/teams/{id}/join", join, methods=["POST"]),
    Route("/keys/teams/{id}/leave", leave, methods=["POST"]),
    Route("/keys/teams/{id}/limit", limit_team, methods=["POST"]),
    Route("/keys/accounts/{id}", account),
    Route("/keys/accounts/{id}/keys", create, methods=["POST"]),
    Route("/keys/accounts/{id}/credit", give, methods=["POST"]),
    Route("/keys/accounts/{id}/void", void, methods=["POST"]),
    Route("/keys/accounts/{id}/plan", subscribe, methods=["POST"]),
    Route("/keys/accounts/{id}/change", change, methods=["POST"]),
    Route("/keys/accounts/{id}/end", end, methods=["POST"]),
    Route("/keys/accounts/{id}/limit", limit, methods=["POST"]),
    Route("/keys/{id}/rotate", rotate, methods=["POST"]),
    Route("/keys/{id}/block", block, methods=["POST"]),
]
