"""Promises of the database, on SQLite; what PostgreSQL must do too runs there when SPEARHEAD_TEST_POSTGRES is set."""

import os
import secrets
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from spearhead.core.errors import InputError
from spearhead.store import database, migrations, tables
from spearhead.store.database import StoreUnavailable

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'home' / 'spearhead.db'}"
        return
    if not (server := os.environ.get("SPEARHEAD_TEST_POSTGRES")):
        how = "set SPEARHEAD_TEST_POSTGRES=postgresql://USER@HOST:PORT/DATABASE to run it (see ledger/conftest.py)"
        if "SPEARHEAD_CI" in os.environ:
            pytest.fail(how)
        pytest.skip(how)
    name = f"spearhead_test_{secrets.token_hex(6)}"
    parsed = sa.make_url(server).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(parsed, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield parsed.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to copy."""
    path = tmp_path_factory.mktemp("migrated") / "spearhead.db"
    database.migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def place(tmp_path: Path, migrated: Path) -> Path:
    """The path of a migrated SQLite database of one's own."""
    path = tmp_path / "spearhead.db"
    path.write_bytes(migrated.read_bytes())
    return path


def withdraw(engine: Engine | sa.Connection, *records: str) -> None:
    """Add rows to a table without constraints."""
    with database.writing(engine) as connection:
        connection.execute(tables.withdrawals.insert(), [{"record": r, "reason": "", "created": ""} for r in records])


def withdrawn(path: Path) -> list[str]:
    """The rows that `withdraw` added, read without the code under test."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT record FROM withdrawals ORDER BY record")]


# -- schema -------------------------------------------------------------------------------------------------------


def test_migrations_lead_to_exactly_the_tables_that_the_code_names(url: str) -> None:
    database.migrate(url)
    engine = database.connect(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        assert database.revision(connection) == migrations.HEAD
    engine.dispose()


def test_the_newest_revision_is_the_one_that_is_named() -> None:
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_heads() == [migrations.HEAD]


def test_migrating_what_is_current_waits_for_no_writer_and_loads_no_migration_machinery(place: Path) -> None:
    code = (
        "import sys; from spearhead.store import database; database.BUSY_MILLISECONDS = 10\n"
        f"database.migrate('sqlite:///{place}'); print('alembic' in sys.modules)"
    )
    database.connect(f"sqlite:///{place}").connect().close()  # it keeps a log from its first connection on
    with closing(sqlite3.connect(place, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_database_without_an_encoding_of_its_own_holds_every_text(url: str) -> None:
    if url.startswith("sqlite"):
        pytest.skip("SQLite is always in UTF-8")
    name = f"spearhead_test_{secrets.token_hex(6)}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        plain = "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        connection.exec_driver_sql(f"CREATE DATABASE {name} {plain}")
    bare = sa.make_url(url).set(database=name).render_as_string(hide_password=False)
    try:
        database.migrate(bare)
        engine = database.connect(bare)
        with database.writing(engine) as connection:
            assert connection.scalar(sa.select(sa.literal("你好"))) == "你好"
            assert database.revision(connection) == migrations.HEAD
        engine.dispose()
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        admin.dispose()


def test_processes_that_migrate_at_once_do_it_once(url: str) -> None:
    code = f"from spearhead.store import database; database.migrate({url!r})"
    racers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [racer.wait(timeout=60) for racer in racers] == [0, 0, 0]


def test_a_file_that_another_process_is_about_to_write_to_for_the_first_time_is_waited_for(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        leaves = threading.Timer(0.3, other.execute, ["COMMIT"])
        leaves.start()
        database.migrate(f"sqlite:///{tmp_path / 'new.db'}")
        leaves.join()
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_long_history_may_take_longer_to_migrate_than_a_statement_and_who_comes_second_waits(url: str) -> None:
    if url.startswith("sqlite"):
        pytest.skip("SQLite knows no such limits")
    slow = """
        CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_sleep(1.1) FROM pg_event_trigger_dropped_objects() WHERE object_name = 'outputs_by_account';
        END $$;
        CREATE EVENT TRIGGER slow ON sql_drop EXECUTE FUNCTION slow();
    """
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    limits = {"options": "-c statement_timeout=1s -c lock_timeout=1s"}
    impatient = sa.make_url(url).update_query_dict(limits).render_as_string(hide_password=False)
    first = sa.create_engine(url)
    with ThreadPoolExecutor(1) as second:
        with first.begin() as connection:
            connection.exec_driver_sql(slow)
        with first.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({database.MIGRATES})")
            done = second.submit(database.migrate, impatient)
            while not done.done() and not connection.exec_driver_sql(waits).scalar():
                time.sleep(0.01)
            time.sleep(1.1)
        done.result(60)
    with first.connect() as connection:
        assert database.revision(connection) == migrations.HEAD
    first.dispose()


def test_a_database_of_a_newer_version_is_left_alone(place: Path) -> None:
    with closing(sqlite3.connect(place)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = place.read_bytes()
    with pytest.raises(InputError, match="schema 9999, newer than this spearhead knows"):
        database.migrate(f"sqlite:///{place}")
    assert place.read_bytes() == before


@pytest.mark.parametrize("table", tables.APPEND_ONLY)
@pytest.mark.parametrize("verb", ["UPDATE", "DELETE", "REPLACE"])
def test_rows_of_record_can_be_added_and_nothing_else(place: Path, table: str, verb: str) -> None:
    engine = database.connect(f"sqlite:///{place}")
    columns = tables.metadata.tables[table].columns
    row: dict[str, object] = {
        c.name: 1 if isinstance(c.type, sa.Integer | sa.BigInteger) else "x" for c in columns if not c.foreign_keys
    }
    row |= {c.name: None for c in columns if c.foreign_keys and c.nullable}
    row |= {c.name: 1 for c in columns if c.foreign_keys and not c.nullable}
    with engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")  # one row, without the rows it would refer to
        connection.exec_driver_sql("BEGIN")
        connection.execute(tables.metadata.tables[table].insert().values(row))
        statement = {
            "UPDATE": f"UPDATE {table} SET id = 7",
            "DELETE": f"DELETE FROM {table}",
            "REPLACE": f"REPLACE INTO {table} SELECT * FROM {table}",
        }[verb]
        with pytest.raises(sa.exc.IntegrityError, match=f"{table} is append-only"):
            connection.exec_driver_sql(statement)
        assert connection.execute(sa.select(tables.metadata.tables[table].c.id)).scalar_one() == 1


def test_a_table_of_record_cannot_be_emptied_on_postgresql_either(url: str) -> None:
    if url.startswith("sqlite"):
        pytest.skip("SQLite has no TRUNCATE")
    database.migrate(url)
    engine = database.connect(url)
    for table in tables.APPEND_ONLY:
        for statement in (f"TRUNCATE {table} CASCADE", f"DELETE FROM {table}", f"UPDATE {table} SET id = 7"):
            with pytest.raises(sa.exc.IntegrityError, match="append-only"), engine.begin() as connection:
                connection.exec_driver_sql(statement)
    engine.dispose()


# -- connections --------------------------------------------------------------------------------------------------


def test_threads_that_read_then_write_lose_no_update_and_meet_no_lock(place: Path) -> None:
    engine = database.connect(f"sqlite:///{place}")
    withdraw(engine, "counter")
    t = tables.withdrawals

    def count() -> None:
        for _ in range(10):
            with database.writing(engine, durable=False) as connection:
                seen = connection.scalar(sa.select(t.c.reason))
                connection.execute(t.update().values(reason=str(int(seen or 0) + 1)))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading(engine) as connection:
        assert connection.scalar(sa.select(t.c.reason)) == "80"


def test_readers_see_one_moment_and_wait_for_no_writer(place: Path) -> None:
    engine = database.connect(f"sqlite:///{place}")
    rows = sa.select(sa.func.count()).select_from(tables.withdrawals)
    with database.reading(engine) as reader:
        assert reader.scalar(rows) == 0
        with database.writing(engine) as writer:
            writer.execute(tables.withdrawals.insert().values(record="a", reason="", created=""))
            with database.reading(engine) as other:
                assert other.scalar(rows) == 0
        assert reader.scalar(rows) == 0
    with database.reading(engine) as reader:
        assert reader.scalar(rows) == 1


def test_a_reader_sees_one_moment_whatever_others_commit_meanwhile_and_the_next_one_sees_it(url: str) -> None:
    database.migrate(url)
    engine = database.connect(url)
    rows = sa.select(sa.func.count()).select_from(tables.withdrawals)
    with database.reading(engine) as reader:
        assert reader.scalar(rows) == 0
        withdraw(engine, "a")
        assert reader.scalar(rows) == 0
        with database.writing(engine) as writer:
            assert writer.scalar(rows) == 1
            withdraw(engine if writer.dialect.name == "postgresql" else writer, "b")
            assert writer.scalar(rows) == 2, "who writes sees what was committed before each statement"
    for _ in range(2):
        with database.reading(engine) as reader:
            assert reader.scalar(rows) == 2
    engine.dispose()


def test_every_connection_keeps_a_log_checks_references_and_flushes_what_must_last(place: Path) -> None:
    engine = database.connect(f"sqlite:///{place}")
    names = ("journal_mode", "foreign_keys", "busy_timeout", "synchronous", "recursive_triggers")

    def settings(connection: sa.Connection) -> list[object]:
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    with database.writing(engine, durable=False) as connection:
        assert settings(connection) == ["wal", 1, 10_000, 1, 1]  # 1: NORMAL
    with database.writing(engine) as connection:
        assert settings(connection) == ["wal", 1, 10_000, 2, 1]  # 2: FULL
    with engine.begin() as connection:
        assert settings(connection)[3] == 2
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(
            tables.keys.insert().values(id="k", account="ghost", name="", prefix="", hash="", scopes="[]", created="")
        )


def test_what_lies_in_the_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "spearhead.db"
    engine = database.connect(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
        assert {part.stat().st_mode & 0o777 for part in path.parent.iterdir()} == {0o600}


def test_a_database_that_stays_locked_is_unavailable_not_an_error_of_the_caller(place: Path) -> None:
    engine = database.connect(f"sqlite:///{place}")
    sa.event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout=50").close())
    with closing(sqlite3.connect(place, isolation_level=None)) as hog:
        hog.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            withdraw(engine, "a")
        with database.reading(engine) as connection:  # readers go on
            assert connection.scalar(sa.select(sa.func.count()).select_from(tables.withdrawals)) == 0
    withdraw(engine, "a")


def test_a_file_that_is_no_database_and_one_without_tables_are_unavailable(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("hello " * 1000)
    with pytest.raises(StoreUnavailable, match="not a database"):
        withdraw(database.connect(f"sqlite:///{tmp_path / 'text.db'}"), "a")
    with pytest.raises(StoreUnavailable, match="migrate it first"):
        withdraw(database.connect(f"sqlite:///{tmp_path / 'empty.db'}"), "a")


def test_a_place_where_no_file_can_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        database.connect(f"sqlite:///{tmp_path / 'file' / 'spearhead.db'}")
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        database.connect(f"sqlite:///{tmp_path}")


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    pytest.importorskip("psycopg")
    engine = database.connect("postgresql://nobody:hunter2@127.0.0.1:9/none")
    with pytest.raises(StoreUnavailable) as caught:
        withdraw(engine, "a")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "spearhead.db", "mysql://u:hunter2@h/d", "sqlite://", "sqlite:///:memory:"])
def test_other_urls_are_refused_in_words_and_without_their_password(url: str) -> None:
    with pytest.raises(InputError, match=r"sqlite:///PATH") as caught:
        database.connect(url)
    assert "hunter2" not in str(caught.value)


# -- backup and restore -------------------------------------------------------------------------------------------


def test_a_backup_taken_while_others_write_is_one_moment_of_the_database(place: Path, tmp_path: Path) -> None:
    engine = database.connect(f"sqlite:///{place}")
    stop = threading.Event()

    def write() -> None:
        for number in range(100_000):
            if stop.is_set():
                return
            withdraw(engine, f"{number:05d} a", f"{number:05d} b")

    writer = threading.Thread(target=write)
    writer.start()
    copies = [tmp_path / f"copy {number}" for number in range(3)]
    while not withdrawn(place):
        time.sleep(0.01)
    for copy in copies:
        time.sleep(0.1)
        database.backup(f"sqlite:///{place}", copy)
    stop.set()
    writer.join()
    lengths = [len(withdrawn(copy)) for copy in copies]
    assert lengths == sorted(lengths) and lengths[0] > 0
    assert all(length % 2 == 0 for length in lengths), "half a transaction was copied"
    assert {path.name for path in tmp_path.iterdir()} >= {"copy 0", "copy 1", "copy 2"}
    assert not [
        path for path in tmp_path.iterdir() if path.name.startswith("copy") and path.name[-4:] in ("-wal", "-shm")
    ]


def test_restoring_gives_the_rows_of_the_backup_to_a_running_server_and_keeps_what_was_there(
    place: Path, tmp_path: Path
) -> None:
    url, copy = f"sqlite:///{place}", tmp_path / "copy.db"
    engine = database.connect(url)
    withdraw(engine, "before")
    database.backup(url, copy)
    withdraw(engine, "after")
    kept = database.restore(copy, url, clock=lambda: NOON)
    assert kept == tmp_path / "spearhead.db.before-restore-20261122T120000"
    assert withdrawn(kept) == ["after", "before"]
    with database.reading(engine) as connection:
        assert connection.scalars(sa.select(tables.withdrawals.c.record)).all() == ["before"]
    withdraw(engine, "later")
    assert withdrawn(place) == ["before", "later"]
    again = database.restore(copy, url, clock=lambda: NOON)
    assert again and again.name.endswith("T120000-2") and withdrawn(again) == ["before", "later"]


def test_restoring_where_there_was_nothing_makes_a_database(place: Path, tmp_path: Path) -> None:
    database.backup(f"sqlite:///{place}", tmp_path / "copy.db")
    url = f"sqlite:///{tmp_path / 'elsewhere' / 'new.db'}"
    assert database.restore(tmp_path / "copy.db", url) is None
    database.migrate(url)
    withdraw(database.connect(url), "a")


def test_a_damaged_database_is_set_aside_as_it_was_found_and_replaced(place: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    database.backup(f"sqlite:///{place}", copy)
    place.write_bytes(b"ruined" * 1000)
    kept = database.restore(copy, f"sqlite:///{place}")
    assert kept and kept.read_bytes() == b"ruined" * 1000
    withdraw(database.connect(f"sqlite:///{place}"), "a")
    assert withdrawn(place) == ["a"]


def flipped(copy: Path) -> None:
    data = bytearray(copy.read_bytes())
    data[4096:8192] = os.urandom(4096)
    copy.write_bytes(data)


def cut(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])


def other(copy: Path) -> None:
    copy.unlink()
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("CREATE TABLE theirs (x)")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda copy: copy.write_text("a text\n" * 100), "is not a SQLite database"),
        (lambda copy: copy.write_bytes(b""), "is not a SQLite database"),
        (flipped, "is damaged"),
        (cut, "is damaged"),
        (other, "not one of spearhead"),
        (lambda copy: copy.unlink(), "no backup"),
    ],
)
def test_what_is_no_sound_backup_is_refused_and_nothing_changes(
    place: Path, tmp_path: Path, damage: object, words: str
) -> None:
    copy = tmp_path / "copy.db"
    withdraw(database.connect(f"sqlite:///{place}"), "mine")
    database.backup(f"sqlite:///{place}", copy)
    assert callable(damage)
    damage(copy)
    with pytest.raises(InputError, match=words):
        database.restore(copy, f"sqlite:///{place}")
    assert withdrawn(place) == ["mine"]
    assert not list(tmp_path.glob("*before-restore*"))


def test_a_backup_that_does_not_fit_leaves_the_old_one_whole(place: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backups" / "copy.db"
    database.backup(f"sqlite:///{place}", copy)
    before = copy.read_bytes()
    code = (
        "import resource, signal; from pathlib import Path; from spearhead.store import database\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
        f"try: database.backup('sqlite:///{place}', Path({str(copy)!r}))\n"
        "except database.StoreUnavailable as error: print(error)\n"
    )
    words = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "could not be copied" in words or "could not be written" in words
    assert copy.read_bytes() == before and list(copy.parent.iterdir()) == [copy]


def test_a_database_is_not_backed_up_onto_itself_nor_restored_from_itself_nor_from_nothing(place: Path) -> None:
    url = f"sqlite:///{place}"
    with pytest.raises(InputError, match="is the database itself"):
        database.backup(url, place)
    with pytest.raises(InputError, match="is the database itself"):
        database.restore(place, url)
    with pytest.raises(InputError, match="no database at"):
        database.backup(f"sqlite:///{place}.not", place)
    with pytest.raises(InputError, match="use pg_dump"):
        database.backup("postgresql://h/d", place)


def test_a_second_engine_of_a_process_does_not_cut_it_off_from_other_processes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'one.db'}"
    database.migrate(url)
    first = database.connect(url)
    with database.writing(first) as connection:
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
    second = database.connect(url)  # as `spearhead serve` does when it looks for new releases
    script = (
        "import sys; from spearhead.store import database\n"
        "store = database.connect(sys.argv[1])\n"
        "with database.writing(store) as connection:\n"
        "    connection.exec_driver_sql('INSERT INTO t VALUES (1)')\n"
        "store.dispose()"
    )
    subprocess.run([sys.executable, "-c", script, url], check=True)
    with database.writing(first) as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (2)")
    subprocess.run([sys.executable, "-c", script, url], check=True)
    for store in (first, second):
        with database.reading(store) as connection:
            assert [row[0] for row in connection.exec_driver_sql("SELECT x FROM t ORDER BY rowid")] == [1, 2, 1]
        store.dispose()


def test_writes_go_through_one_connection_that_ends_with_its_engine(place: Path) -> None:
    engine = database.connect(f"sqlite:///{place}")

    def held() -> int:
        return sum(Path(file.path) == place for file in psutil.Process().open_files())

    def number(connection: sa.Connection) -> int:
        return id(connection.connection.dbapi_connection)

    with database.writing(engine, durable=False) as connection:
        first = number(connection)
    with pytest.raises(ZeroDivisionError), database.writing(engine) as connection:
        connection.execute(tables.withdrawals.insert().values(record="a", reason="r", created="c"))
        _ = 1 / 0
    with database.writing(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.withdrawals)) == 0
        assert number(connection) == first and held() == 1
    engine.dispose()
    assert held() == 0
    with database.writing(engine) as connection:
        connection.execute(tables.withdrawals.insert().values(record="a", reason="r", created="c"))
