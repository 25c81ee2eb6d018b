"""A migrated database for each test: SQLite always, PostgreSQL too when SPEARHEAD_TEST_POSTGRES names a server."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from spearhead.store import database

HOW = "set SPEARHEAD_TEST_POSTGRES=postgresql://USER@HOST:PORT/DATABASE (a role that may create databases) to run it"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("migrated") / "spearhead.db"
    database.migrate(f"sqlite:///{path}")
    return path


@contextmanager
def own_postgres(*, template: str = "template1") -> Iterator[sa.URL]:
    """A new database on the server for tests, gone afterwards; without a server the test is skipped, in CI it fails."""
    if not (server := os.environ.get("SPEARHEAD_TEST_POSTGRES")):
        if "SPEARHEAD_CI" in os.environ:  # there it is started by `.ci/run`: a skip would hide that it was not
            pytest.fail(HOW)
        pytest.skip(HOW)
    parsed, name = sa.make_url(server).set(drivername="postgresql+psycopg"), f"spearhead_test_{secrets.token_hex(6)}"
    _order(parsed, f"CREATE DATABASE {name} TEMPLATE {template}")
    _order(parsed, f"ALTER DATABASE {name} SET synchronous_commit = off")  # no test here cuts the server's power
    try:
        yield parsed.set(database=name)
    finally:
        _order(parsed, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The name of a migrated database to copy."""
    with own_postgres() as fresh:
        database.migrate(fresh.render_as_string(hide_password=False))
        yield str(fresh.database)


def _order(server: sa.URL, words: str) -> None:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(words))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty, migrated database."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated"), tmp_path / "spearhead.db")
        yield f"sqlite:///{tmp_path / 'spearhead.db'}"
        return
    with own_postgres(template=request.getfixturevalue("postgres")) as fresh:
        yield fresh.render_as_string(hide_password=False)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """An engine on it."""
    made = database.connect(url)
    yield made
    made.dispose()
