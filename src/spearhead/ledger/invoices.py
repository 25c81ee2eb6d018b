"""Invoices: the usage events of a period, rounded to the coin once a line, and the one journal group that asks for it.

An event is on one invoice at most; one that comes late is on the next. What was paid before (grants, plain credit) is
taken off, never more than there is to pay. What rounding adds or leaves is booked too, so that what an account owes is
exactly the sum of its invoices. An invoice is written once and never changed: corrections are lines of the next.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.core.money import BILLION
from spearhead.ledger import groups, journal, pots, sums
from spearhead.ledger.plans import Plan
from spearhead.ledger.usage import CORRECTION
from spearhead.store.database import reading, writing
from spearhead.store.tables import accounts, invoiced_events, usage_events
from spearhead.store.tables import invoices as table

PLACES = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "ISK": 0, "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "OMR": 3, "TND": 3}
"""Decimals of a currency's smallest coin (ISO 4217), where they are not two."""


LATE = timedelta(days=7)
"""How late an event may be written and still make an invoice of its own; a later one waits for the next thing used."""


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of thing to pay for; `exact` is billionths, `amount` the same rounded to the coin, once."""

    kind: str
    """usage, correction or fee."""
    release: str
    unit: str
    prompt_units: int
    completion_units: int
    covered: int
    """Of those units, what the plan includes."""
    prompt_price: int | None
    completion_price: int | None
    exact: int
    amount: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """Amounts in billionths, all but `exact` ones whole coins."""

    number: str
    account: str
    name: str
    currency: str
    plan: str
    starts: str
    ends: str
    issued: str
    lines: tuple[Line, ...]
    subtotal: int
    """Of the lines for usage, fee apart."""
    credit: int
    """What of it was paid before, from credit and grants; below zero when a correction gave credit back."""
    fee: int
    tax_rate: int
    """Millionths."""
    tax: int
    due: int
    exact_claim: int
    """What usage left to be paid, to the billionth; `rounding` is booked to bring it to whole coins."""
    carried_in: int
    carried: int
    """A claim below zero (more was corrected than used) goes on to the next invoice."""
    rounding: int

    def to_json(self) -> str:
        """Canonical JSON."""
        return digest.canonical(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Invoice":
        """As it was written."""
        raw = json.loads(text)
        return cls(**{**raw, "lines": tuple(Line(**line) for line in raw["lines"])})


def cut(
    store: Engine | Connection,
    account: str,
    *,
    starts: datetime,
    ends: datetime,
    once: str,
    plan: Plan | None = None,
    charge_fee: bool = False,
    clock: Clock = now,
) -> Invoice | None:
    """Write the invoice for what was used before `ends` and is on none yet; None when there is nothing to say.

    All of it or nothing is written; doing it again under the same `once` gives the same invoice.
    """
    if ends > clock():
        raise InputError(f"A period that ends at {stamp(ends)} is not over: nothing is invoiced yet.")
    with writing(store) as connection:
        currency = groups.lock(connection, account)
        if (there := connection.scalar(sa.select(table.c.value).where(table.c.once == once))) is not None:
            return Invoice.from_json(there)
        events = connection.scalars(_open_events(account, ends)).all()
        fee = plan.fee if plan is not None and charge_fee else 0
        if not events and not fee:
            return None
        last = connection.execute(
            sa.select(table.c.value).where(table.c.account == account).order_by(table.c.id.desc()).limit(1)
        ).first()
        count = connection.scalar(sa.select(sa.func.count()).select_from(table).where(table.c.account == account)) or 0
        short = digest.of_bytes(account.encode())[:12].upper()
        made = _made(
            _lines(connection, events, currency=currency),
            currency=currency,
            fee=fee,
            carried_in=Invoice.from_json(last.value).carried if last else 0,
            said={
                "number": f"INV-{short}-{count + 1:04d}",
                "account": account,
                "name": connection.scalar(sa.select(accounts.c.name).where(accounts.c.id == account)) or "",
                "plan": plan.name if plan is not None else "",
                "starts": stamp(starts),
                "ends": stamp(ends),
                "issued": stamp(clock()),
                "tax_rate": plan.tax if plan is not None else 0,
            },
            claim=_claim(connection, events),
        )
        group = None
        if lines := _entries(made):
            key, payload = f"invoice:{once}", digest.of_value(["invoice", once])
            group = groups.post(connection, "invoice", lines, key=key, payload=payload, moment=clock()).id
        id = connection.execute(
            table.insert()
            .values(
                number=made.number,
                once=once,
                account=account,
                currency=currency,
                due=made.due,
                value=made.to_json(),
                group_id=group,
                created=made.issued,
            )
            .returning(table.c.id)
        ).scalar_one()
        if events:
            connection.execute(invoiced_events.insert(), [{"event": event, "invoice": id} for event in events])
        return made


def pay(store: Engine | Connection, account: str, amount: int, *, key: str, clock: Clock = now) -> int:
    """Book a payment for invoices, the oldest first; gives what is still to be paid. Once under its key."""
    if type(amount) is not int or not 1 <= amount <= groups.MOST:
        raise InputError(f"{amount!r} is no payment: wanted a whole number of billionths from 1 to {groups.MOST}.")
    with writing(store) as connection:
        currency = groups.lock(connection, account)
        scoped, payload = f"payment:{account}:{digest.of_bytes(key.encode())}", digest.of_value(["payment", amount])
        if not groups.posted(connection, scoped, payload=payload):
            if amount > (left := owed(connection, account)):
                raise InputError(f"{amount} billionths were paid, and {left} are to be paid: credit the rest instead.")
            lines = [("wash", currency, -amount), (pots.receivable(account), currency, amount)]
            groups.post(connection, "payment", lines, key=scoped, payload=payload, moment=clock())
        return owed(connection, account)


def owed(store: Engine | Connection, account: str) -> int:
    """What the account's invoices ask for and nobody paid yet."""
    with reading(store) as connection:
        currency = connection.scalar(sa.select(accounts.c.currency).where(accounts.c.id == account))
        return -sums.of(connection, pots.receivable(account), str(currency))[0]


def of_account(store: Engine | Connection, account: str | None = None) -> list[Invoice]:
    """Every invoice of an account, or of all, oldest first."""
    query = sa.select(table.c.value).order_by(table.c.id)
    with reading(store) as connection:
        rows = connection.scalars(query.where(table.c.account == account) if account else query)
        return [Invoice.from_json(value) for value in rows]


def told(store: Engine | Connection, account: str) -> set[str]:
    """Of which periods the account has an invoice: what each was written once under."""
    with reading(store) as connection:
        return set(connection.scalars(sa.select(table.c.once).where(table.c.account == account)))


def one(store: Engine | Connection, number: str) -> Invoice:
    """The invoice of that number."""
    with reading(store) as connection:
        if (value := connection.scalar(sa.select(table.c.value).where(table.c.number == number))) is None:
            raise InputError(f"There is no invoice {number[:80]!r}.")
        return Invoice.from_json(value)


def waiting_since(store: Engine | Connection, account: str, ends: datetime) -> datetime | None:
    """When the first thing was used that is on no invoice, before `ends`.

    Looked for from LATE before the end of the last invoice on, which took all that was there before its end.
    """
    with reading(store) as connection:
        newest = sa.select(table.c.value).where(table.c.account == account).order_by(table.c.id.desc()).limit(1)
        last = connection.scalar(newest)
        ids = _open_events(account, ends)
        if last is not None:
            begin = datetime.fromisoformat(Invoice.from_json(last).ends) - LATE
            ids = ids.where(usage_events.c.happened >= stamp(begin))
        found = connection.scalar(
            sa.select(sa.func.min(usage_events.c.happened)).where(usage_events.c.id.in_(ids.order_by(None)))
        )
    return datetime.fromisoformat(found) if found else None


def rebuilt(store: Engine | Connection, number: str) -> Invoice:
    """The invoice made anew from its events: the same to the last byte, or something was tampered with."""
    with reading(store) as connection:
        row = connection.execute(sa.select(table).where(table.c.number == number)).one()
        events = connection.scalars(
            sa.select(invoiced_events.c.event).where(invoiced_events.c.invoice == row.id).order_by(invoiced_events.c.id)
        ).all()
        before = connection.scalar(
            sa.select(table.c.value)
            .where(table.c.account == row.account, table.c.id < row.id)
            .order_by(table.c.id.desc())
            .limit(1)
        )
        kept = Invoice.from_json(row.value)
        names = ("number", "account", "name", "plan", "starts", "ends", "issued", "tax_rate")
        return _made(
            _lines(connection, events, currency=row.currency),
            currency=row.currency,
            fee=sum(line.exact for line in kept.lines if line.kind == "fee"),
            carried_in=Invoice.from_json(before).carried if before else 0,
            said={name: getattr(kept, name) for name in names},
            claim=_claim(connection, events),
        )


def check(store: Engine | Connection) -> list[str]:
    """Every way in which invoices, events and journal disagree, a sentence each."""
    problems = []
    with reading(store) as connection:
        for row in connection.execute(sa.select(table).order_by(table.c.id)).all():
            if rebuilt(connection, row.number).to_json() != row.value:
                problems.append(f"The invoice {row.number} does not follow from its events.")
            made = Invoice.from_json(row.value)
            booked = [] if row.group_id is None else groups.lines(connection, row.group_id)
            if sorted(booked) != sorted(_entries(made)):
                problems.append(f"The journal group of the invoice {row.number} says something else.")
        events = dict(
            connection.execute(
                sa.select(usage_events.c.currency, sa.func.sum(usage_events.c.amount)).group_by(usage_events.c.currency)
            )
            .tuples()
            .all()
        )
        for invoice in of_account(connection):
            events[invoice.currency] = int(events.get(invoice.currency, 0)) + sum(
                line.exact for line in invoice.lines if line.kind == "fee"
            )
        for currency, total in events.items():
            if (earned := sums.of(connection, "earnings", currency)[0]) != int(total):
                problems.append(f"Events and fees come to {total} {currency}, and the journal earned {earned}.")
        for account in connection.execute(sa.select(accounts)).all():
            asked = sum(invoice.due for invoice in of_account(connection, account.id))
            paid = journal.total(connection, pots.receivable(account.id), account.currency, kind="payment")
            if owed(connection, account.id) != asked - paid:
                problems.append(f"The invoices of {account.id} ask for {asked}, {paid} was paid, and the rest differs.")
    return problems


def coin(amount: int, currency: str) -> int:
    """Billionths rounded to the smallest coin, half away from zero, so that an undone line is the line undone.

    >>> coin(14_999_999, "EUR"), coin(15_000_000, "EUR"), coin(-15_000_000, "EUR"), coin(1_500_000_000, "JPY")
    (10000000, 20000000, -20000000, 2000000000)
    """
    size: int = BILLION // 10 ** PLACES.get(currency, 2)
    whole: int = (abs(amount) + size // 2) // size * size
    return -whole if amount < 0 else whole


def _open_events(account: str, ends: datetime) -> "sa.Select[int]":
    on_one = sa.select(invoiced_events.c.event).where(invoiced_events.c.event == usage_events.c.id)
    return (
        sa.select(usage_events.c.id)
        .where(usage_events.c.account == account, usage_events.c.happened < stamp(ends), ~sa.exists(on_one))
        .order_by(usage_events.c.id)
    )


def _lines(connection: Connection, events: Sequence[int], *, currency: str) -> list[Line]:
    """One line for each release, unit and price; corrections apart."""
    t = usage_events.c
    undone = sa.case((t.source == CORRECTION, "correction"), else_="usage")
    found: dict[tuple[str, str, str, int, int], list[int]] = {}
    for part in _parts(events):
        rows = connection.execute(
            sa.select(
                *(undone, t.release, t.unit, t.prompt_price, t.completion_price),
                *(t.charged_prompt, t.charged_completion, t.covered, t.amount),
            ).where(t.id.in_(part))
        )
        for kind, release, unit, ours, theirs, *counts in rows:
            name = (kind, release, unit, -1 if ours is None else ours, -1 if theirs is None else theirs)
            found[name] = [a + b for a, b in zip(found.get(name, [0] * 4), counts, strict=True)]
    lines = []
    for (kind, release, unit, ours, theirs), (asked, answered, covered, exact) in sorted(found.items()):
        prices = (None if ours < 0 else ours, None if theirs < 0 else theirs)
        lines.append(Line(kind, release, unit, asked, answered, covered, *prices, exact, coin(exact, currency)))
    return lines


def _claim(connection: Connection, events: Sequence[int]) -> int:
    total = 0
    for part in _parts(events):
        query = sa.select(sa.func.sum(usage_events.c.on_account)).where(usage_events.c.id.in_(part))
        total += int(connection.scalar(query) or 0)
    return total


def _parts(events: Sequence[int]) -> list[Sequence[int]]:
    """A statement takes so many values and no more."""
    return [events[start : start + 10_000] for start in range(0, len(events), 10_000)]


def _made(
    lines: Sequence[Line], *, currency: str, fee: int, carried_in: int, said: Mapping[str, Any], claim: int
) -> Invoice:
    """The arithmetic, from nothing but its parts."""
    subtotal, exact = sum(line.amount for line in lines), sum(line.exact for line in lines)
    claim += carried_in
    if claim <= 0:
        usage_due = 0
    elif claim == exact:  # nothing was paid before: the lines as they are
        usage_due = max(0, subtotal)
    else:
        usage_due = max(0, subtotal - min(subtotal, coin(exact - claim, currency)))
    fee_line = [Line("fee", "", "", 0, 0, 0, None, None, fee, coin(fee, currency))] if fee else []
    fee_due = sum(line.amount for line in fee_line)
    tax = coin((usage_due + fee_due) * said["tax_rate"] // 1_000_000, currency)
    due = usage_due + fee_due + tax
    return Invoice(
        **said,
        currency=currency,
        lines=(*lines, *fee_line),
        subtotal=subtotal,
        credit=subtotal - usage_due,
        fee=fee_due,
        tax=tax,
        due=due,
        exact_claim=max(0, claim),
        carried_in=carried_in,
        carried=min(0, claim),
        rounding=due - max(0, claim) - fee - tax,
    )


def _entries(made: Invoice) -> list[groups.Line]:
    """What the journal books for it: the claim leaves the account's line, and what is due is receivable."""
    fee = sum(line.exact for line in made.lines if line.kind == "fee")
    lines = [
        (pots.line(made.account), made.currency, made.exact_claim),
        ("earnings", made.currency, fee),
        ("tax", made.currency, made.tax),
        ("rounding", made.currency, made.rounding),
        (pots.receivable(made.account), made.currency, -made.due),
    ]
    return [line for line in lines if line[2]]
