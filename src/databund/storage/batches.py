"""Batches: blocks of writers that wait for each other share one database transaction (group commit).

Each block is undone alone when it raises (a savepoint, opened by its first statement). Log entries are staged in memory
and sealed once, as the transaction's last act. A batch ends well or badly for all of its blocks, and none of them is
told before it has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from databund.core.ids import OrderId
from databund.errors import DatabundError, StoreUnavailable
from databund.storage.tables import log_head

__all__ = ["Batch", "Block", "Snapshot", "Staged"]

_MOST_BLOCKS = 1024
_LONGEST_S = 0.05

Staged = tuple[bytes, OrderId | None]
"""An entry on its way into the log, and the order it is about."""


class Batch:
    """One shared database transaction on ``connection``, which ``end`` closes."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.staged: list[Staged] = []
        self._blocks = 0
        self._until = time.monotonic() + _LONGEST_S
        self._failure: BaseException | None = None
        self._ended = False
        self._waiting: list[threading.Lock] = []

    @cached_property
    def sealed(self) -> int:
        """How many entries the log has without those of this batch."""
        try:
            return self.connection.scalar(select(log_head.c.size)) or 0
        except BaseException as error:
            self.fail(error)  # no savepoint tells whether the database transaction is still there
            raise

    @property
    def takes_more(self) -> bool:
        """Whether another block may join."""
        return self._failure is None and self._blocks < _MOST_BLOCKS and time.monotonic() < self._until

    def joined(self) -> None:
        """Count a block that ended well."""
        self._blocks += 1

    def fail(self, error: BaseException) -> None:
        """Nothing of the batch will remain; the first reason counts."""
        self._failure = self._failure or error

    def close(self, seal: Callable[[Batch], bytes | None]) -> bytes | None:
        """Seal and commit, or roll back; what ``seal`` returned when it is committed. Raises what it met."""
        try:
            if not self._blocks or self._failure is not None:
                return None
            sealed = seal(self)
            self.connection.commit()
            return sealed
        except BaseException:
            # SQLAlchemy takes a database transaction whose commit failed for one that has ended, and would lend it on.
            self.connection.invalidate()
            raise
        finally:
            self.connection.close()

    def end(self) -> None:
        """Let everybody know. A lock for each wakes them faster than one event, whose lock they would all want."""
        self._ended = True
        for waiting in self._waiting:  # whoever is added later sees that it has ended
            waiting.release()

    def wait(self, *, timeout_s: float) -> None:
        """Return when the batch is durable. Raises what it failed with; after ``timeout_s`` `StoreUnavailable`."""
        mine = threading.Lock()
        mine.acquire()
        self._waiting.append(mine)
        if not self._ended and not mine.acquire(timeout=timeout_s):
            raise StoreUnavailable(
                f"Whether the database took the act is not known after {timeout_s:g} s.",
                fix="Look whether it is there before you do it again.",
            )
        failure = self._failure
        if failure is None:
            return
        if isinstance(failure, DatabundError):  # each thread raises one of its own
            raise type(failure)(failure.what, fix=failure.fix) from failure
        raise StoreUnavailable(
            f"The database transaction was broken off ({type(failure).__name__}).", fix="Try again."
        ) from failure


@dataclass(frozen=True)
class Snapshot:
    """A reader's view, in which nothing can be staged."""

    connection: Connection

    @property
    def sealed(self) -> int:
        """How many entries the log has."""
        return self.connection.scalar(select(log_head.c.size)) or 0


class Block:
    """One writer's part of a batch."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._first = len(batch.staged)

    @cached_property
    def connection(self) -> Connection:
        """The batch's connection, with a savepoint to come back to."""
        try:
            self._batch.connection.exec_driver_sql("SAVEPOINT block")
        except BaseException as error:
            self._batch.fail(error)
            raise
        return self._batch.connection

    @property
    def sealed(self) -> int:
        """How many entries the log has without those that are staged."""
        return self._batch.sealed

    def stage(self, entry: bytes, order_id: OrderId | None) -> int:
        """Put an entry on its way; the index it will have."""
        self._batch.staged.append((entry, order_id))
        return self._batch.sealed + len(self._batch.staged) - 1

    def keep(self) -> None:
        """The block ended well."""
        if "connection" in self.__dict__:
            self.connection.exec_driver_sql("RELEASE SAVEPOINT block")
        self._batch.joined()

    def undo(self, error: BaseException) -> None:
        """The block raised; when it cannot be undone alone, because the engine gave up, the batch fails with it."""
        del self._batch.staged[self._first :]
        if "connection" not in self.__dict__:
            return
        try:
            self.connection.exec_driver_sql("ROLLBACK TO SAVEPOINT block")
            self.connection.exec_driver_sql("RELEASE SAVEPOINT block")
        except (DatabundError, SQLAlchemyError):
            self._batch.fail(error)
        except BaseException:
            self._batch.fail(error)
            raise
