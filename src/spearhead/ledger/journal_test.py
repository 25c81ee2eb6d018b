"""Promises of the journal, on every database there is."""

import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from spearhead.core.clock import now
from spearhead.core.errors import InputError
from spearhead.ledger import grants, groups, holds, journal, keys, opening, usage
from spearhead.ledger.groups import KeyReused
from spearhead.ledger.holds import NotEnoughCredit
from spearhead.store import database
from spearhead.store.tables import journal_entries, journal_groups, journal_snapshots, reservations

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def funded(engine: Engine, amount: int) -> str:
    """An account with that much credit."""
    account = keys.create_account(engine, "Ada", currency="EUR").id
    if amount:
        journal.credit(engine, account, amount, key="first")
    return account


def totals(engine: Engine) -> dict[str, int]:
    """Every account's sum, by a query of its own: not the code under test."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT account, SUM(amount) FROM journal_entries GROUP BY account")
        return {name: int(total) for name, total in rows}


def test_credit_is_there_to_spend_and_every_account_together_sums_to_zero(engine: Engine) -> None:
    account = funded(engine, 5_000)
    assert journal.balance(engine, account) == journal.Balance(account, "EUR", available=5_000, reserved=0)
    assert totals(engine) == {"wash": -5_000, f"{account}:available": 5_000}


def test_a_settlement_charges_the_work_and_gives_the_rest_back(engine: Engine) -> None:
    account = funded(engine, 1_000)
    held = holds.reserve(engine, account, 600, currency="EUR", key="r")
    assert journal.balance(engine, account) == journal.Balance(account, "EUR", available=400, reserved=600)
    done = holds.settle(engine, held.id, 250)
    assert (done.asked, done.charged) == (250, 250)
    assert totals(engine) == {
        "wash": -1_000,
        f"{account}:available": 750,
        f"{account}:reserved": 0,
        "earnings": 250,
    }
    assert journal.check(engine) == []


def test_a_refused_reservation_holds_nothing_and_says_how_much_there_is(engine: Engine) -> None:
    account = funded(engine, 999_999_999)
    with pytest.raises(NotEnoughCredit, match=r"has 0\.999999999 EUR available.* up to 1\.00 EUR"):
        holds.reserve(engine, account, 1_000_000_000, currency="EUR", key="r")
    assert journal.balance(engine, account).available == 999_999_999
    holds.reserve(engine, account, 999_999_999, currency="EUR", key="r")  # the key was not used up by the refusal


def test_every_write_again_under_its_key_changes_nothing(engine: Engine) -> None:
    account = funded(engine, 1_000)
    assert journal.credit(engine, account, 1_000, key="first").id == 1
    held = holds.reserve(engine, account, 600, currency="EUR", key="r")
    assert holds.reserve(engine, account, 600, currency="EUR", key="r") == held
    assert holds.settle(engine, held.id, 250) == holds.settle(engine, held.id, 250)
    other = holds.reserve(engine, account, 100, currency="EUR", key="s")
    assert [holds.release(engine, other.id), holds.release(engine, other.id)] == [True, False]
    assert holds.reserve(engine, account, 600, currency="EUR", key="r").state == "settled"
    assert journal.balance(engine, account) == journal.Balance(account, "EUR", available=750, reserved=0)
    assert totals(engine)["earnings"] == 250


def test_the_same_key_for_another_write_is_refused(engine: Engine) -> None:
    account = funded(engine, 1_000)
    with pytest.raises(KeyReused):
        journal.credit(engine, account, 1_001, key="first")
    held = holds.reserve(engine, account, 600, currency="EUR", key="r")
    with pytest.raises(KeyReused):
        holds.reserve(engine, account, 601, currency="EUR", key="r")
    holds.settle(engine, held.id, 250)
    with pytest.raises(KeyReused):
        holds.settle(engine, held.id, 251)
    with pytest.raises(KeyReused):
        holds.release(engine, held.id)
    assert journal.balance(engine, account) == journal.Balance(account, "EUR", available=750, reserved=0)


def test_two_accounts_may_use_the_same_key(engine: Engine) -> None:
    one, two = funded(engine, 10), funded(engine, 10)
    first = holds.reserve(engine, one, 4, currency="EUR", key="same")
    second = holds.reserve(engine, two, 5, currency="EUR", key="same")
    assert (first.account, second.account) == (one, two) and first.id != second.id


def test_long_keys_are_told_apart_by_their_last_character(engine: Engine) -> None:
    account = funded(engine, 10)
    first = holds.reserve(engine, account, 1, currency="EUR", key="k" * 999 + "a")
    assert holds.reserve(engine, account, 1, currency="EUR", key="k" * 999 + "b").id != first.id
    assert holds.reserve(engine, account, 1, currency="EUR", key="k" * 999 + "a") == first
    for key in ("", "k" * 1001, "a\x00", "\ud800"):
        with pytest.raises(InputError, match="1 to 1000 printable"):
            holds.reserve(engine, account, 1, currency="EUR", key=key)


def test_a_reservation_is_found_by_its_key_however_long_and_only_by_its_own_account(engine: Engine) -> None:
    account, other = funded(engine, 10), funded(engine, 10)

    def made(of: str, key: str) -> int | None:
        with database.writing(engine) as connection:
            scoped = groups.scoped("reserve", of, key)
            return opening.of(connection, of, key=None, scoped=scoped, moment=now()).made

    for key in ("req_1", "k" * 900):
        held = holds.reserve(engine, account, 1, currency="EUR", key=key)
        assert held == holds.of(engine, held.id) and made(account, key) == held.group
        assert made(other, key) is None
    holds.release(engine, held.id)
    assert made(account, key) == held.group and holds.of(engine, held.group).state == "released"


def test_no_more_is_charged_than_was_reserved(engine: Engine) -> None:
    account = funded(engine, 1_000)
    held = holds.reserve(engine, account, 100, currency="EUR", key="r")
    done = holds.settle(engine, held.id, 130)
    assert (done.asked, done.charged) == (130, 100)
    assert journal.balance(engine, account).available == 900


def test_a_reservation_swept_away_charges_nothing_when_it_is_settled_late(engine: Engine) -> None:
    account = funded(engine, 1_000)
    held = holds.reserve(engine, account, 100, currency="EUR", key="r", seconds=60, clock=lambda: NOON)
    assert journal.sweep(engine, lambda: NOON + timedelta(seconds=60)) == []
    assert journal.sweep(engine, lambda: NOON + timedelta(seconds=61)) == [held.id]
    assert journal.sweep(engine, lambda: NOON + timedelta(seconds=61)) == []
    assert holds.settle(engine, held.id, 70).charged == 0
    assert journal.balance(engine, account) == journal.Balance(account, "EUR", available=1_000, reserved=0)


def test_a_renewed_reservation_outlives_the_sweep_and_a_closed_one_cannot_be_renewed(engine: Engine) -> None:
    account = funded(engine, 1_000)
    held = holds.reserve(engine, account, 100, currency="EUR", key="r", seconds=60, clock=lambda: NOON)
    holds.renew(engine, held.id, seconds=600, clock=lambda: NOON)
    assert journal.sweep(engine, lambda: NOON + timedelta(seconds=61)) == []
    holds.settle(engine, held.id, 100)
    with pytest.raises(InputError, match="closed"):
        holds.renew(engine, held.id, seconds=600)


def test_a_reversed_settlement_gives_the_whole_charge_back_once(engine: Engine) -> None:
    account = funded(engine, 1_000)
    held = holds.reserve(engine, account, 600, currency="EUR", key="r")
    holds.settle(engine, held.id, 250)
    with engine.connect() as connection:
        settled = connection.scalar(sa.select(journal_groups.c.id).where(journal_groups.c.kind == "settle"))
    assert settled
    undone = journal.reverse(engine, settled, key="complaint 7")
    assert [group.reverses for group in undone] == [settled, held.group]
    assert journal.reverse(engine, settled, key="complaint 7") == undone
    with pytest.raises(KeyReused):
        journal.reverse(engine, settled, key="complaint 8")
    with pytest.raises(InputError, match="only credits and settlements"):
        journal.reverse(engine, undone[0].id, key="back again")
    assert journal.balance(engine, account) == journal.Balance(account, "EUR", available=1_000, reserved=0)
    assert totals(engine)["earnings"] == 0
    assert journal.check(engine) == []


def test_a_credit_taken_back_after_it_was_spent_leaves_nothing_to_reserve(engine: Engine) -> None:
    account = funded(engine, 100)
    holds.settle(engine, holds.reserve(engine, account, 60, currency="EUR", key="r").id, 60)
    journal.reverse(engine, 1, key="chargeback")
    assert journal.balance(engine, account).available == -60
    with pytest.raises(NotEnoughCredit, match="has 0.00 EUR"):
        holds.reserve(engine, account, 1, currency="EUR", key="s")


@pytest.mark.parametrize("amount", [-1, 10**17 + 1, True, 1.0, "5"])
def test_what_is_no_amount_is_refused(amount: int, tmp_path: Path, migrated: Path) -> None:
    engine = database.connect(f"sqlite:///{migrated}")
    with pytest.raises(InputError, match="is not an amount"):
        holds.reserve(engine, "nobody", amount, currency="EUR", key="r")


def test_other_currencies_unknown_accounts_and_unknown_reservations_are_refused(engine: Engine) -> None:
    account = funded(engine, 10)
    with pytest.raises(InputError, match="holds EUR, and the price is in USD"):
        holds.reserve(engine, account, 1, currency="USD", key="r")
    with pytest.raises(InputError, match="no account 'ghost'"):
        journal.credit(engine, "ghost", 1, key="r")
    with pytest.raises(InputError, match="no reservation 'rsv_0'"):
        holds.settle(engine, "rsv_0", 1)


def test_a_free_request_needs_no_credit(engine: Engine) -> None:
    account = funded(engine, 0)
    held = holds.reserve(engine, account, 0, currency="EUR", key="r")
    assert holds.settle(engine, held.id, 0).charged == 0


def test_a_balance_of_the_past_knows_nothing_of_what_was_booked_later(engine: Engine) -> None:
    account = funded(engine, 0)
    journal.credit(engine, account, 5, key="a", clock=lambda: NOON)
    journal.credit(engine, account, 7, key="b", clock=lambda: NOON + timedelta(hours=2))
    journal.credit(engine, account, 100, key="c", booked=NOON, clock=lambda: NOON + timedelta(hours=3))
    hours = [-1, 1, 2]
    past = [journal.balance(engine, account, as_of=NOON + timedelta(hours=h)).available for h in hours]
    assert past == [0, 105, 112]
    with pytest.raises(InputError, match="in the future"):
        journal.credit(engine, account, 1, key="d", booked=NOON + timedelta(days=1), clock=lambda: NOON)


def test_a_balance_of_the_past_still_knows_a_grant_that_has_run_out_since(engine: Engine) -> None:
    account, end = funded(engine, 0), NOON + timedelta(hours=1)
    grants.give(engine, account, 100, key="g", expires=end, clock=lambda: NOON)
    held = holds.reserve(engine, account, 30, currency="EUR", key="r", clock=lambda: NOON)
    holds.settle(engine, held.id, 30, clock=lambda: NOON + timedelta(minutes=30))
    assert journal.expire(engine, clock=lambda: end + timedelta(hours=1)) == 1
    minutes = [-1, 0, 45, 61, 180]
    past = [journal.balance(engine, account, as_of=NOON + timedelta(minutes=m)).available for m in minutes]
    assert past == [0, 70, 70, 0, 0]


def test_a_statement_pages_through_whole_groups_in_order(engine: Engine) -> None:
    account = funded(engine, 100)
    for n in range(4):
        holds.settle(engine, holds.reserve(engine, account, 10, currency="EUR", key=str(n)).id, n)
    pages, after = [], 0
    while page := journal.entries(engine, account, after=after, limit=4):
        pages.append(page)
        after = page[-1].group
    assert [entry for page in pages for entry in page] == journal.entries(engine, account, limit=1_000)
    assert len(pages) == 5 and all(len({entry.group for entry in page}) <= 2 for page in pages)
    assert sum(entry.amount for page in pages for entry in page) == 100 - (0 + 1 + 2 + 3)


def test_snapshots_are_a_cache_that_may_be_lost(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "SNAPSHOT_EVERY", 5)
    account = funded(engine, 10_000)
    for n in range(12):
        holds.settle(engine, holds.reserve(engine, account, 100, currency="EUR", key=str(n)).id, n)
    with engine.begin() as connection:
        kept = connection.scalar(sa.select(sa.func.count()).select_from(journal_snapshots))
        before = journal.balance(connection, account)
        connection.execute(journal_snapshots.delete())
        assert journal.balance(connection, account) == before
    assert kept == 2 and before.available == 10_000 - sum(range(12))
    assert journal.check(engine) == []


def test_a_snapshot_that_lies_is_found(engine: Engine) -> None:
    account = funded(engine, 10)
    with engine.begin() as connection:
        connection.execute(
            journal_snapshots.insert().values(account=f"{account}:available", currency="EUR", entry=10**6, amount=99)
        )
    assert journal.check(engine) == [f"The snapshot of {account}:available is 99, and its entries sum to 10."]


def test_the_check_finds_a_group_that_does_not_sum_to_zero_and_a_half_closed_reservation(engine: Engine) -> None:
    account = funded(engine, 10)
    held = holds.reserve(engine, account, 4, currency="EUR", key="r")
    with engine.begin() as connection:
        connection.execute(journal_entries.insert().values(group_id=1, account="earnings", currency="EUR", amount=3))
        connection.execute(reservations.update().values(state="settled", settled=4))
    assert journal.check(engine) == [
        "Group 1 does not sum to zero: 3 EUR.",
        f"{account}:reserved holds 4 EUR, and its open reservations 0.",
        f"Reservation {held.id} is half closed: its state and its group disagree.",
    ]


def test_a_write_joins_the_transaction_of_its_caller(engine: Engine) -> None:
    account = funded(engine, 10)
    with pytest.raises(ZeroDivisionError), engine.begin() as connection:
        holds.reserve(connection, account, 4, currency="EUR", key="r")
        assert journal.balance(connection, account).reserved == 4
        _ = 1 / 0
    assert journal.balance(engine, account) == journal.Balance(account, "EUR", available=10, reserved=0)


def test_64_threads_on_credit_for_three_get_three(engine: Engine) -> None:
    account = funded(engine, 3)
    barrier, outcomes = threading.Barrier(64), list[str]()

    def ask(number: int) -> None:
        barrier.wait()
        try:
            holds.reserve(engine, account, 1, currency="EUR", key=str(number))
            outcomes.append("held")
        except NotEnoughCredit:
            outcomes.append("refused")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count("held"), outcomes.count("refused")) == (3, 61)
    assert journal.balance(engine, account) == journal.Balance(account, "EUR", available=0, reserved=3)


def test_64_threads_with_one_key_hold_once(engine: Engine) -> None:
    account = funded(engine, 100)
    barrier, ids = threading.Barrier(64), list[str]()

    def ask() -> None:
        barrier.wait()
        held = holds.reserve(engine, account, 1, currency="EUR", key="the same")
        ids.append(held.id)
        holds.settle(engine, held.id, 1)

    threads = [threading.Thread(target=ask) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 64 and len(set(ids)) == 1
    assert journal.balance(engine, account) == journal.Balance(account, "EUR", available=99, reserved=0)


ASKER = """
import sys, threading
from spearhead.ledger import holds
from spearhead.store import database
url, account, name = sys.argv[1:]
engine, held = database.connect(url), []
def ask(number):
    try:
        held.append(holds.reserve(engine, account, 1, currency="EUR", key=f"{name} {number}"))
    except holds.NotEnoughCredit:
        pass
threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
print("ready", flush=True)
sys.stdin.readline()
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(held))
"""


def test_several_processes_together_never_hold_more_than_there_is(engine: Engine, url: str) -> None:
    account = funded(engine, 7)
    askers = [
        subprocess.Popen(
            [sys.executable, "-c", ASKER, url, account, str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    for asker in askers:
        assert asker.stdout and asker.stdout.readline() == "ready\n"
    held = [int(asker.communicate("go\n", timeout=60)[0]) for asker in askers]
    assert sum(held) == 7
    assert journal.balance(engine, account) == journal.Balance(account, "EUR", available=0, reserved=7)


WRITER = """
import os, sys, threading
from spearhead.core.generation import Usage
from spearhead.ledger import holds, usage
from spearhead.store import database
url, account, name = sys.argv[1:]
engine = database.connect(url)
def write(thread):
    for n in range(10**6):
        key = f"{name} {thread} {n}"
        held = holds.reserve(engine, account, 1000, currency="EUR", key=key)
        usage.settle_and_record(
            engine, held.id, Usage(prompt=3, completion=n % 50), amount=n % 900,
            source="test", event=key, key=None, release="s@1",
        )
        if n == 3: os.write(1, b"writing\\n")  # in one piece: another thread says it too
for thread in range(3):
    threading.Thread(target=write, args=(thread,)).start()
"""


def rests(engine: Engine) -> None:
    """Wait until PostgreSQL has done what a process that was killed asked of it last."""
    if engine.dialect.name == "postgresql":
        engine.dispose()
        others = "datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        with engine.connect() as connection:
            while connection.exec_driver_sql(f"SELECT count(*) FROM pg_stat_activity WHERE {others}").scalar():
                connection.rollback()  # what it tells stays the same within a transaction
                time.sleep(0.01)


def test_killed_at_any_moment_the_journal_sums_to_zero_and_nothing_is_half_settled(engine: Engine, url: str) -> None:
    credit = 10**15
    account = funded(engine, credit)
    moments = random.Random(7)
    for number in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, url, account, str(number)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout and writer.stdout.readline() == "writing\n"
        time.sleep(moments.random() * 0.2)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert journal.check(engine) == []
    rests(engine)
    used = usage.report(engine, account=account)[0]
    sums = totals(engine)
    assert used.requests >= 5 * 3 and used.amount == sums["earnings"]
    with engine.connect() as connection:
        settles = connection.scalar(
            sa.select(sa.func.count()).select_from(journal_groups).where(journal_groups.c.kind == "settle")
        )
    assert used.requests == settles
    journal.sweep(engine, lambda: now() + timedelta(hours=2))
    left = journal.balance(engine, account)
    assert left.reserved == 0 and left.available == credit - used.amount
    assert sum(totals(engine).values()) == 0


FILLER = """
import resource, signal, sys
from spearhead.core.generation import Usage
from spearhead.ledger import holds, usage
from spearhead.store import database
url, account = sys.argv[1:]
engine = database.connect(url)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
told = 0
try:
    for n in range(10**6):
        held = holds.reserve(engine, account, 10, currency="EUR", key=str(n))
        told += usage.settle_and_record(
            engine, held.id, Usage(prompt=1), amount=7, source="t", event=str(n), key=None, release="s@1"
        ).amount
except database.StoreUnavailable as error:
    print(told, error)
"""


def test_a_full_disk_is_said_loses_nothing_that_was_told_and_leaves_a_sound_journal(
    tmp_path: Path, migrated: Path
) -> None:
    """Files that may not grow any more stand for the full disk."""
    path = tmp_path / "spearhead.db"
    path.write_bytes(migrated.read_bytes())
    engine = database.connect(f"sqlite:///{path}")
    account = funded(engine, 10**6)
    done = subprocess.run(
        [sys.executable, "-c", FILLER, f"sqlite:///{path}", account], capture_output=True, text=True, check=True
    )
    told, words = done.stdout.split(maxsplit=1)
    assert int(told) > 0 and words.startswith("The sqlite database cannot be used now: ")
    assert journal.check(engine) == []
    assert totals(engine)["earnings"] == int(told) == usage.report(engine)[0].amount
    holds.settle(engine, holds.reserve(engine, account, 10, currency="EUR", key="room again").id, 7)


Write = tuple[str, int, int, int]
WRITES = st.lists(
    st.tuples(
        st.sampled_from(["credit", "reserve", "settle", "release", "reverse"]),
        st.integers(0, 1),  # which account
        st.integers(0, 4),  # which key or reservation
        st.integers(0, 60),  # how much
    ),
    max_size=25,
)


@given(WRITES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_order_of_writes_conserves_money_and_agrees_with_a_plain_count(engine: Engine, writes: list[Write]) -> None:
    """The other implementation keeps two numbers an account and a set of what was done."""
    names = [funded(engine, 0), funded(engine, 0)]
    available, reserved, earned = [0, 0], [0, 0], totals(engine).get("earnings", 0)
    credits: dict[tuple[int, int], tuple[int, int]] = {}
    held: dict[tuple[int, int], tuple[holds.Reservation, int]] = {}
    closed: dict[str, tuple[str, int]] = {}
    undone: set[int] = set()
    for kind, who, key, amount in writes:
        slot = (who, key)
        if kind == "credit" and amount:
            if slot in credits and credits[slot][1] != amount:
                with pytest.raises(KeyReused):
                    journal.credit(engine, names[who], amount, key=str(key))
                continue
            group = journal.credit(engine, names[who], amount, key=str(key))
            if slot not in credits:
                credits[slot] = (group.id, amount)
                available[who] += amount
        elif kind == "reserve":
            if slot in held and held[slot][1] != amount:
                with pytest.raises(KeyReused):
                    holds.reserve(engine, names[who], amount, currency="EUR", key=str(key))
            elif slot in held:
                assert holds.reserve(engine, names[who], amount, currency="EUR", key=str(key)).id == held[slot][0].id
            elif available[who] < amount:
                with pytest.raises(NotEnoughCredit):
                    holds.reserve(engine, names[who], amount, currency="EUR", key=str(key))
            else:
                held[slot] = (holds.reserve(engine, names[who], amount, currency="EUR", key=str(key)), amount)
                available[who] -= amount
                reserved[who] += amount
        elif kind in ("settle", "release") and slot in held:
            mine, size = held[slot]
            before = closed.get(mine.id)
            if before is None:
                charge = min(size, amount) if kind == "settle" else 0
                closed[mine.id] = (kind, amount)
                reserved[who] -= size
                available[who] += size - charge
                earned += charge
            clash = before is not None and before[0] == "settle" and before != (kind, amount)
            if clash:
                with pytest.raises(KeyReused):
                    _close(engine, kind, mine.id, amount)
            else:
                _close(engine, kind, mine.id, amount)
        elif kind == "reverse" and slot in credits:
            number, size = credits[slot]
            journal.reverse(engine, number, key="undo")
            if number not in undone:
                undone.add(number)
                available[who] -= size
    for who, name in enumerate(names):
        assert journal.balance(engine, name) == journal.Balance(name, "EUR", available[who], reserved[who])
    assert journal.check(engine) == []
    assert sum(totals(engine).values()) == 0
    assert totals(engine).get("earnings", 0) == earned


def _close(engine: Engine, kind: str, id: str, amount: int) -> None:
    if kind == "settle":
        holds.settle(engine, id, amount)
    else:
        holds.release(engine, id)
