"""`spearhead bill`: plans, grants, limits, invoices and the measured verdict, for the operator. Decides nothing."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from spearhead.core import money, sentence
from spearhead.core.clock import Clock, now
from spearhead.core.errors import InputError
from spearhead.core.files import write_whole
from spearhead.core.manifest import PriceTag
from spearhead.engine import embeddings
from spearhead.ledger import (
    billing,
    economics,
    grants,
    invoices,
    journal,
    limits,
    plans,
    price,
    printed,
    usage,
)
from spearhead.ledger import keys as ledger_keys
from spearhead.ledger.grants import Grant
from spearhead.ledger.invoices import Invoice
from spearhead.ledger.plans import Plan
from spearhead.pipeline import desk
from spearhead.pipeline.told import Told, table
from spearhead.store import releases
from spearhead.store.database import reading, writing
from spearhead.store.home import Home

ACTOR = "operator"
_MONEY = ("fee", "overage_prompt", "overage_completion", "owing", "trial_credit")


def bill(home: Home, options: argparse.Namespace, *, clock: Clock = now) -> Told:
    """`spearhead bill ACTION [NAME]`."""
    engine = desk.opened(home)
    try:
        if options.action in ALONE:
            return ALONE[options.action](engine, options, clock)
        action = ACTIONS[options.action]
        with (reading if options.action in LOOKS else writing)(engine) as connection:
            return action(connection, options, clock)
    finally:
        engine.dispose()


def _run(engine: Engine, options: argparse.Namespace, clock: Clock) -> Told:
    account = _account(engine, options.account).id if options.account else None

    def beside(connection: Connection, one: Invoice) -> None:
        detail = {"account": one.account, "due": one.due, "currency": one.currency}
        desk.write_down(connection, "invoice written", one.number, detail, clock=clock)

    return _listed(billing.run(engine, account=account, beside=beside, clock=clock), "nothing is due")


def _rehearse(engine: Engine, options: argparse.Namespace, clock: Clock) -> Told:
    try:
        until = datetime.fromisoformat(options.until).replace(tzinfo=UTC)
    except ValueError as error:
        raise InputError("until when? Give --until, as in --until 2027-06-01") from error
    made = billing.rehearsal(engine, account=_named(engine, options).id, until=until, clock=clock)
    return _listed(made, "nothing would be due", note="worked out as if nothing more were used; nothing was written")


def _list(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    account = _account(connection, options.account).id if options.account else None
    return _listed(invoices.of_account(connection, account), "no invoices yet: spearhead bill run")


def _show(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    made = invoices.one(connection, _name(options, "which invoice? Name its number"))
    if options.out is not None:
        kinds: Mapping[str, Callable[[], bytes]] = {
            ".json": lambda: made.to_json().encode(),
            ".csv": lambda: printed.as_csv(made, language=options.language).encode(),
            ".pdf": lambda: printed.as_pdf(made, language=options.language),
        }
        if (form := kinds.get(Path(options.out).suffix.lower())) is None:
            raise InputError(f"{options.out}: wanted a name that ends in {', '.join(kinds)}")
        write_whole(Path(options.out), form())
        return Told({"invoice": made.number, "file": str(options.out)}, [f"wrote {options.out}"])
    rows = [
        [line.kind, line.release, line.prompt_units + line.completion_units, line.covered, money.show(line.amount)]
        for line in made.lines
    ]
    words = [f"{made.number}: {made.name}, {made.starts} to {made.ends}", *table(_LINE, rows)]
    words += [f"paid before {money.show(made.credit)}, tax {money.show(made.tax)}"]
    words += [f"to be paid: {money.show(made.due)} {made.currency}"]
    return Told(dataclasses.asdict(made), words)


_LINE = ("what", "release", "units", "included", "amount")


def _listed(made: list[Invoice], nothing: str, *, note: str = "") -> Told:
    values = [{"number": one.number, "account": one.account, "due": money.show(one.due)} for one in made]
    rows = [[one.number, one.name, one.starts[:10], one.ends[:10], money.show(one.due), one.currency] for one in made]
    head = ("number", "account", "from", "to", "due", "currency")
    words = table(head, rows) if made else [nothing]
    return Told({"invoices": values, "note": note}, [*words, note] if note else words)


def _pay(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    account = _named(connection, options)
    once = options.once or f"cli:{clock().isoformat()}"
    amount = desk.amount(options)
    left = invoices.pay(connection, account.id, amount, key=once, clock=clock)
    detail = {"amount": amount, "currency": account.currency, "once": once}
    desk.write_down(connection, "payment booked", account.id, detail, clock=clock)
    words = [f"{account.name}: {money.show(left)} {account.currency} are still to be paid"]
    return Told({"account": account.id, "owed": money.show(left)}, words)


def _plans(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    found = plans.offered(connection)
    rows = [[one.name, one.currency, money.show(one.fee), one.months, one.included, one.unit] for one in found]
    words = table(("plan", "currency", "fee", "months", "included", "unit"), rows) if rows else [_NO_PLAN]
    return Told({"plans": [dataclasses.asdict(one) for one in found]}, words)


_NO_PLAN = "no plans yet: spearhead bill offer NAME --set currency=EUR --set fee=20.00 --set included=1000000"


def _offer(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    name = _name(options, "which plan? Name it")
    fields: dict[str, Any] = {"currency": options.currency}
    kinds = {field.name: field.type for field in dataclasses.fields(Plan)}
    for pair in options.set:
        key, _, value = pair.partition("=")
        if key not in kinds or key == "name":
            raise InputError(f"--set {key[:40]!r}: wanted one of {', '.join(kinds.keys() - {'name'})}")
        fields[key] = value if key in ("currency", "unit") else _parsed(key, value)
    made = plans.offer(connection, Plan(name=name, **fields), actor=ACTOR, clock=clock)
    desk.write_down(connection, "plan offered", name, {"currency": made.currency}, clock=clock)
    return Told(dataclasses.asdict(made), [f"{name} is offered; `spearhead bill subscribe {name} --account NAME`"])


def _parsed(key: str, value: str) -> int:
    try:
        return money.parse(value) if key in _MONEY else int(value)
    except ValueError as error:
        raise InputError(f"--set {key}: {error}") from error


def _subscribe(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    account = _named(connection, options)
    made = plans.subscribe(connection, account.id, _name(options, "which plan? Name it"), clock=clock)
    detail = {"account": account.id, "plan": made.plan.name}
    desk.write_down(connection, "plan begun", made.id, detail, clock=clock)
    words = [f"{account.name} has {made.plan.name} since {made.started.isoformat()}"]
    return Told({"subscription": made.id, "account": account.id, "plan": made.plan.name}, words)


def _change(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    account = _named(connection, options)
    made = plans.change(connection, account.id, _name(options, "to which plan? Name it"), clock=clock)
    begins = made.started.isoformat()
    detail = {"account": account.id, "plan": made.plan.name, "begins": begins}
    desk.write_down(connection, "plan changed", made.id, detail, clock=clock)
    told = {"subscription": made.id, "account": account.id, "plan": made.plan.name, "begins": begins}
    return Told(told, [f"{account.name}: {made.plan.name} from {begins} on, when the period that runs is over"])


def _end(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    account = _named(connection, options)
    made = plans.end(connection, account.id, clock=clock)
    ends = made.ended.isoformat() if made.ended else ""
    detail = {"account": account.id, "plan": made.plan.name, "ends": ends}
    desk.write_down(connection, "plan ended", made.id, detail, clock=clock)
    return Told({"subscription": made.id, "ends": ends}, [f"{account.name}: {made.plan.name} ends {ends}"])


def _grant(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    account = _named(connection, options)
    life = desk.days(options)
    made = grants.give(
        connection,
        account.id,
        desk.amount(options),
        key=options.once or f"cli:{clock().isoformat()}",
        priority=options.priority,
        promotional=options.promotional,
        expires=clock() + life if life else None,
        note=options.name or "",
        clock=clock,
    )
    detail = {"account": account.id, "amount": made.amount, "currency": made.currency, "note": made.note}
    desk.write_down(connection, "credit given", made.id, {**detail, "expires": made.expires}, clock=clock)
    return Told(dataclasses.asdict(made), [f"{made.id}: {money.show(made.amount)} {made.currency} for {account.name}"])


def _grants(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    found = grants.of_account(connection, _named(connection, options).id)
    rows = [[one.id, _of(one, left), _of(one, one.amount), one.expires or "never", one.note] for one, left in found]
    values = [{**dataclasses.asdict(one), "left": left} for one, left in found]
    return Told({"grants": values}, table(("grant", "left", "of", "ends", "note"), rows) if rows else ["no grants"])


def _of(grant: Grant, amount: int) -> str:
    """So much of a grant in words."""
    return f"{amount:,} {grant.unit}s" if grant.unit else f"{money.show(amount)} {grant.currency}"


def _void(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    name = _name(options, "which grant? Name its id")
    grant, left = grants.void(connection, name, clock=clock)
    detail = {"account": grant.account, **grant.so_much(left)}
    desk.write_down(connection, "credit voided", name, detail, clock=clock)
    return Told({"grant": name, "returned": left}, [f"{name} is ended; {_of(grant, left)} of it were left"])


def _limit(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    subject = options.subject or f"account:{_named(connection, options).id}"
    most = None
    if options.most != "":
        most = _amount_of(options.most) if options.measure == "budget" else _parsed("--most", options.most)
    span = "" if options.measure == "parallel" else options.span
    limits.set_limit(connection, subject, measure=options.measure, span=span, most=most, actor=ACTOR, clock=clock)
    detail = {"measure": options.measure, "span": span, "most": most}
    desk.write_down(connection, "limit set", subject, detail, clock=clock)
    return _limits(connection, options, clock)


def _limits(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    here = limits.of(connection)
    found = limits.left(connection, sorted({limit.subject for limit in here}), clock=clock)
    rows, values = [], []
    for limit, used in found:
        shown = [money.show(value) if limit.measure == "budget" else str(value) for value in (limit.most, used)]
        rows.append([limit.subject, limit.measure, limit.span or "at once", *shown])
        values.append({**dataclasses.asdict(limit), "used": used})
    head = ("subject", "measure", "span", "most", "used")
    return Told({"limits": values}, table(head, rows) if rows else ["no limits"])


def _team(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    name = _name(options, "which team? Name it")
    if options.account and options.leave:
        account = _named(connection, options)
        limits.quit_team(connection, name, account.id)
        desk.write_down(connection, "member left", name, {"account": account.id}, clock=clock)
        return Told({"team": name, "left": options.account}, [f"{options.account} is no member of {name} any more"])
    if options.account:
        account = _named(connection, options)
        limits.join(connection, name, account.id, clock=clock)
        desk.write_down(connection, "member joined", name, {"account": account.id}, clock=clock)
        return Told({"team": name, "joined": options.account}, [f"{options.account} is a member of {name}"])
    limits.create_team(connection, name, clock=clock)
    desk.write_down(connection, "team made", name, {}, clock=clock)
    return Told({"team": name}, [f"made the team {name}: add members with --account NAME"])


def _teams(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    names = {account.id: account.name for account in ledger_keys.all_accounts(connection)}
    found = limits.all_teams(connection)
    rows = [[one.id, ", ".join(names[id] for id in one.members)] for one in found]
    words = table(("team", "members"), rows) if rows else ["no teams yet: spearhead bill team NAME"]
    return Told({"teams": [dataclasses.asdict(one) for one in found]}, words)


def _correct(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    request = _name(options, "which request? Name its number (x-request-id)")
    done = usage.correct(connection, request, source="engine", clock=clock)
    if done:
        desk.write_down(connection, "charge undone", request, {}, clock=clock)
    return Told({"request": request, "corrected": done}, ["its charge is undone" if done else "it was undone before"])


def _check(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    found = journal.check(connection) + usage.check(connection) + invoices.check(connection) + limits.check(connection)
    words = found or ["journal, events, invoices and limits agree"]
    return Told({"problems": found}, words, exit_code=1 if found else 0)


def _price(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    """The live price of a scenario, or of the model that comes with the server; with --set a new one from now on."""
    name = _name(options, "the price of what? Name a scenario, or the model that comes with the server")
    found = releases.published(Home.find(options.home), scenario=name)
    if not found and name != embeddings.MODEL:
        raise InputError(
            f"There is no release of {name[:64]!r} here, and {embeddings.MODEL} is the server's own model."
        )
    if options.set:
        sides = {"prompt": "", "completion": "" if found else "0"}
        for pair in options.set:
            side, _, value = pair.partition("=")
            if side not in sides:
                raise InputError(f"--set {side[:40]!r}: wanted prompt or completion, a million units each")
            sides[side] = value
        unit = found[-1].manifest.price.unit if found else "token"
        tag = PriceTag(options.currency, _amount_of(sides["prompt"]), _amount_of(sides["completion"]), unit)
        price.set_price(connection, name, tag, actor=ACTOR, clock=clock)
        desk.write_down(connection, "price set", name, dataclasses.asdict(tag), clock=clock)
    rows = [[since, who, money.show(t.prompt), money.show(t.completion), t.currency, t.unit] for since, who, t in
            price.history(connection, name)]  # fmt: skip
    if not rows and found:
        tag = found[-1].manifest.price
        rows = [["its release", "", money.show(tag.prompt), money.show(tag.completion), tag.currency, tag.unit]]
    head = ("since", "by", "prompt", "completion", "currency", "a million")
    values = [
        dict(zip(("since", "actor", "prompt", "completion", "currency", "unit"), row, strict=True)) for row in rows
    ]
    return Told(
        {"name": name, "prices": values}, table(head, rows) if rows else [f"{name} has no price: it is not served"]
    )


def _verdict(connection: Connection, options: argparse.Namespace, clock: Clock) -> Told:
    release = _name(options, "which release? Name it as SCENARIO@VERSION")
    here = releases.published(Home.find(options.home), scenario=release.partition("@")[0])
    tags = [price.of(connection, one.manifest) for one in here if one.name == release]
    made = economics.measured(
        connection,
        release,
        wanted=options.pieces,
        machine_hour=_amount_of(options.machine_hour),
        review_minute=_amount_of(options.review_minute),
        currency=tags[0].currency if tags else "",
    )
    return Told(sentence.plain(made), [str(line) for line in made.arithmetic])


def _name(options: argparse.Namespace, wanted: str) -> str:
    if not options.name:
        raise InputError(wanted)
    return str(options.name)


def _named(connection: Engine | Connection, options: argparse.Namespace) -> ledger_keys.Account:
    if not options.account:
        raise InputError("whose? Give --account NAME; `spearhead keys list` shows them")
    return _account(connection, options.account)


def _account(connection: Engine | Connection, name: str) -> ledger_keys.Account:
    return desk.account_named(connection, name)


def _amount_of(text: str) -> int:
    try:
        return money.parse(text)
    except ValueError as error:
        raise InputError(str(error)) from error


ALONE: Mapping[str, Callable[[Engine, argparse.Namespace, Clock], Told]] = {"run": _run, "rehearse": _rehearse}
"""What makes its own transactions."""
LOOKS = ("list", "show", "plans", "grants", "limits", "teams", "check", "verdict")
"""What changes nothing."""
ACTIONS: Mapping[str, Callable[[Connection, argparse.Namespace, Clock], Told]] = {
    "list": _list,
    "show": _show,
    "pay": _pay,
    "plans": _plans,
    "offer": _offer,
    "subscribe": _subscribe,
    "change": _change,
    "end": _end,
    "grant": _grant,
    "grants": _grants,
    "void": _void,
    "limit": _limit,
    "limits": _limits,
    "team": _team,
    "teams": _teams,
    "correct": _correct,
    "check": _check,
    "price": _price,
    "verdict": _verdict,
}
