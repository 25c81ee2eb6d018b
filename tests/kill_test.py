"""Promises about sudden death: at every statement of the books, and of a server in the middle of an answer."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import sqlalchemy as sa
from tests.conftest import Served, start_server, until

from spearhead.conftest import own_postgres
from spearhead.ledger import invoices, journal, keys, limits, usage
from spearhead.store import database, tables

EACH = """
import os, shutil, signal, sys
from sqlalchemy import event
from spearhead.core.generation import Usage
from spearhead.core.manifest import PriceTag
from spearhead.engine import books
from spearhead.engine.books import Bill, Line
from spearhead.ledger import billing, grants, invoices, journal, limits, plans, usage
from spearhead.store import database

model, account = sys.argv[1:]
file = model + ".copy"
TAG = PriceTag("EUR", 10**12, 10**12, "token")

def work(engine):
    with database.writing(engine) as connection:
        held = books.reserve(connection, account, Usage(2, 9), price=TAG, request="r", key=None, clock=clock)
    bill = Bill("r", None, "s@1", Usage(2, 6), Usage(2, 3), (Line("r/o", Usage(0, 3)),), 24, TAG)
    with database.writing(engine) as connection:
        books.close(connection, held, bill, clock=clock)
    with database.writing(engine) as connection:
        books.decided(connection, key="r/o", approved=True, account=account, release="s@1", clock=clock)

from spearhead.core.clock import now as clock
states = []
for number in range(1, 400):
    for ending in ("", "-wal", "-shm"):
        if os.path.exists(file + ending):
            os.unlink(file + ending)
    shutil.copy(model, file)
    pid = os.fork()
    if pid == 0:
        left = number
        def count(statement):
            global left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        engine = database.connect(f"sqlite:///{file}")
        event.listen(engine, "connect", lambda raw, record: raw.set_trace_callback(count))
        work(engine)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    engine = database.connect(f"sqlite:///{file}")
    problems = journal.check(engine) + usage.check(engine) + invoices.check(engine) + limits.check(engine)
    held = journal.balance(engine, account)
    states.append((held.available, held.reserved))
    assert not problems, (number, problems)
    if not os.WIFSIGNALED(status):
        assert os.WEXITSTATUS(status) == 0
        engine.dispose()
        break
    try:  # who asks again after the death gets it done once
        work(engine)
    except Exception as error:
        assert "was answered before" in str(error), error
    assert not journal.check(engine) + usage.check(engine)
    engine.dispose()
print(number, sorted(set(states)))
"""


def test_death_at_any_statement_leaves_whole_steps_and_sound_books(tmp_path: Path) -> None:
    model = tmp_path / "model.db"
    database.migrate(f"sqlite:///{model}")
    engine = database.connect(f"sqlite:///{model}")
    account = keys.create_account(engine, "a", currency="EUR").id
    journal.credit(engine, account, 10**9, key="first")
    engine.dispose()
    done = subprocess.run(
        [sys.executable, "-c", EACH, str(model), account], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    statements, _, said = done.stdout.partition(" ")
    assert int(statements) > 20, "every statement of three transactions was died at"
    one = 10**6
    # Before the first, after each, and nothing in between: 11 units held, 5 charged and 3 waiting, 8 charged.
    steps = [(10**9, 0), (10**9 - 11 * one, 11 * one), (10**9 - 8 * one, 3 * one), (10**9 - 8 * one, 0)]
    assert said.strip() == str(sorted(set(steps)))


def test_a_server_that_dies_in_the_middle_of_an_answer_charges_nothing_and_its_workers_die_too(tmp_path: Path) -> None:
    root = tmp_path / "home"
    root.mkdir()
    server = start_server(root)
    account = server.account()
    body: dict[str, Any] = {"model": "tiny", "stream": True, "max_tokens": 3000}
    body["messages"] = [{"role": "user", "content": "walk on ~"}]
    workers = [psutil.Process(pid) for pid in server.workers()]
    with (
        pytest.raises(httpx.HTTPError),
        server.slowly(),
        server.http(account).stream("POST", "/v1/chat/completions", json=body) as stream,
    ):
        for number, _ in enumerate(stream.iter_lines()):
            if number == 20:
                os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait(timeout=60)
    held = server.balance(account)
    assert held.reserved > 0 and held.available + held.reserved == 10**9, "held, and not charged"
    assert workers and psutil.wait_procs(workers, timeout=60)[1] == []
    server.engine.dispose()
    again = start_server(root, beat=0.5)
    until(lambda: not again.balance(account).reserved, what="money of a server that was killed is held still")
    assert again.balance(account).available == 10**9
    short = {**body, "stream": False, "max_tokens": 8}
    assert again.http(account).post("/v1/chat/completions", json=short).status_code == 200
    for check in (journal.check, usage.check, invoices.check, limits.check):
        assert check(again.engine) == []
    again.close()
    shutil.rmtree(root)


@pytest.fixture(params=["sqlite", "postgresql"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Served]]:
    """Two servers over one database that show twice a second that they live: four of silence are an end."""
    with own_postgres() if request.param == "postgresql" else contextlib.nullcontext() as fresh:
        url = fresh.render_as_string(hide_password=False) if fresh is not None else ""
        servers = [start_server(tmp_path, database_url=url, beat=0.5) for _ in range(2)]
        try:
            yield servers
        finally:
            for server in servers:
                server.process.send_signal(signal.SIGCONT)
                server.close()


WALK: dict[str, Any] = {
    "model": "tiny", "stream": True, "max_tokens": 3000, "messages": [{"role": "user", "content": "walk on ~"}],
}  # fmt: skip
SHORT: dict[str, Any] = {**WALK, "stream": False, "max_tokens": 8}


def stands_still(server: Served) -> bool:
    """Whether a server was stopped in none of its transactions: within one it would keep everybody's writes waiting,
    and it goes on."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        with database.writing(server.engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("LOCK TABLE servers IN EXCLUSIVE MODE"))
    except database.StoreUnavailable:
        server.process.send_signal(signal.SIGCONT)
        return False
    return True


def sound(server: Served) -> bool:
    checks = (journal.check, usage.check, invoices.check, limits.check)
    return [problem for check in checks for problem in check(server.engine)] == []


def test_the_place_and_the_key_of_a_server_that_was_killed_are_free_at_once(two: list[Served]) -> None:
    first, second = two
    account, once = second.account(), {"idempotency-key": "the same"}
    limits.set_limit(second.engine, f"account:{account}", measure="parallel", most=1, actor="test")
    here, there = second.http(account), first.http(account)
    with (
        pytest.raises(httpx.HTTPError),
        first.slowly(),
        there.stream("POST", "/v1/chat/completions", json=WALK, headers=once) as stream,
    ):
        for number, _ in enumerate(stream.iter_lines()):
            if number == 4:
                assert here.post("/v1/chat/completions", json=SHORT).status_code == 429
                assert here.post("/v1/chat/completions", json=WALK, headers=once).status_code == 409
                first.process.kill()
    until(lambda: not second.balance(account).reserved, what="what it held is held still")
    answer = here.post("/v1/chat/completions", json=SHORT)
    assert answer.status_code == 200
    again = here.post("/v1/chat/completions", json={**WALK, "max_tokens": 8}, headers=once)
    assert again.status_code == 422, "the key is another request's"
    whole = here.post("/v1/chat/completions", json=WALK, headers=once)
    assert whole.status_code == 200 and whole.text.rstrip().endswith("[DONE]")
    made = [here.get(f"/v1/receipts/{one.headers['x-request-id']}").json() for one in (answer, whole)]
    assert [one["usage"]["completion_tokens"] for one in made] == [8, 3000] and sound(second)


def test_a_server_that_stood_still_ends_what_ran_charges_none_of_it_and_goes_on(two: list[Served]) -> None:
    first, second = two
    account = second.account()
    said: list[str] = []
    with first.slowly(), first.http(account).stream("POST", "/v1/chat/completions", json=WALK) as stream:
        for line in stream.iter_lines():
            said.append(line)
            if len(said) == 4:
                until(lambda: stands_still(first))
                until(lambda: not second.balance(account).reserved, what="what it held is held still")
                assert second.http(account).post("/v1/chat/completions", json=SHORT).status_code == 200
                before = second.balance(account).available
                first.process.send_signal(signal.SIGCONT)
    error = json.loads([line for line in said if line][-1].removeprefix("data: "))["error"]
    assert error["code"] == "server_stood_still" and not any("[DONE]" in line for line in said)
    assert second.paid(account, of=before) == 0 and sound(second)
    assert first.http(account).post("/v1/chat/completions", json=SHORT).status_code == 200
    assert second.balance(account).available < before and sound(second)


def test_a_server_that_ends_in_good_order_is_not_waited_for(two: list[Served]) -> None:
    first, second = two
    with second.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.servers)) == 2
    assert first.close() == 0
    with second.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.servers)) == 1
