"""Promises of prepared statements: they say what SQLAlchemy says, and fail as it fails."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from spearhead.store import database
from spearhead.store.database import StoreUnavailable, reading, writing
from spearhead.store.prepared import Prepared, insertion
from spearhead.store.tables import journal_groups, withdrawals

_put = Prepared(insertion(withdrawals))
_named = Prepared(
    sa.select(withdrawals)
    .where(withdrawals.c.record >= sa.bindparam("least"), withdrawals.c.reason == "r")
    .order_by(withdrawals.c.record)
    .limit(2)
)
_count = Prepared(sa.select(sa.func.count()).select_from(withdrawals))
_rename = Prepared(withdrawals.update().where(withdrawals.c.record == sa.bindparam("of")).values(reason="s"))
ROWS = [{"record": name, "reason": "r", "created": "c"} for name in "abc"]


@pytest.fixture
def store(tmp_path: Path) -> Engine:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database.migrate(url)
    return database.connect(url)


def test_rows_are_those_that_sqlalchemy_reads(store: Engine) -> None:
    with writing(store) as connection:
        _put.each(connection, ROWS)
    with reading(store) as connection:
        plain = connection.execute(sa.select(withdrawals).order_by(withdrawals.c.record)).all()
        found = _named.all(connection, {"least": "b"})
        assert found == [tuple(row) for row in plain[1:]] and found[0].record == "b" and found[0].created == "c"
        assert _named.first(connection, {"least": "d"}) is None and _named.scalar(connection, {"least": "d"}) is None
        assert _count.scalar(connection, {}) == 3
    with writing(store) as connection:
        assert (_rename.run(connection, {"of": "a"}), _rename.run(connection, {"of": "d"})) == (1, 0)


def test_an_insertion_leaves_the_number_to_the_database_and_gives_it(store: Engine) -> None:
    put = Prepared(insertion(journal_groups).returning(journal_groups.c.id))
    values = {"kind": "credit", "reverses": None, "payload": "p", "booked": "b", "created": "c"}
    with writing(store) as connection:
        assert [put.scalar(connection, {**values, "key": key}) for key in "xy"] == [1, 2]


def test_what_is_written_belongs_to_the_transaction_of_its_connection(store: Engine) -> None:
    with store.connect() as connection:
        _put.run(connection, ROWS[0])  # begins one, as SQLAlchemy does
        assert connection.in_transaction()
    with store.connect() as connection:
        assert _count.scalar(connection, {}) == 0
        _put.run(connection, ROWS[0])
        connection.commit()
    with reading(store) as connection:
        assert _count.scalar(connection, {}) == 1


def test_a_broken_promise_of_the_schema_and_trouble_with_the_database_stay_apart(store: Engine) -> None:
    with writing(store) as connection:
        _put.run(connection, ROWS[0])
    with pytest.raises(sa.exc.IntegrityError, match="UNIQUE"), writing(store) as connection:
        _put.run(connection, ROWS[0])
    with writing(store) as connection:
        connection.exec_driver_sql("ALTER TABLE withdrawals RENAME TO away")
    with pytest.raises(StoreUnavailable, match="migrate it first"), reading(store) as connection:
        _count.scalar(connection, {})
