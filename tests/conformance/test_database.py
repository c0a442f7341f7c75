"""SQLite and PostgreSQL as the port `Database`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from databund.storage.database import SqlDatabase
from databund.storage.tables import metadata
from databund.testing.database_suite import DatabaseSuite
from databund.testing.plain_sealer import PlainSealer
from tests import servers


class TestSqlite(DatabaseSuite):
    """SQLite, in a file."""

    @pytest.fixture
    def database(self, tmp_path: Path, sealer: PlainSealer) -> Iterator[SqlDatabase]:
        """A new file."""
        database = SqlDatabase.open(f"sqlite:///{tmp_path}/test.db", create=True, sealer=sealer)
        yield database
        database.close()


class TestPostgres(DatabaseSuite):
    """PostgreSQL, over a Unix socket."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, postgres_server: str) -> Iterator[str]:
        """One database for all tests of the class."""
        with servers.postgres_database(postgres_server, "conformance") as url:
            yield url

    @pytest.fixture
    def database(self, url: str, sealer: PlainSealer) -> Iterator[SqlDatabase]:
        """The database, emptied afterwards."""
        database = SqlDatabase.open(url, create=True, sealer=sealer)
        yield database
        database.close()
        names = ", ".join(f'"{name}"' for name in metadata.tables)
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute(f"TRUNCATE {names}")
