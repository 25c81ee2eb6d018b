"""Promises of grants, plans and corrections, on every database there is."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from spearhead.core.errors import InputError
from spearhead.core.generation import Receipt, Usage
from spearhead.core.manifest import PriceTag
from spearhead.ledger import grants, groups, holds, invoices, journal, keys, limits, plans, usage
from spearhead.ledger.billing import Hands
from spearhead.ledger.holds import NotEnoughCredit, Reservation
from spearhead.ledger.plans import Plan

NOON = datetime(2027, 1, 31, 12, 0, tzinfo=UTC)
TAG = PriceTag("EUR", 1_000_000, 3_000_000, "token")  # 1 and 3 billionths a token
OFFER = {"actor": "test"}


@pytest.fixture
def hands() -> Hands:
    return Hands(NOON)


def new_account(engine: Engine, hands: Hands, *, credit: int = 0) -> str:
    account = keys.create_account(engine, "李雷", currency="EUR", clock=hands).id
    if credit:
        journal.credit(engine, account, credit, key="first", clock=hands)
    return account


def hold(engine: Engine, account: str, request: str, *, clock: Hands, prompt: int = 10, most: int = 10) -> Reservation:
    with engine.begin() as connection:
        return plans.hold(
            connection, account, tag=TAG, prompt=prompt, completion=most, request=request, key=None, clock=clock
        )


def close(
    engine: Engine, held: Reservation, request: str, *, clock: Hands, prompt: int = 10, made: int = 10
) -> Receipt:
    units = Usage(prompt, made)
    with engine.begin() as connection:
        return plans.close(
            connection,
            held,
            made=units,
            owed=units,
            source="engine",
            event=request,
            key=None,
            release="s@1",
            clock=clock,
        )


def ask(engine: Engine, account: str, request: str, *, clock: Hands, **units: int) -> int:
    """A request of ten units and ten made: what it was charged."""
    held = hold(engine, account, request, clock=clock, **{n: v for n, v in units.items() if n in ("prompt", "most")})
    done = {name: value for name, value in units.items() if name in ("prompt", "made")}
    return close(engine, held, request, clock=clock, **done).amount


def subscribe(engine: Engine, hands: Hands, *, credit: int = 0, **terms: Any) -> str:
    account = new_account(engine, hands, credit=credit)
    plans.offer(engine, Plan(name="pro", currency="EUR", **terms), actor="test", clock=hands)
    plans.subscribe(engine, account, "pro", clock=hands)
    return account


def left(engine: Engine, account: str) -> dict[str, int]:
    return {grant.note: rest for grant, rest in grants.of_account(engine, account)}


def sound(engine: Engine) -> bool:
    found = journal.check(engine) + usage.check(engine) + limits.check(engine) + invoices.check(engine)
    assert found == []
    return True


def test_credit_is_used_by_priority_then_end_then_gifts_before_money(engine: Engine, hands: Hands) -> None:
    account = new_account(engine, hands, credit=40)
    soon, later = NOON + timedelta(days=1), NOON + timedelta(days=9)

    def give(note: str, **terms: Any) -> None:
        grants.give(engine, account, 40, key=note, note=note, clock=hands, **terms)

    give("paid later", expires=later)
    give("gift later", expires=later, promotional=True)
    give("last", priority=90, expires=soon)
    give("soon", expires=soon)
    give("first", priority=3)
    order = []
    for number in range(6):
        before = {**left(engine, account), "plain": journal.balance(engine, account, clock=hands).available}
        assert ask(engine, account, str(number), clock=hands) == 40
        after = left(engine, account)
        order += [note for note in after if after[note] < before[note]] or ["plain"]
    assert order == ["first", "soon", "gift later", "paid later", "plain", "last"]
    with pytest.raises(NotEnoughCredit):
        hold(engine, account, "7", clock=hands, prompt=1, most=0)
    assert sound(engine)


def test_one_request_may_take_from_several_grants_and_gives_back_to_the_last(engine: Engine, hands: Hands) -> None:
    account = new_account(engine, hands)
    for number in (1, 2, 3):
        grants.give(engine, account, 15, key=str(number), note=str(number), priority=number, clock=hands)
    held = hold(engine, account, "r", clock=hands)  # 40
    assert left(engine, account) == {"1": 0, "2": 0, "3": 5}
    assert close(engine, held, "r", clock=hands, made=2).amount == 16
    assert left(engine, account) == {"1": 0, "2": 14, "3": 15}
    assert journal.balance(engine, account, clock=hands).available == 29 and sound(engine)


def test_credit_past_its_end_is_not_spent_and_is_booked_as_breakage(engine: Engine, hands: Hands) -> None:
    account = new_account(engine, hands)
    grants.give(engine, account, 100, key="g", note="g", expires=NOON + timedelta(hours=1), clock=hands)
    held = hold(engine, account, "r", clock=hands)  # 40, while it is alive
    hands.set(NOON + timedelta(hours=1))
    assert journal.balance(engine, account, clock=hands).available == 0
    with pytest.raises(NotEnoughCredit):
        hold(engine, account, "late", clock=hands)
    assert journal.expire(engine, clock=hands) == 0  # work is under way on it
    assert left(engine, account) == {"g": 0}
    assert close(engine, held, "r", clock=hands, made=0).amount == 10  # begun in time, paid from it
    assert journal.expire(engine, clock=hands) == 1 and journal.expire(engine, clock=hands) == 0
    with engine.connect() as connection:
        query = "SELECT SUM(amount) FROM journal_entries WHERE account = 'breakage'"
        assert connection.exec_driver_sql(query).scalar() == 90
    assert sound(engine)


def test_a_voided_grant_gives_back_what_was_not_used(engine: Engine, hands: Hands) -> None:
    account = new_account(engine, hands)
    grant = grants.give(engine, account, 100, key="g", clock=hands)
    assert grants.give(engine, account, 100, key="g", clock=hands) == grant
    ask(engine, account, "r", clock=hands)
    assert [grants.void(engine, grant.id, clock=hands)[1] for _ in range(2)] == [60, 0]
    assert journal.balance(engine, account, clock=hands).available == 0 and sound(engine)


def test_a_voided_grant_does_not_come_back_to_life(engine: Engine, hands: Hands) -> None:
    account = new_account(engine, hands)
    grant = grants.give(engine, account, 100, key="g", clock=hands)
    held = hold(engine, account, "a", clock=hands)
    assert grants.void(engine, grant.id, clock=hands)[1] == 60
    journal.expire(engine, clock=hands)
    holds.release(engine, held.id, clock=hands)
    assert journal.balance(engine, account, clock=hands).available == 0
    with pytest.raises(NotEnoughCredit):
        hold(engine, account, "b", clock=hands)
    assert journal.expire(engine, clock=hands) == 1 and journal.expire(engine, clock=hands) == 0
    assert grants.of_account(engine, account)[0][1] == 0 and sound(engine)


def test_a_plan_pays_its_units_first_and_the_rest_at_its_own_price(engine: Engine, hands: Hands) -> None:
    account = subscribe(
        engine, hands, credit=1000, included=25, fee=50, overage_prompt=2_000_000, overage_completion=4_000_000
    )
    assert ask(engine, account, "a", clock=hands) == 0  # 20 of 25 units
    held = hold(engine, account, "b", clock=hands)
    assert (held.beside.units, held.amount) == (5, 5 * 2 + 10 * 4)
    receipt = close(engine, held, "b", clock=hands, made=3)  # the prompt's first five are included
    assert receipt.amount == 5 * 2 + 3 * 4
    event = row_of(engine, "a")
    assert (event.covered, event.covered_worth, event.charged_completion) == (20, 40, 10)  # 20 of 25 units that cost 50
    assert sound(engine)


def test_units_that_were_held_and_not_used_are_there_again(engine: Engine, hands: Hands) -> None:
    account = subscribe(engine, hands, included=25)
    held = hold(engine, account, "a", clock=hands)
    with pytest.raises(NotEnoughCredit):
        hold(engine, account, "b", clock=hands)  # five units are left, and no money
    close(engine, held, "a", clock=hands, made=1)
    assert list(left(engine, account).values()) == [14]
    assert hold(engine, account, "c", clock=hands, prompt=4).beside.units == 14
    assert sound(engine)


def test_units_end_with_their_period_and_come_anew_with_the_next(engine: Engine, hands: Hands) -> None:
    account = subscribe(engine, hands, included=25)
    hands.set(datetime(2027, 2, 28, 12, 0, tzinfo=UTC))  # the 31st of February
    assert hold(engine, account, "a", clock=hands).beside.units == 20
    assert left(engine, account) == {"pro, period 1": 25, "pro, period 2": 5}
    hands.set(datetime(2027, 3, 31, 11, 59, 59, tzinfo=UTC))
    with pytest.raises(NotEnoughCredit):
        hold(engine, account, "b", clock=hands)
    hands.set(datetime(2027, 3, 31, 12, 0, tzinfo=UTC))
    assert hold(engine, account, "c", clock=hands).beside.units == 20


def test_periods_follow_the_day_on_which_a_plan_began() -> None:
    began = plans.Subscription("s", "a", Plan(name="p", currency="EUR"), NOON, None)
    ends, moment = [], NOON
    for _ in range(14):
        period = plans.period(began, moment)
        assert period.start == moment and plans.period(began, period.end - timedelta(seconds=1)) == period
        moment = period.end
        ends.append(moment.date().isoformat()[2:])
    assert ends[:4] == ["27-02-28", "27-03-31", "27-04-30", "27-05-31"] and ends[12] == "28-02-29"


def test_on_demand_owes_up_to_what_was_agreed_and_no_more(engine: Engine, hands: Hands) -> None:
    account = subscribe(engine, hands, owing=100)
    assert [ask(engine, account, str(n), clock=hands) for n in range(2)] == [40, 40]
    with pytest.raises(NotEnoughCredit):
        hold(engine, account, "2", clock=hands)
    assert journal.balance(engine, account, clock=hands).available == 0 and sound(engine)


def test_a_trial_is_free_ends_and_leaves_nothing_to_pay(engine: Engine, hands: Hands) -> None:
    account = subscribe(engine, hands, fee=10**9, owing=100, trial_days=7, trial_units=20, trial_credit=40)
    assert [ask(engine, account, str(n), clock=hands) for n in range(2)] == [0, 40]
    with pytest.raises(NotEnoughCredit):  # what may be owed begins with the plan itself
        hold(engine, account, "2", clock=hands)
    plans.end(engine, account, clock=hands)
    made = list(hands.advance(engine, NOON + timedelta(days=40)))
    assert [(one.due, one.credit, one.subtotal) for one in made] == [(0, 0, 0)]  # 40 billionths are no cent
    with pytest.raises(NotEnoughCredit):
        hold(engine, account, "3", clock=hands)
    assert sound(engine)


def test_an_account_has_one_plan_at_a_time_and_in_its_own_currency(engine: Engine, hands: Hands) -> None:
    account = subscribe(engine, hands, included=5)
    with pytest.raises(InputError, match="end it first"):
        plans.subscribe(engine, account, "pro", clock=hands)
    plans.offer(engine, Plan(name="yen", currency="JPY"), **OFFER, clock=hands)
    with pytest.raises(InputError, match="is in JPY"):
        plans.subscribe(engine, new_account(engine, hands), "yen", clock=hands)


@pytest.mark.parametrize(
    "wrong",
    [{"fee": -1}, {"months": 2}, {"unit": "mile"}, {"overage_prompt": 1}, {"trial_units": 1}, {"name": "A b"}],
)
def test_a_plan_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        plans.checked(Plan(**{"name": "p", "currency": "EUR", **wrong}))


def at_once(count: int, work: Callable[[int], bool]) -> int:
    """How many of so many that begin at the same moment got what they wanted."""
    start = threading.Barrier(count)

    def one(number: int) -> bool:
        start.wait()
        try:
            return work(number)
        except (NotEnoughCredit, limits.LimitReached, limits.BudgetSpent):
            return False

    with ThreadPoolExecutor(count) as pool:
        return sum(pool.map(one, range(count)))


def test_of_64_at_once_three_get_what_is_there_for_three(engine: Engine, hands: Hands) -> None:
    """Credit in grants, included units and what may be owed, one request's worth of each."""
    account = subscribe(engine, hands, included=20, owing=45)
    grants.give(engine, account, 45, key="g", clock=hands)
    assert at_once(64, lambda n: bool(hold(engine, account, str(n), clock=hands).id)) == 3
    assert sound(engine)


def test_the_same_request_twice_is_held_and_charged_once(engine: Engine, hands: Hands) -> None:
    account = subscribe(engine, hands, included=5, owing=1000)
    first = hold(engine, account, "r", clock=hands)
    assert hold(engine, account, "r", clock=hands) == first
    with pytest.raises(groups.KeyReused):
        hold(engine, account, "r", clock=hands, most=11)
    receipt = close(engine, first, "r", clock=hands)
    assert close(engine, first, "r", clock=hands) == receipt
    assert usage.report(engine)[0].requests == 1 and sound(engine)


def test_a_crash_gives_money_and_units_back_and_counts_for_no_limit(engine: Engine, hands: Hands) -> None:
    account = subscribe(engine, hands, included=5, owing=1000)
    limits.set_limit(engine, f"account:{account}", measure="requests", span="day", most=1, actor="test", clock=hands)
    hold(engine, account, "lost", clock=hands)
    hands.set(NOON + timedelta(hours=2))
    assert len(journal.sweep(engine, hands)) == 1
    assert list(left(engine, account).values()) == [5]
    assert ask(engine, account, "next", clock=hands) == 5 + 30 and sound(engine)


def test_a_correction_reverses_the_very_entries_and_stays_on_record(engine: Engine, hands: Hands) -> None:
    account = subscribe(engine, hands, included=5, owing=1000)
    grants.give(engine, account, 10, key="g", note="g", clock=hands)
    assert ask(engine, account, "wrong", clock=hands) == 35
    assert usage.correct(engine, "wrong", source="engine", clock=hands)
    assert not usage.correct(engine, "wrong", source="engine", clock=hands)
    assert left(engine, account) == {"pro, period 1": 5, "g": 10}
    line = usage.report(engine)[0]
    assert (line.requests, line.amount, line.prompt_units) == (1, 0, 0)
    with pytest.raises(InputError):
        usage.correct(engine, "never", source="engine", clock=hands)
    assert sound(engine)


def row_of(engine: Engine, event: str) -> "sa.Row[Any]":
    from spearhead.store.tables import usage_events

    with engine.connect() as connection:
        return connection.execute(sa.select(usage_events).where(usage_events.c.event == event)).one()
