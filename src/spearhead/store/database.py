"""The one SQL database: connecting, migrating, backing up, restoring. Knows nothing of what the tables mean.

SQLite keeps a write-ahead log, so that readers never wait for the one writer; PostgreSQL is reached by URL. A function
that works on the database takes `Engine | Connection`: given an engine it makes its own transaction, given a connection
it joins the caller's.
"""

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event

from spearhead.core import clock
from spearhead.core.errors import InputError, SpearheadError
from spearhead.store.migrations import HEAD

BUSY_MILLISECONDS = 10_000
LOG_PAGES, LAZY_LOG_PAGES = 1_000, 10_000
"""Length of SQLite's log at which a durable commit, and one that is not, copies it into the database (4 KiB each)."""
_flush_file: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
MIGRATES = 7370656172
"""The advisory lock of PostgreSQL that who migrates holds."""
REPEATABLE_READ = 3
"""As the driver of PostgreSQL numbers it: one moment for a whole transaction."""
_MAGIC = b"SQLite format 3\x00"
_WRITER, _FILE = "spearhead_writer", "spearhead_file"
_NEXT = "spearhead_next"


class StoreUnavailable(SpearheadError):
    """The database or the disk cannot be used now; the same call may work later (an API answers 503, never 401)."""


class Busy(StoreUnavailable):
    """Somebody else is writing, and the caller did not want to wait."""


def connect(url: str) -> Engine:
    """An engine for `sqlite:///PATH` or `postgresql://...`; opens nothing yet but the folder of a SQLite file.

    Trouble with the database raises StoreUnavailable from whatever statement met it. Broken promises of the schema
    (unique, foreign key, append-only) stay sqlalchemy.exc.IntegrityError.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        path = _path(parsed)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Key hashes and answers lie in it: nobody else's to read. SQLite gives its log the same mode.
            # Made only where it is not: to open and close a file that is in use would drop this process's own locks on
            # it (POSIX), and another process would then throw away the log that we write to.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            if not path.is_file():
                raise StoreUnavailable(f"The database {path} cannot be opened: it is no file.") from None
        except OSError as error:
            raise StoreUnavailable(f"The database {path} cannot be opened: {error.strerror}.") from error
        writer = _Writer(path)
        options: dict[str, Any] = {_WRITER: writer}
        # Last in, first out: the connection that was used last has its pages and statements at hand.
        engine = sa.create_engine(
            parsed, pool_size=8, max_overflow=56, pool_timeout=30, pool_use_lifo=True, execution_options=options
        )
        event.listen(engine, "engine_disposed", lambda _: writer.close())
        event.listen(engine, "do_connect", partial(_there, path))
        event.listen(engine, "connect", _open_sqlite)
        event.listen(engine, "connect", partial(_remember, path))
        event.listen(engine, "checkout", partial(_same_file, path))
        event.listen(engine, "begin", _begin_sqlite)
    else:
        # A database whose encoding is SQL_ASCII, as machines without a locale make them, gives its texts as bytes else.
        usual = {
            "options": "-c lock_timeout=10s -c statement_timeout=60s",
            "connect_timeout": 5,
            "client_encoding": "utf8",
        }
        wanted = {name: value for name, value in usual.items() if name not in parsed.query}
        try:
            engine = sa.create_engine(parsed, pool_size=8, max_overflow=24, pool_pre_ping=True, connect_args=wanted)
        except ModuleNotFoundError as error:
            raise InputError(
                "A postgresql:// database needs the driver psycopg: install it with `pip install 'psycopg[binary]'`."
            ) from error
        event.listen(engine, "begin", _begin_postgresql)
    event.listen(engine, "handle_error", _speak)
    return engine


def writing(
    store: Engine | Connection, *, durable: bool = True, wait: bool = True
) -> AbstractContextManager[Connection]:
    """A transaction that may write: the caller's own, or a new one that commits when the block ends well.

    On SQLite it holds the write lock from its first moment, so what it reads stays true until it commits. On
    PostgreSQL what must stay true is locked by row. A power cut may take back a transaction that is not `durable`
    (the death of the process may not), whole, and never one that a later durable one was built on. On SQLite, without
    `wait`, raises Busy where another thread or process is writing.
    """
    if isinstance(store, Connection):
        return nullcontext(store)
    writer: _Writer | None = store.get_execution_options().get(_WRITER)
    return _transaction(store, _Kind(lazy=not durable)) if writer is None else writer.turn(store, durable, wait)


def flush(store: Engine, *, begun: Callable[[], None] = lambda: None) -> None:
    """Wait until every commit to a SQLite file so far is on the disk, those that were not `durable` too.

    Such a commit is in the log already, and commits lie there in their order: the log is what waits for the disk.
    `begun` is called right before; from then on this thread wants nothing of Python until the disk is done.
    """
    writer: _Writer = store.get_execution_options()[_WRITER]
    try:
        log = os.open(writer.log, os.O_RDONLY)
        try:
            begun()
            _flush_file(log)
        finally:
            os.close(log)
    except OSError as error:
        raise StoreUnavailable(f"The sqlite database cannot be used now: {error.strerror}.") from error


def shorten(store: Engine) -> None:
    """Copy SQLite's log into the database, most of it while others write; then they wait, so that it begins anew."""
    writer: _Writer = store.get_execution_options()[_WRITER]
    with suppress(sqlite3.Error, StoreUnavailable, sa.exc.SQLAlchemyError), store.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        with writer.still():
            driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def reading(store: Engine | Connection) -> AbstractContextManager[Connection]:
    """A transaction that only reads, one consistent moment, and waits for no writer."""
    return nullcontext(store) if isinstance(store, Connection) else _transaction(store, _Kind(reads=True))


@contextmanager
def _transaction(store: Engine, kind: "_Kind") -> Iterator[Connection]:
    """One of SQLAlchemy's own."""
    try:
        with store.connect() as connection:
            connection.info[_NEXT] = kind
            with connection.begin():
                yield connection
    except sa.exc.TimeoutError as error:
        raise _overrun() from error


def migrate(url: str) -> None:
    """Bring the schema to the newest revision in one transaction; does nothing, and fast, when it is there already.

    Two processes may do it at once: the second waits and finds nothing to do. A database of a newer version of
    spearhead raises InputError and stays as it is.
    """
    engine = connect(url)
    try:
        with reading(engine) as connection:
            if revision(connection) == HEAD:
                return
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                # An index over a long history takes minutes, and so does the wait for who makes it; a table is not
                # waited for as long, for everybody else stands in line behind that.
                connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
                connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({MIGRATES})"))
                connection.execute(sa.text("SET LOCAL lock_timeout TO DEFAULT"))
            if (found := revision(connection)) != HEAD:
                _upgrade(connection, found)
    finally:
        engine.dispose()


def revision(connection: Connection) -> str | None:
    """The revision that the schema has; None for a database without one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def backup(url: str, path: Path) -> None:
    """Copy the SQLite database at `url` to `path` even while in use: one moment of it, whole and checked."""
    source = _path(_only_sqlite(url, "backup"))
    if not source.exists():
        raise InputError(f"There is no database at {source} to back up.")
    if path.exists() and path.samefile(source):
        raise InputError(f"{path} is the database itself: name another file for the copy.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:60]}.")
        os.close(handle)
    except OSError as error:
        raise StoreUnavailable(f"The backup {path} could not be written: {error.strerror}.") from error
    draft = Path(name)
    try:
        with closing(_raw(source)) as live, closing(_raw(draft)) as copy:
            live.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # the copy is one file, with no log beside it
        if problem := _problem(draft):
            raise StoreUnavailable(f"The backup was not kept, for the copy of {source} {problem}.")
        _sync(draft)
        os.replace(draft, path)
        _sync(path.parent)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"The database {source} could not be copied to {path}: {error}.") from error
    except OSError as error:
        raise StoreUnavailable(f"The backup {path} could not be written: {error.strerror}.") from error
    finally:
        draft.unlink(missing_ok=True)


def restore(path: Path, url: str, *, clock: clock.Clock = clock.now) -> Path | None:
    """Put the backup at `path` in the place of the SQLite database at `url`, in one transaction.

    Anything but a sound database of spearhead is refused and nothing changes. What was there is kept in a file beside
    the database, whose path is returned (None when there was nothing); a server that has it open sees the new rows.
    """
    target = _path(_only_sqlite(url, "restore"))
    if not path.is_file():
        raise InputError(f"There is no backup at {path}.")
    if problem := _problem(path):
        raise InputError(f"{path} is not restored: it {problem}. The database at {target} stays as it is.")
    if target.exists() and path.samefile(target):
        raise InputError(f"{path} is the database itself: name a backup of it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = None
    try:
        if target.exists() and target.stat().st_size:
            mark = clock().strftime("%Y%m%dT%H%M%S")
            kept = _free(target.with_name(f"{target.name}.before-restore-{mark}"))
            if _problem(target):
                _move_aside(target, kept)  # a damaged file cannot be written through; it is kept as it was found
            else:
                backup(url, kept)
        connect(url).dispose()
        with closing(_raw(path)) as source, closing(_raw(target)) as live:
            source.backup(live)
            _keep_log(live.cursor())
    except sqlite3.Error as error:
        raise StoreUnavailable(f"The backup {path} could not be restored to {target}: {error}.") from error
    except OSError as error:
        raise StoreUnavailable(f"The backup {path} could not be restored to {target}: {error.strerror}.") from error
    return kept


def problem(url: str) -> str | None:
    """Why the database at `url` cannot be used; None where it is sound, or not there yet. Changes nothing."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        path = _path(parsed)
        return _problem(path) if path.is_file() else "is no file" if path.exists() else None
    engine = connect(url)
    try:
        with reading(engine) as connection:
            revision(connection)
    except StoreUnavailable as error:
        return f"does not answer ({error})"
    finally:
        engine.dispose()
    return None


def trouble(error: BaseException, dialect: str) -> SpearheadError | None:
    """What to raise where a driver's error is trouble with the database, as against trouble with a statement.

    PostgreSQL's texts hold no NUL, so that whoever sends one, in an id or a filter, is told what SQLite tells by
    finding nothing: it is their mistake, and no failure.
    """
    kinds = ("OperationalError", "InterfaceError", "InternalError")
    names = {kind.__name__ for kind in type(error).__mro__}
    if "DataError" in names and "NUL (0x00)" in str(error):
        return InputError("There is a NUL character in what was sent: nothing here has one in its name or its words.")
    if names.isdisjoint(kinds) and type(error) is not sqlite3.DatabaseError:
        return None
    hint = " It has no tables yet: migrate it first." if "no such table" in str(error) else ""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return StoreUnavailable(f"The {dialect} database cannot be used now: {reason}.{hint}")


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except sa.exc.ArgumentError as error:
        raise InputError("The database URL cannot be read: wanted sqlite:///PATH or postgresql://...") from error
    if backend not in ("sqlite", "postgresql"):
        raise InputError(f"The database URL names {backend!r}: wanted sqlite:///PATH or postgresql://...")
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
        raise InputError("The database must be a file, for every thread opens it anew: wanted sqlite:///PATH")
    return parsed


def _only_sqlite(url: str, verb: str) -> sa.URL:
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        tool = {"backup": "pg_dump", "restore": "pg_restore"}[verb]
        raise InputError(f"spearhead does not {verb} PostgreSQL: use {tool}, which is made for it.")
    return parsed


def _path(parsed: sa.URL) -> Path:
    return Path(str(parsed.database)).absolute()


def _open_sqlite(connection: Any, record: Any) -> None:
    """What every SQLite connection needs, before anything else runs on it."""
    connection.isolation_level = None  # the driver begins nothing by itself: see `_begin_sqlite`
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")  # first, for the next line takes a lock
    _keep_log(cursor)
    cursor.execute("PRAGMA synchronous=FULL")  # see `_begin_sqlite`
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA recursive_triggers=ON")  # REPLACE deletes rows; without this no trigger sees it
    cursor.close()


def _keep_log(cursor: sqlite3.Cursor) -> None:
    """Have a write-ahead log from now on. While another process is about to do the same, or to write to a file that has
    none yet, SQLite refuses this at once, whatever its busy_timeout."""
    until = time.monotonic() + BUSY_MILLISECONDS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:  # of whatever kind
                raise
        time.sleep(0.01)


def _there(path: Path, *_: Any) -> None:
    """SQLite would make an empty database where one was removed, and the records would seem to be gone."""
    if not path.exists():
        raise sqlite3.OperationalError(f"{path} was removed")


def _remember(path: Path, connection: Any, record: Any) -> None:
    found = path.stat()
    record.info[_FILE] = (found.st_dev, found.st_ino)


def _same_file(path: Path, connection: Any, record: Any, proxy: Any) -> None:
    """An open file can be written to after it was removed, and nobody would ever find those records: open it anew."""
    try:
        found = path.stat()
    except OSError as error:
        raise sa.exc.DisconnectionError(f"{path} was removed") from error
    if record.info.get(_FILE) != (found.st_dev, found.st_ino):
        raise sa.exc.DisconnectionError(f"{path} was replaced")


@dataclass(frozen=True, slots=True)
class _Kind:
    """Of the transaction that begins next on a connection."""

    reads: bool = False
    lazy: bool = False
    outer: bool = False
    """It is the writer's, who begins and commits by itself within it."""


class _Writer:
    """The one connection on which the threads of this process write to a SQLite file, in turn.

    SQLite's own wait sleeps longer and longer between tries, and whoever slept longest loses to whoever comes next: 16
    threads left one in a hundred waiting for two seconds. It remains the wait between processes. The connection stays
    open: to take one from the pool and to give it back took as long as a small transaction. So does SQLAlchemy's
    transaction, in which the file's own begin and end, for it did a dozen things at each that mean nothing here.
    """

    def __init__(self, path: Path) -> None:
        self._name = str(path)
        self.log = Path(f"{path}-wal")
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._file = (0, 0)
        self._set: tuple[bool, bool] | None = None
        """Whether the connection waits for the disk, and for other processes."""

    @contextmanager
    def turn(self, engine: Engine, durable: bool, wait: bool) -> Iterator[Connection]:
        """A transaction on the connection, which nobody else uses meanwhile."""
        if not self._lock.acquire(timeout=BUSY_MILLISECONDS / 1000 if wait else 0):
            if not wait:
                raise Busy("Another thread is writing.")
            raise StoreUnavailable(
                "The sqlite database cannot be used now: another thread has been writing for too long."
            )
        try:
            connection = self._opened(engine)
            driver: Any = connection.connection.dbapi_connection
            try:
                self._begin(driver, durable, wait)
            except sqlite3.Error as error:
                raise trouble(error, "sqlite") or error if wait else Busy("Another process is writing.") from error
            try:
                yield connection
            except BaseException:
                with suppress(sqlite3.Error):
                    driver.rollback()
                raise
            try:
                driver.commit()
            except sqlite3.Error as error:
                with suppress(sqlite3.Error):
                    driver.rollback()
                raise trouble(error, "sqlite") or error from error
        finally:
            if self._connection is not None and not self._at_rest(self._connection):
                self.close()
            self._lock.release()

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nobody of this process writes meanwhile."""
        with self._lock:
            yield

    def close(self) -> None:
        """Close it; the next turn opens it anew."""
        if self._connection is not None:
            self._connection.invalidate()  # else it would go back to the pool, open
            self._connection.close()
            self._connection = None

    def _at_rest(self, connection: Connection) -> bool:
        """Whether it can be used again: not where even taking its writes back failed."""
        return not (
            connection.closed
            or connection.invalidated
            or connection.in_nested_transaction()
            or not connection.in_transaction()
            or getattr(connection.connection.dbapi_connection, "in_transaction", False)
        )

    def _opened(self, engine: Engine) -> Connection:
        """As in `_same_file`: a file that was removed or replaced is not written to."""
        try:
            found = os.stat(self._name)
            file = (found.st_dev, found.st_ino)
        except OSError:
            file = (0, 0)
        if self._file != file:
            self.close()
        if self._connection is None:
            try:
                connection = engine.connect()
            except sa.exc.TimeoutError as error:
                raise _overrun() from error
            connection.info[_NEXT] = _Kind(outer=True)
            connection.begin()
            self._connection, self._file, self._set = connection, file, None
        return self._connection

    def _begin(self, driver: Any, durable: bool, wait: bool) -> None:
        """The write lock is taken at once: who reads and then asks for it may be refused outright.

        FULL: a commit is on the disk before it is answered, and with it every earlier one, for they share one log.
        NORMAL: it is in the log, and a power cut before the next durable commit may take it back. Such a commit is
        meant to be quick, so it leaves it to the durable ones to copy the log, which waits for the disk, unless it has
        grown long.
        """
        if self._set != (durable, wait):
            self._set = None
            driver.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            driver.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES if durable else LAZY_LOG_PAGES}")
            driver.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS if wait else 0}")
            self._set = (durable, wait)
        driver.execute("BEGIN IMMEDIATE")


def _begin_sqlite(connection: Connection) -> None:
    """Whoever writes by SQLAlchemy's own transaction (tests do) takes the lock at once too, and waits for the disk."""
    kind: _Kind = connection.info.pop(_NEXT, _Kind())
    if kind.outer:
        return
    try:
        driver: Any = connection.connection.dbapi_connection
        driver.execute("BEGIN" if kind.reads else "BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise trouble(error, "sqlite") or error from error


def _begin_postgresql(connection: Connection) -> None:
    """By default every statement sees a moment of its own: a sum and its parts could be told of two. The driver says it
    as it begins, so that it takes no time."""
    kind: _Kind = connection.info.pop(_NEXT, _Kind())
    driver: Any = connection.connection.dbapi_connection
    if (wanted := REPEATABLE_READ if kind.reads else None) != driver.isolation_level:
        driver.isolation_level = wanted
    if kind.lazy:
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


def _overrun() -> StoreUnavailable:
    return StoreUnavailable("Too much work waits for the database; try again in a moment.")


def _speak(context: sa.ExceptionContext) -> None:
    if (away := trouble(context.original_exception, context.dialect.name)) is not None:
        raise away from context.original_exception


def _upgrade(connection: Connection, found: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise InputError(
            f"The database has schema {found}, newer than this spearhead knows ({HEAD}): update spearhead."
        )
    command.upgrade(config, "head")


def _raw(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_MILLISECONDS / 1000, isolation_level=None)


def _problem(path: Path) -> str | None:
    """Why the file at `path` cannot serve as spearhead's database, or None."""
    with path.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            return "is not a SQLite database"
    try:
        # Opened for writing too: a copy of a database in use has a log that must be read into it.
        with closing(_raw(path)) as connection:
            verdict = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
            if verdict != ["ok"]:
                return f"is damaged ({verdict[0].splitlines()[-1]})"
            if connection.execute("PRAGMA foreign_key_check").fetchone():
                return "is damaged (rows refer to rows that are missing)"
            names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"alembic_version", "journal_groups", "accounts"} <= names:
                return "is a SQLite database, but not one of spearhead"
    except sqlite3.Error as error:
        return f"is damaged ({error})"
    return None


def _move_aside(target: Path, kept: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        if (part := target.with_name(target.name + suffix)).exists():
            os.replace(part, kept.with_name(kept.name + suffix))


def _free(path: Path) -> Path:
    """`path`, or the first of `path-2`, `path-3`, ... that does not exist."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
