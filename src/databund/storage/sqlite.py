"""SQLite as the database engine: one file, WAL, every commit synced to the disk before it is acknowledged."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Engine, QueuePool, create_engine

from databund.errors import DatabundError, NotFound, StoreUnavailable
from databund.storage.engine import (
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

_WRITER = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA journal_size_limit=67108864")
_READER = ("PRAGMA query_only=ON",)
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
