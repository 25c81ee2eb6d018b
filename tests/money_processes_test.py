"""Promises of the books when several processes keep them: nobody waits in a circle, nothing is asked for twice."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from spearhead.conftest import own_postgres
from spearhead.core.clock import now, stamp
from spearhead.core.generation import Usage
from spearhead.core.manifest import PriceTag
from spearhead.core.review import Decision
from spearhead.engine import books, outputs
from spearhead.engine.books import Bill, Line
from spearhead.engine.held import carry_out
from spearhead.engine.outputs import Output
from spearhead.ledger import groups, invoices, journal, keys, limits, plans, usage
from spearhead.ledger.billing import Hands
from spearhead.ledger.plans import Plan
from spearhead.provenance import audit
from spearhead.review import queue
from spearhead.store import database

SERVER = """
import asyncio, sys
from spearhead.core.clock import now
from spearhead.core.generation import Usage
from spearhead.core.manifest import PriceTag
from spearhead.engine import books
from spearhead.engine.desk import Desk
from spearhead.store import database

url, name, *accounts = sys.argv[1:]
tag = PriceTag("EUR", 10**6, 10**6, "token")

async def request(desk, account, number):
    key = f"{name} {number} {account}"
    held = await desk.write(
        lambda c: books.reserve(c, account, Usage(3, 4), price=tag, request=key, key=None, clock=now), account=account
    )
    bill = books.Bill(key, None, "s@1", Usage(3, 2), Usage(3, 2), (), 24, tag)
    await desk.write(lambda c: books.close(c, held, bill, clock=now), account=account)

async def main():
    desk = Desk(database.connect(url))
    print("ready", flush=True)
    sys.stdin.readline()
    failed = []
    for round in range(4):
        work = [request(desk, account, round) for account in accounts]
        failed += [e for e in await asyncio.gather(*work, return_exceptions=True) if e is not None]
    desk.close()
    print(len(failed), failed[:1])

asyncio.run(main())
"""


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of an empty, migrated PostgreSQL database."""
    with own_postgres() as fresh:
        url = fresh.render_as_string(hide_password=False)
        database.migrate(url)
        yield url


def test_two_processes_that_group_their_writes_never_deadlock(url: str) -> None:
    engine = database.connect(url)
    accounts = []
    for number in range(12):
        account = keys.create_account(engine, f"a{number}", currency="EUR").id
        journal.credit(engine, account, 10**6, key="first")
        accounts.append(account)
    for team in ("press", "film"):
        limits.create_team(engine, team)
        limits.set_limit(engine, f"team:{team}", measure="budget", span="month", most=10**6, actor="test")
    for number, account in enumerate(accounts):
        limits.join(engine, ("press", "film")[number % 2], account)
    # One asks in one order and the other in the opposite one: whoever locks as requests come meets the other half way.
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", SERVER, url, name, *order], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name, order in (("one", accounts), ("two", accounts[::-1]))
    ]
    for server in servers:
        assert server.stdout and server.stdout.readline() == "ready\n"
    for server in servers:
        assert server.stdin
        server.stdin.write("go\n")
        server.stdin.flush()
    assert [server.communicate(timeout=120)[0] for server in servers] == ["0 []\n"] * 2
    with engine.connect() as connection:
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert connection.exec_driver_sql(query).scalar() == 0
    assert sum(line.requests for line in usage.report(engine)) == 2 * 4 * 12
    assert journal.check(engine) + usage.check(engine) + limits.check(engine) + invoices.check(engine) == []
    engine.dispose()


def decided(store: sa.Engine, name: str) -> str:
    """An account with an answer that a person has just approved, and whose money is still held; gives the account."""
    account, request, blob = keys.create_account(store, name, currency="EUR").id, f"request of {name}", "b" * 64
    journal.credit(store, account, 10**9, key="first")
    output, review = outputs.name(request, 0), f"rev_{name}"
    units, tag = Usage(2, 2), PriceTag("EUR", 10**6, 10**6, "token")
    told = ("held", "text", "stop", "[]", "p", "{}", None, 2, stamp(now()), review, blob)
    waiting = Line(books.held_key(request, output), units)
    with store.begin() as connection:
        held = books.reserve(connection, account, units, price=tag, request=request, key=None, clock=now)
        outputs.insert(connection, Output(output, request, account, "s@1", *told))
        queue.create(connection, Decision.HOLD, scenario="s", policy="p", blob=blob, output=output, review=review)
        bill = Bill(request, None, "s@1", units, Usage(), (waiting,), 24, tag)
        books.close(connection, held, bill, clock=now)
    queue.claim(store, reviewer="ada", review=review)
    queue.approve(store, review, reviewer="ada", blob=blob)
    return account


def waits_for_a_lock(store: sa.Engine) -> bool:
    with store.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(connection.exec_driver_sql(query).scalar())


def test_two_servers_carry_out_a_decision_once_and_neither_fails(url: str) -> None:
    one, two = database.connect(url), database.connect(url)
    accounts = [decided(one, name) for name in ("a", "b", "c")]

    def second() -> int:
        with two.begin() as connection:
            return carry_out(connection, clock=now)

    with ThreadPoolExecutor(1) as pool:
        with one.begin() as connection:
            assert carry_out(connection, clock=now) == 3
            begun = pool.submit(second)
            while not waits_for_a_lock(one):
                time.sleep(0.01)
        assert begun.result() == 0
    assert [journal.balance(one, account).reserved for account in accounts] == [0] * 3
    assert journal.check(one) + usage.check(one) == []
    one.dispose()
    two.dispose()


def test_decisions_and_requests_of_the_same_accounts_never_deadlock(url: str) -> None:
    one, two = database.connect(url), database.connect(url)
    accounts = sorted(decided(one, name) for name in ("a", "b", "c", "d"))

    def second() -> int:
        with two.begin() as connection:
            return carry_out(connection, clock=now)

    with ThreadPoolExecutor(1) as pool:
        with one.begin() as connection:  # as the desk locks for requests that share a commit
            groups.lock(connection, accounts[0])
            begun = pool.submit(second)
            while not waits_for_a_lock(one):
                time.sleep(0.01)
            for account in accounts[1:]:
                groups.lock(connection, account)
        assert begun.result() == 4
    assert journal.check(one) + usage.check(one) == []
    one.dispose()
    two.dispose()


BILL = """
import sys
from spearhead import cli
print("ready", flush=True)
sys.stdin.readline()
sys.exit(cli.main(["bill", "run", "--json", "--home", sys.argv[1]]))
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_billing_runs_at_once_write_each_invoice_and_its_line_in_the_log_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'spearhead.db'}" if kind == "sqlite" else request.getfixturevalue("url")
    database.migrate(url)
    engine, began = database.connect(url), Hands(datetime.now(UTC) - timedelta(days=100))
    plans.offer(engine, Plan("pro", "EUR", fee=10**9), actor="test", clock=began)
    for number in range(20):
        plans.subscribe(engine, keys.create_account(engine, f"a{number}", currency="EUR").id, "pro", clock=began)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", BILL, str(tmp_path)],
            env={**os.environ, "SPEARHEAD_DATABASE_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for run in runs:
        assert run.stdout and run.stdout.readline() == "ready\n"
    for run in runs:
        assert run.stdin
        run.stdin.write("go\n")
        run.stdin.flush()
    told = [one["number"] for run in runs for one in json.loads(run.communicate(timeout=120)[0])["invoices"]]
    assert [run.returncode for run in runs] == [0, 0]
    written = [one.number for one in invoices.of_account(engine)]
    assert len(written) == len(set(written)) == 60 and sorted(told) == sorted(written)
    logged = [row.subject for row in audit.newest(engine, limit=200) if row.action == "invoice written"]
    assert sorted(logged) == sorted(written) and audit.verify(engine) is None
    assert journal.check(engine) + usage.check(engine) + limits.check(engine) + invoices.check(engine) == []
    engine.dispose()
