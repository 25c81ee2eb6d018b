"""Promises about servers that die, stand still, or have a clock of their own, on every database there is."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from spearhead.core.manifest import PriceTag
from spearhead.ledger import holds, idempotency, journal, keys, limits, plans, servers
from spearhead.ledger.holds import Reservation
from spearhead.ledger.idempotency import Fresh, StillRunning
from spearhead.ledger.limits import LimitReached
from spearhead.store import tables

NOON = datetime(2027, 1, 31, 12, tzinfo=UTC)
TAG = PriceTag("EUR", 10**6, 10**6, "token")


def enter(engine: Engine) -> str:
    with engine.begin() as connection:
        return servers.enter(connection)


def beat(engine: Engine, id: str) -> bool:
    with engine.begin() as connection:
        return servers.beat(connection, id)


def look(engine: Engine, watch: servers.Watch) -> list[str]:
    """The servers that a look finds silent, which are taken out then."""
    with engine.begin() as connection:
        return servers.bury(connection, watch.look(connection))


def new_account(engine: Engine) -> str:
    account = keys.create_account(engine, "a", currency="EUR").id
    journal.credit(engine, account, 1000, key="first")
    return account


def hold(engine: Engine, account: str, request: str, *, server: str | None, at: datetime = NOON) -> Reservation:
    with engine.begin() as connection:
        return plans.hold(
            connection, account, tag=TAG, prompt=5, completion=5, request=request, key=None, server=server,
            clock=lambda: at,
        )  # fmt: skip


def test_a_server_counts_as_dead_after_looks_that_saw_no_beat_and_no_other_does(engine: Engine) -> None:
    dead, alive, watch = enter(engine), enter(engine), servers.Watch()
    for _ in range(servers.SILENT):
        assert look(engine, watch) == []
        assert beat(engine, alive)
    assert look(engine, watch) == [dead]
    assert look(engine, watch) == [] and beat(engine, alive) and not beat(engine, dead)


def test_one_that_beats_a_moment_before_it_would_be_taken_out_lives(engine: Engine) -> None:
    late, watch = enter(engine), servers.Watch()
    for _ in range(servers.SILENT):
        assert look(engine, watch) == []
    with engine.begin() as connection:
        silent = watch.look(connection)
        servers.beat(connection, late)
        assert silent and servers.bury(connection, silent) == []
    assert look(engine, watch) == [], "and it is watched from the beginning"


def test_who_was_paused_or_has_just_come_takes_nobody_for_dead(engine: Engine) -> None:
    other, watch = enter(engine), servers.Watch()
    assert look(engine, watch) == []
    # An hour later by any clock: a look is a look.
    assert look(engine, watch) == [] and look(engine, servers.Watch()) == []
    assert beat(engine, other)


@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(days=400)])
def test_a_server_whose_clock_runs_ahead_gives_back_only_its_own_and_what_nobody_works_for(
    engine: Engine, ahead: timedelta
) -> None:
    account, here, there = new_account(engine), enter(engine), enter(engine)
    own, theirs, nobodys = (
        hold(engine, account, name, server=server) for name, server in (("a", here), ("b", there), ("c", None))
    )
    assert set(journal.sweep(engine, lambda: NOON + ahead, server=here)) == {own.id, nobodys.id}
    assert journal.sweep(engine, lambda: NOON + ahead) == journal.recover(engine) == []
    assert holds.settle(engine, theirs.id, 7).charged == 7
    assert journal.check(engine) == []


def test_what_a_dead_server_held_is_given_back_at_once_with_its_place_in_every_limit(engine: Engine) -> None:
    account, dead, alive = new_account(engine), enter(engine), enter(engine)
    subject = f"account:{account}"
    limits.set_limit(engine, subject, measure="parallel", most=1, actor="test")
    limits.set_limit(engine, subject, measure="requests", span="month", most=2, actor="test", clock=lambda: NOON)
    held = hold(engine, account, "a", server=dead)
    with pytest.raises(LimitReached):
        hold(engine, account, "b", server=alive)
    assert journal.recover(engine, lambda: NOON) == []
    with engine.begin() as connection:
        servers.leave(connection, dead)
    assert journal.recover(engine, lambda: NOON) == [held.id] and journal.recover(engine, lambda: NOON) == []
    again = hold(engine, account, "b", server=alive)
    assert journal.balance(engine, account).reserved == 10
    # It was only paused: what it settles now costs nothing, however often it asks.
    assert [holds.settle(engine, held.id, 7).charged for _ in range(2)] == [0, 0]
    assert holds.settle(engine, again.id, 7).charged == 7
    assert journal.balance(engine, account).available == 993
    assert journal.check(engine) + limits.check(engine) == []


def test_a_settlement_that_comes_first_stands(engine: Engine) -> None:
    account, dead = new_account(engine), enter(engine)
    held = hold(engine, account, "a", server=dead)
    with engine.begin() as connection:
        servers.leave(connection, dead)
    assert holds.settle(engine, held.id, 7).charged == 7
    assert journal.recover(engine) == [] and journal.balance(engine, account).available == 993


def test_an_answer_that_waits_for_a_person_is_nobodys_work(engine: Engine) -> None:
    account, dead = new_account(engine), enter(engine)
    held = hold(engine, account, "a", server=dead)
    with engine.begin() as connection:
        plans.hold(
            connection, account, tag=TAG, prompt=0, completion=3, request="a/o", key=None, within=held,
            seconds=86_400, clock=lambda: NOON,
        )  # fmt: skip
        servers.leave(connection, dead)
    assert journal.recover(engine) == [held.id]
    assert journal.balance(engine, account).reserved == 3


def test_a_key_whose_server_died_may_be_used_at_once_and_one_whose_server_lives_may_not(engine: Engine) -> None:
    account, here, there = new_account(engine), enter(engine), enter(engine)
    ahead, late = (lambda: NOON + timedelta(hours=2)), (lambda: NOON + timedelta(days=2))

    def begin(server: str, clock: object = lambda: NOON) -> object:
        return idempotency.begin(engine, account, "k", payload=1, server=server, clock=clock)  # type: ignore[arg-type]

    assert begin(there) == Fresh(again=False)
    for clock in (ahead, late):  # this one's own clock says nothing of that one's work
        with pytest.raises(StillRunning):
            begin(here, clock)
        assert idempotency.purge(engine, server=here, clock=clock) == 0
    with engine.begin() as connection:
        servers.leave(connection, there)
    assert begin(here) == Fresh(again=True)
    # The one that was only paused ends: the answer of the other is what is kept.
    said = {"status": 200, "headers": {}, "body": "b"}
    with pytest.raises(Exception, match="No request runs"):
        idempotency.finish(engine, account, "k", **said, server=there)  # type: ignore[arg-type]
    idempotency.abandon(engine, account, "k", server=there)
    idempotency.finish(engine, account, "k", **said, server=here, clock=lambda: NOON)  # type: ignore[arg-type]
    assert begin(here).status == 200  # type: ignore[attr-defined]


def test_a_run_that_was_forgotten_here_is_free_for_everybody_after_its_lease(engine: Engine) -> None:
    account, here, there = new_account(engine), enter(engine), enter(engine)
    idempotency.begin(engine, account, "k", payload=1, server=here, clock=lambda: NOON)
    after = NOON + idempotency.LEASE
    assert idempotency.purge(engine, server=here, clock=lambda: after) == 0
    found = idempotency.begin(engine, account, "k", payload=1, server=there, clock=lambda: after)
    assert found == Fresh(again=True)
    with engine.connect() as connection:
        assert connection.scalar(sa.select(tables.idempotency.c.server)) == there
