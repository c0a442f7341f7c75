"""Checkpoints that witnesses cosigned: the port `CosignedCheckpoints`."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, delete, select, text

from databund.storage.tables import log_cosigned as table

__all__ = ["SqlCosignedCheckpoints"]

_KEPT = 4096
_PUT = text(
    "INSERT INTO log_cosigned (size, note) VALUES (:size, :note) ON CONFLICT (size) DO UPDATE SET note = excluded.note"
)


class SqlCosignedCheckpoints:
    """Checkpoints that witnesses cosigned, in one database transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def newest(self) -> bytes | None:
        """The one of the largest size, with its cosignatures; None when there is none yet."""
        return self._connection.scalar(select(table.c.note).order_by(table.c.size.desc()).limit(1))

    def add(self, size: int, note: bytes) -> None:
        """Keep one; of the same size the last one stays, and only the newest 4,096 are kept."""
        self._connection.execute(_PUT, {"size": size, "note": note})
        oldest = self._connection.scalar(select(table.c.size).order_by(table.c.size.desc()).offset(_KEPT - 1).limit(1))
        if oldest is not None:
            self._connection.execute(delete(table).where(table.c.size < oldest))

    def all(self) -> Iterator[bytes]:
        """Those that are kept, smallest first."""
        yield from self._connection.scalars(select(table.c.note).order_by(table.c.size))
