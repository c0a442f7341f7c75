"""Adding a row whose keys may be taken, told apart without an error.

In PostgreSQL a failed insert would end the whole database transaction; callers of the ports may catch `AlreadyExists`
and go on.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table

__all__ = ["add"]


def add(connection: Connection, table: Table, **values: Any) -> bool:
    """Insert a row unless one of its unique keys is taken; whether it was inserted."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # the two have the same methods
    statement = insert(table).values(**values).on_conflict_do_nothing()
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount > 0
