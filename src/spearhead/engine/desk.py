"""The database from an event loop: one thread that writes, a few that read. Knows nothing of what is written.

Writes that wait together share one commit (and so one wait for the disk), each inside its own savepoint: one that
fails undoes itself alone. A write that waits for no disk is done at once in the loop's own thread where SQLite is free:
to wake another thread and to be woken by it takes as long as the write.

On PostgreSQL several processes write at once, and each commit holds the rows of many accounts: they are locked before
anything else, in the order of their names, then those accounts' teams. A write that does not say whose rows it locks
has a transaction of its own there.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.store.database import Busy, StoreUnavailable, reading, writing
from spearhead.store.tables import accounts, team_members, teams

T = TypeVar("T")
TOGETHER = 32
"""Most writes that share a commit."""
WAITING = 4096
"""Most writes that wait; past it the database counts as unavailable."""
READERS = 2

_Job = tuple[Callable[[Connection], Any], "asyncio.Future[Any]", str | None, bool]


class Desk:
    """`await desk.write(work)` and `await desk.read(work)`, where `work` takes a connection and returns a value."""

    def __init__(self, database: sa.Engine) -> None:
        self.database = database
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._quick = database.dialect.name == "sqlite"
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reads")
        self._thread = threading.Thread(target=self._write_all, name="writes", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Connection], T], *, account: str | None = None, durable: bool = True) -> T:
        """What `work` returns once its transaction is on the disk; raises what it raised, with nothing written.

        `account` is the only one whose rows (and whose team's) it locks. Cancelling the wait does not undo the write.
        A power cut may take back what is not `durable`, unless a later durable write was answered.
        """
        if self._quick and not durable and self._jobs.empty():
            with contextlib.suppress(Busy), writing(self.database, durable=False, wait=False) as connection:
                return work(connection)
        if self._jobs.qsize() >= WAITING:
            raise StoreUnavailable("Too much work waits for the database; try again in a moment.")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((work, future, account, durable))
        return await future

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns in a transaction that only reads."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def close(self) -> None:
        """Finish every write that waits, then stop."""
        self._jobs.put(None)
        self._thread.join()
        self._readers.shutdown()

    def _read(self, work: Callable[[Connection], T]) -> T:
        with reading(self.database) as connection:
            return work(connection)

    def _write_all(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs, last = [job], False
            while len(jobs) < TOGETHER:
                try:
                    following = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    last = True
                    break
                jobs.append(following)
            for together in self._groups(jobs):
                self._write_together(together)
            if last:
                return

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
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(_answer, future, value, problem)


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
