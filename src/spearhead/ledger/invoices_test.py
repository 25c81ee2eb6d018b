"""Promises of invoices and of the billing run, on every database there is."""

import base64
import calendar
import contextlib
import csv
import io
import random
import re
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from spearhead.core import money
from spearhead.core.clock import stamp
from spearhead.core.errors import InputError
from spearhead.core.generation import Usage
from spearhead.core.manifest import PriceTag
from spearhead.core.sentence import LANGUAGES
from spearhead.ledger import billing, grants, invoices, journal, keys, limits, plans, pots, printed, usage
from spearhead.ledger.billing import Hands
from spearhead.ledger.holds import NotEnoughCredit, Reservation
from spearhead.ledger.plans import Plan
from spearhead.store.prepared import Prepared
from spearhead.store.tables import invoiced_events, journal_entries, usage_events
from spearhead.store.tables import invoices as table

NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)
CENT = 10**7
TAG = PriceTag("EUR", 10**12, 10**12, "token")  # 0.001 a token


def customer(engine: Engine, hands: Hands, *, credit: int = 0, **terms: Any) -> str:
    account = keys.create_account(engine, "韩梅梅 & Söhne", currency="EUR", clock=hands).id
    if terms:
        plans.offer(engine, Plan(name="pro", currency="EUR", **terms), actor="test", clock=hands)
        plans.subscribe(engine, account, "pro", clock=hands)
    if credit:
        journal.credit(engine, account, credit, key="first", clock=hands)
    return account


def ask(
    engine: Engine, account: str, request: str, hands: Hands, *, units: int, tag: PriceTag = TAG, to: str = "s@1"
) -> int:
    with engine.begin() as connection:
        held = plans.hold(
            connection, account, tag=tag, prompt=units, completion=0, request=request, key=None, clock=hands
        )
        made = Usage(units, 0)
        return plans.close(
            connection, held, made=made, owed=made, source="e", event=request, key=None, release=to, clock=hands
        ).amount


def sound(engine: Engine) -> bool:
    found = journal.check(engine) + usage.check(engine) + limits.check(engine) + invoices.check(engine)
    assert found == []
    return True


def test_a_month_on_account_is_asked_for_once_with_fee_and_tax(engine: Engine) -> None:
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, fee=20 * 10**9, included=1000, owing=100 * 10**9, tax=190_000)
    ask(engine, account, "a", hands, units=900)
    ask(engine, account, "b", hands, units=1234)
    hands.set(datetime(2027, 2, 1, tzinfo=UTC))
    (made,) = billing.run(engine, clock=hands)
    assert billing.run(engine, clock=hands) == []
    # 2134 units, 1000 of them included: 1134 x 0.001 = 1.134, so 1.13; 19 % of 21.13 is 4.0147, so 4.01
    assert (made.subtotal, made.credit, made.fee, made.tax) == (113 * CENT, 0, 2000 * CENT, 401 * CENT)
    assert made.due == 2514 * CENT and made.rounding == -4 * 10**6  # the cut 0.004 is booked
    assert [(line.kind, line.covered, line.prompt_units) for line in made.lines] == [
        ("usage", 1000, 2134),
        ("fee", 0, 0),
    ]
    assert invoices.owed(engine, account) == made.due
    assert invoices.pay(engine, account, 2500 * CENT, key="bank 1", clock=hands) == 14 * CENT
    assert invoices.pay(engine, account, 2500 * CENT, key="bank 1", clock=hands) == 14 * CENT
    with pytest.raises(InputError, match="credit the rest"):
        invoices.pay(engine, account, 15 * CENT, key="bank 2", clock=hands)
    assert sound(engine)


def test_what_was_paid_before_is_taken_off_and_never_more_than_the_lines(engine: Engine) -> None:
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, owing=10**9)
    grants.give(engine, account, 3 * 6 * 10**6, key="g", promotional=True, clock=hands)
    for name in "abc":  # 0.006 each: a cent each when rounded, 0.018 in all
        ask(engine, account, name, hands, units=6, to=f"{name}@1")
    hands.set(datetime(2027, 2, 1, tzinfo=UTC))
    (made,) = billing.run(engine, clock=hands)
    assert (made.subtotal, made.credit, made.due) == (3 * CENT, 3 * CENT, 0)
    ask(engine, account, "d", hands, units=12)
    hands.set(datetime(2027, 3, 1, tzinfo=UTC))
    (made,) = billing.run(engine, clock=hands)
    assert (made.subtotal, made.credit, made.due, made.exact_claim) == (CENT, 0, CENT, 12 * 10**6)
    assert sound(engine)


def test_an_unpaid_invoice_counts_against_what_may_be_owed(engine: Engine) -> None:
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, owing=10**9)
    ask(engine, account, "a", hands, units=900)
    hands.set(datetime(2027, 2, 1, tzinfo=UTC))
    billing.run(engine, clock=hands)
    with pytest.raises(NotEnoughCredit):
        ask(engine, account, "b", hands, units=101)
    invoices.pay(engine, account, 90 * CENT, key="bank", clock=hands)
    ask(engine, account, "b", hands, units=1000)
    assert sound(engine)


def test_a_correction_is_a_line_of_the_next_invoice_and_what_is_left_of_it_goes_on(engine: Engine) -> None:
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, owing=10**9)
    ask(engine, account, "wrong", hands, units=200)
    hands.set(datetime(2027, 2, 1, tzinfo=UTC))
    (first,) = billing.run(engine, clock=hands)
    kept = first.to_json()
    assert first.due == 20 * CENT
    usage.correct(engine, "wrong", source="e", clock=hands)
    ask(engine, account, "right", hands, units=50)
    dues = []
    for month, units in ((3, 70), (4, 100), (5, 0)):
        hands.set(datetime(2027, month, 1, tzinfo=UTC))
        dues += [(one.subtotal, one.due, one.carried) for one in billing.run(engine, clock=hands)]
        if units:
            ask(engine, account, str(month), hands, units=units)
    # 0.20 were asked for wrongly: 0.05 and 0.07 are used of it, then 0.02 of the next 0.10 are to be paid.
    assert dues == [(-15 * CENT, 0, -15 * CENT), (7 * CENT, 0, -8 * CENT), (10 * CENT, 2 * CENT, 0)]
    assert invoices.of_account(engine, account)[0].to_json() == kept and sound(engine)


def test_an_account_without_a_plan_is_told_each_month_what_it_used(engine: Engine) -> None:
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, credit=10**9)
    ask(engine, account, "a", hands, units=100)
    assert billing.run(engine, clock=hands) == []  # the month is not over
    hands.set(datetime(2027, 2, 15, tzinfo=UTC))
    (made,) = billing.run(engine, clock=hands)
    assert (made.due, made.credit, made.starts[:10], made.ends[:10]) == (0, 10 * CENT, "2027-01-01", "2027-02-01")
    assert billing.run(engine, clock=hands) == [] and sound(engine)


def test_an_event_that_comes_late_is_on_the_next_invoice(engine: Engine) -> None:
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, owing=10**9)
    ask(engine, account, "a", hands, units=100)
    hands.set(datetime(2027, 2, 1, tzinfo=UTC))
    billing.run(engine, clock=hands)
    ask(engine, account, "late", Hands(datetime(2027, 1, 31, tzinfo=UTC)), units=70)  # another server's clock
    hands.set(datetime(2027, 3, 1, tzinfo=UTC))
    assert [one.due for one in billing.run(engine, clock=hands)] == [7 * CENT] and sound(engine)


def test_a_tampered_event_is_found(engine: Engine) -> None:
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, owing=10**9)
    ask(engine, account, "a", hands, units=100)
    hands.set(datetime(2027, 2, 1, tzinfo=UTC))
    (made,) = billing.run(engine, clock=hands)
    assert invoices.rebuilt(engine, made.number) == made and sound(engine)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("DROP TRIGGER usage_events_no_update")
        else:
            connection.exec_driver_sql("DROP TRIGGER usage_events_append_only ON usage_events")
        connection.execute(usage_events.update().values(amount=1))
    assert len(invoices.check(engine)) == 2 and len(usage.check(engine)) == 2  # sum, line; settlement, price


def test_a_clock_set_by_hand_takes_a_plan_through_its_life(engine: Engine) -> None:
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, fee=10**9, included=10, trial_days=14, trial_units=5)
    told = billing.rehearsal(engine, account=account, until=datetime(2027, 4, 20, tzinfo=UTC), clock=hands)
    assert invoices.of_account(engine) == []  # worked out and taken back
    dues = []
    for made in hands.advance(engine, datetime(2027, 3, 1, tzinfo=UTC)):
        dues.append((made.starts[:10], made.due))
    plans.end(engine, account, clock=hands)
    dues += [(made.starts[:10], made.due) for made in hands.advance(engine, datetime(2027, 6, 1, tzinfo=UTC))]
    assert dues == [("2027-01-15", 10**9), ("2027-02-15", 10**9)]
    assert [one.due for one in told] == [10**9] * 3
    with pytest.raises(InputError, match="cannot go back"):
        hands.set(NEW_YEAR)
    names = {grant.note: rest for grant, rest in grants.of_account(engine, account)}
    assert names == {"pro, period 0": 0, "pro, period 1": 0, "pro, period 2": 0} and sound(engine)


def _world(engine: Engine) -> "dict[str, Any]":
    with engine.connect() as connection:
        return {
            name: int(total)
            for name, total in connection.execute(
                sa.select(journal_entries.c.account, sa.func.sum(journal_entries.c.amount))
                .where(journal_entries.c.currency == "EUR")
                .group_by(journal_entries.c.account)
            ).tuples()
        }


STEP = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 400), st.integers(0, 400)),
    st.tuples(st.just("wait"), st.integers(1, 20), st.just(0)),
    st.tuples(st.just("give"), st.integers(1, 10**9), st.integers(0, 30)),
    st.tuples(st.just("undo"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("pay"), st.integers(1, 100), st.just(0)),
    st.tuples(st.just("lose"), st.integers(0, 400), st.just(0)),
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    steps=st.lists(STEP, min_size=3, max_size=14),
    prices=st.tuples(st.integers(0, 10**13), st.integers(0, 10**13)),
    terms=st.fixed_dictionaries(
        {
            "fee": st.integers(0, 10**10),
            "included": st.integers(0, 600),
            "owing": st.integers(0, 10**10),
            "tax": st.integers(0, 300_000),
            "trial_days": st.sampled_from([0, 0, 3]),
        }
    ),
)
def test_whatever_happens_journal_events_and_invoices_agree(
    engine: Engine, steps: list[tuple[str, int, int]], prices: tuple[int, int], terms: dict[str, int]
) -> None:
    """Against sums worked out here with fractions, from nothing but what each call answered."""
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, **terms)
    tag = PriceTag("EUR", *prices, "token")
    told, cut, paid = dict[str, int](), list[invoices.Invoice](), 0
    for number, (what, first, second) in enumerate(steps):
        name = f"{account} {number}"
        if what == "wait":
            cut += list(hands.advance(engine, hands() + timedelta(days=first), account=account))
        elif what == "give":
            expires = hands() + timedelta(days=second) if second else None
            grants.give(engine, account, first, key=name, priority=second, expires=expires, clock=hands)
        elif what == "undo" and told:
            charged = [key for key in told if not key.endswith("undone")]
            victim = charged[first % len(charged)]
            if usage.correct(engine, victim, source="e", clock=hands):
                told[f"{victim} undone"] = -told[victim]
        elif what == "pay" and (owed := invoices.owed(engine, account)) > 0:
            paid += (amount := max(1, owed * first // 100))
            assert invoices.pay(engine, account, amount, key=name, clock=hands) == owed - amount
        elif what in ("ask", "lose"):
            try:
                with engine.begin() as connection:
                    held = plans.hold(
                        connection,
                        account,
                        tag=tag,
                        prompt=first,
                        completion=second,
                        request=name,
                        key=None,
                        clock=hands,
                    )
                    if what == "ask":
                        made = Usage(first, second // 2)
                        terms_ = {"source": "e", "event": name, "key": None, "release": "s@1", "clock": hands}
                        receipt = plans.close(connection, held, made=made, owed=made, **terms_)  # type: ignore[arg-type]
                        told[name] = receipt.amount
            except NotEnoughCredit:
                continue
            covered = min(held.beside.units, first + second)
            rest = Fraction(max(0, first - covered) * prices[0], 10**6)
            rest += Fraction((second - max(0, covered - first)) * prices[1], 10**6)
            assert abs(held.amount - rest) <= Fraction(1, 2)
    hands.set(hands() + timedelta(hours=2))
    journal.sweep(engine, hands)
    cut += list(hands.advance(engine, hands() + timedelta(days=65), account=account))
    assert cut == invoices.of_account(engine, account) and len({one.number for one in cut}) == len(cut)
    assert all(invoices.rebuilt(engine, one.number).to_json() == one.to_json() for one in cut)
    lines = [line for one in cut for line in one.lines if line.kind != "fee"]
    assert sum(line.exact for line in lines) == sum(told.values())  # all that was charged is on invoices, once
    for one in cut:
        assert one.due >= 0 and one.due % CENT == one.tax % CENT == 0
        assert one.subtotal == sum(line.amount for line in one.lines if line.kind != "fee")
        assert all(abs(line.amount - line.exact) <= CENT // 2 for line in one.lines)
        assert one.credit <= max(one.subtotal, 0) or one.due == one.fee + one.tax
        assert abs(one.tax - Fraction((one.due - one.tax) * one.tax_rate, 10**6)) <= CENT // 2
    with engine.connect() as connection:
        line = connection.scalar(
            sa.select(sa.func.sum(journal_entries.c.amount)).where(journal_entries.c.account == pots.line(account))
        )
    assert int(line or 0) == -(cut[-1].carried if cut else 0)
    assert invoices.owed(engine, account) == sum(one.due for one in cut) - paid
    assert sum(_world(engine).values()) == 0 and sound(engine)


MOVES = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 45)),
    st.tuples(st.sampled_from(["change", "begin"]), st.integers(0, 2)),
    st.tuples(st.just("end"), st.just(0)),
)
OFFERS = (  # name, months, fee to the billionth, included units, trial days
    ("small", 1, 19_990_000_003, 100, 0),
    ("large", 3, 99_995_000_000, 5000, 10),
    ("free", 1, 0, 7, 0),
)


@dataclass
class Stay:
    """On a plan, by our own count of days and months."""

    plan: int
    begins: datetime
    ends: datetime | None = None
    trial: int = 0

    @property
    def paid(self) -> datetime:
        """When the first period that is paid for begins."""
        return self.begins + timedelta(days=self.trial)

    def periods(self) -> Iterator[tuple[datetime, datetime]]:
        """First moment and first after, of each of five years; the trial is one."""
        if self.trial:
            yield self.begins, self.paid
        step, (year, month) = OFFERS[self.plan][1], (self.paid.year, self.paid.month - 1)
        starts = []
        for months in range(month, month + 60 * step, step):
            days = calendar.monthrange(year + months // 12, months % 12 + 1)[1]
            day = min(self.paid.day, days)
            starts.append(self.paid.replace(year=year + months // 12, month=months % 12 + 1, day=day))
        yield from pairwise(starts)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(moves=st.lists(MOVES, min_size=4, max_size=16), first=st.integers(0, 2), day=st.integers(0, 30))
def test_plans_change_with_their_periods_each_of_which_is_asked_for_once_and_in_full(
    engine: Engine, moves: list[tuple[str, int]], first: int, day: int
) -> None:
    """Beside an account of it kept here: a plan, when it began and when it ends, and what follows it."""
    hands = Hands(NEW_YEAR + timedelta(days=day))
    account = keys.create_account(engine, "a", currency="EUR", clock=hands).id
    for name, months, fee, included, trial in OFFERS:
        offer = Plan(name, "EUR", fee=fee, months=months, included=included, trial_days=trial)
        plans.offer(engine, offer, actor="test", clock=hands)
    fees: list[int] = []
    stays: list[Stay] = []
    for what, number in (("begin", first), *moves, ("wait", 40)):
        moment, name = hands(), OFFERS[number % 3][0]
        now_ = next((one for one in stays if one.begins <= moment and (one.ends is None or moment < one.ends)), None)
        if what == "wait":
            cut = list(hands.advance(engine, moment + timedelta(days=number), account=account))
            fees += [one.fee for one in cut if one.fee]
        elif what == "begin" and now_ is None:
            plans.subscribe(engine, account, name, clock=hands)
            stays.append(Stay(number, moment, trial=OFFERS[number][4]))
        elif now_ is None or what == "begin":
            with pytest.raises(InputError):
                if what == "end":
                    plans.end(engine, account, clock=hands)
                else:
                    (plans.subscribe if what == "begin" else plans.change)(engine, account, name, clock=hands)
        else:
            now_.ends = now_.ends or next(end for _, end in now_.periods() if end > moment)
            stays = [one for one in stays if one.begins <= moment]  # what was to follow does not
            if what == "change":
                made = plans.change(engine, account, name, clock=hands)
                assert made.started == now_.ends and made.plan.trial_days == 0
                stays.append(Stay(number, now_.ends))
            else:
                assert plans.end(engine, account, clock=hands).ended == now_.ends
        moment = hands()
        now_ = next((one for one in stays if one.begins <= moment and (one.ends is None or moment < one.ends)), None)
        with engine.begin() as connection:
            current = plans.active(connection, account, moment)
            assert (current.plan.name if current else None) == (OFFERS[now_.plan][0] if now_ else None)
            included = 0
            if current is not None and now_ is not None:
                runs = plans.refresh(connection, current, clock=hands)
                assert (runs.start, runs.end) == next(one for one in now_.periods() if one[1] > moment)
                included = 0 if runs.trial else current.plan.included
            there = sum(
                rest for grant, rest in grants.of_account(connection, account) if (grant.expires or "") > stamp(moment)
            )
            assert there == included, "the units of the period that runs, and of no other"
    wanted = [
        invoices.coin(OFFERS[one.plan][2], "EUR")
        for one in stays
        for begins, ends in one.periods()
        if ends <= hands() and (one.ends is None or begins < one.ends) and begins >= one.paid
    ]
    assert sorted(fees) == sorted(fee for fee in wanted if fee)
    told = plans.of_account(engine, account)
    assert [(one.started, one.ended) for one in told] == [(one.begins, one.ends) for one in stays] and sound(engine)


def test_a_plan_that_was_to_follow_gives_way_to_the_next_choice_and_to_an_end(engine: Engine) -> None:
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, fee=10**9, included=10)
    plans.offer(engine, Plan(name="max", currency="EUR", fee=5 * 10**9, trial_days=3), actor="test", clock=hands)
    hands.set(NEW_YEAR + timedelta(days=10))
    made = plans.change(engine, account, "max", clock=hands)
    assert made.started == datetime(2027, 2, 1, tzinfo=UTC)
    with engine.connect() as connection:
        assert plans.following(connection, account, hands()) == made
    again = plans.change(engine, account, "pro", clock=hands)
    with engine.connect() as connection:
        assert plans.following(connection, account, hands()) == again
    plans.end(engine, account, clock=hands)
    with engine.connect() as connection:
        assert plans.following(connection, account, hands()) is None
    plans.change(engine, account, "max", clock=hands)
    cut = list(hands.advance(engine, datetime(2027, 3, 1, tzinfo=UTC), account=account))
    assert [(one.plan, one.starts[:10], one.due) for one in cut] == [
        ("pro", "2027-01-01", 10**9),
        ("max", "2027-02-01", 5 * 10**9),  # at once, for there is no second trial
    ]
    assert sound(engine)


RUNNER = """
import os, signal, sys
from datetime import datetime
from spearhead.ledger import billing
from spearhead.store import database
engine, calls = database.connect(sys.argv[1]), iter(range(int(sys.argv[3])))
sys.setprofile(lambda *_: next(calls, None) is None and os.kill(os.getpid(), signal.SIGKILL))
billing.run(engine, clock=lambda: datetime.fromisoformat(sys.argv[2]))
"""


def test_a_billing_run_killed_at_any_moment_is_finished_by_the_next(engine: Engine, url: str) -> None:
    """At any of its calls: those of the clock would depend on the machine."""
    hands = Hands(NEW_YEAR)
    accounts = [customer(engine, hands, fee=10**9, owing=10**10) for _ in range(6)]
    for account in accounts:
        ask(engine, account, account, hands, units=123)
    moments, end = random.Random(3), datetime(2028, 1, 1, tzinfo=UTC)
    for _ in range(3):
        calls = str(moments.randrange(1, 100_000))
        done = subprocess.run([sys.executable, "-c", RUNNER, url, end.isoformat(), calls], check=False)
        assert done.returncode == -signal.SIGKILL and sound(engine)
    assert len(invoices.of_account(engine)) > 0
    hands.set(end)
    billing.run(engine, clock=hands)
    made = invoices.of_account(engine)
    assert sorted((one.account, one.starts) for one in made) == sorted(
        (account, f"2027-{month:02d}-01T00:00:00Z") for account in accounts for month in range(1, 13)
    )
    assert sum(one.due for one in made) == 6 * (12 * 10**9 + 12 * CENT) and sound(engine)


def test_a_billing_run_that_another_overtakes_gives_and_notes_only_what_it_wrote_itself(engine: Engine) -> None:
    hands, noted = Hands(NEW_YEAR), list[str]()
    customer(engine, hands, fee=10**9)
    hands.set(datetime(2027, 2, 1, tzinfo=UTC))
    others: list[invoices.Invoice] = []

    def overtake(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "FROM invoices" in statement and not others:  # it has just seen that there is none
            others.append(None)  # type: ignore[arg-type]
            other = threading.Thread(target=lambda: others.extend(billing.run(engine, clock=hands)))
            other.start()
            other.join()

    sa.event.listen(engine, "after_cursor_execute", overtake)
    own = billing.run(engine, beside=lambda _, one: noted.append(one.number), clock=hands)
    sa.event.remove(engine, "after_cursor_execute", overtake)
    assert (len(others), own, noted) == (2, [], []) and len(invoices.of_account(engine)) == 1 and sound(engine)


def test_a_billing_run_that_dies_at_any_of_its_writes_writes_nothing_of_that_invoice(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every statement that writes is made to fail in turn, whoever executes it."""
    plain = Prepared._run
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, fee=10**9, owing=10**10)
    ask(engine, account, "a", hands, units=123)
    hands.set(datetime(2027, 2, 1, tzinfo=UTC))
    deaths = 0
    while True:
        left = iter(range(deaths))

        def die(connection: Any, cursor: Any, statement: str, *rest: Any, left: Iterator[int] = left) -> None:
            if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")) and next(left, None) is None:
                raise KeyboardInterrupt

        def run(self: Prepared, connection: Any, rows: Any, take: Any, die: Any = die) -> Any:
            die(connection, None, str(self._clause))
            return plain(self, connection, rows, take)

        monkeypatch.setattr(Prepared, "_run", run)
        sa.event.listen(engine, "before_cursor_execute", die)
        try:
            billing.run(engine, clock=hands)
            break
        except KeyboardInterrupt:
            deaths += 1
        finally:
            sa.event.remove(engine, "before_cursor_execute", die)
            monkeypatch.undo()
        with engine.connect() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0
            assert connection.scalar(sa.select(sa.func.count()).select_from(invoiced_events)) == 0
        assert sound(engine)
    assert deaths >= 4 and [one.due for one in invoices.of_account(engine)] == [112 * CENT]


def test_an_invoice_prints_as_csv_and_pdf_in_both_languages(engine: Engine) -> None:
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, fee=10**9, owing=10**10, tax=60_000)
    for number in range(60):  # more lines than a page holds
        ask(engine, account, f"a{number}", hands, units=number + 1, to=f"场景-{number}@1")
    ask(engine, account, "b", hands, units=1, to="=cmd()@1")
    hands.set(datetime(2027, 2, 1, tzinfo=UTC))
    (made,) = billing.run(engine, clock=hands)
    rows = list(csv.DictReader(io.StringIO(printed.as_csv(made))))
    amounts = {row["kind"]: row["amount"] for row in rows}
    total = sum(Fraction(row["amount"]) for row in rows if row["kind"] in ("usage", "fee"))
    assert len(rows) == 61 + 1 + 3 and Fraction(amounts["due"]) == total + Fraction(amounts["tax"])
    assert {row["name"] for row in rows} == {"韩梅梅 & Söhne"} and "'=cmd()@1" in {row["release"] for row in rows}
    for language in LANGUAGES:
        sheet = printed.as_pdf(made, language=language)
        assert sheet == printed.as_pdf(made, language=language)  # the same bytes
        assert sheet.startswith(b"%PDF-") and sheet.rstrip().endswith(b"%%EOF") and len(sheet) < 60_000
        assert b"/STSong-Light" in sheet and b"/UniGB-UCS2-H" in sheet and b"/Count 2" in sheet
        said = shown(sheet)
        for amount in (made.due, made.tax, *(line.amount for line in made.lines)):
            assert any(money.show(amount) in words for words in said), money.show(amount)
        assert made.number in " ".join(said) and any("=cmd" in words for words in said)


def shown(sheet: bytes) -> list[str]:
    """The Latin words that a PDF of ours draws, taken out of its pages by hand."""
    found: list[str] = []
    for packed in re.findall(rb"\nstream\r?\n(.*?)endstream", sheet, re.DOTALL):
        with contextlib.suppress(ValueError, zlib.error):  # what is no page
            page = zlib.decompress(base64.a85decode(b"<~" + packed.strip(), adobe=True))
            found += [text.decode("latin-1") for text in re.findall(rb"\((.*?)(?<!\\)\) Tj", page)]
    return found


def test_a_table_for_programs_has_the_names_of_the_json_form_and_one_for_people_has_words(engine: Engine) -> None:
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, owing=10**10)
    ask(engine, account, "a", hands, units=1)
    hands.set(datetime(2027, 2, 1, tzinfo=UTC))
    (made,) = billing.run(engine, clock=hands)
    english, chinese = printed.as_csv(made), printed.as_csv(made, language="zh")
    head = "invoice,account,name,currency,starts,ends,kind,release,unit,prompt_units,completion_units,covered,"
    assert english.startswith(f"{head}prompt_price,completion_price,exact,amount\n") and ",usage,s@1,token," in english
    assert chinese.startswith("\ufeff账单号,账户,") and ",用量,s@1,词元," in chinese and ",应付," in chinese
    digits = re.compile(r"[\d.]+")
    assert digits.findall(english) == digits.findall(chinese)


def test_characters_without_a_font_are_named_not_dropped() -> None:
    assert printed._runs("a账镕é🙂b") == [
        ("Helvetica", "a"),
        ("STSong-Light", "账镕"),
        ("Helvetica", "é[U+1F642]b"),
    ]


def test_what_waits_for_an_invoice_is_looked_for_after_the_last_one(steps: Any) -> None:
    engine, count = steps
    hands = Hands(NEW_YEAR)
    account = customer(engine, hands, credit=10**12)
    number = 0

    def use(connection: Connection, many: int) -> None:
        nonlocal number
        row: dict[str, Any] = {"source": "e", "account": account, "release": "s@1", "unit": "token", "currency": "EUR"}
        row |= {"prompt_units": 1, "completion_units": 0, "amount": 0, "happened": stamp(hands())}
        some = [{**row, "event": str(number + n)} for n in range(many)]
        number += many
        connection.execute(usage_events.insert(), some)

    for many in (10, 3000):
        with engine.begin() as connection:
            use(connection, many)
        hands.set(hands() + timedelta(days=40))
        assert len(billing.run(engine, clock=hands)) == 1
        use_none = count(lambda connection: invoices.waiting_since(connection, account, hands()))
        if many == 10:
            before = use_none
    assert use_none < before + 10
    late = NEW_YEAR + timedelta(days=58)  # of the month that is invoiced, written only now
    with engine.begin() as connection:
        connection.execute(
            usage_events.insert().values(
                source="e", event="late", account=account, release="s@1", unit="token", currency="EUR", amount=0,
                prompt_units=1, completion_units=0, happened=stamp(late),
            )
        )  # fmt: skip
    assert invoices.waiting_since(engine, account, hands()) == late
    assert sound(engine)


def test_seconds_are_held_settled_included_reported_and_asked_for_like_tokens(engine: Engine) -> None:
    hands, tag = Hands(NEW_YEAR), PriceTag("EUR", 10**12, 2 * 10**12, "second")  # 0.001 and 0.002 a second
    account = customer(
        engine,
        hands,
        unit="second",
        included=60,
        owing=10**9,
        overage_prompt=3 * 10**12,
        overage_completion=5 * 10**12,
    )

    def hold(request: str, *, seconds: int, tag: PriceTag = tag) -> Reservation:
        with engine.begin() as connection:
            return plans.hold(
                connection, account, tag=tag, prompt=0, completion=seconds, request=request, key=None, clock=hands
            )

    def close(held: Reservation, *, seconds: int, unit: str = "second") -> int:
        made = Usage(0, seconds, unit=unit)
        with engine.begin() as connection:
            return plans.close(
                connection,
                held,
                made=made,
                owed=made,
                source="e",
                event=held.id,
                key=None,
                release="s@1",
                clock=hands,
            ).amount

    first = hold("a", seconds=45)
    assert (first.beside.units, first.amount) == (45, 0)
    assert close(first, seconds=40) == 0  # five included seconds go back
    words = hold("c", seconds=7, tag=TAG)
    assert (words.beside.units, words.amount) == (0, 7 * 10**6)  # tokens are not seconds: no plan's price
    assert close(words, seconds=7, unit="token") == 7 * 10**6
    second = hold("b", seconds=50)
    assert (second.beside.units, second.amount) == (20, 30 * 5 * 10**6)  # past them at the plan's own price
    assert close(second, seconds=44) == 24 * 5 * 10**6
    assert usage.report(engine) == [
        usage.Line(account, "s@1", "second", "EUR", 2, 0, 84, 120 * 10**6),
        usage.Line(account, "s@1", "token", "EUR", 1, 0, 7, 7 * 10**6),
    ]
    hands.set(datetime(2027, 2, 1, tzinfo=UTC))
    (made,) = billing.run(engine, clock=hands)
    assert [
        (line.unit, line.completion_units, line.covered, line.completion_price, line.exact) for line in made.lines
    ] == [
        ("second", 84, 60, 5 * 10**12, 120 * 10**6),
        ("token", 7, 0, 10**12, 7 * 10**6),
    ]
    assert made.due == 13 * CENT  # 0.12 and 0.007, a cent when rounded
    rows = list(csv.DictReader(io.StringIO(printed.as_csv(made))))
    assert [row["unit"] for row in rows][:2] == ["second", "token"] and "秒" in printed.as_csv(made, language="zh")
    assert sound(engine)
