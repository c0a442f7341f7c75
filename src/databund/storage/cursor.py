"""Up to which final block the events of the chain were read: the port `Cursor`."""

from __future__ import annotations

from sqlalchemy import Connection, select, text

from databund.ports import Block
from databund.storage.tables import chain_cursor as table

__all__ = ["SqlCursor"]

_PUT = text(
    "INSERT INTO chain_cursor (id, block, hash) VALUES (1, :block, :hash) "
    "ON CONFLICT (id) DO UPDATE SET block = excluded.block, hash = excluded.hash"
)


class SqlCursor:
    """Up to which block the chain was read, in one database transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self) -> Block | None:
        """The last block that was read; None before the first."""
        row = self._connection.execute(select(table.c.block, table.c.hash)).first()
        return None if row is None else Block(*row)

    def set(self, block: Block) -> None:
        """Move on."""
        self._connection.execute(_PUT, {"block": block.number, "hash": block.hash})
