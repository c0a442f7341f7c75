"""SQLite as the database engine: one file, WAL, every commit synced to the disk before it is acknowledged.

What is erased is overwritten in the file (``secure_delete``), and after an erasure the WAL is written back and cut to
nothing before anybody is told, so that neither file goes on holding what is gone.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Engine, QueuePool, create_engine, event

from databund.errors import DatabundError, NotFound, StoreUnavailable
from databund.storage.engine import (
    ERASED,
    PATIENCE_S,
    DatabaseEngine,
    broken_rule,
    corrupt,
    full,
    taken,
    translate_errors,
    unavailable,
)

__all__ = ["open_sqlite"]

_WRITER = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA secure_delete=ON",
)
_READER = ("PRAGMA query_only=ON",)
_READERS_PATIENCE_MS = 2000
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
_UNIQUE = {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}
_RULES = {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH}


def open_sqlite(path: Path, *, create: bool) -> DatabaseEngine:
    """Connect to the file, which only ``create`` makes (for its owner alone). Raises `NotFound`."""
    _find(path, create=create)
    writer = _engine(path, _WRITER, pool_size=1, max_overflow=0)
    event.listen(writer, "connect", lambda _connection, record: record.info.update({ERASED: False}))
    event.listen(writer, "checkin", _cut_wal)
    event.listen(writer, "invalidate", _let_go)
    reader = _engine(path, _READER, pool_size=8, max_overflow=-1)
    return DatabaseEngine(writer, reader, begin_write=("BEGIN IMMEDIATE",), begin_read=("BEGIN",))


def _find(path: Path, *, create: bool) -> None:
    try:
        if path.exists():
            return
        if not create:
            raise NotFound(f"There is no database at {path}.", fix="Check the path, or let it be created.")
        # Closing a file drops the locks that SQLite has on it in this process, so it is closed before it has its name.
        descriptor, blank = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
        os.close(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(blank, path)
        Path(blank).unlink()
    except OSError as error:
        raise StoreUnavailable(
            f"The database {path} cannot be reached ({error.strerror}).", fix="Check the folder and its permissions."
        ) from error


def _engine(path: Path, pragmas: tuple[str, ...], *, pool_size: int, max_overflow: int) -> Engine:
    def connect() -> sqlite3.Connection:
        # In autocommit mode the driver begins nothing behind our back. mode=rw never creates a file.
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",
            uri=True,
            timeout=PATIENCE_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in pragmas:
                connection.execute(pragma).close()
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        creator=connect,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_use_lifo=True,
        hide_parameters=True,
    )
    translate_errors(engine, _meaning)
    return engine


def _let_go(connection: sqlite3.Connection, *_: object) -> None:
    """Roll back before a connection is thrown away: closing it frees no lock while an error holds a cursor of it."""
    with contextlib.suppress(sqlite3.Error):
        connection.rollback()


def _cut_wal(connection: sqlite3.Connection | None, record: Any) -> None:
    """Write back and cut the WAL once the database transaction that erased something has ended.

    A reader whose snapshot is older keeps it from being cut. It is waited for a little, and after that tried again at
    the end of each further database transaction, and once whenever the file is opened, for a crash may have come
    between. The erasure itself is durable by then, so nothing is raised.
    """
    erased = record.info.get(ERASED)
    if connection is None or erased is None:
        return
    record.info[ERASED] = False
    with contextlib.suppress(sqlite3.Error):
        connection.execute(f"PRAGMA busy_timeout={_READERS_PATIENCE_MS if erased else 0}").close()
        try:
            ((busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.execute(f"PRAGMA busy_timeout={PATIENCE_S * 1000}").close()
        if not busy:
            del record.info[ERASED]


def _meaning(error: BaseException) -> DatabundError | None:
    extended = getattr(error, "sqlite_errorcode", None)
    if not isinstance(error, sqlite3.Error) or extended is None:
        return None  # Not the database's word, but a mistake in how we call it.
    code = extended & 0xFF
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return full(error)
    if code in _UNAVAILABLE:
        return unavailable(error)
    if extended in _UNIQUE:
        return taken(error)
    return broken_rule(error) if code in _RULES else corrupt(error)
