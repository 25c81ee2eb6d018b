"""Promises of the desk."""

import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, event

from spearhead.engine.desk import SHORTENED, Desk
from spearhead.ledger import groups, keys
from spearhead.store import database
from spearhead.store.database import StoreUnavailable
from spearhead.store.tables import withdrawals


@pytest.fixture
def store(tmp_path: Path) -> sa.Engine:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database.migrate(url)
    return database.connect(url)


def put(name: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(withdrawals.insert().values(record=name, reason="r", created="c"))
        return name

    return work


def names(store: sa.Engine) -> list[str]:
    with store.connect() as connection:
        return sorted(connection.scalars(sa.select(withdrawals.c.record)))


def test_writes_that_wait_together_share_a_commit_and_fail_alone(store: sa.Engine) -> None:
    told: list[str] = []
    if store.dialect.name == "sqlite":  # whose writer commits within SQLAlchemy's transaction
        event.listen(store, "connect", lambda driver, _: driver.set_trace_callback(told.append))
    else:
        event.listen(store, "commit", lambda _: told.append("COMMIT"))
    desk = Desk(store)
    gate, begun = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        begun.set()
        gate.wait(10)

    def bad(connection: Connection) -> None:
        connection.execute(withdrawals.insert().values(record="half", reason="r", created="c"))
        raise ValueError("no")

    async def main() -> list[object]:
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(desk.write(slow))]
        await asyncio.to_thread(begun.wait, 10)
        waits += [asyncio.create_task(desk.write(work)) for work in (put("a"), bad, put("a"), put("b"))]
        await asyncio.sleep(0)  # each has put its work in the line
        gate.set()
        return list(await asyncio.gather(*waits, return_exceptions=True))

    results = asyncio.run(main())
    desk.close()
    assert results[0] is None and results[1] == "a" and results[4] == "b"
    assert isinstance(results[2], ValueError) and isinstance(results[3], sa.exc.IntegrityError)
    assert names(store) == ["a", "b"] and told.count("COMMIT") == 2  # the slow one, then the four that waited


async def together(desk: Desk, *works: Callable[[Connection], Any], accounts: list[str] | None = None) -> list[Any]:
    """What comes of works that wait in line at the same time, for they came while another was written."""
    gate, begun = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        begun.set()
        gate.wait(10)

    first = asyncio.create_task(desk.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    names: list[str | None] = [*accounts] if accounts else [None] * len(works)
    waits = [asyncio.create_task(desk.write(work, account=name)) for work, name in zip(works, names, strict=True)]
    await asyncio.sleep(0)
    gate.set()
    await first
    return list(waits)


def test_trouble_that_one_write_has_is_its_own(engine: sa.Engine) -> None:
    desk, accounts = Desk(engine), [keys.create_account(engine, name, currency="EUR").id for name in "abcd"]

    def no_table(connection: Connection) -> None:
        put("half")(connection)
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")

    def no_disk(connection: Connection) -> None:
        put("half of another")(connection)
        raise StoreUnavailable("The bytes could not be deleted.")

    async def main() -> list[Any]:
        waits = await together(desk, put("a"), no_table, no_disk, put("b"), accounts=accounts)
        return await asyncio.gather(*waits, return_exceptions=True)

    first, table, disk, last = asyncio.run(main())
    desk.close()
    assert (first, last) == ("a", "b") and names(engine) == ["a", "b"]
    assert "nowhere" in str(table) and isinstance(disk, StoreUnavailable)


def test_who_waits_for_a_row_that_another_holds_keeps_nobody_waiting(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer and no rows to hold")
    desk, (held, free) = Desk(engine), [keys.create_account(engine, name, currency="EUR").id for name in "ab"]

    async def main() -> None:
        with engine.begin() as holder:
            groups.lock(holder, held)
            waits, goes_on = await together(desk, put("waits"), put("goes on"), accounts=[held, free])
            assert await asyncio.wait_for(goes_on, 30) == "goes on" and not waits.done()
        assert await waits == "waits"

    asyncio.run(main())
    desk.close()
    assert names(engine) == ["goes on", "waits"]


def test_a_desk_that_is_closed_says_so_and_finishes_what_came_before(store: sa.Engine) -> None:
    desk = Desk(store)

    async def main() -> None:
        async with asyncio.timeout(30):
            waits = await together(desk, put("before"))
            await asyncio.to_thread(desk.close)
            assert await waits[0] == "before"
            for asked in (desk.write(put("a")), desk.write(put("b"), account="a"), desk.read(lambda _: 1)):
                with pytest.raises(StoreUnavailable, match="The server ends"):
                    await asked
            with pytest.raises(StoreUnavailable, match="The server ends"):
                await desk.flushing()

    asyncio.run(main())
    assert names(store) == ["before"]


def test_a_write_that_nobody_waits_for_any_more_is_written_all_the_same(store: sa.Engine) -> None:
    desk = Desk(store)

    async def main() -> None:
        task = asyncio.create_task(desk.write(put("kept")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    desk.close()
    assert names(store) == ["kept"]


def test_trouble_with_the_database_is_told_to_everyone_and_passes(store: sa.Engine) -> None:
    desk = Desk(store)

    async def main() -> None:
        with store.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE withdrawals RENAME TO away")
        got = await asyncio.gather(desk.write(put("a")), desk.write(put("b")), return_exceptions=True)
        assert all(isinstance(error, StoreUnavailable) for error in got)
        with store.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO withdrawals")
        assert await desk.write(put("c")) == "c"

    asyncio.run(main())
    desk.close()
    assert names(store) == ["c"]


def test_a_short_write_is_done_at_once_unless_somebody_writes(store: sa.Engine) -> None:
    desk, threads = Desk(store), list[str]()

    def note(connection: Connection) -> None:
        threads.append(threading.current_thread().name)
        put(f"n{len(threads)}")(connection)

    async def main() -> None:
        await desk.write(note, durable=False)
        await desk.write(note, account="a")
        await desk.write(note)
        holder = sqlite3.connect(str(store.url.database), isolation_level=None)  # as another process would
        holder.execute("BEGIN IMMEDIATE")
        waits = asyncio.create_task(desk.write(note, durable=False))
        await asyncio.sleep(0.05)  # the loop goes on meanwhile
        assert len(threads) == 3
        holder.execute("COMMIT")
        holder.close()
        await waits
        with pytest.raises(sa.exc.IntegrityError):
            await desk.write(put("n1"), durable=False)

    asyncio.run(main())
    desk.close()
    assert threads == [*[threading.main_thread().name] * 2, "writes", "writes"]
    assert names(store) == ["n1", "n2", "n3", "n4"]


def test_a_write_is_answered_when_the_disk_has_it_and_those_who_wait_share_the_flush(
    store: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, gate, flushes = Desk(store), threading.Event(), list[str]()

    def slow(log: int) -> None:
        flushes.append(os.readlink(f"/proc/self/fd/{log}"))
        assert gate.wait(10)
        os.fdatasync(log)

    monkeypatch.setattr(database, "_flush_file", slow)

    async def main() -> None:
        waits = [asyncio.create_task(desk.write(put("first"), account="a"))]
        while not flushes:
            await asyncio.sleep(0.01)
        waits += [asyncio.create_task(desk.write(put(name), account="a")) for name in ("b", "c", "d")]
        await asyncio.sleep(0.05)  # the loop goes on
        assert names(store) == ["b", "c", "d", "first"] and not any(task.done() for task in waits)
        gate.set()
        assert await asyncio.gather(*waits) == ["first", "b", "c", "d"]

    asyncio.run(main())
    desk.close()
    assert flushes == [f"{store.url.database}-wal"] * 2


def test_a_disk_that_fails_makes_no_write_succeed(store: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(store)

    def broken(log: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(database, "_flush_file", broken)
            with pytest.raises(StoreUnavailable, match="Input/output error"):
                await desk.write(put("a"), account="a")
        assert await desk.write(put("b"), account="a") == "b"

    asyncio.run(main())
    desk.close()


def test_the_log_is_copied_into_the_database_as_writes_go_on(store: sa.Engine) -> None:
    desk = Desk(store)

    async def main() -> None:
        for number in range(SHORTENED):
            await desk.write(put(f"{number:03}"), account="a")

    asyncio.run(main())
    desk.close()
    with closing(sqlite3.connect(f"file:{store.url.database}?immutable=1", uri=True)) as bare:  # without its log
        assert bare.execute("SELECT count(*) FROM withdrawals").fetchone() == (SHORTENED,)
