"""The database from an event loop: one thread that writes, a few that read. Knows nothing of what is written.

Where SQLite is free, a write is done at once in the loop's own thread: to wake another thread and to be woken by it
takes as long as the write. Only the wait for the disk is another thread's; those who wait together share it.

Otherwise writes wait in a line. Those that wait together share one commit, each inside its own savepoint: one that
fails undoes itself alone.

On PostgreSQL several processes write at once, and each commit holds the rows of many accounts: they are locked before
anything else, in the order of their names, then those accounts' teams. A write that does not say whose rows it locks
has a transaction of its own there.
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
        A power cut may take back what is not `durable`, unless a later durable write was answered.
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
        self._jobs.put((work, future, account, durable))
        return await future

    def at_once(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns once its transaction is committed, though not yet on the disk: see `flushing`.

        Raises Busy where somebody else writes, and always on PostgreSQL, where every statement waits for its answer.
        """
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
        self._commits.put((begun, done))
        await begun
        return done

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns in a transaction that only reads."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def close(self) -> None:
        """Finish every write that waits, then stop."""
        self._jobs.put(None)
        self._commits.put(None)
        self._thread.join()
        self._flusher.join()
        self._readers.shutdown()

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
        try:
            durable = any(job[3] for job in jobs)
            with writing(self.database, durable=durable) as connection:
                _lock(connection, sorted({job[2] for job in jobs if job[2] is not None}))
                for work, future, *_ in jobs:
                    try:
                        with connection.begin_nested() if len(jobs) > 1 else contextlib.nullcontext():
                            results.append((future, work(connection), None))
                    except Exception as error:
                        if len(jobs) == 1 or isinstance(error, StoreUnavailable):
                            raise  # nothing of this transaction can be trusted: everyone in it is told
                        results.append((future, None, error))
        except Exception as error:
            results = [(future, None, error) for _, future, *_ in jobs]
        for future, value, problem in results:
            _tell(future, value, problem)


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


def _lock(connection: Connection, names: list[str]) -> None:
    """Lock the rows of these accounts, then of their teams, each in order: whoever does so never waits in a circle."""
    if connection.dialect.name == "sqlite" or len(names) < 2:
        return
    connection.execute(
        sa.select(accounts.c.id).where(accounts.c.id.in_(names)).order_by(accounts.c.id).with_for_update(key_share=True)
    )
    of_them = sa.select(team_members.c.team).where(team_members.c.account.in_(names))
    connection.execute(sa.select(teams.c.id).where(teams.c.id.in_(of_them)).order_by(teams.c.id).with_for_update())
