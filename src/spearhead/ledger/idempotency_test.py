"""Promises about idempotency keys."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from spearhead.core.clock import stamp
from spearhead.core.errors import InputError
from spearhead.ledger import idempotency, keys
from spearhead.ledger.groups import KeyReused
from spearhead.ledger.idempotency import Fresh, Replay, StillRunning
from spearhead.store.tables import idempotency as table

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def account_of(engine: Engine) -> str:
    """An account."""
    return keys.create_account(engine, "Ada", currency="EUR").id


def test_the_answer_of_the_first_run_is_given_again_failures_too(engine: Engine) -> None:
    account = account_of(engine)
    for key, status in (("a", 200), ("b", 500)):
        assert idempotency.begin(engine, account, key, payload={"p": 1}) == Fresh(again=False)
        idempotency.finish(engine, account, key, status=status, headers={"x-release": "s@1"}, body='{"é": 1}')
        again = idempotency.begin(engine, account, key, payload={"p": 1})
        assert again == Replay(status=status, headers={"x-release": "s@1"}, body='{"é": 1}')


def test_a_second_request_waits_while_the_first_runs(engine: Engine) -> None:
    account = account_of(engine)
    idempotency.begin(engine, account, "k", payload=1)
    with pytest.raises(StillRunning):
        idempotency.begin(engine, account, "k", payload=1)


def test_another_payload_under_the_key_is_refused_while_running_and_after(engine: Engine) -> None:
    account = account_of(engine)
    idempotency.begin(engine, account, "k", payload={"n": 1})
    with pytest.raises(KeyReused):
        idempotency.begin(engine, account, "k", payload={"n": 2})
    idempotency.finish(engine, account, "k", status=200, headers={}, body="")
    with pytest.raises(KeyReused):
        idempotency.begin(engine, account, "k", payload={"n": 2})


def test_a_request_that_was_never_valid_leaves_its_key_free(engine: Engine) -> None:
    account = account_of(engine)
    idempotency.begin(engine, account, "k", payload=1)
    idempotency.abandon(engine, account, "k")
    assert idempotency.begin(engine, account, "k", payload=2) == Fresh(again=False)


def test_an_answer_cannot_be_abandoned_or_given_twice(engine: Engine) -> None:
    account = account_of(engine)
    idempotency.begin(engine, account, "k", payload=1)
    idempotency.finish(engine, account, "k", status=200, headers={}, body="first")
    idempotency.abandon(engine, account, "k")
    with pytest.raises(InputError, match="No request runs"):
        idempotency.finish(engine, account, "k", status=200, headers={}, body="second")
    assert idempotency.begin(engine, account, "k", payload=1) == Replay(status=200, headers={}, body="first")


def test_an_answer_is_kept_for_24_hours_and_no_longer(engine: Engine) -> None:
    account = account_of(engine)
    idempotency.begin(engine, account, "k", payload=1, clock=lambda: NOON)
    idempotency.finish(engine, account, "k", status=200, headers={}, body="", clock=lambda: NOON)
    last = NOON + timedelta(hours=24) - timedelta(seconds=1)
    assert isinstance(idempotency.begin(engine, account, "k", payload=1, clock=lambda: last), Replay)
    assert idempotency.purge(engine, clock=lambda: last) == 0
    day = NOON + timedelta(hours=24)
    assert idempotency.begin(engine, account, "k", payload=2, clock=lambda: day) == Fresh(again=False)


def test_a_run_whose_process_died_is_taken_up_again_after_its_lease(engine: Engine) -> None:
    account = account_of(engine)
    idempotency.begin(engine, account, "k", payload=1, lease=timedelta(minutes=5), clock=lambda: NOON)
    early, late = NOON + timedelta(minutes=4), NOON + timedelta(minutes=5)
    with pytest.raises(StillRunning):
        idempotency.begin(engine, account, "k", payload=1, clock=lambda: early)
    assert idempotency.begin(engine, account, "k", payload=1, clock=lambda: late) == Fresh(again=True)
    with pytest.raises(StillRunning):
        idempotency.begin(engine, account, "k", payload=1, clock=lambda: late)


def test_old_answers_and_dead_runs_are_forgotten_and_others_are_not(engine: Engine) -> None:
    account = account_of(engine)
    for key in ("done", "dead"):
        idempotency.begin(engine, account, key, payload=1, clock=lambda: NOON)
    idempotency.finish(engine, account, "done", status=200, headers={}, body="", clock=lambda: NOON)
    late = NOON + timedelta(hours=25)
    idempotency.begin(engine, account, "new", payload=1, clock=lambda: late)
    assert idempotency.purge(engine, clock=lambda: late) == 2
    with pytest.raises(StillRunning):
        idempotency.begin(engine, account, "new", payload=1, clock=lambda: late)


def test_accounts_do_not_see_each_others_keys(engine: Engine) -> None:
    one, two = account_of(engine), account_of(engine)
    idempotency.begin(engine, one, "k", payload=1)
    idempotency.finish(engine, one, "k", status=200, headers={}, body="private")
    assert idempotency.begin(engine, two, "k", payload=1) == Fresh(again=False)


def test_of_32_requests_at_once_one_runs(engine: Engine) -> None:
    account = account_of(engine)
    barrier, outcomes = threading.Barrier(32), list[str]()

    def ask() -> None:
        barrier.wait()
        try:
            idempotency.begin(engine, account, "k", payload=1)
            outcomes.append("runs")
        except StillRunning:
            outcomes.append("waits")

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count("runs"), outcomes.count("waits")) == (1, 31)


@pytest.mark.parametrize("key", ["", "k" * 256, "a\nb", "a\x00"])
def test_keys_that_are_empty_too_long_or_unprintable_are_refused(engine: Engine, key: str) -> None:
    with pytest.raises(InputError, match="1 to 255 printable"):
        idempotency.begin(engine, account_of(engine), key, payload=1)


@pytest.mark.parametrize("payload", [float("nan"), "\ud800", {1, 2}])
def test_a_payload_that_is_not_plain_json_is_refused_and_takes_no_key(engine: Engine, payload: object) -> None:
    account = account_of(engine)
    with pytest.raises(InputError, match="not plain JSON"):
        idempotency.begin(engine, account, "k", payload=payload)
    assert idempotency.begin(engine, account, "k", payload=1) == Fresh(again=False)


def test_what_is_over_is_looked_up_among_however_many(steps: Any) -> None:
    engine, count = steps
    account = account_of(engine)

    def look(connection: Connection) -> None:
        assert idempotency.purge(connection, clock=lambda: NOON) == 0

    before = count(look)
    row = {"account": account, "payload": "", "state": "done", "status": 200, "headers": "{}", "body": "long " * 2000}
    row |= {"created": stamp(NOON), "expires": stamp(NOON + timedelta(hours=1))}
    with engine.begin() as connection:
        connection.execute(table.insert(), [{**row, "key": str(number)} for number in range(500)])
    assert count(look) < before + 10
