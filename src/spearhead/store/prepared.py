"""Statements that every request runs: built once, compiled once for a dialect, run on the driver's own cursor.

SQLAlchemy writes them and keeps the transaction; what it does anew around each execution took ten times as long as
SQLite takes for the statement itself. Errors are the same as when it executes. Knows nothing of what the tables mean.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, methodcaller
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.store.database import trouble

Values = Mapping[str, Any]
_ALL, _FIRST, _CHANGED = methodcaller("fetchall"), methodcaller("fetchone"), attrgetter("rowcount")


@dataclass(frozen=True, slots=True)
class _Text:
    """A statement in the words of one dialect."""

    sql: str
    names: tuple[str, ...] | None
    """Of its parameters in order, where they have no names in the text."""
    constants: dict[str, Any]
    """Values that stand in the statement itself."""
    row: Callable[[Any], Any]


class Prepared:
    """One statement with named parameters, for columns of plain texts and whole numbers.

    Rows are named tuples. Nothing is converted on the way in or out. Raises what SQLAlchemy would: StoreUnavailable
    for trouble with the database, sqlalchemy.exc.IntegrityError for a broken promise of the schema.
    """

    def __init__(self, clause: sa.Executable) -> None:
        self._clause = clause
        self._texts: dict[str, _Text] = {}

    def all(self, connection: Connection, values: Values) -> list[Any]:
        """Every row."""
        rows, text = self._run(connection, (values,), _ALL)
        return [text.row(row) for row in rows]

    def first(self, connection: Connection, values: Values) -> Any:
        """The first row, or None."""
        row, text = self._run(connection, (values,), _FIRST)
        return None if row is None else text.row(row)

    def scalar(self, connection: Connection, values: Values) -> Any:
        """The first value of the first row, or None."""
        row, _ = self._run(connection, (values,), _FIRST)
        return None if row is None else row[0]

    def run(self, connection: Connection, values: Values) -> int:
        """Execute; the number of rows that were changed."""
        return int(self._run(connection, (values,), _CHANGED)[0])

    def each(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Execute once for every one of `rows`."""
        self._run(connection, rows, None)

    def _run(
        self, connection: Connection, rows: Sequence[Values], take: Callable[[Any], Any] | None
    ) -> tuple[Any, _Text]:
        """What `take` takes of the one row's result; without it, all rows are only executed."""
        dialect = connection.dialect
        if (text := self._texts.get(dialect.name)) is None:
            text = self._texts[dialect.name] = _written(self._clause, connection)
        names, constants = text.names, text.constants
        if constants:
            rows = [{**constants, **row} for row in rows]
        given: Any = rows if names is None else [[row[name] for name in names] for row in rows]
        if not connection.in_transaction():
            connection.begin()  # as SQLAlchemy does by itself before it executes
        driver: Any = connection.connection.dbapi_connection
        try:
            if take is None:
                return driver.cursor().executemany(text.sql, given), text
            return take(driver.execute(text.sql, given[0])), text
        except dialect.loaded_dbapi.Error as error:
            if dialect.is_disconnect(error, driver, None):
                connection.invalidate(error)
            if (away := trouble(error, dialect.name)) is not None:
                raise away from error
            given = given if take is None else given[0]
            raise sa.exc.DBAPIError.instance(
                text.sql, given, error, dialect.loaded_dbapi.Error, dialect=dialect
            ) from error


def insertion(table: sa.Table) -> sa.Insert:
    """An insert of every column of `table` but the one that counts up by itself."""
    columns = [column.name for column in table.columns if column.autoincrement is not True]
    return table.insert().inline().values({name: sa.bindparam(name) for name in columns})


def _written(clause: sa.Executable, connection: Connection) -> _Text:
    compiled: Any = clause.compile(dialect=connection.dialect)  # type: ignore[attr-defined]
    keys = [column.key for column in getattr(clause, "exported_columns", ())]
    constants = {name: value.value for name, value in compiled.binds.items() if not value.required}
    positions = tuple(compiled.positiontup) if compiled.positional else None
    row = cast(Any, namedtuple("Row", keys, rename=True))
    return _Text(str(compiled), positions, constants, row._make)
