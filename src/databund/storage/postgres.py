"""PostgreSQL as the database engine, by psycopg 3 (the extra ``databund[postgres]``).

A writer takes an advisory lock before its first look at the data, so writers of all processes form one line and each
sees what the one before it committed. A reader sees one snapshot (REPEATABLE READ) and waits for nobody.
"""

from __future__ import annotations

from sqlalchemy import URL, Engine, create_engine

from databund.errors import DatabundError, DependencyMissing
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

__all__ = ["open_postgres"]

_WRITERS = int.from_bytes(b"databund")
"""The advisory lock that makes one line of all writers of a database."""

_DISK_FULL, _UNIQUE = "53100", "23505"
_RULES = {"22", "23", "54"}  # data exception, integrity constraint violation, program limit exceeded
_CORRUPT = {"42", "XX"}  # tables that are missing or different, internal errors


def open_postgres(url: URL) -> DatabaseEngine:
    """Connect to the database of the URL. Raises `DependencyMissing` without psycopg."""
    try:
        import psycopg  # noqa: F401  # SQLAlchemy imports it by name
    except ImportError as error:
        raise DependencyMissing(
            f"PostgreSQL needs psycopg ({error}).", fix="Install it: pip install 'databund[postgres]'"
        ) from error
    url = url.set(drivername="postgresql+psycopg")
    writer = _engine(url, pool_size=1, max_overflow=0)
    reader = _engine(url, pool_size=8, max_overflow=-1).execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    begin_write = (f"SET LOCAL lock_timeout = '{PATIENCE_S}s'", f"SELECT pg_advisory_xact_lock({_WRITERS})")
    return DatabaseEngine(writer, reader, begin_write=begin_write, begin_read=())


def _engine(url: URL, *, pool_size: int, max_overflow: int) -> Engine:
    engine = create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": PATIENCE_S},
    )
    translate_errors(engine, _meaning)
    return engine


def _meaning(error: BaseException) -> DatabundError | None:
    import psycopg

    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate or ""
    if state == _DISK_FULL:
        return full(error)
    if state == _UNIQUE:
        return taken(error)
    if state[:2] in _RULES or (not state and isinstance(error, psycopg.DataError)):
        return broken_rule(error)
    return corrupt(error) if state[:2] in _CORRUPT and state != "42501" else unavailable(error)
