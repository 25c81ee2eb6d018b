"""A migrated database for each test: SQLite always, PostgreSQL too when SPEARHEAD_TEST_POSTGRES names a server.

And tests that talk to this machine alone: a connection or a look-up of a name elsewhere is an error where it is made.
"""

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from spearhead.store import database

HOW = "set SPEARHEAD_TEST_POSTGRES=postgresql://USER@HOST:PORT/DATABASE (a role that may create databases) to run it"


HERE = (None, "", "0.0.0.0", "127.0.0.1", "::", "::1", "localhost", socket.gethostname())


def _stay(event: str, details: tuple[Any, ...]) -> None:
    """An audit hook (PEP 578). Processes that tests start have hooks of their own, or speak to registries, as pip."""
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        place = details[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if not isinstance(details[1], tuple):
            return  # a socket of this machine alone
        place = details[1][0]
    else:
        return
    if (place.decode() if isinstance(place, bytes) else place) not in HERE:
        raise PermissionError(f"a test talks to nobody: {place}")


if not hasattr(sys, "_spearhead_stays"):  # tests of both folders import this file, and a hook cannot be taken out
    sys._spearhead_stays = True  # type: ignore[attr-defined]
    sys.addaudithook(_stay)


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
