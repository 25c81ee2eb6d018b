"""Plans: what is included, what the rest costs, how much may be owed, what is free at first; and requests under them.

Prepaid is a plan that includes nothing and lets nothing be owed; on demand lets some be owed; a subscription has a fee
and includes units, past which it is one of the other two. Periods follow the day on which a subscription began, a
trial before the first of them. A plan ends, or another takes its place, with a period and never within one: what is
paid for is had in full and nothing is prorated. Prices are frozen when a request is let in. Knows nothing of invoices.
"""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.core.generation import Receipt, Usage
from spearhead.core.manifest import PriceTag
from spearhead.core.sentence import said
from spearhead.ledger import grants, groups, holds, limits, opening, pots, price, usage
from spearhead.ledger.groups import KeyReused
from spearhead.ledger.holds import Beside, Reservation
from spearhead.store.database import reading, writing
from spearhead.store.prepared import Prepared
from spearhead.store.tables import plans as table
from spearhead.store.tables import subscriptions

INCLUDED_PRIORITY = 0
_COLUMNS = ("id", "account", "value", "started", "ended")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is agreed on; amounts in billionths of `currency`."""

    name: str
    currency: str
    fee: int = 0
    """For a period."""
    months: int = 1
    """In a period."""
    unit: str = "token"
    included: int = 0
    """Units in a period; what is left of them at its end is gone."""
    overage_prompt: int | None = None
    """For a million units that are not included; without it the scenario's own price holds."""
    overage_completion: int | None = None
    owing: int = 0
    """How much may be owed in all, invoices that nobody paid among it."""
    trial_days: int = 0
    trial_units: int = 0
    trial_credit: int = 0
    """Money that is given away, used first, gone at the trial's end."""
    tax: int = 0
    """Millionths of what is due."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """An account's plan as it was agreed on."""

    id: str
    account: str
    plan: Plan
    started: datetime
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class Period:
    """One of a subscription's, from `start` up to but without `end`; the trial is number 0, the first to pay is 1."""

    number: int
    start: datetime
    end: datetime
    trial: bool


def offer(store: Engine | Connection, plan: Plan, *, actor: str, clock: Clock = now) -> Plan:
    """Offer `plan` under its name from now on; subscriptions that are there keep what they agreed on."""
    checked(plan)
    values = {"name": plan.name, "value": digest.canonical(asdict(plan)), "actor": actor, "created": stamp(clock())}
    with writing(store) as connection:
        connection.execute(table.insert().values(values))
    return plan


def offered(store: Engine | Connection) -> list[Plan]:
    """The newest plan of every name."""
    with reading(store) as connection:
        rows = connection.execute(sa.select(table.c.name, table.c.value).order_by(table.c.id)).all()
    newest = {row.name: row.value for row in rows}
    return [_read(newest[name]) for name in sorted(newest)]


def subscribe(store: Engine | Connection, account: str, plan: str, *, clock: Clock = now) -> Subscription:
    """Begin `plan` now; an account has one at a time."""
    moment = clock().replace(microsecond=0)
    with writing(store) as connection:
        chosen = _chosen(connection, account, plan)
        if (current := active(connection, account, moment)) is not None:
            raise InputError(said("ledger.plan.has", account=account, plan=current.plan.name))
        made = _begin(connection, account, chosen, started=moment, moment=moment)
        refresh(connection, made, clock=clock)
        return made


def change(store: Engine | Connection, account: str, plan: str, *, clock: Clock = now) -> Subscription:
    """Let `plan` follow the account's own as soon as the period that runs, or its trial, is over.

    Until then all stays as it was agreed on. Another change, or `end`, takes the place of one that did not come about
    yet. There is no second trial. Raises InputError for an account without a plan: it subscribes.
    """
    moment = clock()
    with writing(store) as connection:
        chosen = _chosen(connection, account, plan)
        current = _ended(connection, account, moment)
        assert current.ended is not None
        chosen = replace(chosen, trial_days=0, trial_units=0, trial_credit=0)
        return _begin(connection, account, chosen, started=current.ended, moment=moment)


def end(store: Engine | Connection, account: str, *, clock: Clock = now) -> Subscription:
    """End the account's plan with the period that runs, a trial with itself; nothing is taken back, nothing follows."""
    with writing(store) as connection:
        groups.lock(connection, account)
        return _ended(connection, account, clock())


def _chosen(connection: Connection, account: str, plan: str) -> Plan:
    """The plan as it is offered now; behind the account's lock, which is taken here."""
    own = groups.lock(connection, account)
    known = {one.name: one for one in offered(connection)}
    if (chosen := known.get(plan)) is None:
        raise InputError(
            said("ledger.plan.other", given=plan[:64], plans=tuple(known))
            if known
            else said("ledger.plan.no", given=plan[:64])
        )
    if chosen.currency != own:
        raise InputError(said("ledger.plan.currency", plan=plan, currency=chosen.currency, account=account, holds=own))
    return chosen


def _begin(connection: Connection, account: str, plan: Plan, *, started: datetime, moment: datetime) -> Subscription:
    id = f"sub_{secrets.token_hex(10)}"
    values = {"id": id, "account": account, "plan": plan.name, "value": digest.canonical(asdict(plan))}
    times = {"started": stamp(started), "created": stamp(moment), "ended": None}
    connection.execute(subscriptions.insert().values(**values, **times))
    return Subscription(id, account, plan, started, None)


def _ended(connection: Connection, account: str, moment: datetime) -> Subscription:
    """The account's plan, which ends with its period; what was to follow it does not."""
    if (found := active(connection, account, moment)) is None:
        raise InputError(said("ledger.plan.none", account=account))
    last = found.ended or period(found, moment).end
    own = subscriptions.c.account == account
    connection.execute(  # it ends as it begins: it has no period, and is on record
        subscriptions.update().where(own, subscriptions.c.started > stamp(moment)).values(ended=subscriptions.c.started)
    )
    connection.execute(subscriptions.update().where(subscriptions.c.id == found.id).values(ended=stamp(last)))
    return replace(found, ended=last)


def following(connection: Connection, account: str, moment: datetime) -> Subscription | None:
    """What takes the place of the account's plan when its period is over, if anything does."""
    t = subscriptions.c
    query = sa.select(subscriptions).where(t.account == account, t.started > stamp(moment))
    row = connection.execute(query.where(sa.or_(t.ended.is_(None), t.ended > t.started))).first()
    return None if row is None else _subscription(row)


def active(connection: Connection, account: str, moment: datetime) -> Subscription | None:
    """The account's plan at `moment`."""
    row = _active.first(connection, {"account": account, "moment": stamp(moment)})
    return None if row is None else _subscription(row)


def of_account(store: Engine | Connection, account: str) -> list[Subscription]:
    """Every plan that the account had, has or is to have, oldest first; none that was replaced before it began."""
    t = subscriptions.c
    query = sa.select(subscriptions).where(t.account == account, sa.or_(t.ended.is_(None), t.ended > t.started))
    with reading(store) as connection:
        rows = connection.execute(query.order_by(subscriptions.c.started, subscriptions.c.id)).all()
        return [_subscription(row) for row in rows]


def period(subscription: Subscription, moment: datetime) -> Period:
    """The period that holds `moment`."""
    paid = subscription.started + timedelta(days=subscription.plan.trial_days)
    if moment < paid:
        return Period(0, subscription.started, paid, trial=True)
    months = subscription.plan.months
    number = max(0, (moment.year - paid.year) * 12 + moment.month - paid.month - months) // months
    while later(paid, (number + 1) * months) <= moment:
        number += 1
    return Period(number + 1, later(paid, number * months), later(paid, (number + 1) * months), trial=False)


def later(moment: datetime, months: int) -> datetime:
    """The same day and time so many months later, or that month's last day when it has no such day.

    >>> later(datetime(2027, 1, 31, tzinfo=UTC), 1).date().isoformat()
    '2027-02-28'
    """
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    first = moment.replace(year=year, month=month + 1, day=1)
    days = ((first + timedelta(days=32)).replace(day=1) - first).days
    return first.replace(day=min(moment.day, days))


def refresh(connection: Connection, subscription: Subscription, *, clock: Clock) -> Period:
    """Give what the period that runs includes, once. Behind the account's lock."""
    plan, runs = subscription.plan, period(subscription, clock())
    units, worth = (plan.trial_units, 0) if runs.trial else (plan.included, plan.fee)
    key = f"{subscription.id}:{runs.number}"
    if units:
        grants.give(
            connection,
            subscription.account,
            units,
            key=key,
            unit=plan.unit,
            priority=INCLUDED_PRIORITY,
            promotional=runs.trial,
            effective=runs.start,
            expires=runs.end,
            worth=worth,
            note=f"{plan.name}, period {runs.number}",
            clock=clock,
        )
    if runs.trial and plan.trial_credit:
        grants.give(
            connection,
            subscription.account,
            plan.trial_credit,
            key=f"{key}:credit",
            priority=INCLUDED_PRIORITY,
            promotional=True,
            effective=runs.start,
            expires=runs.end,
            note=f"{plan.name}, trial",
            clock=clock,
        )
    return runs


def hold(
    connection: Connection,
    account: str,
    *,
    tag: PriceTag,
    prompt: int,
    completion: int,
    request: str,
    key: str | None,
    seconds: int = holds.HELD,
    within: Reservation | None = None,
    server: str | None = None,
    clock: Clock,
) -> Reservation:
    """Hold the most that a request of so many units can take: units that are included, and money for the rest.

    `server` is the one that does the work: should it die, this is given back, and by no other while it lives.
    `within` names the reservation that let this work in: it keeps that one's price, plan and grants, whatever ended
    meanwhile, and counts as no request of its own. Raises NotEnoughCredit, LimitReached or BudgetSpent, and then the
    caller's transaction is to be undone.
    """
    moment = clock()
    let_in = moment if within is None else datetime.fromisoformat(within.created)
    scoped = groups.scoped("reserve", account, request)
    here = opening.of(connection, account, key=key, scoped=scoped, moment=let_in)
    if here.currency != tag.currency:
        raise InputError(said("ledger.holds", account=account, own=here.currency, currency=tag.currency))
    if here.made is not None:
        found = holds.of(connection, here.made)
        if (found.beside.prompt_units, found.beside.completion_units) != (prompt, completion):
            raise KeyReused(f"The key {request!r} was used for another request: take a new key for a new one.")
        return found
    code, owing, units = pots.UNITS.get(tag.unit), 0, 0
    if here.plan is not None:
        subscription = _subscription(here.plan, "plan_")
        runs = refresh(connection, subscription, clock=clock) if within is None else period(subscription, let_in)
        owing = 0 if runs.trial else subscription.plan.owing
        if within is None:
            tag = _price(subscription.plan, tag)
    if within is not None and within.beside.prompt_price is not None and within.beside.completion_price is not None:
        tag = PriceTag(tag.currency, within.beside.prompt_price, within.beside.completion_price, tag.unit)
    granted = here.granted or here.plan is not None  # a period may have begun just now
    live = pots.live(connection, account, moment=let_in) if granted else ()
    if code is not None and live:
        there = sum(pot.left for pot in pots.of(connection, account, code, moment=moment, live=live))
        units = min(there, prompt + completion)
    money = price.rest(tag, prompt=prompt, completion=completion, covered=units)
    if within is None:
        team, tokens = here.team, prompt + completion
        if here.limited:
            limits.enter(connection, account=account, key=key, team=team, tokens=tokens, budget=money, moment=moment)
    else:
        key, team = within.beside.key, within.beside.team
        limits.add(connection, account=account, key=key, team=team, created=stamp(moment), budget=money)
    beside = Beside(
        owing=owing,
        unit=code,
        units=units,
        prompt_price=tag.prompt,
        completion_price=tag.completion,
        prompt_units=prompt,
        completion_units=completion,
        key=key,
        team=team,
        requests=int(within is None),
        tokens=prompt + completion if within is None else 0,
        server=server,
    )
    return holds.hold(
        connection,
        account,
        money,
        currency=here.currency,
        key=request,
        seconds=seconds,
        beside=beside,
        moment=moment,
        live=live,
    )


def close(
    connection: Connection,
    reservation: Reservation,
    *,
    made: Usage,
    owed: Usage,
    source: str,
    event: str,
    key: str | None,
    release: str,
    milliseconds: int = 0,
    clock: Clock,
) -> Receipt:
    """Charge `owed` at the price that was frozen, included units first, and record `made`; see usage.py."""
    beside = reservation.beside
    if beside.prompt_price is None or beside.completion_price is None:
        raise InputError(f"The reservation {reservation.id} was made without a price.")
    tag = PriceTag(reservation.currency, beside.prompt_price, beside.completion_price, owed.unit)
    covered = min(beside.units, owed.prompt + owed.completion)
    return usage.settle_and_record(
        connection,
        reservation.id,
        made,
        amount=price.rest(tag, prompt=owed.prompt, completion=owed.completion, covered=covered),
        units=covered,
        owed=owed,
        source=source,
        event=event,
        key=key,
        release=release,
        milliseconds=milliseconds,
        clock=clock,
    )


def unit_of(code: str | None) -> str:
    """The unit that a reservation's code stands for."""
    return next((name for name, own in pots.UNITS.items() if own == code), "token")


def checked(plan: Plan) -> Plan:
    """`plan` itself; raises InputError when it is none."""
    name = plan.name
    if not (0 < len(name) <= 64 and name.isascii() and name.replace("-", "").isalnum() and name == name.lower()):
        raise InputError(said("ledger.plan.name", given=name[:64]))
    price.checked(PriceTag(plan.currency, plan.overage_prompt or 0, plan.overage_completion or 0, plan.unit))
    if plan.unit not in pots.UNITS:
        raise InputError(said("ledger.plan.unit", given=plan.unit, units=tuple(pots.UNITS)))
    if (plan.overage_prompt is None) != (plan.overage_completion is None):
        raise InputError("A price past what is included has both sides, for prompt and for completion, or neither.")
    bounds = {"fee": groups.MOST, "included": groups.MOST, "owing": groups.MOST, "trial_days": 366}
    bounds |= {"trial_units": groups.MOST, "trial_credit": groups.MOST, "tax": 1_000_000}
    for field, most in bounds.items():
        if type(value := getattr(plan, field)) is not int or not 0 <= value <= most:
            raise InputError(said("ledger.plan.number", field=field, given=str(value)[:40], most=most))
    if plan.months not in (1, 3, 6, 12):
        raise InputError(said("ledger.plan.months", months=plan.months))
    if (plan.trial_units or plan.trial_credit) and not plan.trial_days:
        raise InputError(said("ledger.plan.trial"))
    return plan


_active = Prepared(opening.running)


def _price(plan: Plan, tag: PriceTag) -> PriceTag:
    if plan.overage_prompt is None or plan.overage_completion is None or plan.unit != tag.unit:
        return tag
    return PriceTag(tag.currency, plan.overage_prompt, plan.overage_completion, tag.unit)


def _read(text: str) -> Plan:
    return checked(Plan(**json.loads(text)))


def _subscription(row: Any, names: str = "") -> Subscription:
    """From a row whose columns' names begin with `names`."""
    id, account, value, started, ended = attrgetter(*(names + name for name in _COLUMNS))(row)
    since, until = (datetime.fromisoformat(text).astimezone(UTC) if text else None for text in (started, ended))
    assert since is not None
    return Subscription(id, account, _read(value), since, until)
