"""A migrated database for each test: SQLite always, PostgreSQL too when SPEARHEAD_TEST_POSTGRES names a server.

And tests that talk to this machine alone: a connection or a look-up of a name elsewhere is an error where it is made.
Each process of theirs has one thread: models this small lose time on a second, and two processes share the machine.
"""

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from sqlalchemy import Connection, Engine

from spearhead.store import database

if TYPE_CHECKING:
    from spearhead.models.pretrained.batch import Example

# However busy the machine is; each run looks for new examples.
settings.register_profile("home", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if "SPEARHEAD_CI" in os.environ else "home")  # "ci" takes the same ones each time
os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch are imported, which look once

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
    keeper = _keeper(parsed.render_as_string(hide_password=False))
    with keeper.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        # no test here cuts the server's power
        connection.execute(sa.text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    try:
        yield parsed.set(database=name)
    finally:
        with keeper.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@cache
def _keeper(server: str) -> Engine:
    """Who makes databases on a server and takes them away: one connection for all tests of a process."""
    return sa.create_engine(server, isolation_level="AUTOCOMMIT")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The name of a migrated database to copy."""
    with own_postgres() as fresh:
        database.migrate(fresh.render_as_string(hide_password=False))
        yield str(fresh.database)


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


@pytest.fixture
def steps(migrated: Path, tmp_path: Path) -> Iterator[tuple[Engine, Callable[[Callable[[Connection], object]], int]]]:
    """An engine on SQLite, and how far it looks for what a piece of work reads: hundreds of its machine's steps."""
    shutil.copy(migrated, tmp_path / "steps.db")
    made = database.connect(f"sqlite:///{tmp_path / 'steps.db'}")

    def count(work: Callable[[Connection], object]) -> int:
        taken: list[int] = []
        with made.connect() as connection:
            driver: Any = connection.connection.dbapi_connection
            driver.set_progress_handler(lambda: taken.append(1), 100)
            try:
                work(connection)
            finally:
                driver.set_progress_handler(None, 0)
        return len(taken)

    yield made, count
    made.dispose()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny llama."""
    from spearhead.models.pretrained import tiny

    return tiny.write(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture(scope="session")
def examples() -> "list[Example]":
    """Forty random sequences of 6 to 30 tokens, three of them given."""
    import numpy as np

    from spearhead.models.pretrained.batch import Example

    rng = np.random.default_rng(0)
    return [Example(tuple(int(i) for i in rng.integers(3, 259, rng.integers(6, 31))), 3) for _ in range(40)]
