"""Revisions: which form of the tables a database has, and bringing it to the newest.

The migrations themselves are alembic scripts in ``migrations/versions``. Alembic is imported only when there is
something to migrate.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect
from sqlalchemy import text as sql

from databund.errors import HomeTooNew, NotFound, StoreCorrupt

__all__ = ["REVISIONS", "TABLE", "is_current", "upgrade"]

REVISIONS = ("0001", "0002")
"""Every revision this version knows, oldest first."""

TABLE = "databund_revision"
"""Where alembic keeps the revision of a database."""


def is_current(connection: Connection) -> bool:
    """Whether the tables have the newest form. Raises `HomeTooNew` for one we do not know."""
    revision = _stored(connection)
    if revision is not None and revision not in REVISIONS:
        raise HomeTooNew(
            f"The database has revision {revision}; this version knows up to {REVISIONS[-1]}.",
            fix="Upgrade: pip install --upgrade databund",
        )
    return revision == REVISIONS[-1]


def upgrade(connection: Connection, *, create: bool) -> None:
    """Bring the tables to the newest form within the connection's database transaction.

    Raises `NotFound` for an empty database unless ``create``, `StoreCorrupt` for tables of something else.
    """
    if is_current(connection):
        return
    if _stored(connection) is None:
        if inspect(connection).get_table_names():
            raise StoreCorrupt(
                "The database holds tables, but none of databund's.", fix="Name an empty database, or the right one."
            )
        if not create:
            raise NotFound("The database is empty.", fix="Check its address, or let it be created.")
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _stored(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, TABLE):
        return None
    revision: str | None = connection.scalar(sql(f"SELECT version_num FROM {TABLE}"))  # noqa: S608  # a constant
    return revision
