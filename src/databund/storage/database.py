"""The exchange's records in SQLite or PostgreSQL: the port `Database`.

Every statement of a block runs in one database transaction on one connection. Writers wait in a line of their own
process first, and then, by the engine's own lock, for those of other processes. Driver errors surface as errors of
`databund.errors` at the statement that met them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError

from databund.errors import ConfigInvalid
from databund.storage import revisions
from databund.storage.catalog import SqlCatalog
from databund.storage.deliveries import SqlDeliveries
from databund.storage.engine import PATIENCE_S, DatabaseEngine
from databund.storage.idempotency import SqlIdempotency
from databund.storage.listings import SqlListings
from databund.storage.log import SqlLog
from databund.storage.orders import SqlOrders
from databund.storage.outbox import SqlOutbox
from databund.storage.sign_ins import SqlSignIns
from databund.storage.turns import Turns

__all__ = ["SqlDatabase", "SqlTables"]

_SQLITE = "sqlite:///"


class SqlTables:
    """One database transaction: the port `Tables`."""

    def __init__(self, connection: Connection) -> None:
        self.catalog = SqlCatalog(connection)
        self.listings = SqlListings(connection)
        self.orders = SqlOrders(connection)
        self.outbox = SqlOutbox(connection)
        self.deliveries = SqlDeliveries(connection)
        self.log = SqlLog(connection)
        self.sign_ins = SqlSignIns(connection)
        self.idempotency = SqlIdempotency(connection)


class SqlDatabase:
    """The port `Database` over SQLAlchemy Core."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine
        self._turns = Turns()

    @classmethod
    def open(cls, url: str, *, create: bool) -> SqlDatabase:
        """Open ``sqlite:///path`` or ``postgresql://…`` and bring its tables to the newest form.

        An absent or empty database is filled only with ``create``, else `NotFound` is raised. Raises also
        `ConfigInvalid`, `DependencyMissing`, `HomeTooNew`, `StoreCorrupt`, `StoreUnavailable`, `StoreFull`.
        """
        database = cls(_connect(url, create=create))
        try:
            with database._reading() as connection:
                current = revisions.is_current(connection)
            if not current:
                with database._writing() as connection:
                    revisions.upgrade(connection, create=create)
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def write(self) -> Iterator[SqlTables]:
        """Open a database transaction that may write; a block must not open another inside."""
        with self._writing() as connection:
            yield SqlTables(connection)

    @contextmanager
    def read(self) -> Iterator[SqlTables]:
        """Open a database transaction that only reads. Its snapshot is taken by its first read."""
        with self._reading() as connection:
            yield SqlTables(connection)

    def close(self) -> None:
        """Release every connection."""
        self._engine.reader.dispose()
        self._engine.writer.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with (
            self._turns.turn(timeout_s=PATIENCE_S),
            _begun(self._engine.writer, self._engine.begin_write) as connection,
        ):
            yield connection
            connection.commit()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _begun(self._engine.reader, self._engine.begin_read) as connection:
            yield connection


@contextmanager
def _begun(engine: Engine, statements: tuple[str, ...]) -> Iterator[Connection]:
    """A connection in a database transaction, which is rolled back unless the block commits it."""
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        yield connection


def _connect(url: str, *, create: bool) -> DatabaseEngine:
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        from databund.storage.sqlite import open_sqlite

        return open_sqlite(Path(url.removeprefix(_SQLITE)), create=create)
    if url.startswith(("postgresql://", "postgresql+psycopg://")):
        from databund.storage.postgres import open_postgres

        try:
            return open_postgres(make_url(url))
        except (ArgumentError, ValueError):  # Their texts, and their causes, may show the password.
            pass
    raise ConfigInvalid(
        "The address of the database cannot be used.",
        fix="Write sqlite:///path/to/file or postgresql://user@host/database.",
    )
