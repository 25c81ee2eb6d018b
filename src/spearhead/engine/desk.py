"""The database from an event loop: one thread that writes, a few that read. Knows nothing of what is written.

Where SQLite is free, a write is done at once in the loop's own thread: to wake another thread and to be woken by it
takes as long as the write. Only the wait for the disk is another thread's; those who wait together share it.

Otherwise writes wait in a line. Those that wait together share one commit, each inside its own savepoint: one that
fails undoes itself alone.

On PostgreSQL several processes write at once, and each commit holds the rows of many accounts: they are locked before
anything else, in the order of their names, then those accounts' teams. A write whose rows somebody else holds then, or
that does not say whose rows it locks, has a transaction of its own there.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.store.database import Busy, StoreUnavailable, flush, reading, shorten, writing
from spearhead.store.tables import accounts, team_members, teams

T = TypeVar("T")
TOGETHER = 32
"""Most writes that share a commit."""
WAITING = 4096
"""Most writes that wait; past it the database counts as unavailable."""
READERS = 2
SHORTENED = 64
"""Durable writes after which SQLite's log is copied into the database: some thousand pages."""

_Wait = tuple["asyncio.Future[None]", "asyncio.Future[None]"]
_Job = tuple[Callable[[Connection], Any], "asyncio.Future[Any]", str | None, bool]


class Desk:
    """`await desk.write(work)` and `await desk.read(work)`, where `work` takes a connection and returns a value."""

    def __init__(self, database: sa.Engine) -> None:
        self.database = database
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed, self._end = False, threading.Lock()
        self._quick = database.dialect.name == "sqlite"
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reads")
        self._commits: queue.SimpleQueue[_Wait | None] = queue.SimpleQueue()
        self._flusher = threading.Thread(target=self._flush_all, name="flushes", daemon=True)
        self._flusher.start()
        self._thread = threading.Thread(target=self._write_all, name="writes", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Connection], T], *, account: str | None = None, durable: bool = True) -> T:
        """What `work` returns once its transaction is on the disk; raises what it raised, with nothing written.

        `account` is the only one whose rows (and whose team's) it locks. Cancelling the wait does not undo the write.
        A power cut may take back what is not `durable`, unless a later durable write was answered. Raises
        StoreUnavailable once the desk is closed.
        """
        if account is not None or not durable:  # a request's own and short; others may take their time
            with contextlib.suppress(Busy):
                value = self.at_once(work)
                if durable:
                    await (await self.flushing())
                return value
        if self._jobs.qsize() >= WAITING:
            raise StoreUnavailable("Too much work waits for the database; try again in a moment.")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put(self._jobs, (work, future, account, durable))
        return await future

    def at_once(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns once its transaction is committed, though not yet on the disk: see `flushing`.

        Raises Busy where somebody else writes, and always on PostgreSQL, where every statement waits for its answer.
        """
        if self._closed:
            raise _closed()
        if not self._quick or not self._jobs.empty():
            raise Busy("Others wait to write.")
        with writing(self.database, durable=False, wait=False) as connection:
            return work(connection)

    async def flushing(self) -> "asyncio.Future[None]":
        """Done when all that was written `at_once` is on the disk; raises StoreUnavailable when the disk fails.

        It is given when the wait for the disk has begun: a loop that went on at once would keep the interpreter, and
        with it the other thread from beginning.
        """
        loop = asyncio.get_running_loop()
        begun, done = loop.create_future(), loop.create_future()
        self._put(self._commits, (begun, done))
        await begun
        return done

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns in a transaction that only reads."""
        try:
            found = asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)
        except RuntimeError as error:
            raise _closed() from error
        return await found

    def close(self) -> None:
        """Finish every write that waits, then stop."""
        with self._end:  # what is put in line from now on would be behind the end
            self._closed = True
            self._jobs.put(None)
            self._commits.put(None)
        self._thread.join()
        self._flusher.join()
        self._readers.shutdown()

    def _put(self, line: "queue.SimpleQueue[T | None]", one: T) -> None:
        with self._end:
            if self._closed:
                raise _closed()
            line.put(one)

    def _read(self, work: Callable[[Connection], T]) -> T:
        with reading(self.database) as connection:
            return work(connection)

    def _write_all(self) -> None:
        for jobs in _together(self._jobs, most=TOGETHER):
            for together in self._groups(jobs):
                self._write_together(together)

    def _flush_all(self) -> None:
        written = 0
        for waiting in _together(self._commits, most=WAITING):
            try:
                flush(self.database, begun=partial(_tell_all, [begun for begun, _ in waiting]))
                problem = None
            except StoreUnavailable as error:
                problem = error
                _tell_all([begun for begun, _ in waiting])
            _tell_all([done for _, done in waiting], problem)
            if (written := written + len(waiting)) >= SHORTENED:
                written = 0
                shorten(self.database)

    def _groups(self, jobs: list[_Job]) -> list[list[_Job]]:
        """What may share a transaction, in the order in which it came."""
        if self.database.dialect.name == "sqlite":
            return [jobs]
        groups: list[list[_Job]] = []
        for job in jobs:
            if job[2] is not None and groups and groups[-1][-1][2] is not None:
                groups[-1].append(job)
            else:
                groups.append([job])
        return groups

    def _write_together(self, jobs: list[_Job]) -> None:
        results: list[tuple[asyncio.Future[Any], Any, Exception | None]] = []
        alone: list[_Job] = []
        try:
            durable = any(job[3] for job in jobs)
            with writing(self.database, durable=durable) as connection:
                if taken := _taken(connection, {job[2] for job in jobs if job[2] is not None}):
                    jobs, alone = [job for job in jobs if job[2] not in taken], [job for job in jobs if job[2] in taken]
                for work, future, *_ in jobs:
                    point = connection.begin_nested() if len(jobs) > 1 else None
                    try:
                        value = work(connection)
                    except Exception as error:
                        if point is None:
                            raise
                        point.rollback()
                        if not _stands(connection):
                            raise  # nothing of this transaction can be trusted: everyone in it is told
                        results.append((future, None, error))
                    else:
                        if point is not None:
                            point.commit()
                        results.append((future, value, None))
        except Exception as error:
            results = [(future, None, error) for _, future, *_ in jobs]
        for future, value, problem in results:
            _tell(future, value, problem)
        for job in alone:
            self._write_together([job])


def _taken(connection: Connection, names: set[str]) -> set[str]:
    """Lock the rows of these accounts and of their teams that are free; gives the accounts that miss one.

    Somebody else holds that, and who does not need it shall not wait for it.
    """
    if connection.dialect.name == "sqlite" or len(names) < 2:
        return set()
    own = sa.select(accounts.c.id).where(accounts.c.id.in_(names)).order_by(accounts.c.id)
    free = set(connection.scalars(own.with_for_update(key_share=True, skip_locked=True)))
    t = team_members.c
    of_them = connection.execute(sa.select(t.account, t.team).where(t.account.in_(free))).tuples().all()
    theirs = sa.select(teams.c.id).where(teams.c.id.in_({team for _, team in of_them})).order_by(teams.c.id)
    got = set(connection.scalars(theirs.with_for_update(skip_locked=True)))
    there = set(connection.scalars(sa.select(accounts.c.id).where(accounts.c.id.in_(names))))
    return (there - free) | {account for account, team in of_them if team not in got}


def _stands(connection: Connection) -> bool:
    """Whether a transaction goes on after one of its writes was undone: some trouble undoes all of it at once."""
    if connection.closed or connection.invalidated or not connection.in_transaction():
        return False
    driver: Any = connection.connection.dbapi_connection
    return bool(driver.in_transaction if connection.dialect.name == "sqlite" else driver.info.transaction_status == 2)


def _closed() -> StoreUnavailable:
    return StoreUnavailable("The server ends and writes nothing more.")


def lock(connection: Connection, names: list[str]) -> None:
    """Lock the rows of these accounts, then of their teams, each in order: whoever does so never waits in a circle."""
    if connection.dialect.name == "sqlite" or len(names) < 2:
        return
    connection.execute(
        sa.select(accounts.c.id).where(accounts.c.id.in_(names)).order_by(accounts.c.id).with_for_update(key_share=True)
    )
    of_them = sa.select(team_members.c.team).where(team_members.c.account.in_(names))
    connection.execute(sa.select(teams.c.id).where(teams.c.id.in_(of_them)).order_by(teams.c.id).with_for_update())


def _together(line: "queue.SimpleQueue[T | None]", *, most: int) -> Iterator[list[T]]:
    """What waits in `line`, as much of it as there is each time, until None comes."""
    while (one := line.get()) is not None:
        found = [one]
        with contextlib.suppress(queue.Empty):
            while len(found) < most and (one := line.get_nowait()) is not None:
                found.append(one)
        yield found
        if one is None:
            return


def _tell(future: "asyncio.Future[Any]", value: Any, problem: Exception | None) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        future.get_loop().call_soon_threadsafe(_answer, future, value, problem)


def _tell_all(futures: "list[asyncio.Future[None]]", problem: Exception | None = None) -> None:
    for future in futures:
        _tell(future, None, problem)


def _answer(future: "asyncio.Future[Any]", value: Any, problem: Exception | None) -> None:
    if future.done():  # a waiter that was cancelled has no use for it
        return
    if problem is None:
        future.set_result(value)
    else:
        future.set_exception(problem)
