"""The exchange's records in SQLite or PostgreSQL: the port `Database`.

Writers wait in a line of their own process first, and then, by the engine's own lock, for those of other processes.
Those who wait in the same line share a database transaction, see `databund.storage.batches`. Driver errors surface as
errors of `databund.errors` at the statement that met them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError

from databund.errors import ConfigInvalid, StoreUnavailable
from databund.ports import Sealer
from databund.storage import revisions
from databund.storage.anchors import SqlAnchors
from databund.storage.attachments import SqlAttachments
from databund.storage.batches import Batch, Block, Snapshot
from databund.storage.catalog import SqlCatalog
from databund.storage.cosigned import SqlCosignedCheckpoints
from databund.storage.cursor import SqlCursor
from databund.storage.database_file import DatabaseFile
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
_LONGEST_COMMIT_S = 4 * PATIENCE_S


class SqlTables:
    """One database transaction: the port `Tables`. Each part is made when it is first asked for."""

    def __init__(self, holder: Block | Snapshot) -> None:
        self._holder = holder

    @cached_property
    def catalog(self) -> SqlCatalog:
        """Dataset versions."""
        return SqlCatalog(self._holder.connection)

    @cached_property
    def listings(self) -> SqlListings:
        """Signed offers."""
        return SqlListings(self._holder.connection)

    @cached_property
    def orders(self) -> SqlOrders:
        """Purchases."""
        return SqlOrders(self._holder.connection)

    @cached_property
    def outbox(self) -> SqlOutbox:
        """Chain transactions on their way."""
        return SqlOutbox(self._holder.connection)

    @cached_property
    def deliveries(self) -> SqlDeliveries:
        """Releases of content keys."""
        return SqlDeliveries(self._holder.connection)

    @cached_property
    def log(self) -> SqlLog:
        """The audit log."""
        return SqlLog(self._holder)

    @cached_property
    def cosigned(self) -> SqlCosignedCheckpoints:
        """Checkpoints that witnesses cosigned."""
        return SqlCosignedCheckpoints(self._holder.connection)

    @cached_property
    def anchors(self) -> SqlAnchors:
        """Tree heads that were sent to the chain."""
        return SqlAnchors(self._holder.connection)

    @cached_property
    def attachments(self) -> SqlAttachments:
        """What is kept beside the log."""
        return SqlAttachments(self._holder.connection)

    @cached_property
    def cursor(self) -> SqlCursor:
        """Up to which block the chain was read."""
        return SqlCursor(self._holder.connection)

    @cached_property
    def sign_ins(self) -> SqlSignIns:
        """Challenges and tokens."""
        return SqlSignIns(self._holder.connection)

    @cached_property
    def idempotency(self) -> SqlIdempotency:
        """Answers already given."""
        return SqlIdempotency(self._holder.connection)


class SqlDatabase:
    """The port `Database` over SQLAlchemy Core."""

    def __init__(self, engine: DatabaseEngine, sealer: Sealer | None, *, file: DatabaseFile | None = None) -> None:
        self._engine = engine
        self._file = file
        self._sealer = sealer
        self._turns = Turns()
        self._batch: Batch | None = None

    @classmethod
    def open(cls, url: str, *, create: bool, sealer: Sealer | None = None) -> SqlDatabase:
        """Open ``sqlite:///path`` or ``postgresql://…`` and bring its tables to the newest form.

        An absent or empty database is filled only with ``create``, else `NotFound` is raised. Without a ``sealer`` no
        log entry can be written. Raises also `ConfigInvalid`, `DependencyMissing`, `HomeTooNew`, `StoreCorrupt`,
        `StoreUnavailable`, `StoreFull`.
        """
        engine = _connect(url, create=create)
        database = cls(engine, sealer, file=_file(url))
        try:
            with database._reading() as connection:
                current = revisions.is_current(connection)
            if not current:
                with database._upgrading() as connection:
                    revisions.upgrade(connection, create=create)
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def write(self) -> Iterator[SqlTables]:
        """Open a database transaction that may write; a block must not open another inside."""
        self._turns.take(timeout_s=PATIENCE_S, given_up=self._leave)
        block: Block | None = None
        try:
            batch = self._joined()
            block = Block(batch)
            yield SqlTables(block)
            block.keep()
        except BaseException as error:
            try:
                if block is not None:
                    block.undo(error)
            finally:
                self._leave()
            raise
        self._leave()
        batch.wait(timeout_s=_LONGEST_COMMIT_S)

    @contextmanager
    def read(self) -> Iterator[SqlTables]:
        """Open a database transaction that only reads. Its snapshot is taken by its first read."""
        with self._reading() as connection:
            yield SqlTables(Snapshot(connection))

    def close(self) -> None:
        """Release every connection."""
        self._engine.reader.dispose()
        self._engine.writer.dispose()

    def _joined(self) -> Batch:
        """The open batch, or a new one."""
        if self._batch is None:
            self._check_file()
            connection = self._engine.writer.connect()
            try:
                for statement in self._engine.begin_write:
                    connection.exec_driver_sql(statement)
            except BaseException:
                connection.close()
                raise
            self._batch = Batch(connection)
        return self._batch

    def _leave(self) -> None:
        """Give the turn on: within the batch while others wait for it, else after the batch has ended."""
        batch = self._batch
        if batch is None:
            self._turns.end()
            return
        if batch.takes_more and self._turns.hand_over():
            return
        try:
            self._batch = None
            try:
                checkpoint = batch.close(self._seal)
            finally:
                self._turns.end()
            if checkpoint is not None and self._sealer is not None:
                self._sealer.publish(checkpoint, self._log)
        except BaseException as error:  # every block of the batch raises it, or one of its own
            batch.fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            batch.end()

    def _seal(self, batch: Batch) -> bytes | None:
        if not batch.staged:
            return None
        if self._sealer is None:
            raise StoreUnavailable("This database was opened without the log's key.", fix="Write through a node.")
        log = SqlLog(batch)
        checkpoint = self._sealer.seal(log, [entry for entry, _ in batch.staged])
        log.note_orders(batch.sealed, [order_id for _, order_id in batch.staged])
        return checkpoint

    @contextmanager
    def _log(self) -> Iterator[SqlLog]:
        with self.read() as tables:
            yield tables.log

    def _check_file(self) -> None:
        if self._file is not None:
            self._file.check()

    @contextmanager
    def _upgrading(self) -> Iterator[Connection]:
        with _begun(self._engine.writer, self._engine.begin_write) as connection:
            yield connection
            connection.commit()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._check_file()
        with _begun(self._engine.reader, self._engine.begin_read) as connection:
            yield connection


@contextmanager
def _begun(engine: Engine, statements: tuple[str, ...]) -> Iterator[Connection]:
    """A connection in a database transaction, which is rolled back unless the block commits it."""
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        yield connection


def _file(url: str) -> DatabaseFile | None:
    return DatabaseFile(Path(url.removeprefix(_SQLITE))) if url.startswith(_SQLITE) else None


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
